package transfer_test

import (
	"context"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/model"
	"cardflow/transfer"
)

// followed is a ledger that counts who follows it.
type followed struct {
	ledger.Ledger
	now atomic.Int64
}

func (f *followed) Blocks(ctx context.Context, from uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		f.now.Add(1)
		defer f.now.Add(-1)
		f.Ledger.Blocks(ctx, from)(yield)
	}
}

// duties are the leases, but for those by which servers show that they live, by name with their owners.
func (r *rig) duties() map[string]string {
	r.t.Helper()
	owners := map[string]string{}
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		leases, err := tx.Leases("")
		for _, l := range leases {
			if !strings.HasPrefix(l.Name, "server/") && l.UntilAt > model.MillisOf(r.clock.now()) {
				owners[l.Name] = l.Owner
			}
		}
		return err
	}))
	return owners
}

// Of several servers one follows the ledger and one releases what has expired. Told to stop, it lets the next one begin at
// once; dead, when its lease is over.
func TestDutiesAreDoneOnce(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	f := &followed{}
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { f.Ledger = l; return f }, func(c *transfer.Config) {
		c.Server, c.Relay.Lease = "one", time.Hour
		shared = *c
	})
	has := func(owner string) func() bool {
		return func() bool {
			d := r.duties()
			return len(d) == 2 && d["listen"] == owner && d["sweep"] == owner
		}
	}
	r.until("the first server has the duties", has("one"))
	shared.Server = "two"
	two := transfer.New(shared)
	ctx, stop := context.WithCancel(context.Background())
	check(t, two.Start(ctx))
	t.Cleanup(func() { stop(); two.Wait() })
	trade := r.offer(retailer, 1, 1) // both work, and one of them follows
	r.confirm(r.consumer("ann"), trade, 1)
	if n := f.now.Load(); n != 1 || !has("one")() {
		t.Errorf("%d follow the ledger, %v", n, r.duties())
	}

	r.stop()
	r.Wait()
	r.ctx = ctx
	r.until("the second server has the duties", has("two"))
	expiring := r.each(retailer, 10, 10)
	stop()
	two.Wait()
	r.ctx = context.Background()
	if d := r.duties(); len(d) != 0 {
		t.Errorf("a server that was told to stop keeps %v", d)
	}

	// A server dies with its duties; the next one waits for the end of the lease, and no longer.
	ctx = r.ctx
	dead := model.MillisOf(r.clock.now().Add(time.Minute))
	check(t, r.db.Write(ctx, func(tx *model.Tx) error {
		for _, name := range []string{"listen", "sweep"} {
			if ok, err := tx.TakeLease(name, "dead", dead-60_000, dead); err != nil || !ok {
				t.Fatalf("%s: %t, %v", name, ok, err)
			}
		}
		return nil
	}))
	shared.Server = "three"
	three := transfer.New(shared)
	ctx, stop3 := context.WithCancel(ctx)
	check(t, three.Start(ctx))
	t.Cleanup(func() { stop3(); three.Wait() })
	if !has("dead")() {
		t.Errorf("the duties of a server that may live were taken: %v", r.duties())
	}
	r.clock.forward(25 * time.Hour)
	r.until("the third server has the duties", has("three"))
	r.until("what has expired is released", func() bool { return r.trade(retailer, expiring[0].TradeID).State == "released" })
}

// A server that starts again takes up at once what it had left, and not what another one has: whether its tries had
// failed when it was stopped, or one had left and no answer had come.
func TestStartedAgain(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(left chan<- string) func(try) (ledger.Commit, error){
		"lost": func(left chan<- string) func(try) (ledger.Commit, error) {
			return func(x try) (ledger.Commit, error) {
				commit, err := lost(x)
				left <- x.p.TxID
				return commit, err
			}
		},
		"no answer yet": func(left chan<- string) func(try) (ledger.Commit, error) {
			return func(x try) (ledger.Commit, error) {
				commit, err := lost(x)
				left <- x.p.TxID
				<-x.ctx.Done()
				return commit, err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &faulty{}
			r := newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Server, c.Relay.Lease = "one", time.Hour })
			trade, other := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
			ann := r.consumer("ann")
			left, tx := make(chan string, 1_000), map[string]bool{}
			f.next("Confirm", 1_000, do(left))
			act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
			check(t, err)
			theirs, err := r.Confirm(r.ctx, ann, idem("confirm"), other.TradeID, other.Code, last6(2))
			check(t, err)
			for len(tx) < 2 { // both are on their way
				select {
				case id := <-left:
					tx[id] = true
				case <-time.After(2 * time.Minute):
					t.Fatal("never: both are on their way")
				}
			}
			r.stop()
			r.Wait()
			until := model.MillisOf(r.clock.now().Add(time.Hour))
			check(t, r.db.Write(context.Background(), func(tx *model.Tx) error {
				a, err := tx.Act(theirs.ID)
				if err != nil {
					return err
				}
				a.LeaseUntil = 0
				if err := tx.SaveAct(a); err != nil {
					return err
				}
				_, err = tx.LeaseAct(theirs.ID, "two/worker", model.MillisOf(r.clock.now()), until)
				return err
			}))
			f.mu.Lock()
			f.faults = nil
			f.mu.Unlock()
			r.ctx, r.stop = context.WithCancel(context.Background())
			check(t, r.Start(r.ctx))
			r.await(act, "")
			if now, err := r.Act(r.ctx, ann, theirs.ID); err != nil || now.Ended() {
				t.Errorf("another server's act is %s, %v", now.State, err)
			}
			r.clock.forward(2 * time.Hour)
		})
	}
}

// A server whose clock was years ahead had taken acts up, or put them off, when it died. Nobody waits for its time to come, nor
// for what it sent to turn up until then.
func TestActsOfAClockThatJumped(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Server = "one" })
	trade, other := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
	ann := r.consumer("ann")
	f.next("Confirm", 1, lost)
	f.next("Confirm", 1_000_000, refusing(contract.KeyInactive))
	sent, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.until("it was sent, and is refused", func() bool { return f.tries("Confirm") > 2 })
	r.stop()
	r.Wait()
	fresh, err := r.Cancel(context.Background(), retailer, idem("cancel"), other.TradeID)
	check(t, err)
	check(t, r.db.Write(context.Background(), func(tx *model.Tx) error {
		for _, id := range []string{sent.ID, fresh.ID} {
			ahead := model.MillisOf(r.clock.now().Add(10 * 365 * 24 * time.Hour))
			a, err := tx.LeaseAct(id, "ahead/worker", ahead, ahead+30_000)
			if err != nil {
				return err
			}
			a.NextAt = a.LeaseUntil
			if a.Sent {
				a.SentAt = ahead
			}
			if err := tx.SaveAct(a); err != nil {
				return err
			}
		}
		return nil
	}))
	tries := f.tries("Confirm")
	r.ctx, r.stop = context.WithCancel(context.Background())
	check(t, r.Start(r.ctx))
	r.await(fresh, "")
	r.until("it is tried again", func() bool { return f.tries("Confirm") > tries })
	r.clock.forward(11 * time.Minute)
	r.await(sent, contract.KeyInactive)
	r.fsck()
}
