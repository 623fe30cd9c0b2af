package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"cardflow/cmd/stack/local"
)

// progress writes one line for each step that is done: who, when since the start, what.
type progress struct {
	mu    sync.Mutex
	to    io.Writer
	begun time.Time
}

func newProgress(to io.Writer) *progress { return &progress{to: to, begun: time.Now()} }

// of is the progress of one kind of server.
func (p *progress) of(who string) local.Say {
	return func(format string, args ...any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintf(p.to, "  %-7s %6.1f s  %s\n", who, time.Since(p.begun).Seconds(), fmt.Sprintf(format, args...))
	}
}
