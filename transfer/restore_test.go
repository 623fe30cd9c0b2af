package transfer_test

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"cardflow/model"
	"cardflow/model/modeltest"
	"cardflow/transfer"
)

// backUp copies the database as an operator does who stops the server for it.
func (r *rig) backUp() modeltest.Copy {
	r.t.Helper()
	r.close()
	defer r.open(r.t)
	return r.place.Copy(r.t)
}

// restore puts an older database in place; journal and ledger stay as they are.
func (r *rig) restore(rows modeltest.Copy) {
	r.t.Helper()
	r.close()
	r.place.Put(r.t, rows)
	r.open(r.t)
	r.caughtUp()
}

// caughtUp waits until the listener has seen every block.
func (r *rig) caughtUp() {
	r.t.Helper()
	r.until("the listener has caught up", func() bool {
		height, err := r.file.Height(r.ctx)
		check(r.t, err)
		done := false
		check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			c, err := tx.Checkpoint("ledger")
			done = err == nil && uint64(c.Value)+1 == height
			return nil
		}))
		return done
	})
}

// A database that is put back to an older copy catches up with the ledger: what its blocks say is followed, and the
// journal opens the lots and codes that the copy has never heard of.
func TestRestoreOfAnOlderDatabase(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	before := r.offer(retailer, 1, 1)  // offered before the copy, confirmed after it
	waiting := r.offer(retailer, 2, 2) // offered before the copy, open ever since
	copied := r.backUp()

	first := r.confirm(ann, before, 1)
	after := r.offer(retailer, 10, 12)   // offered after the copy, open
	sold := r.offer(retailer, 20, 25)    // offered and confirmed after it
	r.confirm(bob, sold, 20)             //
	dropped := r.offer(retailer, 30, 30) // offered and cancelled after it
	act, err := r.Cancel(r.ctx, retailer, idem("cancel"), dropped.TradeID)
	check(t, err)
	r.await(act, "")
	r.issue(200_001, 200_100)
	r.sell(carrier, distributor, 200_001, 200_050)
	r.on(r.Freeze, carrier, r.lotOf(9_000), span(9_000, 9_010), "")
	held := map[int]string{}
	for _, n := range []int{1, 2, 10, 20, 30, 40, 9_000, 9_011, 200_001, 200_051} {
		held[n] = r.lotOf(n)
	}
	whole := r.fsck()

	r.restore(copied)
	rep := r.fsck()
	if rep.Cards != whole.Cards || rep.Lots < len(held) {
		t.Errorf("%d cards in %d lots; there were %d cards", rep.Cards, rep.Lots, whole.Cards)
	}
	for n, lot := range held {
		if got := r.lotOf(n); got != lot {
			t.Errorf("card %d is in lot %.8s, it was in %.8s", n, got, lot)
		}
	}
	// Codes that were live before the loss are, whether or not the copy knew them.
	for _, c := range []struct {
		trade transfer.TradeView
		card  int
	}{{waiting, 2}, {after, 10}} {
		if v := r.trade(retailer, c.trade.TradeID); v.Code != c.trade.Code || v.State != "offered" {
			t.Errorf("card %d: the trade is %s with code %q, not %q", c.card, v.State, v.Code, c.trade.Code)
		}
		v, err := r.Lookup(r.ctx, bob, c.trade.Code, last6(c.card))
		check(t, err)
		if v.Count != c.trade.Count {
			t.Errorf("card %d: %d cards", c.card, v.Count)
		}
		r.confirm(bob, c.trade, c.card)
	}
	for _, c := range []struct {
		trade transfer.TradeView
		card  int
	}{{before, 1}, {sold, 20}, {dropped, 30}} {
		_, err := r.Lookup(r.ctx, r.consumer("cat"), c.trade.Code, last6(c.card))
		wants(t, "a code that is used up", err, "TRADE_CODE_NOT_FOUND")
	}
	if v := r.trade(retailer, before.TradeID); v.State != "confirmed" || v.EndTx != first.TxID {
		t.Errorf("confirmed after the copy: %s by %s", v.State, v.EndTx)
	}
	// And the trade goes on, with what came back.
	r.offer(retailer, 30, 39)
	r.offer(distributor, 200_001, 200_010)
	card, err := r.FindCard(r.ctx, regulator, id(200_001))
	check(t, err)
	tr, err := r.Trace(r.ctx, regulator, card.CardID)
	check(t, err)
	if kinds(tr.Hops) != "ISSUE:>中国移动 TRADE:中国移动>华联物联 " {
		t.Errorf("trace %s", kinds(tr.Hops))
	}
	if tr.Hops[0].OfferedAt.IsZero() || !tr.Hops[0].OfferedAt.Before(tr.Hops[1].ConfirmedAt) {
		t.Errorf("issued at %v, sold at %v", tr.Hops[0].OfferedAt, tr.Hops[1].ConfirmedAt)
	}
	r.fsck()
}

