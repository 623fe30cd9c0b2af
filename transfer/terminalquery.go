package transfer

import (
	"context"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// TerminalStock lists the lots of the caller's organisation that are free, opened, newest first: what a terminal needs to draft
// an offer without a network.
func (s *Service) TerminalStock(ctx context.Context, c Caller, cursor string, limit int) (protocol.Stock, error) {
	var out protocol.Stock
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		out = protocol.Stock{Lots: []protocol.StockLot{}}
		for at := cursor; len(out.Lots) == 0; at = out.Next { // a page of nothing that is free is passed over
			page, err := tx.LotsOwnedBy(c.Participant, at, limit)
			if err != nil {
				return err
			}
			for _, l := range page.Items {
				if l.Status != model.LotOwned || l.HeldBy != "" || len(l.Frozen) > 0 || len(l.SaltSealed) == 0 {
					continue
				}
				v, err := s.stockLot(tx, l)
				if err != nil {
					return err
				}
				out.Lots = append(out.Lots, v)
			}
			if out.Next = page.Next; out.Next == "" {
				return nil
			}
		}
		return nil
	})
	return out, cursorError(err)
}

func (s *Service) stockLot(tx *model.Tx, l model.Lot) (protocol.StockLot, error) {
	opening, err := s.lotOpening(tx, l)
	if err != nil {
		return protocol.StockLot{}, err
	}
	_, set, err := s.lotCards(tx, l.Hash)
	if err != nil {
		return protocol.StockLot{}, err
	}
	who, err := parties(tx, l.Issuer)
	return protocol.StockLot{
		Lot: l.Hash, Opening: opening, Segments: protocolSpans(spans(set)), Count: set.Count(), Issuer: who[l.Issuer], Restrictions: l.Restrictions,
		RetailPolicy: request.RetailPolicy(l.RetailPolicy), Trade: l.TradeID, Since: int64(l.OwnedSince),
	}, err
}

// TerminalTrades lists trades of the caller's organisation, newest first: those that wait for their receiver, unless another
// state is asked for.
func (s *Service) TerminalTrades(ctx context.Context, c Caller, state, side, cursor string, limit int) (protocol.Trades, error) {
	if state == "" {
		state = string(model.TradeOffered)
	}
	page, err := s.Trades(ctx, c, TradeFilter{Side: side, State: state, Cursor: cursor, Limit: limit})
	if err != nil {
		return protocol.Trades{}, err
	}
	out := protocol.Trades{Trades: []protocol.Trade{}, Next: page.Next}
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		out.Trades = out.Trades[:0]
		for _, v := range page.Items {
			who, err := parties(tx, v.SellerID, v.ReceiverID)
			if err != nil {
				return err
			}
			t := protocol.Trade{
				Trade: v.TradeID, State: v.State, Mode: request.Mode(v.Mode), Lot: v.LotHash, Segments: protocolSpans(v.Segments), Count: v.Count,
				Seller: who[v.SellerID], Code: v.Code, Reverses: v.Reverses, Reason: v.Reason, OfferedAt: int64(model.MillisOf(v.OfferedAt)),
				ExpiresAt: int64(model.MillisOf(v.ExpiresAt)), EndedAt: int64(model.MillisOf(v.EndedAt)), OfferTx: v.OfferTx, EndTx: v.EndTx,
			}
			if p, ok := who[v.ReceiverID]; ok {
				t.Receiver = &p
			}
			out.Trades = append(out.Trades, t)
		}
		return nil
	})
	return out, err
}

// TerminalParticipants lists to whom the caller's organisation can sell: every other organisation that holds cards and that
// nobody has frozen.
func (s *Service) TerminalParticipants(ctx context.Context, c Caller) (protocol.Participants, error) {
	var out protocol.Participants
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		out = protocol.Participants{Participants: []protocol.Party{}}
		list, err := tx.Participants("")
		if err != nil {
			return err
		}
		for _, p := range list {
			if p.ID == c.Participant || p.Kind != model.Organisation || p.State != model.ParticipantRegistered || len(p.Frozen) > 0 {
				continue
			}
			if sells(Caller{Role: request.Role(p.Role)}) == nil {
				out.Participants = append(out.Participants, protocol.Party{ID: p.ID, Name: p.Name, Role: request.Role(p.Role)})
			}
		}
		return nil
	})
	return out, err
}

// TerminalTrace shows the life of a card (paper §2.4.4), as far as the caller's organisation was a side of it.
func (s *Service) TerminalTrace(ctx context.Context, c Caller, typed string) (protocol.Trace, error) {
	card, issuer, err := s.Plan.Parse(typed)
	if err != nil {
		return protocol.Trace{}, err
	}
	out := protocol.Trace{ICCID: issuer.Rule.Format(card), Hops: []protocol.Hop{}}
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		hops, l, err := s.hops(tx, c, issuer.Rule, card)
		if err != nil {
			return err
		}
		out.Mine, out.Hops = l.Owner == c.Participant, out.Hops[:0]
		if len(hops) == 0 && !out.Mine {
			return errNoSuchCard
		}
		for _, h := range hops {
			out.Hops = append(out.Hops, protocol.Hop{
				Kind: h.Kind, From: h.From, To: h.To, OfferedAt: int64(model.MillisOf(h.OfferedAt)), ConfirmedAt: int64(model.MillisOf(h.ConfirmedAt)),
				Device: h.Device, EndDevice: h.EndDevice, TxIDs: h.TxIDs, BlockNumber: h.BlockNumber, Trade: h.TradeID, Lot: h.LotHash,
			})
		}
		return nil
	})
	return out, err
}
