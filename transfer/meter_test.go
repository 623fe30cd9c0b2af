package transfer_test

import (
	"sync"
	"time"
)

// meter counts what operators would see.
type meter struct {
	mu   sync.Mutex
	seen map[string]int
}

func (m *meter) note(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[string]int{}
	}
	m.seen[what]++
}

func (m *meter) count(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[what]
}

func (m *meter) ActEnded(function, outcome string, _ time.Duration) {
	m.note("ended " + function + " " + outcome)
}

func (m *meter) LedgerFailure(class string) { m.note("failure " + class) }

func (m *meter) Alarm(name string) { m.note("alarm " + name) }

func (m *meter) RealName(event string) { m.note("real name " + event) }

func (m *meter) Message(kind, end string) { m.note("message " + kind + " " + end) }
