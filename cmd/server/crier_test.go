package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"cardflow/handler/redistest"
)

// ears collect what a crier hears.
type ears struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (e *ears) hear(names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range names {
		e.seen[n] = true
	}
}

func (e *ears) heard(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[name]
}

// joined is a crier that hears until the test ends.
func joined(t *testing.T, s *redistest.Server, prefix string) (*crier, *ears) {
	t.Helper()
	c, e := newCrier(s.Client(), prefix, slog.New(slog.DiscardHandler)), &ears{seen: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Hear(ctx, e.hear)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return c, e
}

// TestCriers: what one cries the others hear, and he does not; while Redis is away nobody does and nobody waits, and
// afterwards it goes on.
func TestCriers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	one, oneHears := joined(t, s, "cardflow:")
	two, twoHears := joined(t, s, "cardflow:")
	_, strangerHears := joined(t, s, "another:")
	tries := 0
	reaches := func(from *crier, to *ears) {
		t.Helper()
		until(t, "a word to be heard", func() bool { // until both have subscribed, words are lost
			tries++
			word := fmt.Sprint("act-", tries)
			from.Cry(word, "x")
			for n := range tries {
				if to.heard(fmt.Sprint("act-", n+1)) {
					return true
				}
			}
			return false
		})
	}
	reaches(one, twoHears)
	tries = 10_000
	reaches(two, oneHears)

	s.SetDown(true)
	for n := range 3 * cryQueue { // more than are kept: it must not wait
		one.Cry(fmt.Sprint("flood-", n))
	}
	s.SetDown(false)
	tries = 20_000
	reaches(one, twoHears)
	tries = 40_000
	reaches(two, oneHears)
	if len(strangerHears.seen) > 0 {
		t.Error("a server with another prefix hears them")
	}
	if oneHears.heard("flood-0") {
		t.Error("he hears himself")
	}
}
