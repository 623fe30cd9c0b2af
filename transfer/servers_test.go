package transfer_test

import (
	"sync"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/transfer"
)

// Two servers on one database and one ledger share the work: whoever is asked, one of them carries each act, no act is
// carried twice, and a watcher at either sees the end.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	m := &meter{}
	var shared transfer.Config
	f := &faulty{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Metrics = m; shared = *c })
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })

	trades := r.each(retailer, 1, 8)
	f.next("Confirm", 3, unheard) // outcomes that are not known are asked about, by either
	ann := r.consumer("ann")
	servers := []*transfer.Service{r.Service, other}
	var wg sync.WaitGroup
	for i, trade := range trades {
		for n, s := range servers { // the same person taps, and the load balancer sends him to both
			wg.Go(func() {
				act, err := s.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(i+1))
				if err != nil {
					t.Errorf("card %d at server %d: %v", i+1, n, err)
					return
				}
				moves, err := servers[1-n].Watch(r.ctx, ann, act.ID)
				if err != nil {
					t.Error(err)
					return
				}
				var last transfer.Act
				for last = range moves {
				}
				if last.State != "committed" {
					t.Errorf("card %d, watched at server %d: %s", i+1, 1-n, last.State)
				}
			})
		}
	}
	wg.Wait()
	r.onLedger("Confirm", len(trades))
	r.noneUnfinished()
	if n := m.count("alarm listener"); n > 0 {
		t.Errorf("the listeners got in each other's way %d times", n)
	}
	if n := m.count("ended Confirm committed"); n != len(trades) {
		t.Errorf("%d confirmations were settled, not %d", n, len(trades))
	}
	r.fsck()
}

// A server that stops in the middle leaves its acts to the other one.
func TestOneServerStops(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	f := &faulty{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) { shared = *c })
	trade := r.offer(retailer, 1, 1)
	ann := r.consumer("ann")
	left := make(chan struct{})
	var once sync.Once
	f.next("Confirm", 1_000_000, func(x try) (c ledger.Commit, err error) {
		defer once.Do(func() { close(left) })
		return lost(x)
	})
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	<-left
	r.stop()
	r.Wait()
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	r.clock.forward(3 * time.Second) // its leases run out

	other := transfer.New(shared)
	ctx := t.Context()
	check(t, other.Start(ctx))
	end, err := other.Await(ctx, act.ID)
	check(t, err)
	if end.State != "committed" {
		t.Fatalf("%+v", end)
	}
	rep, err := other.Check(ctx, nil)
	check(t, err)
	if !rep.Clean() {
		t.Errorf("%+v", rep.Findings)
	}
	t.Cleanup(other.Wait)
}
