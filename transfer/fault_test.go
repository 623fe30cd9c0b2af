package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/model"
	"cardflow/transfer"
)

// Whatever becomes of a submission, a confirmation ends in one transfer, and the buyer is told so.
func TestConfirmThroughFaultsOfTheLedger(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	trades := r.each(retailer, 1, 12)
	ann := r.consumer("ann")
	type step struct {
		times int
		do    func(try) (ledger.Commit, error)
	}
	cases := []struct {
		name  string
		steps []step
		tries int // at least
	}{
		{"endorsers down, five times", []step{{5, notSent}}, 6},
		{"not handed over, three times", []step{{3, notSentAfterAll}}, 4},
		{"lost on the way, once", []step{{1, lost}}, 2},
		{"lost on the way, four times", []step{{4, lost}}, 5},
		{"landed, answer lost", []step{{1, unheard}}, 1},
		{"lost, then landed with the answer lost", []step{{2, lost}, {1, unheard}}, 3},
		{"landed, sent twice", []step{{1, twice}}, 1},
		{"not seen yet by a peer", []step{{3, refusing(contract.TradeUnknown)}, {2, refusing(contract.KeyUnknown)}}, 6},
		{"lost, then refused by a peer that is behind", []step{{1, lost}, {2, refusing(contract.TradeUnknown)}, {2, refusing(contract.LotFrozen)}}, 6},
		{"an error of no class", []step{{2, func(try) (ledger.Commit, error) { return ledger.Commit{}, errWire }}}, 3},
		{"recording that it leaves fails", []step{{2, unrecorded}}, 3},
		{"everything at once", []step{{2, notSent}, {1, refusing(contract.ParticipantUnknown)}, {2, lost}, {1, notSent}, {1, unheard}}, 7},
	}
	for i, c := range cases {
		before := f.tries("Confirm")
		for _, s := range c.steps {
			f.next("Confirm", s.times, s.do)
		}
		trade := trades[i]
		act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(i+1))
		check(t, err)
		t.Log(c.name)
		end := r.await(act, "")
		if n := f.tries("Confirm") - before; n < c.tries {
			t.Errorf("%s: %d tries, at least %d were due", c.name, n, c.tries)
		}
		if v := r.trade(retailer, trade.TradeID); v.State != "confirmed" || v.EndTx != end.TxID || v.ReceiverID != ann.Participant {
			t.Errorf("%s: the trade is %s by %s", c.name, v.State, v.EndTx)
		}
	}
	r.fsck()
	r.onLedger("Confirm", len(cases))
}

// onLedger demands how many valid transactions of a function there are, beyond those of the stocked world.
func (r *rig) onLedger(function string, want int) {
	r.t.Helper()
	n := 0
	height := must2(r.file.Height(r.ctx))(r.t)
	for b := range height {
		for _, tx := range must2(r.file.Block(r.ctx, b))(r.t).Transactions {
			if tx.Function == function && tx.Validation == ledger.Valid {
				n++
			}
		}
	}
	if function == "Confirm" {
		n -= 2 // the stock's
	}
	if n != want {
		r.t.Errorf("%d valid %s transactions, want %d", n, function, want)
	}
}

// An offer goes through the same; its inputs are spent once.
func TestOfferThroughFaultsOfTheLedger(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	for i, do := range []func(try) (ledger.Commit, error){notSent, lost, unheard, notSentAfterAll} {
		f.next("Offer", 2, do)
		v := r.offer(retailer, 100*i+1, 100*i+10)
		if v.State != "offered" {
			t.Fatalf("%d: %s", i, v.State)
		}
	}
	r.fsck()
}

// A transaction that conflicts in its block goes again as a new one, with the signature that it has.
func TestConflictInTheBlockGoesAgain(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	trade := r.offer(retailer, 1, 1)
	// The real thing: while the confirmation waits to be handed over, its lot is frozen and thawed, so that what it
	// has read is old.
	f.next("Confirm", 1, func(x try) (ledger.Commit, error) {
		return f.Ledger.Submit(x.ctx, x.p, x.transient, func() error {
			if err := x.sending(); err != nil {
				return err
			}
			for _, do := range []func(context.Context, transfer.Caller, transfer.Idem, string, []transfer.Span) (transfer.Act, error){r.Freeze, r.Unfreeze} {
				a, err := do(r.ctx, carrier, idem("freeze"), trade.LotHash, nil)
				if err != nil || a.State != "committed" {
					return fmt.Errorf("%+v, %w", a, err)
				}
			}
			return nil
		})
	})
	act := r.confirm(r.consumer("ann"), trade, 1)
	tx, err := r.LedgerTransaction(r.ctx, act.TxID)
	check(t, err)
	if tx.Validation != "VALID" || f.tries("Confirm") < 2 {
		t.Fatalf("%s after %d tries", tx.Validation, f.tries("Confirm"))
	}
	r.onLedger("Confirm", 1)
	r.fsck()
}

