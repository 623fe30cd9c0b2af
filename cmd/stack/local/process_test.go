package local_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
)

// actAs has this test binary be something else: the server of a test, or a process that starts one and is killed.
const actAs = "LOCAL_TEST_ACT_AS"

func TestMain(m *testing.M) {
	switch as, argument, _ := strings.Cut(os.Getenv(actAs), " "); as {
	case "":
		os.Exit(m.Run())
	case "server":
		serve(argument)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		serve(argument)
	case "broken":
		fmt.Println("no such disk")
		os.Exit(1)
	case "starter":
		dir, address, _ := strings.Cut(argument, " ")
		p, err := local.NewProcesses(dir, true)
		if err == nil {
			err = p.Start(server("tied", "server "+address))
		}
		if err != nil {
			panic(err)
		}
		select {}
	}
}

// serve listens and never ends by itself.
func serve(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		panic(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			panic(err)
		}
		conn.Close()
	}
}

func server(name, as string) local.Process {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return local.Process{Name: name, Path: self, Env: []string{actAs + "=" + as}}
}

func processes(t *testing.T) *local.Processes {
	t.Helper()
	p, err := local.NewProcesses(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(0); err != nil {
			t.Error(err)
		}
	})
	return p
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func address(t *testing.T) string {
	t.Helper()
	port, err := local.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return local.Address(port)
}

// start starts a server that listens, and waits for it.
func start(t *testing.T, p *local.Processes, name, as string) string {
	t.Helper()
	at := address(t)
	if err := p.Start(server(name, as+" "+at)); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitFor(soon(t), name, func() error { return local.Listening(at) }); err != nil {
		t.Fatal(err)
	}
	return at
}

func TestProcesses(t *testing.T) {
	p := processes(t)
	at := start(t, p, "a", "server")
	other := start(t, p, "b", "stubborn")
	pid := p.Pid("a")
	if pid == 0 || p.Pid("b") == pid {
		t.Errorf("process IDs are %d and %d", pid, p.Pid("b"))
	}
	if err := p.Start(server("a", "server "+address(t))); !errors.Is(err, local.ErrRunning) {
		t.Errorf("a second start: %v, want ErrRunning", err)
	}

	if err := p.Kill("a"); err != nil {
		t.Fatal(err)
	}
	if p.Running("a") || local.Listening(at) == nil {
		t.Error("a killed server goes on")
	}
	if err := p.Kill("a"); err == nil {
		t.Error("what does not run was killed")
	}
	if names, err := p.Names(); err != nil || strings.Join(names, " ") != "a b" {
		t.Errorf("on record are %v, %v; the killed one has to be among them", names, err)
	}
	if err := p.Start(server("a", "server "+at)); err != nil { // on the port it had
		t.Fatal(err)
	}
	if err := p.WaitFor(soon(t), "a", func() error { return local.Listening(at) }); err != nil {
		t.Fatal(err)
	}
	if p.Pid("a") == pid {
		t.Error("the new process has the old one's ID")
	}

	if err := p.Stop(100*time.Millisecond, "a", "b", "never there"); err != nil {
		t.Fatal(err)
	}
	if local.Listening(at) == nil || local.Listening(other) == nil {
		t.Error("a stopped server goes on, or one that does not want to stop")
	}
	if names, err := p.Names(); err != nil || len(names) != 0 {
		t.Errorf("after Stop there are records of %v, %v", names, err)
	}
}

// TestRecordOfAStranger: a record whose process has ended, and whose ID another process has got since, is nobody's.
func TestRecordOfAStranger(t *testing.T) {
	dir := t.TempDir()
	p, err := local.NewProcesses(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"pid": %d, "born": "1", "command": ["a server of last week"]}`, os.Getpid())
	if err := os.WriteFile(filepath.Join(dir, "run", "old.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if p.Running("old") || p.Kill("old") == nil {
		t.Fatal("this process was taken for a server")
	}
	if err := p.Stop(time.Second); err != nil { // and we are still here
		t.Fatal(err)
	}
}

func TestServerThatDoesNotComeUp(t *testing.T) {
	p := processes(t)
	if err := p.Start(server("x", "broken")); err != nil {
		t.Fatal(err)
	}
	err := p.WaitFor(soon(t), "x", func() error { return errors.New("it does not answer") })
	for _, want := range []string{"x does not come up", "it has ended", "no such disk"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}

// TestStopFromElsewhere: whoever has the folder can stop what others started.
func TestStopFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	var at []string
	for _, sub := range []string{"fabric", "redis"} {
		p, err := local.NewProcesses(filepath.Join(dir, sub), true)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, start(t, p, "server", "server"))
	}
	if err := local.StopTree(dir, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, a := range at {
		if local.Listening(a) == nil {
			t.Errorf("%s still answers", a)
		}
	}
}

func TestTiedServersDieWithTheirStarter(t *testing.T) {
	if !local.CanTie {
		return // the system has no way to do it
	}
	dir, at := t.TempDir(), address(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	starter := exec.Command(self)
	starter.Env = []string{actAs + "=starter " + dir + " " + at}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := local.NewProcesses(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := local.Wait(soon(t), func() error { return local.Listening(at) }); err != nil {
		t.Fatal(err)
	}
	pid := p.Pid("tied")
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait()
	if err := local.Wait(soon(t), func() error {
		if p.Running("tied") {
			return fmt.Errorf("process %d goes on", pid)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
