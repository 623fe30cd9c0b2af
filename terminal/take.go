package terminal

import (
	"context"
	"slices"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// Incoming is a trade that the terminal's organisation may confirm, opened and checked.
type Incoming struct {
	protocol.Offered
	Cards iccid.Set
	ask   protocol.ConfirmAsk
}

// OpenOffer opens a trade: by its ID, or by its code and the last six characters of a card in it. It recomputes the lot's hash
// from its cards. Errors: OFFERED_WRONG, OFFER_EXPIRED, and what the platform refuses.
func (t *Terminal) OpenOffer(ctx context.Context, ask protocol.ConfirmAsk) (Incoming, error) {
	var o protocol.Offered
	if err := t.client.post(ctx, protocol.PathConfirm, ask, &o); err != nil {
		return Incoming{}, err
	}
	set, hash, err := o.Opening.Set()
	switch {
	case err != nil || hash != o.Lot:
		return Incoming{}, failf("OFFERED_WRONG", "the opening doesn't give the lot's hash")
	case !slices.EqualFunc(Spans(set), o.Segments, sameSpan) || set.Count() != o.Count:
		return Incoming{}, failf("OFFERED_WRONG", "the cards shown are not the lot's")
	case ask.Trade != "" && o.Trade != ask.Trade || !tradeName.MatchString(o.Trade):
		return Incoming{}, failf("OFFERED_WRONG", "another trade than was asked for")
	case ask.ICCIDLast6 != "" && !set.HasLast6(ask.ICCIDLast6):
		return Incoming{}, failf("OFFERED_WRONG", "no card of it ends as was asked")
	case o.ExpiresAt <= t.now().UnixMilli():
		return Incoming{}, Refusal("OFFER_EXPIRED")
	}
	o.Segments = Spans(set)
	return Incoming{o, set, ask}, nil
}

// sameSpan: a platform may write the end of a run of one card, too.
func sameSpan(own, told protocol.Span) bool {
	return own == told || own.End == "" && told == protocol.Span{Start: own.Start, End: own.Start}
}

// Together are the cards of several trades. Errors: RULE_MISMATCH, ICCID_TOO_MANY_SEGMENTS, and ICCID_DUPLICATE, which an honest
// ledger doesn't allow.
func Together(trades []Incoming) (all iccid.Set, err error) {
	for _, in := range trades {
		if all, err = all.Union(in.Cards); err != nil {
			return all, err
		}
	}
	return all, nil
}

// Take signs for each trade that its cards have come in, and queues all of it, in the place of the scans; of may be nil. Which
// cards, the person has scanned: r must be right, and hold those of every trade. Errors: GOODS_WRONG.
func (t *Terminal) Take(r *Receipt, of *Tally, trades ...Incoming) ([]Entry, error) {
	var list []Entry
	for _, in := range trades {
		if !r.Right() || !r.expected.Covers(in.Cards) {
			return nil, Refusal("GOODS_WRONG")
		}
		body := request.Confirm{Trade: in.Trade, Lot: in.Lot, Receiver: t.profile.Device.Participant.ID}
		e := t.endOf(in)
		e.Gains = []protocol.StockLot{{
			Lot: in.Lot, Opening: in.Opening, Segments: in.Segments, Count: in.Count, Restrictions: in.Restrictions, RetailPolicy: in.RetailPolicy,
			Trade: in.Trade, Since: t.now().UnixMilli(),
		}}
		e, err := t.signed(request.New(t.profile.Channel, body), t.endUntil(in), e, in.submit())
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return t.state.Enqueue(of, list...)
}

// Decline signs for each trade that its cards go back, for a reason of request.Reasons, and queues all of it, in the place of the
// scans; of may be nil. Errors: REASON_INVALID.
func (t *Terminal) Decline(reason string, of *Tally, trades ...Incoming) ([]Entry, error) {
	if !request.Reasons[reason] {
		return nil, Refusal("REASON_INVALID")
	}
	var list []Entry
	for _, in := range trades {
		body := request.Decline{Trade: in.Trade, Receiver: t.profile.Device.Participant.ID, Reason: reason}
		e := t.endOf(in)
		e.Reason = reason
		e, err := t.signed(request.New(t.profile.Channel, body), t.endUntil(in), e, in.submit())
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return t.state.Enqueue(of, list...)
}

func (t *Terminal) endOf(in Incoming) Entry {
	return Entry{Count: in.Count, Party: in.Seller.ID, Trade: in.Trade}
}

// endUntil: a signature that ends a trade is good for as long as the trade, which the contract allows however long that is.
func (t *Terminal) endUntil(in Incoming) int64 { return in.ExpiresAt }

// submit carries the code on, where the trade was opened by one.
func (in Incoming) submit() protocol.Submit {
	return protocol.Submit{Code: in.ask.Code, ICCIDLast6: in.ask.ICCIDLast6}
}
