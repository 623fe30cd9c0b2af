package transfer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger/request"
	"cardflow/transfer"
)

// A buyer who declines says why: the reason's code stands on the ledger, his words stay here, and the seller reads both.
func TestDecline(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 2)
	const words = "包装已经拆开了 opened-box"
	for _, reason := range []string{"", "BECAUSE", "not_mine"} {
		_, err := r.Decline(r.ctx, ann, idem("decline"), trade.TradeID, trade.Code, last6(1), reason, words)
		wants(t, fmt.Sprintf("reason %q", reason), err, "REASON_INVALID")
	}
	_, err := r.Decline(r.ctx, ann, idem("decline"), trade.TradeID, trade.Code, last6(1), "OTHER", strings.Repeat("长", 1000))
	wants(t, "an endless reason", err, "REASON_INVALID")
	key := idem("decline")
	act, err := r.Decline(r.ctx, ann, key, trade.TradeID, trade.Code, last6(1), "DAMAGED", words)
	check(t, err)
	again, err := r.Decline(r.ctx, ann, key, trade.TradeID, trade.Code, last6(1), "DAMAGED", words)
	check(t, err)
	if again.ID != act.ID {
		t.Error("a double tap declines twice")
	}
	r.await(act, "")
	v := r.trade(retailer, trade.TradeID)
	if v.State != "declined" || v.Reason != "DAMAGED" || v.ReasonText != words || v.Code != "" || v.EndTx == "" {
		t.Errorf("%+v", v)
	}
	file, err := os.ReadFile(r.path("ledger"))
	check(t, err)
	if !bytes.Contains(file, []byte("DAMAGED")) || bytes.Contains(file, []byte("opened-box")) || bytes.Contains(file, []byte("包装")) {
		t.Error("the ledger does not have the reason's code, or has the buyer's words")
	}
	_, err = r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	wants(t, "confirm what was declined", err, "TRADE_CODE_NOT_FOUND")
	r.offer(retailer, 1, 2) // the cards are his again
	r.fsck()
}

// Only the seller cancels, and only what is open.
func TestCancel(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	for _, who := range []transfer.Caller{ann, distributor, carrier, regulator} {
		_, err := r.Cancel(r.ctx, who, idem("cancel"), trade.TradeID)
		wants(t, string(who.Role), err, "TRADE_NOT_FOUND")
	}
	_, err := r.Cancel(r.ctx, retailer, idem("cancel"), strings.Repeat("0", 32))
	wants(t, "no such trade", err, "TRADE_NOT_FOUND")
	act, err := r.Cancel(r.ctx, retailer, idem("cancel"), trade.TradeID)
	check(t, err)
	r.await(act, "")
	_, err = r.Cancel(r.ctx, retailer, idem("cancel"), trade.TradeID)
	wants(t, "again", err, "TRADE_ENDED")
	sold := r.offer(retailer, 2, 2)
	r.confirm(ann, sold, 2)
	_, err = r.Cancel(r.ctx, retailer, idem("cancel"), sold.TradeID)
	wants(t, "what is sold", err, "TRADE_ENDED")
	r.fsck()
}

