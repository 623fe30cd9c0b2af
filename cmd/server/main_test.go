package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cardflow/model/modeltest"
)

// TestMain lets this binary be the server as well: under the name "server", which testscript puts into PATH, and when a
// server inside a test starts itself to read a .xls file.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == xlsCommand {
		main()
	}
	if filepath.Base(os.Args[0]) != "server" {
		beforeAll()
	}
	testscript.Main(clean{m}, map[string]func(){"server": server})
}

// beforeAll and afterAll are what the crash suite does before and after all tests.
var (
	beforeAll = func() {}
	afterAll  = func(status int) int { return status }
)

// clean runs the tests and removes what they share.
type clean struct{ *testing.M }

// Run implements testscript.TestingM.
func (c clean) Run() int {
	status := afterAll(c.M.Run())
	for _, dir := range []string{parent, terminalDir} {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
	return status
}

// parent and terminalDir are the directories of what the tests share.
var parent, terminalDir string

// patience is how long anything may take before a test gives it up.
const patience = time.Minute

// until asks again and again until the answer is yes.
func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !yes() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// played is a demo that ran as a process of its own.
type played struct {
	dir    string         // its data
	rows   modeltest.Copy // of its database, unless that is in dir
	stdout string
	status int
	err    error
}

// demoPlayed plays the demo once for all tests that start from its world: six organisations, 1,000 cards, one sold.
func demoPlayed(t testing.TB) played {
	playing.Do(func() { demoPlay = playDemo(t) })
	return demoPlay
}

var (
	playing  sync.Once
	demoPlay = played{err: errors.New("the demo could not be played: see the first test that wanted it")}
)

func playDemo(t testing.TB) (p played) {
	if parent, p.err = os.MkdirTemp("", "played-"); p.err != nil {
		return p
	}
	p.dir = filepath.Join(parent, "data")
	place := placeOf(t, p.dir)
	cmd := exec.Command("server", "demo", "--keep", p.dir)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &log, plainEnvironment()
	err := cmd.Run()
	p.stdout, p.status = out.String(), cmd.ProcessState.ExitCode()
	if err != nil {
		p.err = errors.Join(err, errors.New(out.String()+log.String()))
	} else if place != nil {
		p.rows = place.Copy(t)
	}
	return p
}

// copyTo puts the demo's world into a directory that isn't there yet, and its rows into that directory's database.
func (p played) copyTo(t testing.TB, dir string) {
	copyTree(t, p.dir, dir)
	if place := placeOf(t, dir); place != nil {
		place.Put(t, p.rows)
	}
}

// plainEnvironment is ours without what would configure a server.
func plainEnvironment() []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "CARDFLOW_") || strings.HasPrefix(pair, "CARDFLOW_TEST_") {
			env = append(env, pair)
		}
	}
	return env
}

// demoWorld copies the data of a played demo, for one test to change.
func demoWorld(t *testing.T) string {
	t.Helper()
	p := demoPlayed(t)
	if p.err != nil {
		t.Fatal(p.err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	p.copyTo(t, dir)
	return dir
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	check(t, filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Mkdir(filepath.Join(to, name), info.Mode().Perm())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, info.Mode().Perm()) // keys refuse to be read by others
	}))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// process is a server in a process of its own, which can be killed.
type process struct {
	cmd   *exec.Cmd
	url   string
	said  chan string // its standard output, line by line; closed at its end
	errs  *lockedBuffer
	ended chan struct{}
	err   error // of Wait, once ended is closed
}

// startProcess starts `server args…` and returns at once.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	return startProcessWith(t, nil, args...)
}

// startProcessWith does so with variables beside the usual ones.
func startProcessWith(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	if i := slices.Index(args, "--data"); i >= 0 {
		placeOf(t, args[i+1])
	}
	p := &process{cmd: exec.Command("server", args...), said: make(chan string, 1024), errs: &lockedBuffer{}, ended: make(chan struct{})}
	// Without quotas: a market's people do in seconds what others do in weeks.
	p.cmd.Env = append(append(plainEnvironment(), "CARDFLOW_HTTP_LISTEN=127.0.0.1:0", "CARDFLOW_CUSTODY_GUARDS=false"), env...)
	p.cmd.Stderr = p.errs
	out, err := p.cmd.StdoutPipe()
	check(t, err)
	check(t, p.cmd.Start())
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			p.said <- lines.Text()
		}
		close(p.said)
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { p.kill(); <-p.ended })
	return p
}

var servedAt = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// listening waits until the server says where it serves; false if it ended before.
func (p *process) listening() bool {
	for line := range p.said {
		if p.url = servedAt.FindString(line); p.url != "" {
			return true
		}
	}
	return false
}

// living is ctx, as long as the server lives.
func (p *process) living(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-p.ended:
		case <-ctx.Done():
		}
	}()
	return ctx
}

// kill ends it as a power cut would.
func (p *process) kill() { _ = p.cmd.Process.Signal(syscall.SIGKILL) }

// terminate tells it to end, as an operator would.
func (p *process) terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// stop tells it to end, and demands that it ends well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.terminate()
	<-p.ended
	if p.err != nil {
		t.Errorf("told to stop, the server ended with %v:\n%s", p.err, p.errs)
	}
}

// lockedBuffer is a buffer that one writes while another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// soon is a context for one thing that must not hang.
func soon(t *testing.T) context.Context {
	t.Helper()
	return within(t, patience)
}

// within is soon for what takes longer than most: a network whose programs may have to be built first.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}
