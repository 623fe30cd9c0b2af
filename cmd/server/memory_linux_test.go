package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"cardflow/custody"
)

// memoryVariable makes this test's own process say how its memory is kept, instead of testing.
const memoryVariable = "CARDFLOW_TEST_SHOW_MEMORY"

// TestMemoryStaysOffDisk: a process dumps no core, is attached to by nobody, and is not swapped out where it may lock.
func TestMemoryStaysOffDisk(t *testing.T) {
	if os.Getenv(memoryVariable) != "" {
		showMemory()
	}
	// Once as this machine allows it, and once under a limit that it can't lift.
	for name, limit := range map[string]string{
		"as it is":      "exec",
		"under a limit": `ulimit -l 64 && if [ "$(id -u)" = 0 ]; then exec setpriv --bounding-set=-sys_resource "$0" "$1" "$2"; fi; exec`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/bin/sh", "-c", limit+` "$0" "$1" "$2"`, os.Args[0], "-test.run", "^TestMemoryStaysOffDisk$")
			cmd.Env = append(os.Environ(), memoryVariable+"=1")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, part := range []string{"dumpable 0\n", "core 0 0\n"} {
				if !bytes.Contains(out, []byte(part)) {
					t.Errorf("not %q: %s", part, out)
				}
			}
			locked := regexp.MustCompile(`VmLck:\s+[1-9]`).Match(out)
			if unlimited := bytes.Contains(out, []byte("memlock unlimited")); locked != unlimited {
				t.Errorf("locked: %t, and may lock without a limit: %t\n%s", locked, unlimited, out)
			}
			if bytes.Contains(out, []byte("core dumps:")) {
				t.Errorf("%s", out)
			}
		})
	}
}

// showMemory says what the kernel knows, and ends.
func showMemory() {
	err := custody.KeepOffDisk()
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	var core, memlock unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &core)
	unix.Getrlimit(unix.RLIMIT_MEMLOCK, &memlock)
	status, _ := os.ReadFile("/proc/self/status")
	fmt.Printf("dumpable %d\ncore %d %d\n%s\n%v\n", dumpable, core.Cur, core.Max, status, err)
	if memlock.Cur == unix.RLIM_INFINITY {
		fmt.Println("memlock unlimited")
	}
	// It goes on needing memory.
	if b := bytes.Repeat([]byte{1}, 64<<20); b[len(b)-1] != 1 {
		fmt.Println("core dumps: memory is not what was written")
	}
	os.Exit(0)
}

// TestProgramsStayOffDisk: server and custodian, as they are started, have done so by the time that they serve.
func TestProgramsStayOffDisk(t *testing.T) {
	t.Parallel()
	p := newParted(t, filepath.Join(t.TempDir(), "data"))
	keys := p.custodian()
	web := p.server()
	for name, started := range map[string]*process{"custodian": keys, "server": web} {
		proc := fmt.Sprintf("/proc/%d", started.cmd.Process.Pid)
		limits, err := os.ReadFile(proc + "/limits")
		check(t, err)
		status, err := os.ReadFile(proc + "/status")
		check(t, err)
		if !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
			t.Errorf("the %s may dump core:\n%s", name, limits)
		}
		locked := regexp.MustCompile(`VmLck:\s+[1-9]`).Match(status)
		if unlimited := regexp.MustCompile(`Max locked memory +unlimited `).Match(limits); locked != unlimited {
			t.Errorf("the %s has its memory locked: %t, and may without a limit: %t\n%s", name, locked, unlimited, status)
		}
		// What can't be attached to belongs to root, whoever runs it.
		info, err := os.Stat(proc + "/environ")
		check(t, err)
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			t.Errorf("the %s can be attached to by user %d", name, owner)
		}
	}
	web.stop(t)
	keys.stop(t)
}

// TestMemoryIsSaid: where memory can get onto a disk, the server says so when it starts.
func TestMemoryIsSaid(t *testing.T) {
	t.Parallel()
	e, _, _ := operating(t, t.TempDir(), "")
	var log strings.Builder
	e.logger, e.onDisk = slog.New(slog.NewTextHandler(&log, nil)), fmt.Errorf("a limit on locked memory")
	e.config.Ledger.File = t.TempDir() // a directory: the server ends here
	if err := (serveCommand{}).Run(e); err == nil {
		t.Error("it serves from a directory as a ledger")
	}
	if !strings.Contains(log.String(), "a limit on locked memory") || !strings.Contains(log.String(), "docs/custody.md") {
		t.Errorf("said: %s", log.String())
	}
}
