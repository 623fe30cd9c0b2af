//go:build crash

package main

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// The variables by which the crash suite says when a server built with its tag dies.
const (
	crashAtVariable     = "CRASH_AT"     // name of the point
	crashHitVariable    = "CRASH_HIT"    // which of the times that it comes there; the first by default
	crashStallVariable  = "CRASH_STALL"  // name of a point where it stands still, each time; that of its death by default
	crashLingerVariable = "CRASH_LINGER" // for how long; not at all by default
)

// at ends this process as a power cut would, at the point that the environment names.
var at = deathAt(os.Getenv)

// crashed begins the line that tells on standard error where the process died.
const crashed = "crashed at "

func deathAt(variable func(string) string) func(point string) {
	wanted, stall := variable(crashAtVariable), variable(crashStallVariable)
	if wanted == "" {
		return nil
	}
	if stall == "" {
		stall = wanted
	}
	last, err := strconv.ParseInt(variable(crashHitVariable), 10, 64)
	if err != nil {
		last = 1
	}
	linger, err := time.ParseDuration(variable(crashLingerVariable))
	if err != nil {
		linger = 0
	}
	var times atomic.Int64
	return func(point string) {
		dies := point == wanted && times.Add(1) == last
		if point == stall && (dies || stall != wanted) {
			time.Sleep(linger)
		}
		if !dies {
			return
		}
		fmt.Fprintln(os.Stderr, crashed+point)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing happens here any more
	}
}
