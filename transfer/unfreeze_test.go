package transfer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// TestUnfreezeTakesTwo: one person's wish lets no card go; two of the organisation that has frozen see which cards it is about, and
// it is carried out once. What the database says of a lot, and its hash doesn't, nobody is shown.
func TestUnfreezeTakesTwo(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	r.on(r.Freeze, carrier, r.lotOf(1), span(11, 20), "")
	r.on(r.Freeze, regulator, r.lotOf(15), nil, "")
	lot := r.lotOf(15)

	p := must2(r.propose(r.ctx, carrier, idem("unfreeze"), lot, span(11, 12)))(t)
	for _, line := range []string{"解冻 2 张卡：" + lot, id(11) + " — " + id(12) + "，2 张", "持卡方 小店（shop-a）", "由中国移动（cmcc）解冻", "解冻后仍被冻结：监管方"} {
		if !strings.Contains(strings.ReplaceAll(p.Description, " ", ""), strings.ReplaceAll(line, " ", "")) {
			t.Errorf("%q is not in\n%s", line, p.Description)
		}
	}
	if _, err := r.keys.Approve(r.ctx, carrier.Person, p.ID); err == nil {
		t.Error("approved by himself")
	}
	if _, err := r.Act(r.ctx, carrier, p.ID); err == nil {
		t.Error("there is an act, and nobody has approved")
	}
	// In the meantime the regulator lets go: then something else would happen.
	r.on(r.Unfreeze, regulator, lot, nil, "")
	_, err := r.keys.Approve(r.ctx, r.colleague(carrier).Person, p.ID)
	if !errors.Is(err, custody.ErrProposalChanged) {
		t.Errorf("as things stand now: %v", err)
	}
	r.on(r.Unfreeze, carrier, lot, span(11, 12), "")
	wants(t, "the others", r.tryOffer(retailer, span(13, 13)), "CARDS_FROZEN")
	r.offer(retailer, 11, 12)

	// Some cards of a lot in trade, and cards of other lots.
	lot = r.lotOf(15)
	wants(t, "cards that are elsewhere", r.MayUnfreeze(r.ctx, carrier, lot, span(500, 501)), "CARDS_NOT_OWNED")
	wants(t, "a retailer", r.MayUnfreeze(r.ctx, retailer, lot, nil), "FORBIDDEN")

	// Whoever writes to the database has others believe that it is about other cards.
	honest := must2(r.propose(r.ctx, carrier, idem("unfreeze"), lot, nil))(t)
	r.tamper([]string{"UPDATE segments SET hi = hi - 1 WHERE lot_hash = '" + lot + "'"})
	if _, err := r.propose(r.ctx, carrier, idem("unfreeze"), lot, nil); err == nil {
		t.Error("shown other cards than those of the lot")
	}
	if _, err := r.keys.Approve(r.ctx, r.colleague(carrier).Person, honest.ID); err == nil {
		t.Error("approved by what the database says")
	}
	r.tamper([]string{"UPDATE segments SET hi = hi + 1 WHERE lot_hash = '" + lot + "'"})
	if p := must2(r.keys.Approve(r.ctx, r.colleague(carrier).Person, honest.ID))(t); p.State != model.ProposalExecuted {
		t.Errorf("%s: %s", p.State, p.ErrorCode)
	}
	r.until("it is on the ledger", func() bool { a, err := r.Act(r.ctx, carrier, honest.ID); return err == nil && a.State == "committed" })
	r.offer(retailer, 13, 20)
	if err := r.keys.Authorise(r.ctx, custody.LoginToken(r.console(carrier).Session), "act", request.Unfreeze{LotAct: request.LotAct{Lot: lot}}, 1<<50); err == nil {
		t.Error("authorised by one person")
	}
	r.fsck()
}

// TestNothingBeforeItIsVouchedFor: while the ledger is away nothing is done of what two people want; when it is back it
// vouches for the row that says so at once, however far off the next anchor would be, and then that is done.
func TestNothingBeforeItIsVouchedFor(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := rigOn(t)
	r.wrap, r.config, r.anchored = f.wrap, anchoring(24*time.Hour), true
	stocked.copyTo(r)
	r.start(t)
	r.until("the first anchor", func() bool { s, err := r.AnchorState(r.ctx); return err == nil && s.Anchored > 0 })
	r.on(r.Freeze, carrier, r.lotOf(1), span(11, 20), "")
	p := must2(r.propose(r.ctx, carrier, idem("unfreeze"), r.lotOf(15), nil))(t)

	f.setDown(errWire)
	approver := r.colleague(carrier).Person
	hangsUp, hangUp := context.WithCancel(r.ctx)
	answered := make(chan error, 1)
	go func() {
		_, err := r.keys.Approve(hangsUp, approver, p.ID)
		answered <- err
	}()
	state := func() model.ProposalState {
		now, err := r.keys.Proposal(r.ctx, p.ID)
		check(t, err)
		return now.State
	}
	r.until("it begins", func() bool { return state() == model.ProposalExecuting })
	hangUp()
	<-answered
	if _, err := r.Act(r.ctx, carrier, p.ID); err == nil || state() != model.ProposalExecuting {
		t.Fatalf("%s, and there is an act: %v", state(), err)
	}

	f.setDown(nil)
	r.until("it is done", func() bool { return state() == model.ProposalExecuted })
	r.until("it is on the ledger", func() bool { a, err := r.Act(r.ctx, carrier, p.ID); return err == nil && a.State == "committed" })
	unfrozen, err := r.Act(r.ctx, carrier, p.ID)
	check(t, err)
	r.caughtUp()
	before := false
	for _, a := range r.anchors() {
		var row model.AuditRow
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			rows, err := tx.AuditRows(0, 10_000)
			for _, x := range rows {
				if x.Act == "proposal.begin" && x.Subject == p.ID {
					row = x
				}
			}
			return err
		}))
		before = before || row.Seq > 0 && a.Sequence >= row.Seq && uint64(a.BlockNumber) < unfrozen.BlockNumber
	}
	if !before {
		t.Error("the ledger had not vouched for the approval when it was carried out")
	}
	r.fsck()
}
