package transfer

import (
	"context"
	"slices"
	"sync"
)

// hub tells watchers on this server that an act has moved. It carries no state: who is told looks in the database.
type hub struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]bool
}

func newHub() *hub { return &hub{waiting: map[string]map[chan struct{}]bool{}} }

// listen returns a channel that is closed when the act next moves, and a function that gives it up.
func (h *hub) listen(act string) (<-chan struct{}, func()) {
	c := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting[act] == nil {
		h.waiting[act] = map[chan struct{}]bool{}
	}
	h.waiting[act][c] = true
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting[act], c)
		if len(h.waiting[act]) == 0 {
			delete(h.waiting, act)
		}
	}
}

// tell wakes everyone who listens to these acts.
func (h *hub) tell(acts ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, act := range acts {
		for c := range h.waiting[act] {
			close(c)
		}
		delete(h.waiting, act)
	}
}

// Crier carries word of what has moved to the other servers. It makes them look sooner, and nothing depends on it: what it
// loses is seen by looking now and then.
type Crier interface {
	// Cry tells the other servers that these have moved: acts, imports, jobs, or kinds of work that waits. It is called
	// often and must not block.
	Cry(names ...string)
	// Hear calls heard with what other servers cry, until ctx ends.
	Hear(ctx context.Context, heard func(names []string))
}

// relayWaits is the word for acts that wait for a worker and need not any longer, or find none free on this server.
const relayWaits = "relay"

// tell wakes everyone who listens to these, on every server.
func (s *Service) tell(names ...string) {
	s.rouse(names)
	if s.Crier != nil && len(names) > 0 {
		s.Crier.Cry(names...)
	}
}

// rouse wakes those on this server.
func (s *Service) rouse(names []string) {
	if slices.Contains(names, relayWaits) {
		s.kick()
	}
	s.hub.tell(names...)
}

// hear wakes those on this server who listen to what others cry.
func (s *Service) hear(ctx context.Context) { s.Crier.Hear(ctx, s.rouse) }
