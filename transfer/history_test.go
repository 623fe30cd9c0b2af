package transfer_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cardflow/transfer"
)

// history is what should be so, kept as simply as can be: who holds each card, what is open, what was confirmed.
type history struct {
	r       *rig
	base    int // the cards are base to base+historyCards-1
	holder  [historyCards]string
	frozen  [historyCards]bool
	inTrade [historyCards]*deal
	passed  [historyCards][]string // trades by which a card came, oldest first
	deals   []*deal
	people  []transfer.Caller
}

// deal is a trade of the model.
type deal struct {
	transfer.TradeView
	a, b     int // cards, relative to base
	seller   transfer.Caller
	receiver string // NAMED
	state    string
}

const historyCards = 8

// Random histories of six participants. After each step every card is where the model has it and
// database and ledger agree; at the end the trace of each card is the chain of the trades that the model saw.
func TestHistories(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	old := checks.Value.String()
	check(t, checks.Value.Set(fmt.Sprint(histories)))
	defer checks.Value.Set(old)

	r := newStocked(t)
	people := []transfer.Caller{carrier, distributor, retailer, r.consumer("ann"), r.consumer("bob"), r.consumer("cat")}
	next := 1
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{r: r, base: next, people: people}
		next += historyCards
		for i := range h.holder {
			h.holder[i] = retailer.Participant
		}
		steps := rapid.IntRange(8, 20).Draw(rt, "steps")
		for range steps {
			h.step(rt)
			h.compare(rt)
		}
		h.traces(rt)
		rep, err := r.Check(r.ctx, nil)
		if err != nil || !rep.Clean() || rep.Cards != 100_000 {
			rt.Fatalf("fsck: %v %+v, %d cards", err, rep.Findings, rep.Cards)
		}
	})
}

// step does one thing of the many that somebody could do.
func (h *history) step(rt *rapid.T) {
	who := rapid.SampledFrom(h.people).Draw(rt, "who")
	what := rapid.SampledFrom([]string{"offer", "offer", "confirm", "confirm", "confirm", "decline", "cancel", "return", "freeze", "thaw", "merge"}).Draw(rt, "what")
	if slices.Contains([]string{"confirm", "decline", "cancel", "return"}, what) {
		if len(h.deals) == 0 {
			what = "offer"
		} else {
			h.end(rt, what, who, rapid.SampledFrom(h.deals).Draw(rt, "deal"))
			return
		}
	}
	switch what {
	case "offer":
		h.offer(rt, who)
	case "freeze", "thaw":
		h.freeze(rt, what == "freeze")
	case "merge":
		h.merge(rt, who)
	}
}

func (h *history) offer(rt *rapid.T, who transfer.Caller) {
	// Mostly whoever has the first card offers it.
	a := rapid.IntRange(0, historyCards-1).Draw(rt, "first")
	if rapid.IntRange(0, 4).Draw(rt, "by its holder") > 0 {
		who = h.caller(h.holder[a])
	}
	d := &deal{a: a, b: rapid.IntRange(a, min(a+2, historyCards-1)).Draw(rt, "last"), seller: who}
	in := transfer.OfferInput{Mode: "BEARER", Segments: span(h.base+d.a, h.base+d.b)}
	to := rapid.SampledFrom(h.people).Draw(rt, "to")
	if named := rapid.Bool().Draw(rt, "named"); named {
		in.Mode, in.To, d.receiver = "NAMED", to.Participant, to.Participant
	}
	o, err := h.r.Offer(h.r.ctx, who, idem("offer"), in)
	can := who.Role != "consumer" && d.receiver != who.Participant
	for i := d.a; i <= d.b; i++ {
		can = can && h.holder[i] == who.Participant && h.inTrade[i] == nil && !h.frozen[i]
	}
	if (err == nil) != can {
		rt.Fatalf("offer by %s of %d-%d to %q: %v; the model says %t", who.Participant, d.a, d.b, d.receiver, err, can)
	}
	if err != nil {
		return
	}
	d.TradeView = o.Trades[0]
	h.r.until("the offer is on the ledger", func() bool { return h.r.trade(who, d.TradeID).State == "offered" })
	h.open(d)
}