// Confirm, decline and cancel of one trade at the same moment: one of them happens, and the cards are where it says.
func TestCancelRacesConfirm(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	trades := r.each(retailer, 1, 6)
	for i, trade := range trades {
		asks := map[string]func() (transfer.Act, error){
			"confirmed": func() (transfer.Act, error) {
				return r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(i+1))
			},
			"declined": func() (transfer.Act, error) {
				return r.Decline(r.ctx, bob, idem("decline"), trade.TradeID, trade.Code, last6(i+1), "NOT_MINE", "")
			},
			"cancelled": func() (transfer.Act, error) { return r.Cancel(r.ctx, retailer, idem("cancel"), trade.TradeID) },
		}
		var mu sync.Mutex
		won := map[string]transfer.Act{}
		var wg sync.WaitGroup
		for state, ask := range asks {
			wg.Go(func() {
				act, err := ask()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won[state] = act
					return
				}
				switch code := transfer.CodeOf(err); code {
				case "TRADE_BUSY", "TRADE_ENDED", "TRADE_CODE_NOT_FOUND":
				default:
					t.Errorf("%s: %v", state, err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("card %d: %d of three were taken", i+1, len(won))
		}
		for state, act := range won {
			r.await(act, "")
			if v := r.trade(retailer, trade.TradeID); v.State != state {
				t.Errorf("card %d is %s; %s was taken", i+1, v.State, state)
			}
		}
	}
	r.fsck()
}

// An offer whose time is over goes back to the seller by itself, and nobody can take it any more.
func TestExpiryReleases(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 10)
	named, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: distributor.Participant, Segments: span(11, 12)})
	check(t, err)
	r.clock.forward(time.Hour + time.Second)
	_, err = r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	wants(t, "confirm after expiry", err, "TRADE_CODE_NOT_FOUND")
	if _, err := r.Confirm(r.ctx, distributor, idem("confirm"), named.Trades[0].TradeID, "", ""); err == nil {
		t.Error("the one who was named confirmed too late")
	}
	for _, id := range []string{trade.TradeID, named.Trades[0].TradeID} {
		r.until("the trade is released", func() bool { return r.trade(retailer, id).State == "released" })
	}
	_, err = r.Confirm(r.ctx, distributor, idem("confirm"), named.Trades[0].TradeID, "", "")
	wants(t, "after the release", err, "TRADE_ENDED")
	_, err = r.Cancel(r.ctx, retailer, idem("cancel"), trade.TradeID)
	wants(t, "cancel what is released", err, "TRADE_ENDED")
	r.offer(retailer, 1, 12)
	r.fsck()
}

// An act that was accepted in time and could not be signed in time says so.
func TestConfirmationThatWaitedTooLong(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	f.next("Confirm", 1_000_000, notSent)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.until("a try", func() bool { return f.tries("Confirm") > 0 })
	r.clock.forward(2 * time.Hour)
	r.await(act, "TRADE_EXPIRED")
	r.until("the trade is released", func() bool { return r.trade(retailer, trade.TradeID).State == "released" })
	r.onLedger("Confirm", 0)
	r.fsck()
}

// What was bought by mistake goes back within the days that the ledger's policy gives: offered by the one who has it,
// taken by the one who sold it, and both trades stand in the trace.
func TestReturn(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	trade, kept := r.offer(retailer, 1, 2), r.offer(retailer, 3, 3)
	open := r.offer(retailer, 4, 4)
	r.confirm(ann, trade, 1)
	r.confirm(ann, kept, 3)

	for _, who := range []transfer.Caller{bob, retailer, distributor, regulator} {
		_, err := r.Return(r.ctx, who, idem("return"), trade.TradeID, "")
		wants(t, "return by a "+string(who.Role), err, "TRADE_NOT_FOUND")
	}
	_, err := r.Return(r.ctx, ann, idem("return"), open.TradeID, "")
	wants(t, "return of what was never taken", err, "TRADE_NOT_FOUND")
	_, err = r.Return(r.ctx, ann, idem("return"), trade.TradeID, strings.Repeat("x", 2001))
	wants(t, "an endless reason", err, "REASON_INVALID")

	key := idem("return")
	act, err := r.Return(r.ctx, ann, key, trade.TradeID, "买错了")
	check(t, err)
	if act.State != "committed" || act.Function != "Return" {
		t.Fatalf("%+v %+v", act, act.Error)
	}
	again, err := r.Return(r.ctx, ann, key, trade.TradeID, "买错了")
	check(t, err)
	if again.ID != act.ID {
		t.Error("returned twice")
	}
	_, err = r.Return(r.ctx, ann, idem("return"), trade.TradeID, "")
	wants(t, "what is on its way back", err, "CARDS_RESERVED")

	cards, err := r.MyCards(r.ctx, ann, "", 10)
	check(t, err)
	if len(cards.Items) == 0 || cards.Items[0].ICCID != id(1) || cards.Items[0].Status != "IN_TRADE" || cards.Items[0].SellerName != "小店" || cards.Items[0].TradeID != trade.TradeID {
		t.Errorf("on its way back it is %+v", cards.Items)
	}
	if receipt, err := r.Receipt(r.ctx, ann, cards.Items[0].Confirmation); err != nil || receipt.TradeID != trade.TradeID {
		t.Errorf("its receipt: %+v, %v", receipt, err)
	}

	page, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Side: "receiver", State: "offered"})
	check(t, err)
	if len(page.Items) != 1 || page.Items[0].Reverses != trade.TradeID || page.Items[0].ReasonText != "买错了" || page.Items[0].SellerID != ann.Participant {
		t.Fatalf("the seller is offered %+v", page.Items)
	}
	back, err := r.Confirm(r.ctx, retailer, idem("confirm"), page.Items[0].TradeID, "", "")
	check(t, err)
	r.await(back, "")
	card, err := r.FindCard(r.ctx, retailer, id(1))
	check(t, err)
	tr, err := r.Trace(r.ctx, regulator, card.CardID)
	check(t, err)
	if want := "TRADE:小店>个人用户 RETURN:个人用户>小店 "; !strings.HasSuffix(kinds(tr.Hops), want) {
		t.Errorf("trace %s", kinds(tr.Hops))
	}
	if tr, err = r.Trace(r.ctx, ann, card.CardID); err != nil || kinds(tr.Hops) != "TRADE:小店>我 " {
		t.Errorf("what she had in hand for a while she sees as %s, %v", kinds(tr.Hops), err)
	}

	r.clock.forward(8 * 24 * time.Hour)
	act, err = r.Return(r.ctx, ann, idem("return"), kept.TradeID, "")
	check(t, err)
	if act.State != "failed" || act.Error.Code != "NOT_RETURNABLE" {
		t.Errorf("after eight days: %+v", act)
	}
	cards, err = r.MyCards(r.ctx, ann, "", 10)
	check(t, err)
	if len(cards.Items) != 1 || cards.Items[0].ICCID != id(3) || cards.Items[0].ReturnableUntil != nil {
		t.Errorf("she has %+v", cards.Items)
	}
	r.until("the offer whose time is over is released", func() bool { return r.trade(retailer, open.TradeID).State == "released" })
	r.fsck()
}

