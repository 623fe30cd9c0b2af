package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// TransRecentHash (paper §2.4.2) turns runs of cards into an offer that wants a signature: the trade, the latest lots that
// cover the cards, and what is left of them. Nothing of it is kept and no card is set aside: a draft that is never signed
// leaves nothing behind. What it was built on may be spent when it comes back.
func (s *Service) TransRecentHash(ctx context.Context, c Caller, in protocol.RecentHash) (protocol.Draft, error) {
	set, err := s.parseSpans(spansOf(in.Segments))
	if err != nil {
		return protocol.Draft{}, err
	}
	if in.ExpiresIn < 0 || in.ExpiresIn > int64(time.Duration(1<<63-1)/time.Millisecond) {
		return protocol.Draft{}, fail("EXPIRY_INVALID")
	}
	asked := OfferInput{Mode: string(in.Mode), To: in.To, ExpiresIn: time.Duration(in.ExpiresIn) * time.Millisecond, Reverses: in.Reverses}
	var d protocol.Draft
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		d, err = s.draftOffer(tx, c, asked, set)
		return err
	})
	return d, err
}

func (s *Service) draftOffer(tx *model.Tx, c Caller, in OfferInput, set iccid.Set) (protocol.Draft, error) {
	o := request.Offer{Seller: c.Participant, Mode: request.Mode(in.Mode), Receiver: in.To}
	if in.Reverses != "" {
		t, err := s.returnable(tx, c, in.Reverses)
		if err != nil {
			return protocol.Draft{}, err
		}
		if in.Mode != string(request.Named) || in.To != "" && in.To != t.Seller {
			return protocol.Draft{}, fail("MODE_INVALID")
		}
		in.To, o.Receiver = t.Seller, t.Seller
	} else if err := sells(c); err != nil {
		return protocol.Draft{}, err
	}
	if _, err := s.offerMode(tx, c, in); err != nil {
		return protocol.Draft{}, err
	}
	if _, err := s.offerable(tx, c.Participant, set); err != nil {
		return protocol.Draft{}, err
	}
	o.OfferedAt = int64(s.now())
	o.ExpiresAt = o.OfferedAt + s.life(in.ExpiresIn).Milliseconds()

	openings := request.Openings{Lots: map[string]request.LotOpening{}, Codes: map[string]request.CodeOpening{}}
	lot := draw(set, s.salt())
	openings.Lots[lot.hash] = lot.opening()
	out := request.Output{Trade: s.newID(), Lot: lot.hash}
	if o.Mode == request.Bearer {
		code, err := s.freeCode(tx, o.OfferedAt, o.Seller, lot.hash)
		if err != nil {
			return protocol.Draft{}, err
		}
		openings.Codes[out.Trade] = code
		out.CodeHash = request.CodeHash(out.Trade, code.Code, code.Salt)
	}
	o.Outputs = []request.Output{out}
	if err := s.draftInputs(tx, &o, set, openings); err != nil {
		return protocol.Draft{}, err
	}
	var body request.Body = o
	if in.Reverses != "" {
		body = request.Return{Offer: o, Reverses: in.Reverses}
	}
	req := request.New(s.Ledger.Channel(), body)
	return protocol.Draft{
		Contract: req.Contract, Function: req.Function, Args: string(req.Args), RequestID: req.ID(), Openings: openings, Count: set.Count(),
	}, nil
}

// draftInputs chooses the seller's lots that hold the cards, and draws what is left of each.
func (s *Service) draftInputs(tx *model.Tx, o *request.Offer, set iccid.Set, openings request.Openings) error {
	runs, err := tx.LiveSegmentsOwned(o.Seller, set)
	if err != nil {
		return err
	}
	_, hashes, err := cover(set.Rule, runs)
	if err != nil {
		return err
	}
	for _, h := range hashes {
		l, have, err := s.lotCards(tx, h)
		if err != nil {
			return err
		}
		if l.HeldBy != "" {
			return fail("LOT_BUSY")
		}
		if openings.Lots[h], err = s.lotOpening(tx, l); err != nil {
			return err
		}
		o.Inputs = append(o.Inputs, h)
		for rest, err := range remainders(have, set) {
			if err != nil {
				return err
			}
			d := draw(rest, s.salt())
			openings.Lots[d.hash] = d.opening()
			o.Remainders = append(o.Remainders, d.hash)
		}
	}
	if len(o.Remainders) > maxLots {
		return fail("CARDS_IN_TOO_MANY_LOTS").With("limit", maxLots)
	}
	return nil
}

// returnable finds the trade that the caller may give back. The ledger checks the days allowed, and which lots came by it.
func (s *Service) returnable(tx *model.Tx, c Caller, trade string) (model.Trade, error) {
	t, err := tx.Trade(trade)
	switch {
	case errors.Is(err, model.ErrNotFound) || err == nil && t.Receiver != c.Participant:
		err = fail("TRADE_NOT_FOUND")
	case err == nil && t.State != model.TradeConfirmed:
		err = fail("NOT_RETURNABLE")
	}
	return t, err
}

// remainders are what is left of a lot's cards without others, cut as a lot may be. Usually it is one lot. A card out of the
// middle of a lot that has as many segments as a lot may have leaves more of them, and so more lots.
func remainders(have, without iccid.Set) func(yield func(iccid.Set, error) bool) {
	return func(yield func(iccid.Set, error) bool) {
		for segs := range slices.Chunk(have.Minus(without).Segments(), lotSegments) {
			if !yield(iccid.NewSet(have.Rule, segs...)) {
				return
			}
		}
	}
}

// opening is what opens the lot's hash.
func (d drawn) opening() request.LotOpening {
	return request.LotOpening{Rule: string(d.cards.Rule), Salt: d.salt, Canonical: d.cards.Canonical()}
}

// freeCode draws a code that no live trade has. Of some 10^12 codes a few thousand are live: a second round is rare, a third
// one never.
func (s *Service) freeCode(tx *model.Tx, offeredAt int64, seller, lot string) (request.CodeOpening, error) {
	for range 8 {
		salt := make([]byte, 16)
		fill(s.Random, salt)
		o := request.CodeOpening{Salt: salt, Code: request.TradeCode(offeredAt, seller, lot, salt)}
		index := s.Vault.Index("code", o.Code)
		live, err := tx.LiveCodes([]string{index})
		if err != nil || !live[index] {
			return o, err
		}
	}
	return request.CodeOpening{}, failf("UNAVAILABLE", "no free trade code")
}

// spansOf reads a terminal's spans.
func spansOf(in []protocol.Span) []Span {
	out := make([]Span, len(in))
	for i, s := range in {
		out[i] = Span{Start: s.Start, End: s.End}
	}
	return out
}

// protocolSpans writes a set as terminals read it.
func protocolSpans(list []Span) []protocol.Span {
	out := make([]protocol.Span, len(list))
	for i, s := range list {
		if out[i].Start = s.Start; s.End != s.Start {
			out[i].End = s.End
		}
	}
	return out
}

// parties names participants.
func parties(tx *model.Tx, ids ...string) (map[string]protocol.Party, error) {
	out := map[string]protocol.Party{}
	for _, id := range ids {
		if _, ok := out[id]; ok || id == "" {
			continue
		}
		p, err := tx.Participant(id)
		if err != nil {
			return nil, fmt.Errorf("party of a trade: %w", err)
		}
		out[id] = protocol.Party{ID: p.ID, Name: person(map[string]string{p.ID: p.Name}, p.ID), Role: request.Role(p.Role)}
	}
	return out, nil
}
