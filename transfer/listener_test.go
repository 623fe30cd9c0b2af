package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/model"
	"cardflow/transfer"
)

// deafLedger gives no blocks while it is deaf.
type deafLedger struct {
	ledger.Ledger
	deaf atomic.Bool
}

func (l *deafLedger) Blocks(ctx context.Context, from uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		for b, err := range l.Ledger.Blocks(ctx, from) {
			if l.deaf.Load() {
				yield(ledger.Block{}, errors.New("the network is cut"))
				return
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// While the listener can't follow the ledger readiness says so, and nobody waits for it in vain; then it goes on.
func TestListenerInTrouble(t *testing.T) {
	deaf := &deafLedger{}
	r := newRigWith(t, func(l ledger.Ledger) ledger.Ledger { deaf.Ledger = l; return deaf })
	if err := r.Ready(r.ctx)["listener"]; err != nil {
		t.Fatalf("ready: %v", err)
	}
	deaf.deaf.Store(true)
	r.consumer("ann") // whose registration is in the block that can't be heard
	r.until("the listener is in trouble", func() bool { return r.Following() != nil })
	if err := r.CatchUp(r.ctx); err == nil || !strings.Contains(err.Error(), "the network is cut") {
		t.Errorf("caught up: %v", err)
	}
	if err := r.Ready(r.ctx)["listener"]; err == nil {
		t.Error("ready while deaf")
	}
	blocks, known, err := r.Followed(r.ctx)
	if err != nil || known >= blocks {
		t.Errorf("of %d blocks %d are known, %v", blocks, known, err)
	}
	if b, err := r.Backlog(r.ctx); err != nil || b.Acts != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	deaf.deaf.Store(false)
	r.until("the listener goes on", func() bool { return r.Following() == nil })
	check(t, r.CatchUp(r.ctx))
	r.registered("ann")
	if blocks, known, err := r.Followed(r.ctx); err != nil || known < blocks || blocks == 0 {
		t.Errorf("of %d blocks %d are known, %v", blocks, known, err)
	}
	if b, err := r.Backlog(r.ctx); err != nil || b != (transfer.Backlog{}) {
		t.Errorf("%+v, %v", b, err)
	}
	r.fsck()
}

// A server that can't follow the ledger gives that up after the time of a lease, and one that can goes on. Neither is in
// trouble then.
func TestDeafListenerHandsOver(t *testing.T) {
	t.Parallel()
	deaf := &deafLedger{}
	var shared transfer.Config
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { deaf.Ledger = l; return deaf }, func(c *transfer.Config) {
		c.Server, c.Relay.Lease = "deaf", time.Second
		shared = *c
	})
	trade := r.offer(retailer, 1, 1)
	shared.Server, shared.Ledger = "hears", r.file
	other := transfer.New(shared)
	ctx, stop := context.WithCancel(context.Background())
	check(t, other.Start(ctx))
	t.Cleanup(func() { stop(); other.Wait() })
	r.until("the deaf one has the duty", func() bool { return r.duties()["listen"] == "deaf" })
	deaf.deaf.Store(true)
	r.confirm(r.consumer("ann"), trade, 1)
	r.until("the other one has the duty", func() bool { return r.duties()["listen"] == "hears" })
	r.until("neither is in trouble", func() bool { return r.Following() == nil && other.Following() == nil })
	check(t, other.CatchUp(ctx))
	rep, err := other.Check(ctx, nil)
	check(t, err)
	if !rep.Clean() {
		t.Errorf("%+v", rep.Findings)
	}
}

// A database that falls back under a server which follows the ledger (a replica took over that had not seen the last
// commits) is followed up from where it is now: no block is passed over.
func TestDatabaseFallsBack(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	var then model.Checkpoint
	check(t, r.db.Read(r.ctx, func(tx *model.Tx) (err error) { then, err = tx.Checkpoint("ledger"); return err }))
	open := r.offer(retailer, 1, 1)
	r.caughtUp()
	r.tamper([]string{
		"DELETE FROM trades WHERE id = '" + open.TradeID + "'",
		fmt.Sprintf("UPDATE checkpoints SET value = %d, hash = '%s' WHERE name = 'ledger'", then.Value, then.Hash),
	})
	r.offer(retailer, 2, 2)
	r.caughtUp()
	r.fsck()
	if v := r.trade(retailer, open.TradeID); v.State != "offered" {
		t.Errorf("the trade is %s", v.State)
	}
}