// Lots that are merged keep what they carry, and their lineage.
func TestMerge(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	v := r.offer(retailer, 101, 200) // cuts the lot
	act, err := r.Cancel(r.ctx, retailer, idem("cancel"), v.TradeID)
	check(t, err)
	r.await(act, "")
	page, err := r.Lots(r.ctx, retailer, "", 10)
	check(t, err)
	var lots []string
	for _, l := range page.Items {
		lots = append(lots, l.Hash)
	}
	if len(lots) != 2 {
		t.Fatalf("%d lots", len(lots))
	}
	theirs, err := r.Lots(r.ctx, distributor, "", 1)
	check(t, err)
	for _, c := range []struct {
		what string
		who  transfer.Caller
		lots []string
		code string
	}{
		{"one lot", retailer, lots[:1], "BAD_REQUEST"},
		{"one lot twice", retailer, []string{lots[0], lots[0]}, "BAD_REQUEST"},
		{"none", retailer, nil, "BAD_REQUEST"},
		{"201", retailer, make201(), "BAD_REQUEST"},
		{"one that is not there", retailer, []string{lots[0], strings.Repeat("0", 64)}, "LOT_UNKNOWN"},
		{"one that is another's", retailer, []string{lots[0], theirs.Items[0].Hash}, "LOT_UNKNOWN"},
		{"all another's", distributor, lots, "LOT_UNKNOWN"},
		{"by a regulator", regulator, lots, "FORBIDDEN"},
	} {
		_, err := r.Merge(r.ctx, c.who, idem("merge"), c.lots)
		wants(t, c.what, err, c.code)
	}
	act, err = r.Merge(r.ctx, retailer, idem("merge"), lots)
	check(t, err)
	r.await(act, "")
	page, err = r.Lots(r.ctx, retailer, "", 10)
	check(t, err)
	if len(page.Items) != 1 || page.Items[0].Count != 10_000 || len(page.Items[0].Segments) != 1 {
		t.Fatalf("merged: %+v", page.Items)
	}
	_, err = r.Merge(r.ctx, retailer, idem("merge"), lots)
	wants(t, "what is merged", err, "INPUT_SPENT")
	card, err := r.FindCard(r.ctx, retailer, id(150))
	check(t, err)
	tr, err := r.Trace(r.ctx, regulator, card.CardID)
	check(t, err)
	if kinds(tr.Hops) != "ISSUE:>中国移动 TRADE:中国移动>华联物联 TRADE:华联物联>小店 " {
		t.Errorf("trace %s", kinds(tr.Hops))
	}
	r.fsck()
}

