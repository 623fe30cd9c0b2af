package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"runtime"
	"sync"
	"testing"

	"cardflow/custody"
	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/backup"
)

// stage is how far a restore has come, as the database says.
func (r *rig) stage() (stage model.RestoreStage) {
	r.t.Helper()
	check(r.t, r.db.Read(context.Background(), func(tx *model.Tx) error {
		s, err := tx.Restoration()
		stage = s.Stage
		return err
	}))
	return stage
}

// away is a ledger that can't be reached until it is let.
type away struct {
	ledger.Ledger
	mu   sync.Mutex
	gone bool
}

func (a *away) isGone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone
}

func (a *away) Height(ctx context.Context) (uint64, error) {
	if a.isGone() {
		return 0, errWire
	}
	return a.Ledger.Height(ctx)
}

func (a *away) Blocks(ctx context.Context, from uint64) iter.Seq2[ledger.Block, error] {
	if a.isGone() {
		return func(yield func(ledger.Block, error) bool) { yield(ledger.Block{}, errWire) }
	}
	return a.Ledger.Blocks(ctx, from)
}

func (a *away) comes() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = false
}

// consents counts what custody has signed for an owner under a function.
func (r *rig) consents(owner, function string) (n int) {
	r.t.Helper()
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		n = 0
		lines, err := tx.SignaturesAfter(0, 1000)
		for _, l := range lines {
			if l.Owner == owner && l.Purpose == function && len(l.Signature) > 0 {
				n++
			}
		}
		return err
	}))
	return n
}

// A bundle is from before a confirmation was signed, and the ledger has it. Where the bundle is restored nothing is signed,
// and no key made, while the ledger is away; people are heard all the same. When it is back the confirmation stands as it
// was, signed once, and what was handed in meanwhile goes on.
func TestRestoredWhileTheLedgerIsAway(t *testing.T) {
	t.Parallel()
	r := rigOn(t)
	var once sync.Once
	reached, goOn := make(chan struct{}), make(chan struct{})
	arm := make(chan struct{})
	r.at = func(point string) {
		select {
		case <-arm:
		default:
			return
		}
		if point == "transfer: "+transfer.AtLeased {
			once.Do(func() { close(reached); <-goOn })
		}
	}
	stocked.copyTo(r)
	r.start(t)
	ann := r.consumer("ann")
	trades := r.each(retailer, 1, 2)
	r.noneUnfinished()
	close(arm)
	before, again := r.consents(ann.Participant, "Confirm"), idem("first")
	first, err := r.Confirm(r.ctx, ann, again, trades[0].TradeID, trades[0].Code, last6(1))
	check(t, err)
	<-reached
	bundle, key := r.taken()
	if n := r.consents(ann.Participant, "Confirm"); n != before {
		t.Fatalf("it is signed already: %d", n)
	}
	close(goOn)
	first = r.await(first, "")
	r.noneUnfinished()
	r.stop()
	r.Wait()

	n, place := r.empty(t)
	check(t, restore(bytes.NewReader(bundle), key, place))
	var newest bytes.Buffer
	check(t, r.file.CopyTo(&newest))
	check(t, os.WriteFile(place.Ledger, newest.Bytes(), 0o600)) // which is not lost with the database
	check(t, n.db.Close())
	gone := &away{gone: true}
	n.wrap = func(l ledger.Ledger) ledger.Ledger { gone.Ledger = l; return gone }
	n.start(t)
	here := n.consumer("ann")
	if here.Participant != ann.Participant {
		t.Fatalf("she is %s, and was %s", here.Participant, ann.Participant)
	}
	second, err := n.Confirm(n.ctx, here, idem("second"), trades[1].TradeID, trades[1].Code, last6(2))
	check(t, err)
	ask := custody.Ask{Owner: here.Participant, Slot: custody.Account, Subject: second.ID, Attempt: 1, NotAfter: n.clock.now().UnixMilli() + 60_000, Actor: "test"}
	if _, _, err := n.keys.Sign(n.ctx, ask, request.Confirm{Trade: trades[1].TradeID, Lot: trades[1].LotHash, Receiver: here.Participant}); !errors.Is(err, custody.ErrUnreconciled) {
		t.Errorf("asked to sign, it says %v", err)
	}
	if _, err := n.keys.Ensure(n.ctx, custody.Post{Owner: "eve", Role: request.Consumer, Slot: custody.Account}, "test"); !errors.Is(err, custody.ErrUnreconciled) {
		t.Errorf("asked for a key, it says %v", err)
	}
	if s := n.stage(); s != model.RestoreLoaded {
		t.Errorf("it is %v", s)
	}
	if got := n.consents(here.Participant, "Confirm"); got != before {
		t.Errorf("%d confirmations are signed", got-before)
	}

	gone.comes()
	n.until("it has been reconciled", func() bool { return n.stage() == model.RestoreReconciled })
	n.await(second, "")
	same, err := n.Confirm(n.ctx, here, again, trades[0].TradeID, trades[0].Code, last6(1))
	check(t, err)
	if same = n.await(same, ""); same.ID != first.ID || same.TxID != first.TxID {
		t.Errorf("it was act %s in %s, and is %s in %s", first.ID, first.TxID, same.ID, same.TxID)
	}
	n.noneUnfinished()
	if got := n.consents(here.Participant, "Confirm"); got != before+2 {
		t.Errorf("%d signatures of two confirmations", got-before)
	}
	n.fsck()
}

// A restore that is killed while its files get their names: no server starts on it, and the same bundle goes on from there.
func TestRestoreKilledAtItsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.issue(1, 100)
	bundle, key := r.taken()
	other, otherKey := r.taken()
	for kill, wants := range [][]string{{}, {"data.key"}, {"data.key", "journal"}, {"data.key", "journal", "ledger"}} {
		n, place := r.empty(t)
		come := 0
		place.At = func(string) {
			if come++; come == kill+1 {
				runtime.Goexit()
			}
		}
		died := make(chan bool)
		go func() {
			through := false
			defer func() { died <- !through }()
			err := restore(bytes.NewReader(bundle), key, place)
			through = true
			t.Errorf("it came through: %v", err)
		}()
		if !<-died {
			return
		}
		place.At = nil
		var named []string
		for _, name := range []string{"data.key", "journal", "ledger"} {
			if _, err := os.Stat(n.path(name)); err == nil {
				named = append(named, name)
			}
		}
		if s := n.stage(); s != model.RestoreLoading || len(named) != len(wants) {
			t.Errorf("killed at %d it is %v, with %v", kill, s, named)
		}
		if err := restore(bytes.NewReader(other), otherKey, place); !errors.Is(err, backup.ErrOccupied) {
			t.Errorf("another bundle, at the end of this one: %v", err)
		}
		check(t, restore(bytes.NewReader(bundle), key, place))
		if s := n.stage(); s != model.RestoreLoaded {
			t.Errorf("gone on from %d it is %v", kill, s)
		}
		for _, name := range []string{"data.key", "journal"} {
			if !bytes.Equal(must2(os.ReadFile(n.path(name)))(t), must2(os.ReadFile(r.path(name)))(t)) {
				t.Errorf("gone on from %d, %s is another one", kill, name)
			}
		}
		if kill < 3 {
			continue
		}
		check(t, n.db.Close())
		n.start(t)
		n.fsck()
	}
}
