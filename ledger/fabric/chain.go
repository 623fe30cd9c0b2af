package fabric

import (
	"context"
	"slices"
	"sync"
)

// chain is what is known of the channel: how far each peer has come, and what callers have been told.
//
// A peer's height is known while it is followed. A peer announces a block after it has committed it, state and history
// included, so whoever asks it from then on finds the block's effects.
type chain struct {
	mu      sync.Mutex
	heights map[*peer]uint64 // number of blocks, of the peers that are followed just now
	last    map[*peer]uint64 // the same of all that were followed once
	next    uint64           // block whose transactions no one has heard of yet; 0 before the first
	told    uint64           // height that a caller may count on
	waiting map[string][]chan verdict
	changed chan struct{} // closed, and replaced, when heights change
}

// verdict is where a transaction came to stand.
type verdict struct {
	block uint64
	code  int32 // validation code
}

func newChain() *chain {
	return &chain{
		heights: map[*peer]uint64{}, last: map[*peer]uint64{}, waiting: map[string][]chan verdict{}, changed: make(chan struct{}),
	}
}

// entry is a transaction in a block, as far as its waiters care.
type entry struct {
	id   string
	code int32
}

// committed notes that a peer has committed a block. Whichever peer is first tells those who wait for its transactions.
func (c *chain) committed(p *peer, number uint64, entries []entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heights[p], c.last[p] = number+1, number+1
	if number >= c.next {
		c.next = number + 1
		for _, e := range entries {
			for _, w := range c.waiting[e.id] {
				w <- verdict{number, e.code} // it has room for one
			}
			delete(c.waiting, e.id) // the first entry of an ID is its verdict
		}
	}
	c.announce()
}

// lost notes that a peer is not followed any more, or couldn't be.
func (c *chain) lost(p *peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.heights, p)
	c.announce()
}

func (c *chain) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// from is the block from which a peer is to be followed: the last one it is known to have, so that it shows at once that it
// is there; ok is false if nothing is known of the channel yet.
//
// The SDK's event client, when it loses its peer before the first block came, asks the next one for the newest block, and
// never hears of what was committed in between. Here a peer continues where any peer was.
func (c *chain) from(p *peer) (number uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	height := c.last[p]
	if height == 0 {
		height = c.next
	}
	if height == 0 {
		return 0, false
	}
	return height - 1, true
}

// await registers for the verdict on a transaction, before it is sent. done must be called.
func (c *chain) await(id string) (verdicts <-chan verdict, done func()) {
	w := make(chan verdict, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[id] = append(c.waiting[id], w)
	return w, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		rest := slices.DeleteFunc(c.waiting[id], func(other chan verdict) bool { return other == w })
		if c.waiting[id] = rest; len(rest) == 0 {
			delete(c.waiting, id)
		}
	}
}

// tell notes that a caller is about to learn of blocks up to a height. From then on nobody is served from before it.
func (c *chain) tell(height uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = max(c.told, height)
}

// state is a chain at one moment.
type state struct {
	heights map[*peer]uint64
	told    uint64
}

// now is the chain's state, and a channel that is closed when it changes.
func (c *chain) now() (state, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := state{heights: make(map[*peer]uint64, len(c.heights)), told: c.told}
	for p, h := range c.heights {
		s.heights[p] = h
	}
	return s, c.changed
}

// until waits until something is true of the chain, or ctx ends.
func (c *chain) until(ctx context.Context, holds func(state) bool) bool {
	for {
		s, changed := c.now()
		if holds(s) {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// height is the greatest height of any peer that is followed.
func (s state) height() (h uint64) {
	for _, each := range s.heights {
		h = max(h, each)
	}
	return h
}
