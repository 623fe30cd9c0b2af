package transfer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"cardflow/iccid"
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
	Code   string // of a trade; one that has ended has its code still, though nobody can use it
	Card   string // an ICCID, or its last six characters
	From   time.Time
	To     time.Time // exclusive
	Cursor string
	Limit  int
}

// Trades lists the trades of the caller's organisation, newest first. A page may have fewer than Limit, and there is more
// as long as it has a Next.
func (s *Service) Trades(ctx context.Context, c Caller, f TradeFilter) (Page[TradeView], error) {
	var out Page[TradeView]
	filter := model.TradeFilter{Participant: c.Participant, Side: model.Side(f.Side), Q: f.Query, From: model.MillisOf(f.From), To: model.MillisOf(f.To)}
	if f.Side != "" && f.Side != string(model.Seller) && f.Side != string(model.Receiver) {
		return out, fail("BAD_REQUEST")
	}
	if f.State != "" {
		filter.States = []model.TradeState{model.TradeState(f.State)}
	}
	card, end, err := s.wanted(f.Card)
	if err != nil {
		return out, err
	}
	filter.End = end
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		out = Page[TradeView]{}
		filter := filter
		if err := s.narrow(tx, c, f.Code, card, &filter); err != nil {
			return err
		}
		// Some of those that may have a card with this end have none: a page of nothing but these is passed over.
		for cursor := f.Cursor; len(out.Items) == 0; cursor = out.Next {
			page, err := tx.ListTrades(filter, cursor, f.Limit)
			if err != nil {
				return err
			}
			for _, t := range page.Items {
				has, err := s.hasEnd(tx, t, end)
				if err != nil {
					return err
				}
				if !has {
					continue
				}
				v, err := s.tradeView(tx, c, t)
				if err != nil {
					return err
				}
				out.Items = append(out.Items, v)
			}
			if out.Next = page.Next; out.Next == "" {
				return nil
			}
		}
		return nil
	})
	return out, cursorError(err)
}

// wantedCard is a card whose whole number somebody knows.
type wantedCard struct {
	rule iccid.Rule
	card iccid.Card
}

// wanted reads what somebody typed or scanned of a card: its whole number, or the end of it.
func (s *Service) wanted(typed string) (card *wantedCard, end string, err error) {
	if typed == "" {
		return nil, "", nil
	}
	if t := strings.ToUpper(strings.TrimSpace(typed)); iccid.Last6(t) == t {
		return nil, t, nil
	}
	c, issuer, err := s.Plan.Parse(typed)
	return &wantedCard{issuer.Rule, c}, "", err
}

// narrow leaves the trades of the caller's that had a code, and those that went through a card.
func (s *Service) narrow(tx *model.Tx, c Caller, typed string, card *wantedCard, f *model.TradeFilter) error {
	if typed != "" {
		f.IDs = []string{}
		code, _ := NormaliseCode(typed)
		list, err := tx.TradesByCode(s.Vault.Index("code", code))
		if err != nil {
			return err
		}
		for _, t := range list {
			f.IDs = append(f.IDs, t.ID)
		}
	}
	if card == nil {
		return nil
	}
	runs, err := tx.SegmentsCovering(card.rule, card.card.Head, card.card.Width, card.card.Tail)
	if err != nil {
		return err
	}
	lots := make([]string, len(runs))
	for i, r := range runs {
		lots[i] = r.LotHash
	}
	ids, err := tx.TradesAmong(lots, c.Participant)
	if err != nil {
		return err
	}
	if f.IDs != nil {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(f.IDs, id) })
	}
	f.IDs = ids
	return nil
}

// hasEnd reports whether a card of a trade has this end, if any is asked for.
func (s *Service) hasEnd(tx *model.Tx, t model.Trade, end string) (bool, error) {
	if end == "" {
		return true, nil
	}
	_, set, err := s.lotCards(tx, t.LotHash)
	return set.HasLast6(end), err
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
