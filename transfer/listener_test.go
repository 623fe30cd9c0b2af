package transfer_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"cardflow/ledger"
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
	deaf.deaf.Store(false)
	r.until("the listener goes on", func() bool { return r.Following() == nil })
	check(t, r.CatchUp(r.ctx))
	r.registered("ann")
	r.fsck()
}
