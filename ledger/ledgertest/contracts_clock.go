package ledgertest

import (
	"sync"
	"time"

	"cardflow/ledger"
)

// Clock is a clock that a test moves. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at a fixed moment until it is moved.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)}
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Timed is a ledger whose proposals are stamped by a clock that a test can move. The suites look for it: on a ledger
// without it they leave out what needs days to pass.
type Timed interface {
	ledger.Ledger
	Now() time.Time
	Advance(time.Duration)
}

type timed struct {
	ledger.Ledger
	*Clock
}

// WithClock joins a ledger to the clock it was opened with.
func WithClock(l ledger.Ledger, c *Clock) Timed { return timed{l, c} }
