package transfer

import (
	"context"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// TransConfirm (paper §2.4.3) turns the lot of a trade into its cards, for the one who may confirm it: by its ID for whom it
// names, by its code and a card's last six characters for whoever holds both. Callers of the latter have passed the guards
// against guessing, and must not be told apart by what was wrong.
func (s *Service) TransConfirm(ctx context.Context, c Caller, in protocol.ConfirmAsk) (protocol.Offered, error) {
	var v protocol.Offered
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		t, l, err := s.askedTrade(tx, c, in)
		if err != nil {
			return err
		}
		v, err = s.offeredTo(tx, t, l)
		return err
	})
	return v, err
}

func (s *Service) askedTrade(tx *model.Tx, c Caller, in protocol.ConfirmAsk) (model.Trade, model.Lot, error) {
	if in.Code != "" || in.ICCIDLast6 != "" {
		t, l, err := s.byCode(tx, c, in.Code, in.ICCIDLast6)
		if err == nil && in.Trade != "" && t.ID != in.Trade {
			err = errNoSuchCode
		}
		return t, l, err
	}
	t, err := s.namedTrade(tx, c, in.Trade)
	switch {
	case err != nil:
	case t.State == model.TradeOffering:
		err = fail("TRADE_BUSY") // the ledger doesn't have it yet
	case t.State == model.TradeFailed:
		err = fail("TRADE_NOT_FOUND")
	case t.State.Ended() && t.State != model.TradeConfirmed:
		err = fail("TRADE_ENDED").With("state", string(t.State))
	case t.State != model.TradeConfirmed && s.now() >= t.ExpiresAt:
		err = fail("TRADE_EXPIRED")
	}
	if err != nil {
		return t, model.Lot{}, err
	}
	l, err := tx.Lot(t.LotHash)
	return t, l, err
}

func (s *Service) offeredTo(tx *model.Tx, t model.Trade, l model.Lot) (protocol.Offered, error) {
	opening, err := s.lotOpening(tx, l)
	if err != nil {
		return protocol.Offered{}, err
	}
	_, set, err := s.lotCards(tx, l.Hash)
	if err != nil {
		return protocol.Offered{}, err
	}
	who, err := parties(tx, t.Seller, l.Issuer)
	return protocol.Offered{
		Trade: t.ID, Lot: l.Hash, Opening: opening, Segments: protocolSpans(spans(set)), Count: set.Count(), Mode: request.Mode(t.Mode),
		Seller: who[t.Seller], Issuer: who[l.Issuer], OfferedAt: int64(t.OfferedAt), ExpiresAt: int64(t.ExpiresAt), Reverses: t.Reverses,
		Restrictions: l.Restrictions, RetailPolicy: request.RetailPolicy(l.RetailPolicy),
	}, err
}

// acceptSignedEnd accepts the confirmation, refusal or cancellation of a trade as a terminal has signed it. Of a BEARER trade
// only the platform's ticket is missing.
func (s *Service) acceptSignedEnd(tx *model.Tx, c Caller, sub submission, d draft, longest model.Millis) error {
	var t model.Trade
	var to model.TradeState
	var err error
	switch b := sub.body.(type) {
	case request.Confirm:
		if b.Receiver != c.Participant {
			return fail("NOT_RECEIVER")
		}
		if t, err = s.forReceiver(tx, c, b.Trade, sub.code, sub.last6); err == nil && t.LotHash != b.Lot {
			err = fail("OPENING_WRONG").With("trade", t.ID)
		}
		to = model.TradeConfirming
	case request.Decline:
		if b.Receiver != c.Participant {
			return fail("NOT_RECEIVER")
		}
		if !request.Reasons[b.Reason] {
			return fail("REASON_INVALID")
		}
		t, err = s.forReceiver(tx, c, b.Trade, sub.code, sub.last6)
		to = model.TradeDeclining
	case request.Cancel:
		t, err = s.soldBy(tx, c, b.Trade)
		to = model.TradeCancelling
	}
	if err != nil {
		return err
	}
	if notAfter := model.Millis(sub.by.NotAfter); notAfter > max(longest, t.ExpiresAt) {
		return fail("NOT_AFTER_WRONG")
	}
	_, err = s.endTradeBy(tx, c, t, to, d)
	return err
}
