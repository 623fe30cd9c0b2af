package transfer_test

import (
	"strings"
	"testing"

	"cardflow/ledger"
	"cardflow/model"
	"cardflow/transfer"
)

// TestNobodyAtTheConsole: of an organisation, too, nothing is accepted that nobody asks for who is logged in.
func TestNobodyAtTheConsole(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, few)
	lots := []string{r.lotOf(1), r.offer(retailer, 1, 1).LotHash}
	sold := r.offer(retailer, 2, 2)
	named, err := r.Offer(r.ctx, distributor, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: retailer.Participant, Segments: span(20_000, 20_000)})
	check(t, err)
	s := r.Service
	asks := map[string]struct {
		of transfer.Caller
		do func(c transfer.Caller) error
	}{
		"issue": {carrier, func(c transfer.Caller) error {
			_, err := s.Issue(r.ctx, c, idem("x"), transfer.IssueInput{Segments: span(300_001, 300_002)})
			return err
		}},
		"import": {carrier, func(c transfer.Caller) error {
			_, err := s.StartImport(r.ctx, c, idem("x"), transfer.ImportInput{FileName: "c.csv", Body: strings.NewReader("ICCID\n" + id(300_003) + "\n"), Issue: true})
			return err
		}},
		"import without a name": {carrier, func(c transfer.Caller) error {
			_, err := s.StartImport(r.ctx, c, transfer.Idem{}, transfer.ImportInput{FileName: "c.csv", Body: strings.NewReader("ICCID\n" + id(300_003) + "\n"), Issue: true})
			return err
		}},
		"offer": {retailer, func(c transfer.Caller) error {
			_, err := s.Offer(r.ctx, c, idem("x"), transfer.OfferInput{Mode: "BEARER", Segments: span(10, 11)})
			return err
		}},
		"offer by job": {retailer, func(c transfer.Caller) error {
			_, err := s.Offer(r.ctx, c, idem("x"), each(10, 19))
			return err
		}},
		"confirm": {retailer, func(c transfer.Caller) error {
			_, err := s.Confirm(r.ctx, c, idem("x"), named.Trades[0].TradeID, "", "")
			return err
		}},
		"decline": {retailer, func(c transfer.Caller) error {
			_, err := s.Decline(r.ctx, c, idem("x"), named.Trades[0].TradeID, "", "", "DAMAGED", "")
			return err
		}},
		"cancel": {retailer, func(c transfer.Caller) error { _, err := s.Cancel(r.ctx, c, idem("x"), sold.TradeID); return err }},
		"merge":  {retailer, func(c transfer.Caller) error { _, err := s.Merge(r.ctx, c, idem("x"), lots); return err }},
		"freeze": {regulator, func(c transfer.Caller) error {
			_, err := s.Freeze(r.ctx, c, idem("x"), r.lotOf(9), span(9, 9))
			return err
		}},
		"retire": {carrier, func(c transfer.Caller) error { _, err := s.Retire(r.ctx, c, idem("x"), r.lotOf(9), nil); return err }},
	}
	rows := func() (n int) {
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			acts, err := tx.ListActs(model.ActFilter{}, "", 200)
			jobs, err2 := tx.JobsOf(retailer.Participant, "", 10)
			imports, err3 := tx.ImportsOf(carrier.Participant, "", 10)
			n = len(acts.Items) + len(jobs.Items) + len(imports.Items)
			for _, err := range []error{err, err2, err3} {
				check(t, err)
			}
			return nil
		}))
		return n
	}
	before := rows()
	for what, a := range asks {
		if err := a.do(a.of); transfer.CodeOf(err) != "LOGIN_TOO_OLD" {
			t.Errorf("%s without a session: %v", what, err)
		}
	}
	if after := rows(); after != before {
		t.Errorf("%d rows more", after-before)
	}
	r.fsck()
}

// TestSplitAnew: an act on some cards of a lot that is planned a second time splits the lot into what was asked for at first.
func TestSplitAnew(t *testing.T) {
	t.Parallel()
	wire := &heldWire{hold: map[string]bool{}, waiting: make(chan struct{}, 8)}
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { wire.Ledger = l; return wire }, nil)
	key := r.keyOf(carrier.Participant)
	lot := r.lotOf(60_000)
	wire.set("Freeze", true)
	done := make(chan transfer.Act, 1)
	go func() {
		act, err := r.Freeze(r.ctx, carrier, idem("freeze"), lot, span(60_000, 60_010))
		if err != nil {
			t.Error(err)
		}
		done <- act
	}()
	<-wire.waiting
	r.ordered(r.RotateKey, key.ID)
	wire.set("Freeze", false)
	act := r.await(<-done, "")
	if row := r.actRow(act.ID); row.Attempt < 2 {
		t.Errorf("%d attempts", row.Attempt)
	}
	if r.lotOf(60_000) == r.lotOf(60_011) || r.lotOf(60_000) == lot {
		t.Error("the lot is not split")
	}
	wants(t, "frozen cards", r.tryOffer(carrier, span(60_000, 60_001)), "CARDS_FROZEN")
	r.fsck()
}