func (h *history) open(d *deal) {
	d.state = "offered"
	h.deals = append(h.deals, d)
	for i := d.a; i <= d.b; i++ {
		h.inTrade[i] = d
	}
}

// end confirms, declines, cancels or returns a trade.
func (h *history) end(rt *rapid.T, what string, who transfer.Caller, d *deal) {
	ctx, r := h.r.ctx, h.r
	named, code, six := d.receiver != "", d.Code, last6(h.base+d.a)
	if named {
		code, six = "", ""
		if rapid.IntRange(0, 4).Draw(rt, "by the one who is named") > 0 && what != "cancel" {
			who = h.caller(d.receiver)
		}
	}
	if what == "cancel" && rapid.Bool().Draw(rt, "by its seller") {
		who = d.seller
	}
	receives := d.state == "offered" && (named && d.receiver == who.Participant || !named && who.Participant != d.seller.Participant)
	frozen := slices.Contains(h.frozen[d.a:d.b+1], true)
	var act transfer.Act
	var err error
	can, becomes := false, ""
	switch what {
	case "confirm":
		again := d.state == "confirmed" && h.passedBy(d) == who.Participant // his own: he is shown it once more
		act, err = r.Confirm(ctx, who, idem("confirm"), d.TradeID, code, six)
		if again {
			if err == nil && act.State != "committed" {
				rt.Fatalf("confirmed again: %+v", act)
			}
			return
		}
		can, becomes = receives && !frozen, "confirmed"
	case "decline":
		act, err = r.Decline(ctx, who, idem("decline"), d.TradeID, code, six, "NOT_MINE", "")
		can, becomes = receives, "declined"
	case "cancel":
		act, err = r.Cancel(ctx, who, idem("cancel"), d.TradeID)
		can, becomes = d.state == "offered" && who.Participant == d.seller.Participant, "cancelled"
	case "return":
		h.giveBack(rt, d)
		return
	}
	if err == nil {
		act, err = r.Await(ctx, act.ID)
	}
	went := err == nil && act.State == "committed"
	if went != can {
		rt.Fatalf("%s by %s of a trade that is %s: %+v, %v; the model says %t", what, who.Participant, d.state, act, err, can)
	}
	if !went {
		return
	}
	d.state = becomes
	for i := d.a; i <= d.b; i++ {
		h.inTrade[i] = nil
		if becomes == "confirmed" {
			h.holder[i] = who.Participant
			h.passed[i] = append(h.passed[i], d.TradeID)
		}
	}
}

// passedBy is who got the cards of a confirmed deal.
func (h *history) passedBy(d *deal) string { return h.r.trade(d.seller, d.TradeID).ReceiverID }

// giveBack offers the cards of a deal back. Whether they are returnable is the ledger's to know, by the lots; here it is
// only known when they are certainly not.
func (h *history) giveBack(rt *rapid.T, d *deal) {
	if d.state != "confirmed" {
		return
	}
	who := h.caller(h.passedBy(d))
	can := true
	for i := d.a; i <= d.b; i++ {
		can = can && h.holder[i] == who.Participant && h.inTrade[i] == nil && !h.frozen[i] && h.passed[i][len(h.passed[i])-1] == d.TradeID
	}
	act, err := h.r.Return(h.r.ctx, who, idem("return"), d.TradeID, "")
	if err != nil || act.State != "committed" {
		if err == nil && act.Error == nil {
			rt.Fatalf("return: %+v", act)
		}
		return
	}
	if !can {
		rt.Fatalf("returned what he can't have: %+v", act)
	}
	page, err := h.r.Trades(h.r.ctx, who, transfer.TradeFilter{Side: "seller", State: "offered"})
	if err != nil {
		rt.Fatal(err)
	}
	for _, v := range page.Items {
		if v.Reverses == d.TradeID {
			h.open(&deal{TradeView: v, a: d.a, b: d.b, seller: who, receiver: d.seller.Participant})
			return
		}
	}
	rt.Fatalf("no trade returns %s", d.TradeID)
}

