package transfer_test

import (
	"context"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// terminalDeed is something that a terminal submits, on a card of its own.
type terminalDeed struct {
	name string
	// signed makes the submission; v is a trade to the terminal's organisation, by its code if it has one.
	signed func(d *terminal, card int, v transfer.TradeView) protocol.Submit
	trade  func(seller *terminal, card int) transfer.TradeView // nil: none is needed
	ends   string                                              // the trade's state once it is done
}

var terminalDeeds = []terminalDeed{
	{"offer", func(d *terminal, card int, _ transfer.TradeView) protocol.Submit {
		sub, _ := d.drafted(protocol.RecentHash{Segments: boxed(5000+card, 5000+card), Mode: request.Bearer})
		return sub
	}, nil, ""},
	{"confirm", func(d *terminal, _ int, v transfer.TradeView) protocol.Submit { return d.takes(v, "", "") },
		func(seller *terminal, card int) transfer.TradeView {
			return seller.offers(retailer.Participant, 20_000+card, 20_000+card)
		}, "confirmed"},
	{"confirm by a code", func(d *terminal, card int, v transfer.TradeView) protocol.Submit {
		return d.takes(v, v.Code, last6(20_000+card))
	}, func(seller *terminal, card int) transfer.TradeView {
		return seller.offers("", 20_000+card, 20_000+card)
	}, "confirmed"},
	{"decline", func(d *terminal, _ int, v transfer.TradeView) protocol.Submit {
		return d.signed(request.Decline{Trade: v.TradeID, Receiver: d.Participant, Reason: "OTHER"})
	}, func(seller *terminal, card int) transfer.TradeView {
		return seller.offers(retailer.Participant, 20_000+card, 20_000+card)
	}, "declined"},
}

// submittedWays are the points that a submitted request comes by.
var submittedWays = []string{
	transfer.AtAccepting, transfer.AtAccepted, transfer.AtLeased, transfer.AtJournaled, transfer.AtPrepared, transfer.AtEndorsed, transfer.AtLeaving,
	transfer.AtHeard, transfer.AtBlock, transfer.AtSettling, transfer.AtSettled,
}

// ways are the points that a deed comes by: what makes no lot has nothing for the journal, what has a code gets a ticket.
func (d terminalDeed) ways() (list []string) {
	for _, p := range submittedWays {
		if p != transfer.AtJournaled || d.name == "offer" {
			list = append(list, "transfer: "+p)
		}
	}
	if d.name == "confirm by a code" {
		list = append(list, "transfer: "+transfer.AtSigned, "transfer: "+transfer.AtStored)
	}
	return list
}

// Killed at any point of its way, or with the database put back to a copy from there after it has gone through, a request that
// is submitted again is the one act that it was, and nothing is carried out twice.
func TestSubmittedThroughDeathAndRestore(t *testing.T) {
	t.Parallel()
	for _, d := range terminalDeeds {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			death := &death{}
			r := rigOn(t)
			r.at = death.at
			r.config = func(c *transfer.Config) { c.Trade.SweepInterval = time.Hour }
			stocked.copyTo(r)
			r.start(t)
			shop, dealer := r.terminal(retailer), r.terminal(distributor)
			for n, point := range d.ways() {
				var v transfer.TradeView
				if d.trade != nil {
					v = d.trade(dealer, n)
				}
				sub := d.signed(shop, n, v)
				copied := r.copiedAt(death, point, func(r *rig) { _, _ = r.SubmitSigned(r.ctx, shop.Caller, sub) })
				if n%2 == 0 {
					// It goes on by itself, or is submitted again.
					r.noneUnfinished()
				}
				end := shop.committed(sub)
				height, err := r.file.Height(r.ctx)
				check(t, err)
				r.restore(copied)
				if now := shop.committed(sub); now != end {
					t.Errorf("%s: it is %+v, and was %+v before the restore", point, now, end)
				}
				if asked, err := r.TerminalRequest(r.ctx, shop.Caller, end.RequestID); err != nil || asked != end {
					t.Errorf("%s: asked, it is %+v, %v", point, asked, err)
				}
				if d.ends != "" {
					if now := r.trade(dealer.Caller, v.TradeID); now.State != d.ends || now.EndTx != end.TxID {
						t.Errorf("%s: the trade is %s by %s", point, now.State, now.EndTx)
					}
				}
				r.noneUnfinished()
				if now, err := r.file.Height(r.ctx); err != nil || now != height {
					t.Errorf("%s: the ledger has grown from %d to %d blocks, %v", point, height, now, err)
				}
				if r.fsck(); t.Failed() {
					t.Fatalf("at %q", point)
				}
			}
		})
	}
}

// A database from before a request was submitted hears of it from the ledger, opens what it made with the journal, and knows
// it again when it is submitted again.
func TestSubmittedBeforeTheCopy(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	waiting := dealer.offers(shop.Participant, 20_001, 20_001)
	copied := r.backUp()

	sub, offer := shop.drafted(protocol.RecentHash{Segments: boxed(1, 2), Mode: request.Bearer})
	offered := shop.committed(sub)
	take := shop.takes(waiting, "", "")
	taken := shop.committed(take)
	merge := shop.merged(2)
	merged := shop.committed(merge)
	code := r.trade(shop.Caller, offer.Outputs[0].Trade).Code
	r.restore(copied)

	for _, was := range []struct {
		sub protocol.Submit
		end protocol.Submitted
	}{{sub, offered}, {take, taken}, {merge, merged}} {
		for range 2 {
			if now := shop.committed(was.sub); now != was.end {
				t.Errorf("%s is %+v, and was %+v", was.sub.Function, now, was.end)
			}
		}
	}
	if now := r.trade(shop.Caller, offer.Outputs[0].Trade); now.Code != code || now.State != "offered" {
		t.Errorf("the trade is %+v", now)
	}
	r.confirm(r.consumer("ann"), transfer.TradeView{TradeID: offer.Outputs[0].Trade, Code: code}, 1)
	r.noneUnfinished()
	r.fsck()
}

