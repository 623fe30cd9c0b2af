package transfer

import (
	"context"
	"errors"
	"strings"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Offered is what a buyer sees of a trade before he confirms.
type Offered struct {
	TradeID      string
	SellerName   string
	Segments     []Span
	Count        uint64
	Restrictions []string
	ExpiresAt    time.Time
	Requires     []string // real_name, while he has no approval of the carrier
	CarrierID    string   // who issued the cards
	CarrierName  string
	Confirmation string // the caller's own confirmation, if there is one already
	State        string
}

// errNoSuchCode is the one answer to every code that does not lead this caller to a trade: unknown, misspelt, expired,
// cancelled, used, someone else's, or without the card in hand.
var errNoSuchCode = fail("TRADE_CODE_NOT_FOUND")

// NormaliseCode reads a code as people type it: any case, spaces and hyphens, O for 0, I and L for 1. ok is false if it
// can't be a code.
func NormaliseCode(typed string) (code string, ok bool) {
	if len(typed) > 64 {
		return "", false
	}
	var b strings.Builder
	for _, r := range strings.ToUpper(typed) {
		switch {
		case r == ' ' || r == '-' || r == '\u3000' || r == '\t':
		case r == 'O':
			b.WriteByte('0')
		case r == 'I' || r == 'L':
			b.WriteByte('1')
		case r >= '\uff10' && r <= '\uff19': // full-width digits of a Chinese keyboard
			b.WriteRune(r - '\uff10' + '0')
		case r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' && r != 'U':
			b.WriteRune(r)
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == 8
}

// Lookup leads a buyer from a code and the last six characters of a card he holds to the trade.
func (s *Service) Lookup(ctx context.Context, c Caller, code, last6 string) (Offered, error) {
	var v Offered
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		t, l, err := s.byCode(tx, c, code, last6)
		if err != nil {
			return err
		}
		v, err = s.offered(tx, c, t, l)
		return err
	})
	return v, err
}

// byCode finds the trade that a code leads this caller to. It does the same work whatever is wrong with the code, as
// far as a database lets it; the caller's clock hides the rest.
func (s *Service) byCode(tx *model.Tx, c Caller, typed, last6 string) (model.Trade, model.Lot, error) {
	code, ok := NormaliseCode(typed)
	list, err := tx.TradesByCode(s.Vault.Index("code", code))
	if err != nil {
		return model.Trade{}, model.Lot{}, err
	}
	if !ok {
		return model.Trade{}, model.Lot{}, errNoSuchCode
	}
	for _, t := range list {
		open := t.LiveCode != "" && t.State != model.TradeOffering && s.now() < t.ExpiresAt && t.Seller != c.Participant
		mine := t.State == model.TradeConfirmed && t.Receiver == c.Participant
		if !open && !mine {
			continue
		}
		l, set, err := s.lotCards(tx, t.LotHash)
		if err != nil {
			return t, l, err
		}
		if set.HasLast6(last6) {
			return t, l, nil
		}
	}
	return model.Trade{}, model.Lot{}, errNoSuchCode
}

func (s *Service) offered(tx *model.Tx, c Caller, t model.Trade, l model.Lot) (Offered, error) {
	_, set, err := s.lotCards(tx, l.Hash)
	if err != nil {
		return Offered{}, err
	}
	seller, err := tx.Participant(t.Seller)
	if err != nil {
		return Offered{}, err
	}
	v := Offered{
		TradeID: t.ID, SellerName: seller.Name, Segments: spans(set), Count: set.Count(), Restrictions: l.Restrictions,
		ExpiresAt: t.ExpiresAt.Time(), State: string(t.State),
	}
	names, err := tx.ParticipantNames([]string{l.Issuer})
	if err != nil {
		return v, err
	}
	v.CarrierID, v.CarrierName = l.Issuer, names[l.Issuer]
	if l.RetailPolicy == string(request.RealName) && c.Role == request.Consumer {
		if is, err := s.registered(tx, c.Participant, l.Issuer); err != nil {
			return v, err
		} else if !is {
			v.Requires = []string{"real_name"}
		}
	}
	if t.Receiver == c.Participant || t.State == model.TradeConfirming {
		if a, err := s.ownAct(tx, c, t, "Confirm"); err == nil {
			v.Confirmation = a.ID
		} else if !errors.Is(err, model.ErrNotFound) {
			return v, err
		}
	}
	return v, nil
}

// ownAct finds the caller's own act on a trade, the newest first.
func (s *Service) ownAct(tx *model.Tx, c Caller, t model.Trade, function string) (model.Act, error) {
	page, err := tx.ListActs(model.ActFilter{Function: function, Actor: c.Participant, Subject: t.ID}, "", 10)
	if err != nil {
		return model.Act{}, err
	}
	for _, a := range page.Items {
		if a.State != model.ActFailed {
			return a, nil
		}
	}
	return model.Act{}, model.ErrNotFound
}

// Confirm accepts a trade: by code for whoever holds it and a card of it, without one for the receiver who is named.
// Two who confirm at once have one winner, picked here if they meet here and by the ledger if not.
func (s *Service) Confirm(ctx context.Context, c Caller, idem Idem, tradeID, code, last6 string) (Act, error) {
	body := func(t model.Trade) request.Body {
		return request.Confirm{Trade: t.ID, Lot: t.LotHash, Receiver: c.Participant}
	}
	find := func(tx *model.Tx) (model.Trade, error) {
		t, err := s.forReceiver(tx, c, tradeID, code, last6)
		if err == nil {
			err = s.required(tx, c, t)
		}
		return t, err
	}
	act := s.newID()
	if err := s.authorised(ctx, c, idem, s.onTrade(c, act, "Confirm", find, body)); err != nil {
		return Act{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		t, err := find(tx)
		if err != nil {
			return "", err
		}
		if t, err = tx.LockTrade(t.ID); err != nil { // nobody else's confirmation comes between the look and the move
			return "", err
		}
		if a, err := s.ownAct(tx, c, t, "Confirm"); err == nil {
			return a.ID, nil // he asked before, perhaps on another phone
		} else if !errors.Is(err, model.ErrNotFound) {
			return "", err
		}
		return s.endTrade(tx, c, t, model.TradeConfirming, act, body(t))
	})
	return s.answer(ctx, id, err)
}

// Decline refuses a trade: the cards go back to the seller. reason is a code that goes on the ledger, text stays here.
func (s *Service) Decline(ctx context.Context, c Caller, idem Idem, tradeID, code, last6, reason, text string) (Act, error) {
	if !request.Reasons[reason] || len(text) > 2000 {
		return Act{}, fail("REASON_INVALID")
	}
	body := func(t model.Trade) request.Body {
		return request.Decline{Trade: t.ID, Receiver: c.Participant, Reason: reason}
	}
	find := func(tx *model.Tx) (model.Trade, error) { return s.forReceiver(tx, c, tradeID, code, last6) }
	act := s.newID()
	if err := s.authorised(ctx, c, idem, s.onTrade(c, act, "", find, body)); err != nil {
		return Act{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		t, err := find(tx)
		if err != nil {
			return "", err
		}
		var sealed []byte
		if text != "" {
			if sealed, err = s.Vault.Seal("reason/"+t.ID, []byte(text)); err != nil {
				return "", err
			}
		}
		return s.endTrade(tx, c, t, model.TradeDeclining, act, body(t), func(r *model.Trade) { r.ReasonTextSealed = sealed })
	})
	return s.answer(ctx, id, err)
}

func (s *Service) answer(ctx context.Context, id string, err error) (Act, error) {
	if err != nil {
		return Act{}, err
	}
	a, err := s.act(ctx, id)
	return actView(a), err
}

// forReceiver finds the trade that this caller may take or refuse.
func (s *Service) forReceiver(tx *model.Tx, c Caller, tradeID, code, last6 string) (model.Trade, error) {
	if code != "" || last6 != "" || c.Role == request.Consumer {
		t, _, err := s.byCode(tx, c, code, last6)
		if err == nil && t.ID != tradeID {
			err = errNoSuchCode
		}
		if errors.Is(err, errNoSuchCode) && code == "" && last6 == "" {
			return s.namedTrade(tx, c, tradeID)
		}
		return t, err
	}
	return s.namedTrade(tx, c, tradeID)
}

func (s *Service) namedTrade(tx *model.Tx, c Caller, tradeID string) (model.Trade, error) {
	t, err := tx.Trade(tradeID)
	if errors.Is(err, model.ErrNotFound) || err == nil && (t.Mode != string(request.Named) || t.Receiver != c.Participant) {
		return t, fail("TRADE_NOT_FOUND")
	}
	return t, err
}

// endTrade accepts an act that ends an open trade, and that custody signs.
func (s *Service) endTrade(tx *model.Tx, c Caller, t model.Trade, to model.TradeState, act string, body request.Body, change ...func(*model.Trade)) (string, error) {
	f := fields{Parties: []party{{c.Participant, SlotAccount}}}
	return s.endTradeBy(tx, c, t, to, draft{ID: act, Body: body, Fields: f, Deadline: s.patience()}, change...)
}

// endTradeBy accepts an act that ends an open trade. The row moves by compare-and-swap, so of two acts at once the second
// finds it busy.
func (s *Service) endTradeBy(tx *model.Tx, c Caller, t model.Trade, to model.TradeState, d draft, change ...func(*model.Trade)) (string, error) {
	switch {
	case t.State == model.TradeOffering:
		return "", fail("TRADE_BUSY")
	case t.State.Ended() || t.State == model.TradeFailed:
		return "", fail("TRADE_ENDED").With("state", string(t.State))
	case t.State != model.TradeOffered:
		return "", fail("TRADE_BUSY")
	case to != model.TradeCancelling && s.now() >= t.ExpiresAt:
		return "", fail("TRADE_EXPIRED")
	}
	d.Person, d.Subject = c.Person, t.ID
	if to == model.TradeConfirming || to == model.TradeDeclining {
		if d.Fields.Given == nil || d.Deadline > t.ExpiresAt {
			d.Deadline = t.ExpiresAt
		}
		if t.Mode == string(request.Bearer) {
			// The guards have let him through: this is what the ticket says.
			d.Fields.Ticket = &request.Ticket{Trade: t.ID, Receiver: c.Participant}
		}
	}
	if _, err := tx.MoveTrade(t.ID, model.TradeOffered, to, func(r *model.Trade) {
		r.PendingAct = d.ID
		for _, f := range change {
			f(r)
		}
	}); err != nil {
		if errors.Is(err, model.ErrState) {
			return "", fail("TRADE_BUSY")
		}
		return "", err
	}
	a, err := s.accept(tx, d)
	return a.ID, err
}

// Cancel takes an offer back. Only its seller can.
func (s *Service) Cancel(ctx context.Context, c Caller, idem Idem, tradeID string) (Act, error) {
	find := func(tx *model.Tx) (model.Trade, error) { return s.soldBy(tx, c, tradeID) }
	body := func(t model.Trade) request.Body { return request.Cancel{Trade: t.ID} }
	act := s.newID()
	if err := s.authorised(ctx, c, idem, s.onTrade(c, act, "", find, body)); err != nil {
		return Act{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		t, err := find(tx)
		if err != nil {
			return "", err
		}
		return s.endTrade(tx, c, t, model.TradeCancelling, act, body(t))
	})
	return s.answer(ctx, id, err)
}

// soldBy finds a trade of which the caller is the seller.
func (s *Service) soldBy(tx *model.Tx, c Caller, tradeID string) (model.Trade, error) {
	t, err := tx.Trade(tradeID)
	if errors.Is(err, model.ErrNotFound) || err == nil && t.Seller != c.Participant {
		err = fail("TRADE_NOT_FOUND")
	}
	return t, err
}

// Return offers the cards of a confirmed trade back to the one they came from. The ledger checks the days allowed.
func (s *Service) Return(ctx context.Context, c Caller, idem Idem, tradeID, reason string) (Act, error) {
	if len(reason) > 2000 {
		return Act{}, fail("REASON_INVALID")
	}
	find := func(tx *model.Tx) (model.Trade, error) { return s.returnable(tx, c, tradeID) }
	act := s.newID()
	err := s.authorised(ctx, c, idem, s.onTrade(c, act, "", find, func(t model.Trade) request.Body {
		return request.Return{Offer: request.Offer{Seller: c.Participant, Mode: request.Named, Receiver: t.Seller}, Reverses: t.ID}
	}))
	if err != nil {
		return Act{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		t, err := find(tx)
		if err != nil {
			return "", err
		}
		_, set, err := s.lotCards(tx, t.LotHash)
		if err != nil {
			return "", err
		}
		in := OfferInput{Mode: string(request.Named), To: t.Seller, Reverses: t.ID, ExpiresIn: s.Trade.MaxExpiry}
		id, err := s.acceptOffer(tx, c, act, in, set, s.drawAll(set), s.patience())
		if errors.Is(err, fail("CARDS_NOT_OWNED")) {
			return "", fail("NOT_RETURNABLE") // he has given them back before
		}
		if err != nil || reason == "" {
			return id, err
		}
		made, err := tx.TradesOfBatch(id)
		if err != nil {
			return "", err
		}
		for _, m := range made {
			sealed, err := s.Vault.Seal("reason/"+m.ID, []byte(reason))
			if err != nil {
				return "", err
			}
			if err := tx.SetReasonText(m.ID, sealed); err != nil {
				return "", err
			}
		}
		return id, nil
	})
	if err != nil {
		return Act{}, err
	}
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
	defer cancel()
	return s.Await(wait, id)
}
