package transfer_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/model"
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

// criers are servers that hear each other.
type criers struct {
	mu   sync.Mutex
	all  []*crier
	said map[string]bool
}

type crier struct {
	among *criers
	heard func(names []string)
}

func (c *criers) join() *crier {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := &crier{among: c}
	c.all = append(c.all, one)
	return one
}

func (c *crier) Cry(names ...string) {
	c.among.mu.Lock()
	defer c.among.mu.Unlock()
	for _, n := range names {
		c.among.said[n] = true
	}
	for _, other := range c.among.all {
		if other != c && other.heard != nil {
			other.heard(names)
		}
	}
}

func (c *crier) Hear(ctx context.Context, heard func(names []string)) {
	c.among.mu.Lock()
	c.heard = heard
	c.among.mu.Unlock()
	<-ctx.Done()
}

// What moves on one server wakes whoever watches on another.
func TestServersTellEachOther(t *testing.T) {
	t.Parallel()
	all := &criers{said: map[string]bool{}}
	var shared transfer.Config
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		c.Crier, c.Server = all.join(), "one"
		shared = *c
	})
	shared.Crier, shared.Server = all.join(), "two"
	shared.Relay.Poll = time.Hour // it does nothing unless it is told to
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })
	r.until("the other hears", func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		return all.all[1].heard != nil
	})

	trade := r.offer(retailer, 1, 1)
	act, err := r.Confirm(r.ctx, r.consumer("ann"), idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	told, stop := other.Listening(act.ID)
	defer stop()
	r.await(act, "")
	all.mu.Lock()
	said := all.said[act.ID]
	all.mu.Unlock()
	if !said {
		t.Error("nobody told of the confirmation")
	}
	all.all[0].Cry(act.ID) // its moves may have been told of before this test listened
	select {
	case <-told:
	default:
		t.Error("who watches on the other server was not woken")
	}
}

// A server whose workers are all busy asks the others.
func TestBusyServerAsksTheOthers(t *testing.T) {
	t.Parallel()
	all := &criers{said: map[string]bool{}}
	f := &faulty{}
	var shared transfer.Config
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) {
		c.Crier, c.Server, c.Relay.Workers = all.join(), "one", 1
		c.Relay.Lease = time.Minute // so that only who is asked takes what the first one was given
		shared = *c
	})
	first, second := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	shared.Crier, shared.Server, shared.Relay.Workers, shared.Relay.Poll = all.join(), "two", 4, time.Hour
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })
	r.until("the other hears", func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		return all.all[1].heard != nil
	})

	begun, goOn := make(chan struct{}), make(chan struct{})
	f.next("Confirm", 1, func(x try) (ledger.Commit, error) {
		close(begun)
		<-goOn
		return x.through()
	})
	slow, err := r.Confirm(r.ctx, ann, idem("confirm"), first.TradeID, first.Code, last6(1))
	check(t, err)
	<-begun
	quick, err := r.Confirm(r.ctx, bob, idem("confirm"), second.TradeID, second.Code, last6(2))
	check(t, err)
	r.await(quick, "")
	close(goOn)
	r.await(slow, "")
	r.fsck()
}

// townCrier calls heard with what it is told.
type townCrier struct{ heard func(names []string) }

func (c townCrier) Cry(names ...string)                        { c.heard(names) }
func (c townCrier) Hear(ctx context.Context, _ func([]string)) { <-ctx.Done() }

