package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// longestWait is how long a signature may wait in the queue: a day less than the contract's 7, for clocks.
const longestWait = 6 * 24 * time.Hour

// Order is what a person at the terminal wants to sell, or to give back.
type Order struct {
	Cards     iccid.Set
	To        string // participant; empty for whoever has the code
	Reverses  string // trade, for a return
	ExpiresIn time.Duration
	Offline   bool // draft it here, without asking
}

// Prepare has an offer drafted and checks it: by the platform, or by the terminal where there is no network, or where one trade
// can't hold the cards, which the platform would draft one trade of. here says that it was the terminal. Nothing is signed yet.
// Errors: those of [Wanted.Check], [Wanted.Draft], and what the platform refuses.
func (t *Terminal) Prepare(ctx context.Context, o Order) (c Checked, here bool, err error) {
	w := Wanted{
		Channel: t.profile.Channel, Seller: t.profile.Device.Participant.ID, Cards: o.Cards, Mode: request.Named, To: o.To, Reverses: o.Reverses,
		ExpiresIn: o.ExpiresIn, Now: t.now(),
	}
	if o.To == "" {
		w.Mode = request.Bearer
	}
	var d protocol.Draft
	if here = o.Offline || w.trades() > 1; !here {
		err = t.client.post(ctx, protocol.PathRecentHash, protocol.RecentHash{
			Segments: Spans(o.Cards), Mode: w.Mode, To: w.To, ExpiresIn: w.ExpiresIn.Milliseconds(), Reverses: w.Reverses,
		}, &d)
		if errors.Is(err, Refusal("OFFLINE")) {
			here, err = true, nil
		}
	}
	if here && err == nil {
		var stock []Lot
		if stock, err = t.state.Stock(); err == nil {
			d, err = w.Draft(stock, t.random)
		}
	}
	if err != nil {
		return Checked{}, here, err
	}
	c, err = w.Check(d)
	return c, here, err
}

// Spans writes a set as the protocol does.
func Spans(set iccid.Set) []protocol.Span {
	spans := make([]protocol.Span, 0, set.Len())
	for _, s := range set.Segments() {
		span := protocol.Span{Start: set.Rule.Format(s.First())}
		if s.Count() > 1 {
			span.End = set.Rule.Format(s.Last())
		}
		spans = append(spans, span)
	}
	return spans
}

// Sell signs a checked offer and puts it into the queue, in the place of the scans that it was made of; of may be nil. Errors:
// REQUEST_TOO_LONG, and those of [State.Enqueue].
func (t *Terminal) Sell(c Checked, of *Tally) (Entry, error) {
	e := Entry{Count: c.Count(), Party: c.Offer.Receiver, Trade: c.Trade(), Code: c.Parts[0].Code, Spends: c.Offer.Inputs}
	if len(c.Parts) > 1 {
		e.Parts = c.Parts
	}
	known, err := all[protocol.StockLot](t.state, bucketStock)
	if err != nil {
		return Entry{}, err
	}
	like := map[string]protocol.StockLot{}
	for _, l := range known {
		like[l.Lot] = l
	}
	for _, r := range c.Rest {
		l := protocol.StockLot{Lot: r.Lot, Opening: r.Opening, Segments: Spans(r.Cards), Count: r.Cards.Count(), Since: t.now().UnixMilli()}
		for _, h := range c.Offer.Inputs { // a remainder is like the lots it comes from
			if of, ok := like[h]; ok {
				l.Issuer, l.Restrictions, l.RetailPolicy, l.Trade = of.Issuer, of.Restrictions, of.RetailPolicy, of.Trade
			}
		}
		e.Gains = append(e.Gains, l)
	}
	until := min(c.Offer.ExpiresAt, t.now().Add(longestWait).UnixMilli())
	if e, err = t.signed(c.Request, until, e, protocol.Submit{Openings: &c.Openings}); err != nil {
		return Entry{}, err
	}
	return one(t.state.Enqueue(of, e))
}

func one(list []Entry, err error) (Entry, error) {
	if err != nil {
		return Entry{}, err
	}
	return list[0], nil
}

// maxRequest is the longest body that the platform takes, in bytes. A longer one would be refused by nobody's signature, and so
// wait in the queue for ever.
const maxRequest = 1 << 20

// signed signs a request and makes of it an entry for the queue, with its openings, as it will be sent.
func (t *Terminal) signed(req request.Request, until int64, e Entry, in protocol.Submit) (Entry, error) {
	sig, err := t.sign(req, until)
	if err != nil {
		return Entry{}, err
	}
	in.Contract, in.Function, in.Args, in.Signature = req.Contract, req.Function, string(req.Args), sig
	if e.Body, err = json.Marshal(in); err != nil {
		return Entry{}, err
	}
	if len(e.Body) > maxRequest {
		return Entry{}, Refusal("REQUEST_TOO_LONG")
	}
	e.RequestID, e.Function, e.NotAfter, e.QueuedAt = req.ID(), req.Function, until, t.now().UnixMilli()
	return e, nil
}