// A contract's no to what was never sent is an end: the trade is open again, and says why.
func TestRefusalOfWhatWasNeverSent(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	trade := r.offer(retailer, 1, 1)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	f.next("Confirm", 1, refusing(contract.CapExceeded))
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	end := r.await(act, contract.CapExceeded)
	if end.TxID != "" || end.Error.Message != transfer.MessageOf(contract.CapExceeded) {
		t.Errorf("%+v", end)
	}
	if v := r.trade(retailer, trade.TradeID); v.State != "offered" || v.Code == "" {
		t.Fatalf("the trade is %s, code %q", v.State, v.Code)
	}
	r.fsck()
	r.confirm(bob, trade, 1) // and another buyer gets the card
	r.fsck()
}

// The same buyer asks again after a refusal: another wish, the very same request. Both ends are told apart.
func TestSecondTryAfterARefusal(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	trade := r.offer(retailer, 1, 1)
	ann := r.consumer("ann")
	f.next("Confirm", 1, refusing(contract.LotFrozen))
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	first := r.await(act, contract.LotFrozen)
	second := r.confirm(ann, trade, 1)
	if first.ID == second.ID {
		t.Fatal("the wish that failed is the wish that went through")
	}
	r.fsck()
}

// The ledger refuses for ever what a peer has not seen: patience ends.
func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	trade := r.offer(retailer, 1, 1)
	f.next("Confirm", 1000, refusing(contract.TradeUnknown))
	act, err := r.Confirm(r.ctx, r.consumer("ann"), idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.await(act, contract.TradeUnknown)
	r.fsck()
}

// An entry that is invalid for a reason that no retry cures stops the act and raises an alarm.
func TestInvalidInTheBlockStopsAndAlarms(t *testing.T) {
	t.Parallel()
	f, m := &faulty{}, &meter{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Metrics = m })
	trade := r.offer(retailer, 1, 1)
	f.next("Confirm", 1, func(x try) (ledger.Commit, error) {
		if err := x.sending(); err != nil {
			return ledger.Commit{}, err
		}
		return ledger.Commit{}, &ledger.Failure{Class: ledger.Invalid, Validation: "ENDORSEMENT_POLICY_FAILURE"}
	})
	act, err := r.Confirm(r.ctx, r.consumer("ann"), idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.await(act, "LEDGER_INVALID")
	if m.count("alarm ledger_invalid") == 0 || m.count("failure invalid") == 0 || m.count("ended Confirm LEDGER_INVALID") != 1 {
		t.Errorf("metrics: %v", m.seen)
	}
	r.fsck()
}

// A confirmation that was sent and lost must not keep the cards for ever: when the trade's time is over and the
// contract takes no request any more, the relay has the trade released, which proves that the lost one can't land. Whoever
// looks finds the trade released, and not open again, even where no block has been heard since.
func TestLostConfirmationOfAnExpiredTradeIsReleased(t *testing.T) {
	t.Parallel()
	f, deaf := &faulty{}, &deafLedger{}
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { deaf.Ledger = l; return f.wrap(deaf) }, nil)
	trade := r.offer(retailer, 1, 1)
	sent := make(chan struct{})
	var once sync.Once
	f.next("Confirm", 1_000_000, func(x try) (ledger.Commit, error) {
		defer once.Do(func() { close(sent) })
		return lost(x)
	})
	act, err := r.Confirm(r.ctx, r.consumer("ann"), idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	<-sent
	deaf.deaf.Store(true)
	r.clock.forward(2 * time.Hour)
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	r.until("the trade is not being confirmed any more", func() bool { return r.trade(retailer, trade.TradeID).State != "confirming" })
	if v := r.trade(retailer, trade.TradeID); v.State != "released" {
		t.Errorf("the trade is %s", v.State)
	}
	deaf.deaf.Store(false)
	r.await(act, contract.TradeEnded)
	r.offer(retailer, 1, 1) // the card can be sold
	r.fsck()
}

// With the ledger away, what needs it says so, and what does not goes on; the act is carried on when it is back.
func TestLedgerAway(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	trade := r.offer(retailer, 1, 1)
	ann := r.consumer("ann")
	f.setDown(errWire)
	f.next("Confirm", 1_000_000, notSent)
	if _, err := r.Lookup(r.ctx, ann, trade.Code, last6(1)); err != nil {
		t.Errorf("look-up: %v", err)
	}
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	_, err = r.Issue(r.ctx, carrier, idem("issue"), transfer.IssueInput{Segments: span(200_001, 200_002)})
	wants(t, "issue", err, "UNAVAILABLE")
	_, err = r.MyCards(r.ctx, ann, "", 10)
	wants(t, "my cards", err, "")
	f.setDown(nil)
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	r.await(act, "")
	r.fsck()
}

