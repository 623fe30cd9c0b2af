package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process says how a server is started.
type Process struct {
	Name string   // of its record and its log: unique in its folder, usually the server's host name
	Path string   // program
	Args []string // without the program's name
	Env  []string // the whole environment; nothing is inherited
	Dir  string   // working directory; the folder itself if ""
}

// Processes are the servers of one folder. They may have been started by another process: what is known about them
// stands in the folder, a record of each under run/, its output under log/.
type Processes struct {
	dir  string
	tied bool
}

// NewProcesses are the servers of a folder, which is made if it isn't there. Servers that are tied die with the process
// that started them, even if that was killed; the others outlive it.
func NewProcesses(dir string, tied bool) (*Processes, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"run", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	return &Processes{dir: dir, tied: tied}, nil
}

// ErrRunning: a server of this name runs already.
var ErrRunning = errors.New("runs already")

// record is what stands in run/NAME.json. A process ID alone would come to name a stranger some day.
type record struct {
	Pid     int      `json:"pid"`     // also the ID of its process group
	Born    string   `json:"born"`    // by the kernel's clock
	Command []string `json:"command"` // for people
}

func (r record) alive() bool { return r.Pid > 0 && r.Born != "" && born(r.Pid) == r.Born }

// Log is the file that a server's output goes to.
func (p *Processes) Log(name string) string { return filepath.Join(p.dir, "log", name+".log") }

func (p *Processes) recordFile(name string) string { return filepath.Join(p.dir, "run", name+".json") }

// Start starts a server and does not wait for it to serve. Its process leads a session and a process group of its own:
// a Ctrl-C at the terminal is not for it.
func (p *Processes) Start(proc Process) error {
	if p.Running(proc.Name) {
		return fmt.Errorf("%s: %w", proc.Name, ErrRunning)
	}
	log, err := os.OpenFile(p.Log(proc.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(proc.Path, proc.Args...)
	cmd.Env, cmd.Dir = proc.Env, proc.Dir
	if cmd.Dir == "" {
		cmd.Dir = p.dir
	}
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would inherit
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.tied {
		tie(cmd.SysProcAttr)
	}
	if err := onLastingThread(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", proc.Name, err)
	}
	if err := p.Adopt(proc.Name, cmd.Process.Pid, append([]string{proc.Path}, proc.Args...)); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	go func() { _ = cmd.Wait() }() // so that it doesn't stay a zombie; how it ended is in its log
	return nil
}

// Adopt records a process that was started in another way: it leads a process group, and is stopped with the others.
func (p *Processes) Adopt(name string, pid int, command []string) error {
	text, err := json.MarshalIndent(record{pid, born(pid), command}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(p.recordFile(name), append(text, '\n'), 0o600)
}

func (p *Processes) read(name string) (record, error) {
	var r record
	text, err := os.ReadFile(p.recordFile(name))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", p.recordFile(name), err)
	}
	return r, nil
}

// Pid is the process ID of a server, 0 if it does not run.
func (p *Processes) Pid(name string) int {
	if r, err := p.read(name); err == nil && r.alive() {
		return r.Pid
	}
	return 0
}

// Running reports whether a server runs.
func (p *Processes) Running(name string) bool { return p.Pid(name) != 0 }

// Names are the servers on record, in order: those that run, and those that have died and were not stopped.
func (p *Processes) Names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "run"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// Kill ends a server with SIGKILL and returns when it is gone. Its record stays: it has died.
func (p *Processes) Kill(name string) error {
	r, err := p.read(name)
	if err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	if !r.alive() {
		return fmt.Errorf("kill %s: it does not run", name)
	}
	return p.end(name, r, syscall.SIGKILL, killed)
}

// killed is how long the kernel may take to end a process that was killed: it may be waiting for a disk.
const killed = 10 * time.Second

// Stop asks servers to end (SIGTERM), kills those that still run after grace, and forgets them. Without names it stops
// all. Those that don't run are no error.
func (p *Processes) Stop(grace time.Duration, names ...string) error {
	if len(names) == 0 {
		all, err := p.Names()
		if err != nil {
			return err
		}
		names = all
	}
	failed := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { failed[i] = p.stop(name, grace) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

func (p *Processes) stop(name string, grace time.Duration) error {
	r, err := p.read(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.alive() && p.end(name, r, syscall.SIGTERM, grace) != nil {
		if err := p.end(name, r, syscall.SIGKILL, killed); err != nil {
			return err
		}
	}
	return os.Remove(p.recordFile(name))
}

// end signals a server's process group and waits for the server to be gone.
func (p *Processes) end(name string, r record, signal syscall.Signal, patience time.Duration) error {
	if err := syscall.Kill(-r.Pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s of %s: %w", signal, name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Wait(ctx, func() error {
		if r.alive() {
			return fmt.Errorf("%s (process %d) does not end on %s", name, r.Pid, signal)
		}
		return nil
	})
}

// WaitFor waits until a server that was started is ready. If it dies before, or ctx ends, the error has the end of its
// log.
func (p *Processes) WaitFor(ctx context.Context, name string, ready func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := Wait(ctx, func() error {
		err := ready()
		if err != nil && !p.Running(name) {
			cancel(errors.New("it has ended"))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s does not come up: %w; the end of %s:\n%s", name, err, p.Log(name), tail(p.Log(name)))
	}
	return nil
}

// Ended waits until a server that was started has ended. The error has the end of its log; it is nil if ctx ends first.
func (p *Processes) Ended(ctx context.Context, name string) error {
	if waitEvery(ctx, 250*time.Millisecond, func() error {
		if p.Running(name) {
			return ErrRunning
		}
		return nil
	}) != nil {
		return nil
	}
	return fmt.Errorf("%s has ended, and everything with it; the end of %s:\n%s", name, p.Log(name), tail(p.Log(name)))
}

// StopTree stops every server recorded in a folder or the folders right under it. It is what is left to do for someone
// who has only the folder.
func StopTree(dir string, grace time.Duration) error {
	folders, err := filepath.Glob(filepath.Join(dir, "*", "run"))
	if err != nil {
		return err
	}
	folders = append(folders, filepath.Join(dir, "run"))
	var failed []error
	for _, run := range slices.Backward(folders) { // the command of `stack run`, recorded at the top, ends first
		if _, err := os.Stat(run); errors.Is(err, os.ErrNotExist) {
			continue
		}
		p := &Processes{dir: filepath.Dir(run)}
		failed = append(failed, p.Stop(grace))
	}
	return errors.Join(failed...)
}

// writeFile replaces a file as a whole: nobody reads half of it.
func writeFile(path string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