func make201() []string {
	var out []string
	for n := range 201 {
		out = append(out, fmt.Sprintf("%064x", n))
	}
	return out
}

type lotAct func(context.Context, transfer.Caller, transfer.Idem, string, []transfer.Span) (transfer.Act, error)

// on carries out a freeze, unfreeze or retirement, which must end as said.
func (r *rig) on(do lotAct, who transfer.Caller, lot string, subset []transfer.Span, code string) {
	r.t.Helper()
	act, err := do(r.ctx, who, idem("lot"), lot, subset)
	if err != nil {
		wants(r.t, "at once", err, code)
		return
	}
	r.await(act, code)
}

// lotOf is the lot in which a card is.
func (r *rig) lotOf(n int) string {
	r.t.Helper()
	v, err := r.FindCard(r.ctx, regulator, id(n))
	check(r.t, err)
	return v.LotHash
}

// Some cards of a lot are frozen, thawed, retired; the others go on.
func TestFreezeUnfreezeRetire(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	lot := r.lotOf(1)
	r.on(r.Freeze, carrier, lot, span(20_000, 20_001), "CARDS_NOT_OWNED") // cards of another lot
	r.on(r.Freeze, carrier, strings.Repeat("0", 64), nil, "LOT_UNKNOWN")
	r.on(r.Freeze, carrier, lot, span(10, 1), "ICCID_RANGE_REVERSED")

	r.on(r.Freeze, carrier, lot, span(11, 20), "")
	r.on(r.Freeze, carrier, lot, span(21, 30), "INPUT_SPENT") // that lot is two others now
	frozen, rest := r.lotOf(15), r.lotOf(1)
	if frozen == rest || frozen == lot || rest == lot {
		t.Fatalf("lots %s %s %s", lot, frozen, rest)
	}
	v, err := r.FindCard(r.ctx, retailer, id(15))
	check(t, err)
	if !v.Frozen || !v.Mine || v.Status != "OWNED" {
		t.Errorf("%+v", v)
	}
	wants(t, "frozen cards", r.tryOffer(retailer, span(11, 20)), "CARDS_FROZEN")
	r.offer(retailer, 1, 5)
	r.on(r.Freeze, carrier, frozen, nil, "ALREADY_FROZEN")
	r.on(r.Freeze, regulator, frozen, nil, "")
	r.on(r.Unfreeze, carrier, frozen, nil, "")
	r.on(r.Unfreeze, carrier, frozen, nil, "NOT_FROZEN")
	wants(t, "still frozen by the regulator", r.tryOffer(retailer, span(11, 20)), "CARDS_FROZEN")
	r.on(r.Retire, carrier, frozen, span(11, 12), "LOT_FROZEN")
	r.on(r.Unfreeze, regulator, frozen, span(11, 15), "")
	r.offer(retailer, 11, 15)
	wants(t, "the other half", r.tryOffer(retailer, span(16, 20)), "CARDS_FROZEN")

	r.on(r.Retire, carrier, r.lotOf(30), span(30, 31), "")
	if v, err := r.FindCard(r.ctx, retailer, id(30)); err != nil || v.Status != "RETIRED" {
		t.Errorf("retired: %+v, %v", v, err)
	}
	wants(t, "retired cards", r.tryOffer(retailer, span(30, 30)), "LOT_RETIRED")
	r.on(r.Unfreeze, carrier, r.lotOf(30), nil, "NOT_FROZEN")
	r.on(r.Freeze, carrier, r.lotOf(30), nil, "LOT_RETIRED")
	rep := r.fsck()
	if rep.Cards != 100_000 {
		t.Errorf("%d cards", rep.Cards)
	}
}

// Frozen in the middle of a trade: nobody gets it, and the seller keeps it.
func TestFreezeInATrade(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	r.on(r.Freeze, carrier, trade.LotHash, nil, "")
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.await(act, "LOT_FROZEN")
	r.on(r.Retire, carrier, trade.LotHash, nil, "LOT_IN_TRADE")
	r.on(r.Unfreeze, carrier, trade.LotHash, nil, "")
	r.confirm(ann, trade, 1)
	r.fsck()
}

