package handler

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cardflow/transfer"
)

// Consumers are what a buyer does. Confirm and Decline are also for staff who are named as receivers: then code and
// last6 are empty.
type Consumers interface {
	// Lookup leads from a code and the last six characters of a card in hand to the trade. Every failure of the two is
	// TRADE_CODE_NOT_FOUND.
	Lookup(ctx context.Context, c transfer.Caller, code, last6 string) (transfer.Offered, error)
	Confirm(ctx context.Context, c transfer.Caller, idem transfer.Idem, tradeID, code, last6 string) (transfer.Act, error)
	Decline(ctx context.Context, c transfer.Caller, idem transfer.Idem, tradeID, code, last6, reason, text string) (transfer.Act, error)
	Return(ctx context.Context, c transfer.Caller, idem transfer.Idem, tradeID, reason string) (transfer.Act, error)
	MyCards(ctx context.Context, c transfer.Caller, cursor string, limit int) (transfer.Page[transfer.OwnedCard], error)
	Receipt(ctx context.Context, c transfer.Caller, confirmationID string) (transfer.Receipt, error)
	Inbox(ctx context.Context, c transfer.Caller, cursor string, limit int) (transfer.Page[transfer.Notice], error)
}

type nameView struct {
	Name string `json:"name"`
}

type spanView struct {
	Start string `json:"start"`
	End   string `json:"end"`
	Count uint64 `json:"count"`
}

func viewSpan(s transfer.Span) spanView { return spanView{s.Start, s.End, s.Count} }

// texts is a list of words that is [] and not null when it is empty.
func texts(in []string) []string { return append([]string{}, in...) }

type offeredView struct {
	TradeID        string     `json:"tradeId"`
	Seller         nameView   `json:"seller"`
	Segments       []spanView `json:"segments"`
	Count          uint64     `json:"count"`
	Restrictions   []string   `json:"restrictions"`
	ExpiresAt      time.Time  `json:"expiresAt"`
	Requires       []string   `json:"requires"`
	Carrier        *partyView `json:"carrier,omitempty"` // who issued the cards
	State          string     `json:"state,omitempty"`
	ConfirmationID string     `json:"confirmationId,omitempty"` // of the caller's own confirmation, if he made one
}

// codeInput is what proves that a buyer holds a card of the trade. Whether the two fit anything, or could, is answered
// in one way only; so their form is not checked here, except that nobody sends a book.
type codeInput struct {
	Code       string `json:"code"`
	ICCIDLast6 string `json:"iccidLast6"`
}

func (in codeInput) check() error { return bounded(64, "code", in.Code, "iccidLast6", in.ICCIDLast6) }

// lookup is POST /trade-codes/lookup.
func lookup(c *call) error {
	in, err := bind[codeInput](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("code", in.Code, "iccidLast6", in.ICCIDLast6), in.check()); err != nil {
		return err
	}
	var found transfer.Offered
	if err := c.guessed(in.Code, in.ICCIDLast6, func() (err error) {
		found, err = c.Service.Lookup(c.ctx(), c.caller(), in.Code, in.ICCIDLast6)
		return err
	}); err != nil {
		return err
	}
	return render(c, http.StatusOK, offeredView{
		TradeID: found.TradeID, Seller: nameView{found.SellerName}, Segments: each(found.Segments, viewSpan), Count: found.Count,
		Restrictions: texts(found.Restrictions), ExpiresAt: found.ExpiresAt, Requires: texts(found.Requires), State: found.State,
		ConfirmationID: found.Confirmation, Carrier: viewParty(found.CarrierID, found.CarrierName),
	})
}

// take makes one call that ends a trade. Without code and card the caller says that he is named in it: there is nothing
// to guess then, and no guard.
func (c *call) take(in codeInput, do func() (transfer.Act, error)) error {
	if err := in.check(); err != nil {
		return err
	}
	if in == (codeInput{}) {
		return c.accepted(do())
	}
	var act transfer.Act
	err := c.guessed(in.Code, in.ICCIDLast6, func() (err error) {
		act, err = do()
		return err
	})
	return c.accepted(act, err)
}

// confirm is POST /trades/{id}/confirm.
func confirm(c *call) error {
	in, err := bind[codeInput](c)
	if err != nil {
		return err
	}
	return c.take(in, func() (transfer.Act, error) {
		return c.Service.Confirm(c.ctx(), c.caller(), c.idem(), c.Param("id"), in.Code, in.ICCIDLast6)
	})
}

// decline is POST /trades/{id}/decline.
func decline(c *call) error {
	type input struct {
		codeInput
		reasonInput
	}
	in, err := bind(c, func(in input) error { return in.reasonInput.check() })
	if err != nil {
		return err
	}
	return c.take(in.codeInput, func() (transfer.Act, error) {
		return c.Service.Decline(c.ctx(), c.caller(), c.idem(), c.Param("id"), in.Code, in.ICCIDLast6, in.Reason, in.Text)
	})
}