// An act that waits for another one is called when that one has ended, and when whoever is called can see that it has.
func TestWaitersAreCalledAfterTheCommit(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	var r *rig
	var second atomic.Pointer[string]
	called := make(chan string, 100)
	town := townCrier{func(names []string) {
		id := second.Load()
		if id == nil || !slices.Contains(names, "relay") {
			return
		}
		check(t, r.db.Read(context.Background(), func(tx *model.Tx) error {
			a, err := tx.Act(*id)
			called <- a.WaitsFor
			return err
		}))
	}}
	r = newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Crier = town })
	goOn := make(chan struct{})
	f.next("Offer", 1, func(x try) (ledger.Commit, error) { <-goOn; return x.through() })
	offer := func(key transfer.Idem, n int) func() {
		return func() {
			if _, err := r.Offer(r.ctx, retailer, key, transfer.OfferInput{Mode: "BEARER", Segments: span(n, n)}); err != nil {
				t.Error(err)
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(offer(idem("offer"), 1))
	r.until("the first one is on its way", func() bool { return f.tries("Offer") > 0 })
	wg.Go(offer(idem("offer"), 2))
	r.until("the second one waits", func() bool {
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			page, err := tx.ListActs(model.ActFilter{Function: "Offer", Actor: retailer.Participant}, "", 1)
			if err == nil && page.Items[0].WaitsFor != "" {
				second.Store(&page.Items[0].ID)
			}
			return err
		}))
		return second.Load() != nil
	})
	close(goOn)
	select {
	case waits := <-called:
		if waits != "" {
			t.Errorf("called, and it still waits for %s", waits)
		}
	case <-time.After(time.Minute):
		t.Error("nobody was called")
	}
	wg.Wait()
	r.fsck()
}

// An import stays with the server that was given its file, also while that one is away for a while: another server that
// can't see the file leaves it alone, and tells who asks there for the list of errors where it is.
func TestImportStaysWhereItsFileIs(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	r := newStockedWith(t, nil, func(c *transfer.Config) { shared = *c })
	id, err := r.StartImport(r.ctx, carrier, idem("import"), transfer.ImportInput{FileName: "cards.csv", Body: strings.NewReader("ICCID\n" + id(300_000) + "\nnonsense\n")})
	check(t, err)
	ended, err := r.AwaitImport(r.ctx, carrier, id)
	check(t, err)
	if ended.State != "failed" || ended.Rejected != 1 {
		t.Fatalf("%+v", ended)
	}
	shared.Server, shared.Imports.Dir = "", t.TempDir()
	other := transfer.New(shared)
	ctx, stop := context.WithCancel(context.Background())
	check(t, other.Start(ctx))
	t.Cleanup(func() { stop(); other.Wait() })
	wants(t, "errors that are elsewhere", other.ImportFaults(ctx, carrier, id, io.Discard), "IMPORT_FAULTS_ELSEWHERE")
	check(t, r.ImportFaults(ctx, carrier, id, io.Discard))

	// The first server goes away with an import that it has accepted.
	r.stop()
	r.Wait()
	waiting := make([]string, 3)
	for n := range waiting {
		if waiting[n], err = r.StartImport(ctx, carrier, idem("import"), transfer.ImportInput{
			FileName: "cards.csv", Body: strings.NewReader("ICCID\n" + id300(n) + "\n"), Issue: true, RetailPolicy: "OPEN",
		}); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.forward(time.Minute)
	// The other one does what it has files for, and passes by what it has none for.
	own, err := other.StartImport(ctx, r.console(carrier), idem("import"), transfer.ImportInput{FileName: "cards.csv", Body: strings.NewReader("ICCID\n" + id300(9) + "\n"), Issue: true, RetailPolicy: "OPEN"})
	check(t, err)
	if v, err := other.AwaitImport(ctx, carrier, own); err != nil || v.State != "done" {
		t.Fatalf("%+v, %v", v, err)
	}
	for _, w := range waiting {
		if v, err := other.Import(ctx, carrier, w); err != nil || v.State != "queued" {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	stop()
	other.Wait()
	r.ctx, r.stop = context.WithCancel(context.Background())
	check(t, r.Start(r.ctx))
	for _, w := range waiting {
		if v, err := r.AwaitImport(r.ctx, carrier, w); err != nil || v.State != "done" {
			t.Errorf("%+v, %v", v, err)
		}
	}
	r.fsck()
}

func id300(n int) string { return id(300_100 + n) }