// freeze freezes or thaws a single card, out of whatever lot it is in.
func (h *history) freeze(rt *rapid.T, on bool) {
	i := rapid.IntRange(0, historyCards-1).Draw(rt, "card")
	do := h.r.Unfreeze
	if on {
		do = h.r.Freeze
	}
	act, err := do(h.r.ctx, carrier, idem("freeze"), h.r.lotOf(h.base+i), span(h.base+i, h.base+i))
	if err != nil && (on || !slices.Contains([]string{"NOT_FROZEN", "LOT_IN_TRADE"}, transfer.CodeOf(err))) {
		rt.Fatal(err)
	}
	went := act.State == "committed"
	d := h.inTrade[i]
	can := h.frozen[i] != on && (d == nil || d.a == d.b) // of a lot in trade only all
	if went != can {
		rt.Fatalf("freeze %t of a card that is frozen %t, in trade %t: %+v", on, h.frozen[i], d != nil, act)
	}
	if went {
		h.frozen[i] = on
	}
}

// merge joins two of somebody's lots, if they can be; it changes nobody's cards.
func (h *history) merge(rt *rapid.T, who transfer.Caller) {
	page, err := h.r.SearchCards(h.r.ctx, who, transfer.CardFilter{Start: id(h.base), End: id(h.base + historyCards - 1), Status: "OWNED"})
	if err != nil {
		rt.Fatal(err)
	}
	var lots []string
	for _, x := range page.Items {
		if !slices.Contains(lots, x.LotHash) {
			lots = append(lots, x.LotHash)
		}
	}
	if who.Role == "consumer" || who.Role == "regulator" || len(lots) < 2 {
		return
	}
	act, err := h.r.Merge(h.r.ctx, who, idem("merge"), lots[:2])
	if err == nil {
		act, err = h.r.Await(h.r.ctx, act.ID)
	}
	if err != nil || act.Error != nil && act.Error.Code != "LOT_FROZEN" {
		rt.Fatalf("merge: %+v %+v, %v", act, act.Error, err)
	}
}

func (h *history) caller(participant string) transfer.Caller {
	i := slices.IndexFunc(h.people, func(c transfer.Caller) bool { return c.Participant == participant })
	return h.people[i]
}

// compare demands that every card is where the model has it.
func (h *history) compare(rt *rapid.T) {
	rt.Helper()
	page, err := h.r.SearchCards(h.r.ctx, regulator, transfer.CardFilter{Start: id(h.base), End: id(h.base + historyCards - 1), Limit: 100})
	if err != nil {
		rt.Fatal(err)
	}
	var seen [historyCards]bool
	for _, x := range page.Items {
		for i := range h.holder {
			card := id(h.base + i)
			if card < x.Start || card > x.End {
				continue
			}
			if seen[i] {
				rt.Fatalf("card %d is in two lots", i)
			}
			seen[i] = true
			want := "OWNED"
			if h.inTrade[i] != nil {
				want = "IN_TRADE"
			}
			if x.OwnerID != h.holder[i] || x.Status != want {
				rt.Fatalf("card %d is %s's, %s; the model has it %s's, %s", i, x.OwnerID, x.Status, h.holder[i], want)
			}
		}
	}
	if slices.Contains(seen[:], false) {
		rt.Fatalf("cards are lost: %v", seen)
	}
}

// traces demands that each card's trace is an unbroken chain of exactly the trades that brought it where it is.
func (h *history) traces(rt *rapid.T) {
	for i := range h.holder {
		card, err := h.r.FindCard(h.r.ctx, regulator, id(h.base+i))
		if err != nil {
			rt.Fatal(err)
		}
		tr, err := h.r.Trace(h.r.ctx, regulator, card.CardID)
		if err != nil {
			rt.Fatal(err)
		}
		var trades []string
		for n, hop := range tr.Hops {
			if n > 0 && hop.From != tr.Hops[n-1].To {
				rt.Fatalf("card %d: the chain breaks: %s", i, kinds(tr.Hops))
			}
			if hop.Kind != "ISSUE" {
				trades = append(trades, hop.TradeID)
			}
		}
		// The stock's two come first.
		if tr.Hops[0].Kind != "ISSUE" || len(trades) < 2 || !slices.Equal(trades[2:], h.passed[i]) {
			rt.Fatalf("card %d came by %v, the model saw %v: %s", i, trades, h.passed[i], kinds(tr.Hops))
		}
	}
}
