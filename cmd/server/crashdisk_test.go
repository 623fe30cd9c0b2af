//go:build crash

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
)

// The suite fills disks, so it needs some that are small: file systems in memory. To mount one without a trace on the
// machine, and without being root, it runs in a mount namespace of its own, to which it moves before anything else.

// inNamespace is set for the process that has moved.
const inNamespace = "CRASH_IN_NAMESPACE"

func init() { beforeAll = moveToNamespace }

// moveToNamespace starts this process again in a mount namespace of its own, and ends with its status. Where that is not
// allowed it returns, and the tests that fill disks will say so.
func moveToNamespace() {
	if os.Getenv(inNamespace) != "" {
		return
	}
	runtime.LockOSThread() // the child dies with the thread that started it
	self, err := os.Executable()
	if err != nil {
		return
	}
	for _, flags := range []uintptr{syscall.CLONE_NEWNS, syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER} {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		signal.Ignore(os.Interrupt, syscall.SIGTERM) // the child decides
		if cmd.Start() != nil {
			continue
		}
		_ = cmd.Wait()
		os.Exit(cmd.ProcessState.ExitCode())
	}
	signal.Reset(os.Interrupt, syscall.SIGTERM)
}

// smallDisk makes a folder a disk of so many bytes, until the test ends.
func smallDisk(t *testing.T, dir string, size int) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o700))
	err := errors.New("there are no mount namespaces for this user")
	if os.Getenv(inNamespace) != "" {
		err = syscall.Mount("cardflow-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size))
	}
	if err != nil {
		t.Fatalf("a small disk to fill can't be mounted: %v. Run the crash suite as root, or where users may make user "+
			"namespaces (kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)", err)
	}
	t.Cleanup(func() { check(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
}

// fill leaves no room on the disk that a folder is on. free gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	check(t, err)
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else {
			check(t, err)
		}
	}
	check(t, f.Close())
	return func() { t.Helper(); check(t, os.Remove(name)) }
}

// ownDisk is the server with a disk of its own.
const ownDisk = 4

// journalFull: the disk with a server's journal is full. What makes no lots goes on; what does, waits; and when there is room
// again, and the server was started again, all of it is done.
func (w *world) journalFull() {
	for range form(1, 4) {
		p := w.start(ownDisk, nil)
		w.during([]*process{p}, func() {
			w.hears(10)
			free := fill(w.T, w.data(ownDisk))
			w.hears(10)
			w.until("it to say that it can't write its journal", func() bool { return !ready(p) })
			p = w.again(ownDisk, p, free)
		})
		w.stop(p)
	}
}

// diskFull: the disk with everything on it is full.
func (w *world) diskFull() {
	for range form(1, 4) {
		p := w.start(1, nil)
		w.during([]*process{p}, func() {
			w.hears(10)
			free := fill(w.T, w.dir)
			w.until("it to say that it can't go on", func() bool { return !ready(p) })
			p = w.again(1, p, free)
		})
		w.stop(p)
	}
}

// again kills a server whose disk was full, and starts it where there is room again.
func (w *world) again(n int, p *process, free func()) *process {
	w.Helper()
	w.kill(p)
	free()
	freed := time.Now()
	p = w.start(n, nil)
	w.market.at(p)
	w.measure("the disk has room, the server started: a new write", w.serves(freed))
	w.hears(form(20, 80))
	return p
}

// mariadbFull: MariaDB's disk is full, and has room again. MariaDB looks once a minute whether that is so, or is started
// again.
func (w *world) mariadbFull(m *local.MariaDB, disk string) {
	p := w.start(1, nil)
	w.during([]*process{p}, func() {
		for round := range form(1, 4) {
			w.hears(10)
			free := fill(w.T, disk)
			w.until("everything to stand still", func() bool {
				before := w.market.count().writes
				w.pause(2 * time.Second)
				return w.market.count().writes == before
			})
			free()
			freed, how := time.Now(), "MariaDB's disk has room"
			switch died := !m.Running(); {
			case died: // a log that can't be written may end it; whatever watches over it starts it again
				how += ", it had died"
				w.counts()
				check(w, m.Start(soon(w.T)))
			case round%2 == 0:
				how += ", it was killed"
				check(w, m.Kill())
				w.counts()
				check(w, m.Start(soon(w.T)))
			}
			w.measure(how+": a new write", w.serves(freed))
			w.hears(form(20, 80))
		}
	})
	w.stop(p)
}