// merged is the merger of the terminal's smallest lots.
func (d *terminal) merged(n int) protocol.Submit {
	d.r.t.Helper()
	stock, err := d.r.TerminalStock(d.r.ctx, d.Caller, "", 200)
	check(d.r.t, err)
	if len(stock.Lots) < n {
		d.r.t.Fatalf("the stock is %d lots", len(stock.Lots))
	}
	openings := &request.Openings{Lots: map[string]request.LotOpening{}}
	var inputs []string
	var sets []request.LotOpening
	for _, l := range stock.Lots[:n] {
		inputs, sets = append(inputs, l.Lot), append(sets, l.Opening)
	}
	sub := mergeOf(d, protocol.Submit{Openings: openings}, union(d.r.t, openings, sets...), inputs...)
	return d.signedUntil(sub, d.r.clock.now().Add(time.Hour))
}

// A submitted request has one attempt. What the ledger refuses ends it, and what it had set aside is free again; what the
// ledger doesn't answer is asked about.
func TestSubmittedThroughFaultsOfTheLedger(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	box := protocol.RecentHash{Segments: boxed(1, 10), Mode: request.Named, To: dealer.Participant}

	for _, code := range []string{"INPUT_SPENT", "VERSION_MISMATCH", "REQUEST_EXPIRED", "KEY_INACTIVE"} {
		sub, _ := shop.drafted(box)
		f.next("Offer", 1, refusing(code))
		tries := f.tries("Offer")
		shop.refused("an offer", sub, code)
		shop.refused("the same again", sub, code)
		shop.refused("signed again", shop.signedUntil(sub, r.clock.now().Add(time.Hour)), code)
		if n := f.tries("Offer") - tries; n != 1 {
			t.Errorf("%s: tried %d times", code, n)
		}
	}
	for n, way := range []func(try) (ledger.Commit, error){notSent, notSentAfterAll, lost, unheard, unrecorded, twice} {
		f.next("Offer", 1, way)
		v := dealer.offers(shop.Participant, 20_001+n, 20_001+n)
		f.next("Confirm", 1, way)
		shop.committed(shop.takes(v, "", ""))
	}

	// Who is refused a trade's end may sign it again: its name is that of the trade.
	v := dealer.offers(shop.Participant, 20_100, 20_100)
	first := shop.takes(v, "", "")
	f.next("Confirm", 1, refusing("KEY_INACTIVE"))
	shop.refused("a confirmation", first, "KEY_INACTIVE")
	shop.refused("the same again", first, "KEY_INACTIVE")
	colleague := r.terminal(retailer)
	shop.committed(colleague.takes(v, "", ""))

	// The same for a trade that a code leads to, whose ticket was there already.
	v = dealer.offers("", 20_101, 20_101)
	f.next("Confirm", 1, refusing("REQUEST_EXPIRED"))
	shop.refused("a confirmation by a code", shop.takes(v, v.Code, last6(20_101)), "REQUEST_EXPIRED")
	shop.committed(shop.takes(v, v.Code, last6(20_101)))
	r.noneUnfinished()
	r.fsck()
}

// A confirmation that was sent and lost, and whose signature ends before its trade does, is given up when it can't land any
// more; the trade is open again.
func TestLostSubmissionEndsWithItsSignature(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) { c.Relay.AnswerWithin = 10 * time.Millisecond })
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	sub, offer := dealer.drafted(protocol.RecentHash{Segments: boxed(20_001, 20_001), Mode: request.Named, To: shop.Participant, ExpiresIn: (48 * time.Hour).Milliseconds()})
	_, err := r.SubmitSigned(r.ctx, dealer.Caller, sub)
	check(t, err)
	v := r.offered(dealer.Caller, r.trade(dealer.Caller, offer.Outputs[0].Trade))

	f.next("Confirm", 1, lost)
	f.next("Confirm", 1_000_000, refusing("REQUEST_EXPIRED"))
	take := shop.takes(v, "", "")
	got, err := r.SubmitSigned(r.ctx, shop.Caller, take)
	check(t, err)
	r.until("it was lost, and refused", func() bool { return f.tries("Confirm") > 1 })
	r.clock.forward(r.Service.Relay.Grace + time.Minute)
	r.until("it is given up", func() bool {
		got, err = r.TerminalRequest(context.WithoutCancel(r.ctx), shop.Caller, got.RequestID)
		check(t, err)
		return got.State == "failed"
	})
	if got.Error.Code != "REQUEST_EXPIRED" || r.trade(dealer.Caller, v.TradeID).State != "offered" {
		t.Errorf("it is %+v; the trade is %s", got.Error, r.trade(dealer.Caller, v.TradeID).State)
	}
	r.fsck()
}