// A freeze and an offer at once on one lot: both are built on what the other leaves, or one says why it can't be.
func TestFreezeRacesOffers(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	lot := r.lotOf(1)
	var wg sync.WaitGroup
	wg.Go(func() {
		act, err := r.Freeze(r.ctx, carrier, idem("freeze"), lot, span(1, 10))
		if err != nil || act.Error != nil && act.Error.Code != "INPUT_SPENT" {
			t.Errorf("freeze: %+v, %v", act, err)
		}
	})
	for i := range 4 {
		wg.Go(func() {
			if err := r.tryOffer(retailer, span(100*i+50, 100*i+60)); err != nil {
				t.Errorf("offer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	r.fsck()
}

// A card is issued once, ever.
func TestIssueTwice(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	in := func(a, b int) transfer.IssueInput { return transfer.IssueInput{Segments: span(a, b)} }
	key := idem("POST /lots")
	first, err := r.Issue(r.ctx, carrier, key, in(200_001, 200_010))
	check(t, err)
	again, err := r.Issue(r.ctx, carrier, key, in(200_001, 200_010))
	check(t, err)
	if len(again.Lots) != 1 || again.Lots[0].Hash != first.Lots[0].Hash {
		t.Errorf("the same wish twice: %+v", again)
	}
	details := transfer.IssueInput{Cards: []transfer.CardDetail{{ICCID: id(300_001), IMSI: "460041234567890", MSISDN: "1440212345678"}}}
	_, err = r.Issue(r.ctx, carrier, idem("POST /lots"), details)
	check(t, err)
	change := func(f func(*transfer.CardDetail)) transfer.IssueInput {
		d := transfer.CardDetail{ICCID: id(300_009)}
		f(&d)
		return transfer.IssueInput{Cards: []transfer.CardDetail{d}}
	}
	for _, c := range []struct {
		what string
		who  transfer.Caller
		in   transfer.IssueInput
		code string
	}{
		{"the same", carrier, in(200_001, 200_010), "CARDS_ISSUED_BEFORE"},
		{"overlapping", carrier, in(200_010, 200_020), "CARDS_ISSUED_BEFORE"},
		{"around", carrier, in(200_000, 200_020), "CARDS_ISSUED_BEFORE"},
		{"inside", carrier, in(200_005, 200_005), "CARDS_ISSUED_BEFORE"},
		{"what was sold on", carrier, in(1, 1), "CARDS_ISSUED_BEFORE"},
		{"a card with its details again", carrier, details, "CARDS_ISSUED_BEFORE"},
		{"a prefix of nobody", carrier, transfer.IssueInput{Segments: []transfer.Span{{Start: "898602B7193000000001"}}}, "ISSUER_UNKNOWN"},
		{"a foreign prefix", carrier, transfer.IssueInput{Segments: []transfer.Span{{Start: "89860617010001351357"}}}, "ISSUER_UNKNOWN"},
		{"nothing", carrier, transfer.IssueInput{}, "CARDS_REQUIRED"},
		{"a wrong IMSI", carrier, change(func(d *transfer.CardDetail) { d.IMSI = "46004" }), "IMSI_FORMAT"},
		{"a wrong number", carrier, change(func(d *transfer.CardDetail) { d.MSISDN = "13800138000" }), "MSISDN_FORMAT"},
		{"a policy that is none", carrier, transfer.IssueInput{Segments: span(400_001, 400_001), RetailPolicy: "CLOSED"}, "RETAIL_POLICY_INVALID"},
		{"a restriction that is none", carrier, transfer.IssueInput{Segments: span(400_001, 400_001), Restrictions: []string{"NO_FUN"}}, "RESTRICTION_INVALID"},
		{"by a distributor", distributor, in(400_001, 400_001), "FORBIDDEN"},
	} {
		_, err := r.Issue(r.ctx, c.who, idem("POST /lots"), c.in)
		wants(t, c.what, err, c.code)
	}
	v, err := r.Issue(r.ctx, carrier, idem("POST /lots"), transfer.IssueInput{Segments: span(400_001, 400_001), Restrictions: []string{"NO_VOICE", "DATA_ONLY", "NO_VOICE"}, RetailPolicy: "REAL_NAME"})
	check(t, err)
	if got := fmt.Sprint(v.Lots[0].Restrictions, v.Lots[0].RetailPolicy); got != "[DATA_ONLY NO_VOICE]REAL_NAME" {
		t.Error(got)
	}
	r.fsck()
}

// Ten who issue the same cards at once: one lot.
func TestIssueAtOnce(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 10 {
		wg.Go(func() {
			_, err := r.Issue(r.ctx, carrier, idem("issue"), transfer.IssueInput{Segments: span(200_001+i, 200_020)})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if transfer.CodeOf(err) != "CARDS_ISSUED_BEFORE" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d were issued", won)
	}
	r.fsck()
}

// An issue that the ledger refuses leaves nothing in its way: the carrier can ask again.
func TestIssueAgainAfterARefusal(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	in := transfer.IssueInput{Cards: []transfer.CardDetail{{ICCID: id(200_001), IMSI: "460041234567890"}}}
	f.next("Issue", 1, refusing("KEY_INACTIVE"))
	_, err := r.Issue(r.ctx, carrier, idem("issue"), in)
	wants(t, "with a key that was stopped", err, "KEY_INACTIVE")
	_, err = r.Issue(r.ctx, carrier, idem("issue"), in)
	wants(t, "again", err, "")
	r.fsck()
}

// Who may do what: everyone else is told so, or is not told that there is anything.
func TestRoles(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	lot := r.lotOf(50)
	everyone := map[string]transfer.Caller{"carrier": carrier, "distributor": distributor, "retailer": retailer, "regulator": regulator, "consumer": ann}
	_, admin := everyone[""], transfer.Caller{Participant: transfer.Admin1, Role: request.Administrator}
	everyone["administrator"] = admin
	for _, c := range []struct {
		what string
		do   func(transfer.Caller) error
		may  string // who is not refused as FORBIDDEN or not found
	}{
		{"issue", func(c transfer.Caller) error {
			_, err := r.Issue(r.ctx, c, idem("x"), transfer.IssueInput{})
			return err
		}, "carrier"},
		{"offer", func(c transfer.Caller) error {
			_, err := r.Offer(r.ctx, c, idem("x"), transfer.OfferInput{Mode: "BEARER"})
			return err
		}, "carrier distributor retailer"},
		{"merge", func(c transfer.Caller) error { _, err := r.Merge(r.ctx, c, idem("x"), nil); return err }, "carrier distributor retailer"},
		{"freeze", func(c transfer.Caller) error {
			_, err := r.Freeze(r.ctx, c, idem("x"), lot, span(2, 1))
			return err
		}, "carrier regulator"},
		{"unfreeze", func(c transfer.Caller) error {
			_, err := r.Unfreeze(r.ctx, c, idem("x"), lot, span(2, 1))
			return err
		}, "carrier regulator"},
		{"retire", func(c transfer.Caller) error {
			_, err := r.Retire(r.ctx, c, idem("x"), lot, span(2, 1))
			return err
		}, "carrier"},
		{"see the trade", func(c transfer.Caller) error { _, err := r.GetTrade(r.ctx, c, trade.TradeID); return err }, "retailer regulator"},
		{"see a card of the retailer", func(c transfer.Caller) error { _, err := r.FindCard(r.ctx, c, id(50)); return err }, "carrier distributor retailer regulator"},
		{"see a card of the distributor", func(c transfer.Caller) error { _, err := r.FindCard(r.ctx, c, id(20_000)); return err }, "carrier distributor regulator"},
		{"see a card of nobody", func(c transfer.Caller) error { _, err := r.FindCard(r.ctx, c, id(900_000)); return err }, ""},
	} {
		for name, who := range everyone {
			code := transfer.CodeOf(c.do(who))
			refused := code == "FORBIDDEN" || code == "TRADE_NOT_FOUND" || code == "CARD_NOT_FOUND"
			if may := strings.Contains(c.may, name); may == refused {
				t.Errorf("%s by a %s: %s", c.what, name, code)
			}
		}
	}
	// The code is the seller's to see, and nobody else's.
	for _, who := range []transfer.Caller{regulator} {
		if v := r.trade(who, trade.TradeID); v.Code != "" {
			t.Errorf("a %s sees the code", who.Role)
		}
	}
	for _, who := range everyone {
		page, err := r.SearchCards(r.ctx, who, transfer.CardFilter{Start: id(1), End: id(100)})
		check(t, err)
		for _, h := range page.Items {
			if who.Role != request.Regulator && h.OwnerID != who.Participant {
				t.Errorf("a %s finds cards of %s", who.Role, h.OwnerID)
			}
		}
	}
}
