package transfer

import (
	"context"
	"errors"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// TradeView is a trade as its sides see it. Code is there for the seller only, and only while it can be used.
type TradeView struct {
	TradeID      string
	Mode         string
	Code         string
	SellerID     string
	SellerName   string
	ReceiverID   string
	ReceiverName string
	Segments     []Span
	Count        uint64
	State        string
	ExpiresAt    time.Time
	OfferedAt    time.Time
	OfferTx      string
	OfferBlock   uint64
	EndTx        string
	EndBlock     uint64
	EndedAt      time.Time
	Reason       string
	ReasonText   string
	Reverses     string
	LotHash      string
}

func (s *Service) tradeView(tx *model.Tx, c Caller, t model.Trade) (TradeView, error) {
	_, set, err := s.lotCards(tx, t.LotHash)
	if err != nil {
		return TradeView{}, err
	}
	ids := []string{t.Seller}
	if t.Receiver != "" {
		ids = append(ids, t.Receiver)
	}
	names, err := tx.ParticipantNames(ids)
	if err != nil {
		return TradeView{}, err
	}
	v := TradeView{
		TradeID: t.ID, Mode: t.Mode, SellerID: t.Seller, SellerName: names[t.Seller], ReceiverID: t.Receiver, ReceiverName: names[t.Receiver],
		Segments: spans(set), Count: set.Count(), State: string(t.State), ExpiresAt: t.ExpiresAt.Time(), OfferedAt: t.OfferedAt.Time(),
		OfferTx: t.OfferTx, OfferBlock: uint64(t.OfferBlock), EndTx: t.EndTx, EndBlock: uint64(t.EndBlock), EndedAt: t.EndedAt.Time(),
		Reason: t.ReasonCode, Reverses: t.Reverses, LotHash: t.LotHash,
	}
	if c.Participant == t.Seller && t.LiveCode != "" && t.CodeSealed != nil {
		o, err := s.codeOpening(t)
		if err != nil {
			return v, err
		}
		v.Code = o.Code
	}
	if t.ReasonTextSealed != nil {
		text, err := s.Vault.Open("reason/"+t.ID, t.ReasonTextSealed)
		if err != nil {
			return v, err
		}
		v.ReasonText = string(text)
	}
	return v, nil
}

// batch shows the trades of an offer, in the order of their cards.
func (s *Service) batch(ctx context.Context, c Caller, act string) ([]TradeView, error) {
	var out []TradeView
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		out = out[:0]
		a, err := tx.Act(act)
		if err != nil {
			return err
		}
		f, err := s.fieldsOf(a)
		if err != nil {
			return err
		}
		if f.Offer == nil {
			return fail("IDEMPOTENCY_KEY_REUSED")
		}
		for _, id := range f.Offer.Trades {
			t, err := tx.Trade(id)
			if err != nil {
				return err
			}
			v, err := s.tradeView(tx, c, t)
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return nil
	})
	return out, err
}

// TradeFilter narrows a list of trades.
type TradeFilter struct {
	Side   string // seller, receiver, or "" for both
	State  string
	Query  string
	Cursor string
	Limit  int
}

// Trades lists the trades of the caller's organisation, newest first.
func (s *Service) Trades(ctx context.Context, c Caller, f TradeFilter) (Page[TradeView], error) {
	var out Page[TradeView]
	filter := model.TradeFilter{Participant: c.Participant, Side: model.Side(f.Side), Q: f.Query}
	if f.Side != "" && f.Side != string(model.Seller) && f.Side != string(model.Receiver) {
		return out, fail("BAD_REQUEST")
	}
	if f.State != "" {
		filter.States = []model.TradeState{model.TradeState(f.State)}
	}
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.ListTrades(filter, f.Cursor, f.Limit)
		if err != nil {
			return err
		}
		out = Page[TradeView]{Next: page.Next}
		for _, t := range page.Items {
			v, err := s.tradeView(tx, c, t)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, v)
		}
		return nil
	})
	return out, cursorError(err)
}

// GetTrade shows one trade to its sides, and to regulators.
func (s *Service) GetTrade(ctx context.Context, c Caller, id string) (TradeView, error) {
	var out TradeView
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		t, err := tx.Trade(id)
		if errors.Is(err, model.ErrNotFound) || err == nil && t.Seller != c.Participant && t.Receiver != c.Participant && c.Role != request.Regulator {
			return fail("TRADE_NOT_FOUND")
		}
		if err != nil {
			return err
		}
		out, err = s.tradeView(tx, c, t)
		return err
	})
	return out, err
}