// An act that the copy has as accepted, and that went through afterwards, turns out to have gone through: its cards are
// not confirmed again, and he who asked is told.
func TestRestoreInTheMiddleOfAnAct(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	f.next("Confirm", 1_000_000, notSent)
	key := idem("confirm")
	act, err := r.Confirm(r.ctx, ann, key, trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.until("a try", func() bool { return f.tries("Confirm") > 0 })
	copied := r.backUp()
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	end := r.await(act, "")
	r.restore(copied)
	again, err := r.Confirm(r.ctx, ann, key, trade.TradeID, trade.Code, last6(1))
	check(t, err)
	if again.ID != act.ID {
		t.Errorf("another act: %s", again.ID)
	}
	if now := r.await(again, ""); now.TxID != end.TxID {
		t.Errorf("confirmed by %s, and before the restore by %s", now.TxID, end.TxID)
	}
	r.onLedger("Confirm", 1)
	r.noneUnfinished()
	r.fsck()
}

// A database that belongs to another ledger is not followed.
func TestAnotherLedgerIsRefused(t *testing.T) {
	t.Parallel()
	m := &meter{}
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.Metrics = m })
	other := newRig(t)
	r.close()
	other.close()
	file, err := os.ReadFile(other.path("ledger"))
	check(t, err)
	check(t, os.WriteFile(r.path("ledger"), file, 0o600))
	other.open(t)
	r.open(t)
	r.until("the listener has refused it", func() bool { return m.count("alarm listener") > 0 })
	rep, err := r.Check(r.ctx, nil)
	check(t, err)
	if rep.Clean() {
		t.Error("fsck finds nothing")
	}
	found := map[string]bool{}
	for _, f := range rep.Findings {
		found[f.Kind] = true
		if strings.Contains(f.Problem+f.Subject, id(1)) {
			t.Errorf("a finding tells an ICCID: %+v", f)
		}
	}
	if !found["LOT"] || !found["TRADE"] || !found["ACT"] {
		t.Errorf("found %v", found)
	}
}

// An offer, or a merge, that the copy has as accepted, and that went through afterwards with salts which the copy has
// never heard of, is recognised when its block is replayed: it has happened, once, and nothing is planned for it anew.
func TestRestoreInTheMiddleOfWhatIsPlannedLate(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Relay.AnswerWithin = time.Millisecond })
	cut := r.offer(retailer, 50, 60) // leaves the shop two lots to merge
	act, err := r.Cancel(r.ctx, retailer, idem("cancel"), cut.TradeID)
	check(t, err)
	r.await(act, "")
	page, err := r.Lots(r.ctx, retailer, "", 10)
	check(t, err)
	var lots []string
	for _, l := range page.Items {
		lots = append(lots, l.Hash)
	}
	for _, function := range []string{"Merge", "Offer", "Freeze"} {
		f.next(function, 1_000_000, notSent)
	}
	merged, err := r.Merge(r.ctx, retailer, idem("merge"), lots)
	check(t, err)
	r.until("a try", func() bool { return f.tries("Merge") > 0 })
	offered, err := r.Offer(r.ctx, distributor, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(20_000, 20_009)})
	check(t, err)
	frozen, err := r.Freeze(r.ctx, carrier, idem("freeze"), r.lotOf(60_000), span(60_000, 60_010))
	check(t, err)
	r.until("a try", func() bool { return f.tries("Offer") > 0 && f.tries("Freeze") > 0 })
	copied := r.backUp()
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	r.await(merged, "")
	r.await(frozen, "")
	trade := r.offered(distributor, offered.Trades[0])
	r.fsck()

	r.restore(copied)
	r.await(merged, "")
	r.await(frozen, "")
	if v := r.offered(distributor, offered.Trades[0]); v.Code != trade.Code || v.OfferTx != trade.OfferTx {
		t.Errorf("offered by %s with code %q, and before the restore by %s with %q", v.OfferTx, v.Code, trade.OfferTx, trade.Code)
	}
	r.noneUnfinished()
	for _, function := range []string{"Merge", "Freeze"} {
		r.onLedger(function, 1)
	}
	r.fsck()
	r.confirm(r.consumer("ann"), trade, 20_000)
	r.fsck()
}

