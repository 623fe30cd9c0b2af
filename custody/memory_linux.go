package custody

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// KeepOffDisk keeps this process's memory, in which opened keys are, out of core dumps, debuggers of the same user and
// swap, to its end. A program that opens custody calls it before anything else. What the system doesn't allow is in the
// error; everything else has been done all the same.
func KeepOffDisk() error {
	var faults []error
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		faults = append(faults, fmt.Errorf("core dumps: %w", err))
	}
	// The limit does not bind where dumps go to a program. This does, and nobody but root attaches any more.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		faults = append(faults, fmt.Errorf("core dumps: %w", err))
	}
	if err := lockMemory(); err != nil && swaps() {
		faults = append(faults, fmt.Errorf("memory may be swapped out: %w", err))
	}
	return errors.Join(faults...)
}

// errMemlock: what to do about it is in docs/custody.md.
var errMemlock = errors.New("there is a limit on locked memory (ulimit -l unlimited, or LimitMEMLOCK=infinity, lifts it)")

// lockMemory locks pages as they come into use. Under a limit it doesn't try: what lies beyond the limit could then not
// be mapped at all, and the process would die the first time that it needs more.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur != unix.RLIM_INFINITY {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}); err != nil {
			return errMemlock
		}
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
}

// swaps answers whether this machine swaps; if it can't be told, it may.
func swaps() bool {
	table, err := os.ReadFile("/proc/swaps")
	return err != nil || bytes.Count(bytes.TrimSpace(table), []byte("\n")) > 0 // the first line is a heading
}
