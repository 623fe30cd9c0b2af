package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"cardflow/cmd/stack/local"
)

// runCommand gives a command private servers. Whatever happens to the command or to this process, the servers are
// stopped and their folder is removed: by a guard that has nothing else to do.
type runCommand struct {
	MariaDB bool     `name:"mariadb" help:"A MariaDB: CARDFLOW_TEST_MYSQL_DSN."`
	Redis   bool     `help:"A Redis: CARDFLOW_TEST_REDIS_ADDR, CARDFLOW_TEST_REDIS_PASSWORD."`
	Fabric  bool     `help:"A Fabric network with CardFlow's contracts and the conformance suite's: CARDFLOW_TEST_FABRIC is its folder."`
	Keep    bool     `help:"Leave the folder, with data and logs, behind (the servers are stopped all the same)."`
	Command []string `arg:"" passthrough:"partial" help:"Command to run, after --."`
}

// part is a kind of server that the command can have. It starts in a folder of its own, from nothing, and answers the
// variables by which it is reached.
type part struct {
	name   string
	wanted bool
	start  func(ctx context.Context, dir string, say local.Say) (env []string, err error)
}

func (c *runCommand) parts() []part {
	return []part{
		{"mariadb", c.MariaDB, startMariaDB},
		{"redis", c.Redis, startRedis},
		{"fabric", c.Fabric, startFabric},
	}
}

// commandName is the command's record in the folder.
const commandName = "command"

// grace is how long servers may take to end.
const grace = 20 * time.Second

func (c *runCommand) Run(env *environment) (err error) {
	if c.Command, err = afterDashes(c.Command); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(temporary(), "cardflow-stack-")
	if err != nil {
		return err
	}
	return among(env, dir, c.Keep, c.Command, func() (started, error) {
		variables, err := c.startParts(env, dir)
		return started{variables: variables}, err
	})
}

// started is what a command runs among.
type started struct {
	variables []string // by which servers are reached
	vital     []string // those of the folder itself, without which the command is not to go on: engines it outlives, and tests kill them
}

// among starts servers in a folder, runs a command with the variables by which they are reached, and stops them, however
// this ends: a guard sees to it. keep leaves the folder.
func among(env *environment, dir string, keep bool, command []string, start func() (started, error)) (err error) {
	guard, err := startGuard(dir, keep)
	if err != nil {
		if !keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return err
	}
	defer func() {
		if e := guard.end(); e != nil {
			err = e // rather than the command's status: something may be left running
		}
	}()
	servers, err := local.NewProcesses(dir, false)
	if err != nil {
		return err
	}
	with, err := start()
	if err != nil {
		if env.ctx.Err() != nil {
			return status(130)
		}
		return err
	}
	return runIn(env, servers, with, command)
}

// afterDashes is the command that was given after --.
func afterDashes(command []string) ([]string, error) {
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return nil, errors.New("no command after --")
	}
	return command, nil
}

// startParts starts what is wanted, side by side.
func (c *runCommand) startParts(env *environment, dir string) ([]string, error) {
	parts := c.parts()
	variables := make([][]string, len(parts))
	group, ctx := errgroup.WithContext(env.ctx)
	for i, p := range parts {
		if !p.wanted {
			continue
		}
		group.Go(func() (err error) {
			if variables[i], err = p.start(ctx, filepath.Join(dir, p.name), env.say.of(p.name)); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.Concat(variables...), err
}

// runIn runs the command in a process group of its own and passes signals on to it. At a terminal the group is in front:
// the command may read, and a Ctrl-C goes to it.
//
// When a vital server ends, the command is told to, and the error says which it was.
func runIn(env *environment, servers *local.Processes, with started, command []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	onRecord, permit, err := os.Pipe()
	if err != nil {
		return err
	}
	defer permit.Close()
	cmd := exec.Command(self, append([]string{"exec", "--", path}, command...)...)
	cmd.Env = append(os.Environ(), with.variables...)
	cmd.ExtraFiles = []*os.File{onRecord}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	back := inFront(cmd.SysProcAttr)
	defer back()
	err = cmd.Start()
	onRecord.Close()
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	group := -cmd.Process.Pid
	if err := servers.Adopt(commandName, cmd.Process.Pid, command); err != nil {
		return errors.Join(err, permit.Close(), cmd.Wait())
	}
	if _, err := permit.WriteString("\n"); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	watching, unwatch := context.WithCancel(context.Background())
	defer unwatch()
	died := make(chan error, len(with.vital))
	for _, name := range with.vital {
		go func() { died <- servers.Ended(watching, name) }()
	}
	var why error
	var tooLate <-chan time.Time
	for asked := 0; ; {
		select {
		case why = <-died:
			_ = syscall.Kill(group, syscall.SIGTERM)
			tooLate = time.After(grace)
		case <-tooLate:
			_ = syscall.Kill(group, syscall.SIGKILL)
		case s := <-env.signals:
			if asked++; asked > 2 {
				s = syscall.SIGKILL
			}
			_ = syscall.Kill(group, s.(syscall.Signal)) // it may just have ended
		case err := <-ended:
			_ = syscall.Kill(group, syscall.SIGKILL) // what it left behind; usually nothing
			if why != nil {
				return why
			}
			return exitStatus(err)
		}
	}
}

// exitStatus is the status that a shell would report of a command.
func exitStatus(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return status(128 + int(w.Signal()))
	}
	return status(exit.ExitCode())
}

// guard is a process of ours that outlives us when we are killed.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startGuard(dir string, keep bool) (*guard, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"guard", dir}
	if keep {
		args = append(args, "--keep")
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signal that is meant for us reaches it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return &guard{cmd, pipe}, nil
}

// end has the guard do its work now.
func (g *guard) end() error {
	if err := errors.Join(g.pipe.Close(), g.cmd.Wait()); err != nil {
		return fmt.Errorf("stopping the servers: %w", err)
	}
	return nil
}
