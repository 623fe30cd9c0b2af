package model

import "sync"

// Gather serves those together who come while others are being served: the first one leads, and serves whoever has queued
// up until it is his turn. Nobody waits for company: who comes alone is served alone, at once.
type Gather[T any] struct {
	serve func([]T)
	most  int

	mu    sync.Mutex
	queue []*guest[T]
	lead  chan struct{} // holds one token: whoever has it serves the queue
}

type guest[T any] struct {
	item T
	done chan struct{}
}

// NewGather serves up to so many at once. What comes of it each item must be able to tell by itself, also if serve panics:
// that is the leader's alone, and the others find their items as he left them.
func NewGather[T any](most int, serve func([]T)) *Gather[T] {
	g := &Gather[T]{serve: serve, most: most, lead: make(chan struct{}, 1)}
	g.lead <- struct{}{}
	return g
}

// Do returns when the item has been served.
func (g *Gather[T]) Do(item T) {
	me := &guest[T]{item, make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, me)
	g.mu.Unlock()
	select {
	case <-me.done:
	case <-g.lead:
		defer func() { g.lead <- struct{}{} }()
		for !me.served() { // he may have been served between the two: then there is nothing to lead
			g.next()
		}
	}
}

func (me *guest[T]) served() bool {
	select {
	case <-me.done:
		return true
	default:
		return false
	}
}

// next serves some of the queue.
func (g *Gather[T]) next() {
	g.mu.Lock()
	n := min(len(g.queue), g.most)
	some := g.queue[:n:n]
	g.queue = g.queue[n:]
	g.mu.Unlock()
	items := make([]T, n)
	for i, one := range some {
		items[i] = one.item
	}
	defer func() {
		for _, one := range some {
			close(one.done)
		}
	}()
	g.serve(items)
}

// Led reports whether somebody leads: while nobody waits, he has taken all who had come.
func (g *Gather[T]) Led() bool { return len(g.lead) == 0 }

// Waiting is how many wait to be served.
func (g *Gather[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}
