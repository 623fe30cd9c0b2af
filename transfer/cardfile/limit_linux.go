package cardfile

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// childMemory is what the child may map beyond what the runtime has mapped at its start.
	childMemory = 768 << 20
	// childGoal is where the collector begins to work hard, well below.
	childGoal = 512 << 20
	// childSeconds is its processor time. A full sheet takes about one.
	childSeconds = 30
)

// limitSelf sets limits that hold to the end of the process. The limit on memory is one on address space, of which a Go
// program (a race-tested one still more) maps much at its start without using it: so it counts from there.
func limitSelf() error {
	debug.SetMemoryLimit(childGoal)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("own size: %w", err)
	}
	first, _, _ := bytes.Cut(statm, []byte(" "))
	pages, err := strconv.ParseUint(string(first), 10, 64)
	if err != nil {
		return fmt.Errorf("own size: %w", err)
	}
	space := pages*uint64(os.Getpagesize()) + childMemory
	for _, l := range []struct {
		resource  int
		soft, max uint64
	}{
		{unix.RLIMIT_AS, space, space},
		// The runtime swallows the soft limit's signal; the kernel kills at the hard one.
		{unix.RLIMIT_CPU, childSeconds, childSeconds + 1},
		{unix.RLIMIT_CORE, 0, 0},  // a core dump would hold the carrier's cards
		{unix.RLIMIT_FSIZE, 0, 0}, // and it has nothing to write but to the pipe
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return fmt.Errorf("limit %d: %w", l.resource, err)
		}
		next := unix.Rlimit{Cur: min(l.soft, now.Max), Max: min(l.max, now.Max)} // only root may raise one
		if err := unix.Setrlimit(l.resource, &next); err != nil {
			return fmt.Errorf("limit %d: %w", l.resource, err)
		}
	}
	return nil
}