// A consumer who first came after the copy was made is himself again, with his key and his cards: the journal knows his
// login and has his key, sealed, and the ledger says that both came to be. One who came and was not registered any more
// is registered now.
func TestRestoreOfWhoCameLater(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	first, second := r.offer(retailer, 1, 2), r.offer(retailer, 3, 3)
	copied := r.backUp()
	eve := r.registered("eve")
	r.confirm(eve, first, 1)
	f.next("Register", 1_000_000, notSent)
	fay := r.consumer("fay")
	r.until("a try", func() bool { return f.tries("Register") > 0 })

	r.restore(copied)
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
	for name, before := range map[string]transfer.Caller{"eve": eve, "fay": fay} {
		if again := r.registered(name); again.Participant != before.Participant {
			t.Errorf("%s is %s, and was %s", name, again.Participant, before.Participant)
		}
	}
	eve = r.registered("eve") // her login was younger than the copy
	cards, err := r.MyCards(r.ctx, eve, "", 10)
	check(t, err)
	if len(cards.Items) != 2 {
		t.Errorf("she has %d cards", len(cards.Items))
	}
	r.confirm(eve, second, 3) // with the key that the ledger knows
	act, err := r.Return(r.ctx, eve, idem("return"), first.TradeID, "")
	check(t, err)
	r.await(act, "")
	r.noneUnfinished()
	report := r.fsck()

	// Again, and in the middle: nothing is put back twice.
	r.reopen(t)
	r.caughtUp()
	if again := r.fsck(); again.Signatures != report.Signatures || again.Acts != report.Acts {
		t.Errorf("%+v, and before %+v", again, report)
	}
}

// The copy was made before anything was signed. What custody signed afterwards, and stands on the ledger, is on its record
// again; nothing is signed twice, whether the body was fixed when it was asked for or later.
func TestRestoreBeforeTheSignature(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"accepted": true, "with key and deadline fixed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, m := newMoody(t, func(c *transfer.Config) { c.Relay.AnswerWithin = time.Millisecond })
			ann := r.consumer("ann")
			trade, other := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
			m.early = early
			m.set(transfer.ErrSealed)
			confirmed, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
			check(t, err)
			cancelled, err := r.Cancel(r.ctx, retailer, idem("cancel"), other.TradeID)
			check(t, err)
			offered, err := r.Offer(r.ctx, distributor, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(20_000, 20_009)})
			check(t, err)
			r.consumer("gus")
			r.until("each has come as far as it can", func() bool {
				fixed := 0
				check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
					page, err := tx.ListActs(model.ActFilter{States: []model.ActState{model.ActAccepted}}, "", 10)
					for _, a := range page.Items {
						if a.KeyID != "" {
							fixed++
						}
					}
					return err
				}))
				return m.asked() > 3 && (fixed == 4) != early
			})
			signed := r.signed()
			copied := r.backUp()
			m.set(nil)
			r.await(confirmed, "")
			r.await(cancelled, "")
			r.offered(distributor, offered.Trades[0])
			gus := r.registered("gus")
			receipt := must2(r.Receipt(r.ctx, ann, confirmed.ID))(t)
			whole := r.fsck()

			r.restore(copied)
			r.await(confirmed, "")
			r.await(cancelled, "")
			if again := must2(r.Receipt(r.ctx, ann, confirmed.ID))(t); !reflect.DeepEqual(again, receipt) {
				t.Errorf("the receipt says %+v, and said %+v", again, receipt)
			}
			r.offered(distributor, offered.Trades[0])
			if again := r.registered("gus"); again.Participant != gus.Participant {
				t.Errorf("he is %s, and was %s", again.Participant, gus.Participant)
			}
			r.noneUnfinished()
			if again := r.fsck(); again.Signatures != whole.Signatures {
				t.Errorf("%d signatures of custody's stand on the ledger, and before the restore %d", again.Signatures, whole.Signatures)
			}
			if n := r.signed() - signed; n != 5 { // ann's and her ticket, one of each seller, and the registrar's
				t.Errorf("%d signatures on custody's record for four acts", n)
			}
		})
	}
}

// signed counts the signatures on custody's record.
func (r *rig) signed() (n int) {
	r.t.Helper()
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		n = 0
		lines, err := tx.SignaturesAfter(0, 1000)
		for _, l := range lines {
			if len(l.Signature) > 0 {
				n++
			}
		}
		return err
	}))
	return n
}
