//go:build crash

package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// during lets everybody work at some servers while something happens to these.
func (w *world) during(servers []*process, happens func()) {
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	w.market.at(servers...)
	all.Go(func() { w.market.run(ctx, 0, nil) })
	defer all.Wait()
	defer stop()
	happens()
}

// hears waits until so many more writes have been told to be committed, and answers how long that took.
func (w *world) hears(n int) time.Duration {
	w.Helper()
	begun := time.Now()
	before := w.market.count().writes
	w.until("writes to be committed", func() bool {
		return w.market.count().writes >= before+n
	})
	return time.Since(begun)
}

// serves waits until a write is committed that was accepted after a moment, and answers how long after it that is.
func (w *world) serves(since time.Time) (took time.Duration) {
	w.Helper()
	w.until("a new write to be committed", func() bool {
		w.market.mu.Lock()
		defer w.market.mu.Unlock()
		for _, f := range w.market.fates {
			if f.accepted.After(since) && f.txID != "" && (took == 0 || f.told.Sub(since) < took) {
				took = f.told.Sub(since)
			}
		}
		return took > 0
	})
	return took
}

// until waits, and tells more than a test's if it waits in vain.
func (w *world) until(what string, yes func() bool) {
	w.Helper()
	late := time.After(2 * patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-late:
			w.mu.Lock()
			defer w.mu.Unlock()
			last := w.servers[len(w.servers)-1].errs.String()
			w.Fatalf("waited %s for %s\n%s", 2*patience, what, last[max(0, len(last)-8000):])
		}
	}
}

// flying are the writes that were accepted, and of whose end nobody has been told.
func (m *market) flying() (list []*fate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.fates {
		if f.told.IsZero() {
			list = append(list, f)
		}
	}
	return list
}

// landed waits until the end of each was told, and answers how long after a moment that was for the last one.
func (w *world) landed(list []*fate, since time.Time) (last time.Duration) {
	w.Helper()
	w.until("writes on their way to end", func() bool {
		w.market.mu.Lock()
		defer w.market.mu.Unlock()
		for _, f := range list {
			if f.told.IsZero() {
				return false
			}
			last = max(last, f.told.Sub(since))
		}
		return true
	})
	return last
}

// nameOf is the name by which a server leases work.
func (w *world) nameOf(n int) string {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.data(n), "server.id"))
	check(w, err)
	return string(b)
}

// leased counts the unfinished writes that a server has taken and nobody has taken over.
func (w *world) leased(name string) (n int) {
	w.Helper()
	check(w, w.db.QueryRow("SELECT COUNT(*) FROM acts WHERE lease_owner LIKE ? AND state IN ('accepted', 'signed', 'prepared', 'submitted')", name+"/%").Scan(&n))
	return n
}

// twoServers share the work; one is killed, and the other takes over what it had.
func (w *world) twoServers() {
	servers := []*process{w.start(1, nil), w.start(2, nil)}
	w.during(servers, func() {
		for round := range form(2, 8) {
			w.hears(form(20, 60))
			victim := round % 2
			name := w.nameOf(victim + 1)
			w.until("it to have work", func() bool { return w.leased(name) > 2 })
			killed, flying := time.Now(), w.market.flying()
			w.kill(servers[victim])
			if w.leased(name) > 0 {
				w.until("its work to be taken over", func() bool { return w.leased(name) == 0 })
				w.measure("a killed server's work is taken over", time.Since(killed))
			}
			w.measure("what it had on its way has ended", w.landed(flying, killed))
			w.hears(10)
			servers[victim] = w.start(victim+1, nil)
			w.market.at(servers...)
		}
		w.hears(10)
	})
	w.stop(servers...)
}

// kill kills a server.
func (w *world) kill(p *process) {
	w.Helper()
	p.kill()
	w.died(p)
}

func (w *world) stop(servers ...*process) {
	w.Helper()
	for _, p := range servers {
		p.stop(w.T)
	}
}

// standsStill: a server stands still for longer than its leases last, in the middle of everything, and goes on as if nothing
// had been: what it had is another's by then.
func (w *world) standsStill() {
	servers := []*process{w.start(1, nil), w.start(2, nil)}
	w.during(servers, func() {
		for round := range form(1, 6) {
			w.hears(20)
			victim := servers[round%2]
			check(w, victim.cmd.Process.Signal(syscall.SIGSTOP))
			w.market.at(servers[1-round%2]) // as a load balancer would have it, whom nobody answers
			w.hears(10)
			w.pause(4 * time.Second)
			check(w, victim.cmd.Process.Signal(syscall.SIGCONT))
			w.market.at(servers...)
			w.hears(20)
		}
	})
	w.stop(servers...)
}

// serverAdded: a server that is added while another one has more to do than it can takes part of it.
func (w *world) serverAdded() {
	one := w.start(1, nil, "CARDFLOW_RELAY_WORKERS=2")
	name := w.nameOf(2)
	w.during([]*process{one}, func() {
		w.hears(20)
		for range form(1, 5) {
			w.until("nothing to be left of its last life", func() bool { return w.leased(name) == 0 })
			begun := time.Now()
			two := w.begin(2, nil)
			w.until("the new server to take work", func() bool { return w.leased(name) > 0 })
			w.measure("a server that is added takes work", time.Since(begun))
			if !two.listening() {
				w.Fatalf("the second server does not start:\n%s", two.errs)
			}
			w.hears(10)
			w.kill(two)
		}
	})
	w.stop(one)
}
