package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
)

// asStack has this test binary be the program.
const asStack = "STACK_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asStack) != "" {
		main()
	}
	os.Exit(m.Run())
}

// stack is the program, in an environment in which only it makes temporary folders.
func stack(t *testing.T, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temp = t.TempDir()
	cmd = exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asStack+"=1", "TMPDIR="+temp)
	return cmd, temp
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind are %v, %v", left, err)
	}
}

func TestRunPassesTheStatusOn(t *testing.T) {
	for _, c := range []struct {
		script string
		want   int
	}{
		{"true", 0},
		{"exit 3", 3},
		{"kill -TERM $$", 128 + 15},
		{"kill -KILL $$", 128 + 9},
	} {
		cmd, temp := stack(t, "run", "--", "sh", "-c", c.script)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.want || len(out) != 0 {
			t.Errorf("%s: status %d (%v) and output %q, want %d and none", c.script, got, err, out, c.want)
		}
		empty(t, temp)
	}
}

func TestRunRefusals(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int
		says string
	}{
		{nil, 2, "expected"},
		{[]string{"run"}, 2, "expected"},
		{[]string{"run", "--no-such-part", "--", "true"}, 2, "no-such-part"},
		{[]string{"run", "--", "no-such-program-anywhere"}, 1, "no-such-program-anywhere"},
	} {
		cmd, temp := stack(t, c.args...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.want || !strings.Contains(string(out), c.says) {
			t.Errorf("stack %v: status %d and %q, want %d and %q", c.args, got, out, c.want, c.says)
		}
		empty(t, temp)
	}
}

// TestRunEndsEverything: the command has a child of its own. Interrupted, terminated or killed, all of it goes.
func TestRunEndsEverything(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		want   int // status; -1: killed
	}{
		{syscall.SIGINT, 7},
		{syscall.SIGTERM, 128 + 15},
		{syscall.SIGKILL, -1},
	} {
		t.Run(c.signal.String(), func(t *testing.T) {
			cmd, temp := stack(t, "run", "--", "sh", "-c", `trap "exit 7" INT; sleep 1000 & echo $! $$; wait`)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var errors bytes.Buffer
			cmd.Stderr = &errors
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.want || errors.Len() != 0 {
				t.Errorf("status %d and %q, want %d and nothing", got, &errors, c.want)
			}
			for _, word := range strings.Fields(line) {
				pid, err := strconv.Atoi(word)
				if err != nil {
					t.Fatal(err)
				}
				gone(t, pid)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := local.Wait(ctx, func() error {
				left, err := filepath.Glob(filepath.Join(temp, "*"))
				if err == nil && len(left) > 0 {
					err = fmt.Errorf("left behind are %v", left)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// gone waits until a process has ended. It is no child of ours, so its ID is free then.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := local.Wait(ctx, func() error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d is still there: %v", pid, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestFabricCommandsWithoutANetwork: they say so, and make nothing.
func TestFabricCommandsWithoutANetwork(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"down"}, {"down", "--clean"}, {"upgrade"}, {"peer", "version"}} {
		cmd, temp := stack(t, append([]string{"fabric", "--dir", filepath.Join(t.TempDir(), "none")}, args...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != 1 || !strings.Contains(string(out), "no network is here") {
			t.Errorf("fabric %v: status %d and %q", args, got, out)
		}
		empty(t, temp)
	}
	for _, args := range [][]string{{"up", "--endorsement", "1-of-3"}, {"up", "--batch-timeout", "soon"}, {"peer", "--as", "nobody", "version"}} {
		cmd, _ := stack(t, append([]string{"fabric", "--dir", t.TempDir()}, args...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != 2 {
			t.Errorf("fabric %v: status %d and %q", args, got, out)
		}
	}
}

// TestRunEndsWithWhatIsVital: when a server dies without which the command is not to go on, the command is told to end,
// and the error names the server and what it said.
func TestRunEndsWithWhatIsVital(t *testing.T) {
	t.Setenv(asStack, "1") // for the guard, and for who becomes the command
	for name, command := range map[string]string{
		"the command ends": `trap "exit 0" TERM; : > ready; while :; do sleep 0.1; done`,
		"it ends badly":    `trap "exit 3" TERM; : > ready; while :; do sleep 0.1; done`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ready := filepath.Join(dir, "ready")
			servers, err := local.NewProcesses(dir, false)
			if err != nil {
				t.Fatal(err)
			}
			env := &environment{ctx: t.Context(), signals: make(chan os.Signal)}
			go func() { // the custodian dies when the command is on its way
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if local.Wait(ctx, func() error { _, err := os.Stat(ready); return err }) == nil {
					_ = servers.Kill(local.CustodianName)
				}
			}()
			err = among(env, dir, true, []string{"sh", "-c", "cd " + dir + "; " + command}, func() (started, error) {
				err := servers.Start(local.Process{Name: local.CustodianName, Path: "/bin/sh", Args: []string{"-c", "echo no such disk; exec sleep 1000"}, Env: os.Environ()})
				return started{vital: []string{local.CustodianName}}, err
			})
			if err == nil || !strings.Contains(err.Error(), "custodian has ended") || !strings.Contains(err.Error(), "no such disk") {
				t.Errorf("%v", err)
			}
			if left, err := servers.Names(); err != nil || len(left) != 0 {
				t.Errorf("left on record: %v, %v", left, err)
			}
		})
	}
}