// What a peer or a driver says goes into a column: it must fit, or the act could not be stored at all.
func TestErrorsFitTheirColumn(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a word": "a word", "卡": "卡", "a\xff\xfeb": "a?b",
		strings.Repeat("x", 5000): strings.Repeat("x", 4000) + "…",
		strings.Repeat("卡", 5000): strings.Repeat("卡", 1333) + "…",
	} {
		if got := transfer.Brief(errors.New(text)); got != want {
			t.Errorf("%.20q of %d bytes becomes %.20q of %d", text, len(text), got, len(got))
		}
	}
}

// What was sent and lost, and what the ledger would not take any more (its key was stopped meanwhile), gets its time to
// turn up, and then its cards are free again.
func TestSentAndThenRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		grace time.Duration
		waits bool
	}{{"its time is over", time.Millisecond, false}, {"it may still turn up", time.Hour, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &faulty{}
			r := newStockedWith(t, f.wrap, func(k *transfer.Config) { k.Relay.Grace = c.grace })
			ann := r.consumer("ann")
			trade := r.offer(retailer, 1, 1)
			f.next("Confirm", 1, lost)
			f.next("Confirm", 1_000_000, func(try) (ledger.Commit, error) { return ledger.Commit{}, refusal(contract.KeyInactive) })
			act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
			check(t, err)
			if !c.waits {
				r.await(act, contract.KeyInactive)
				if v := r.trade(retailer, trade.TradeID); v.State != "offered" {
					t.Errorf("the trade is %s", v.State)
				}
				r.fsck()
				return
			}
			r.until("some tries", func() bool { return f.tries("Confirm") > 4 })
			if now, err := r.Act(r.ctx, ann, act.ID); err != nil || now.Ended() {
				t.Errorf("%+v, %v", now, err)
			}
			f.mu.Lock()
			f.faults = nil
			f.mu.Unlock()
			r.await(act, "")
			r.fsck()
		})
	}
}

// A trade whose release fails rests before it is released again: its cause is likely one that a person has to mend.
func TestReleaseThatFails(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	trade := r.offer(retailer, 1, 1)
	f.next("Release", 1_000_000, func(try) (ledger.Commit, error) { return ledger.Commit{}, refusal(contract.KeyInactive) })
	r.clock.forward(2 * time.Hour)
	releases := func() (n int, ended bool) {
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			page, err := tx.ListActs(model.ActFilter{Function: "Release"}, "", 100)
			ended = true
			for _, a := range page.Items {
				ended = ended && a.State == model.ActFailed
			}
			n = len(page.Items)
			return err
		}))
		return n, ended
	}
	r.until("a release fails", func() bool { n, ended := releases(); return n > 0 && ended })
	for range 5 {
		check(t, r.SweepOnce(r.ctx))
	}
	if n, _ := releases(); n != 1 {
		t.Errorf("%d releases", n)
	}
	if v := r.trade(retailer, trade.TradeID); v.State != "offered" {
		t.Errorf("the trade is %s", v.State)
	}
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	r.clock.forward(11 * time.Minute)
	r.until("it is released", func() bool { return r.trade(retailer, trade.TradeID).State == "released" })
	r.fsck()
}

// An offer that was given up, because the ledger refused it and it did not turn up for so long, turns up after all: it has
// happened, and its code leads to it. So does one that had been signed anew before it was given up.
func TestOfferThatLandsAfterAll(t *testing.T) {
	t.Parallel()
	for name, refusals := range map[string][]string{"refused": nil, "signed anew, and refused": {contract.RequestExpired}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &faulty{}
			r := newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Relay.Grace = time.Millisecond })
			left := make(chan try, 1)
			f.next("Offer", 1, func(x try) (ledger.Commit, error) { left <- x; return lost(x) })
			for _, code := range refusals {
				f.next("Offer", 1, refusing(code))
			}
			f.next("Offer", 1_000_000, refusing(contract.KeyInactive))
			wants(t, "the offer", r.tryOffer(retailer, span(1, 2)), contract.KeyInactive)
			var act model.Act
			var trades []model.Trade
			check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
				page, err := tx.ListActs(model.ActFilter{Function: "Offer", Actor: retailer.Participant}, "", 1)
				if err != nil {
					return err
				}
				act = page.Items[0]
				trades, err = tx.TradesOfBatch(act.ID)
				return err
			}))
			if act.State != model.ActFailed || act.Attempt != 1+len(refusals) || len(trades) != 1 || trades[0].State != model.TradeFailed {
				t.Fatalf("%s at attempt %d, %+v", act.State, act.Attempt, trades)
			}
			x := <-left
			if _, err := f.Ledger.Submit(r.ctx, x.p, x.transient, nil); err != nil {
				t.Fatal(err)
			}
			r.until("the offer has happened", func() bool { return r.trade(retailer, trades[0].ID).State == "offered" })
			r.await(transfer.Act{ID: act.ID}, "")
			r.fsck()
			r.confirm(r.consumer("ann"), r.trade(retailer, trades[0].ID), 1)
			r.fsck()
		})
	}
}
