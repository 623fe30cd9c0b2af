package transfer

import "sync"

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