// returnCards is POST /trades/{id}/return: an offer back to the seller.
func returnCards(c *call) error {
	type input struct {
		Reason string `json:"reason"`
	}
	in, err := bind(c, func(in input) error { return bounded(2000, "reason", in.Reason) })
	if err != nil {
		return err
	}
	return c.accepted(c.Service.Return(c.ctx(), c.caller(), c.idem(), c.Param("id"), in.Reason))
}

type ownedCardView struct {
	CardID          string     `json:"cardId"`
	ICCID           string     `json:"iccid"`
	Seller          nameView   `json:"seller"`
	ConfirmedAt     time.Time  `json:"confirmedAt"`
	Restrictions    []string   `json:"restrictions"`
	Frozen          bool       `json:"frozen"`
	Status          string     `json:"status"`
	TradeID         string     `json:"tradeId"`
	ConfirmationID  string     `json:"confirmationId,omitempty"` // leads to the receipt
	ReturnableUntil *time.Time `json:"returnableUntil,omitempty"`
	ReturnID        string     `json:"returnId,omitempty"` // the offer back to the seller that is under way: it may be cancelled
}

// myCards is GET /me/cards.
func myCards(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	page, err := c.Service.MyCards(c.ctx(), c.caller(), cursor, limit)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[ownedCardView]{each(page.Items, func(o transfer.OwnedCard) ownedCardView {
		return ownedCardView{
			CardID: o.CardID, ICCID: o.ICCID, Seller: nameView{o.SellerName}, ConfirmedAt: o.ConfirmedAt,
			Restrictions: texts(o.Restrictions), Frozen: o.Frozen, Status: o.Status, TradeID: o.TradeID, ConfirmationID: o.Confirmation, ReturnableUntil: o.ReturnableUntil,
			ReturnID: o.Return,
		}
	}), page.Next})
}

type noticeView struct {
	ID       string        `json:"id"`
	Function string        `json:"function"`
	State    string        `json:"state"`
	Seller   nameView      `json:"seller"`
	Count    int64         `json:"count"`
	Reply    string        `json:"reply,omitempty"`  // to a return: the state of the offer back
	Reason   string        `json:"reason,omitempty"` // why the seller did not take the cards back
	Error    *actErrorView `json:"error,omitempty"`
	At       time.Time     `json:"at"`
}

// inbox is GET /me/inbox: what became of the caller's wishes.
func inbox(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	page, err := c.Service.Inbox(c.ctx(), c.caller(), cursor, limit)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[noticeView]{each(page.Items, func(n transfer.Notice) noticeView {
		return noticeView{n.ID, n.Function, n.State, nameView{n.SellerName}, n.Count, n.Reply, n.Reason, viewActError(n.Error), n.At}
	}), page.Next})
}

type receiptView struct {
	ConfirmationID string     `json:"confirmationId"`
	TradeID        string     `json:"tradeId"`
	Seller         nameView   `json:"seller"`
	Buyer          string     `json:"buyer"`
	Segments       []spanView `json:"segments"`
	Count          uint64     `json:"count"`
	LotHash        string     `json:"lotHash"`
	Rule           string     `json:"rule"`
	Salt           string     `json:"salt"`
	Canonical      string     `json:"canonical"`
	Channel        string     `json:"channel"`
	RequestID      string     `json:"requestId"`
	Arguments      string     `json:"arguments"` // the signed body, byte for byte
	KeyID          string     `json:"keyId"`
	NotAfter       int64      `json:"notAfter"` // ms
	Signature      string     `json:"signature"`
	TxID           string     `json:"txId"`
	BlockNumber    uint64     `json:"blockNumber"`
	BlockHash      string     `json:"blockHash"`
	ConfirmedAt    time.Time  `json:"confirmedAt"`
}

// receipt is GET /me/receipts/{id}: all that it takes to prove, against the ledger, that these cards are his.
func receipt(c *call) error {
	r, err := c.Service.Receipt(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, receiptView{
		ConfirmationID: r.ConfirmationID, TradeID: r.TradeID, Seller: nameView{r.SellerName}, Buyer: r.Buyer,
		Segments: each(r.Segments, viewSpan), Count: r.Count, LotHash: r.LotHash, Rule: r.Rule, Salt: r.Salt, Canonical: r.Canonical,
		Channel: r.Channel, RequestID: r.RequestID, Arguments: r.Arguments, KeyID: r.KeyID, NotAfter: r.NotAfter, Signature: r.Signature, TxID: r.TxID, BlockNumber: r.BlockNumber,
		BlockHash: r.BlockHash, ConfirmedAt: r.ConfirmedAt,
	})
}
