package handler

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cardflow/transfer"
)

// Cards are what anybody may look for; the use cases cut the answer to what he may see.
type Cards interface {
	FindCard(ctx context.Context, c transfer.Caller, iccid string) (transfer.CardView, error)
	Trace(ctx context.Context, c transfer.Caller, cardID string) (transfer.Trace, error)
	SearchCards(ctx context.Context, c transfer.Caller, f transfer.CardFilter) (transfer.Page[transfer.Holding], error)
}

type partyView struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// viewParty is nil for a party that the caller may not see.
func viewParty(id, name string) *partyView {
	if id == "" {
		return nil
	}
	return &partyView{id, name}
}

type cardView struct {
	CardID       string    `json:"cardId"`
	ICCID        string    `json:"iccid"`
	Issuer       nameView  `json:"issuer"`
	Owner        *nameView `json:"owner,omitempty"`
	Mine         bool      `json:"mine"`
	Status       string    `json:"status"`
	Frozen       bool      `json:"frozen"`
	Restrictions []string  `json:"restrictions"`
	LotHash      string    `json:"lotHash"`
	Since        time.Time `json:"since,omitzero"`
}

// findCard is POST /cards/find: a body, because ICCIDs never stand in a URL.
func findCard(c *call) error {
	in, err := bind[struct {
		ICCID string `json:"iccid"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("iccid", in.ICCID), bounded(64, "iccid", in.ICCID)); err != nil {
		return err
	}
	v, err := c.Service.FindCard(c.ctx(), c.caller(), in.ICCID)
	if err != nil {
		return err
	}
	out := cardView{
		CardID: v.CardID, ICCID: v.ICCID, Issuer: nameView{v.IssuerName}, Mine: v.Mine, Status: v.Status, Frozen: v.Frozen,
		Restrictions: texts(v.Restrictions), LotHash: v.LotHash, Since: v.Since,
	}
	if v.OwnerName != "" {
		out.Owner = &nameView{v.OwnerName}
	}
	return render(c, http.StatusOK, out)
}

type traceView struct {
	CardID string    `json:"cardId"`
	ICCID  string    `json:"iccid"`
	Hops   []hopView `json:"hops"`
}

type hopView struct {
	Kind        string    `json:"kind"`
	From        string    `json:"from,omitempty"` // names; none where nobody is to be named
	To          string    `json:"to,omitempty"`
	OfferedAt   time.Time `json:"offeredAt,omitzero"`
	ConfirmedAt time.Time `json:"confirmedAt,omitzero"`
	Device      string    `json:"device,omitempty"`
	EndDevice   string    `json:"endDevice,omitempty"`
	TxIDs       []string  `json:"txIds"`
	BlockNumber uint64    `json:"blockNumber"`
	TradeID     string    `json:"tradeId,omitempty"`
	LotHash     string    `json:"lotHash,omitempty"`
}

// traceCard is GET /cards/{cardId}/trace.
func traceCard(c *call) error {
	t, err := c.Service.Trace(c.ctx(), c.caller(), c.Param("cardId"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, traceView{t.CardID, t.ICCID, each(t.Hops, func(h transfer.Hop) hopView {
		return hopView{
			Kind: h.Kind, From: h.From, To: h.To, OfferedAt: h.OfferedAt, ConfirmedAt: h.ConfirmedAt, Device: h.Device, EndDevice: h.EndDevice,
			TxIDs: texts(h.TxIDs), BlockNumber: h.BlockNumber, TradeID: h.TradeID, LotHash: h.LotHash,
		}
	})})
}

type holdingView struct {
	LotHash string     `json:"lotHash"`
	CardID  string     `json:"cardId"` // of the first card
	Start   string     `json:"start"`
	End     string     `json:"end"`
	Count   uint64     `json:"count"`
	Owner   *partyView `json:"owner,omitempty"`
	Status  string     `json:"status"`
	Since   time.Time  `json:"since"`
}

// listCards is GET /cards: a search by everything but ICCIDs.
func listCards(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	from, to, err := c.between()
	if err != nil {
		return err
	}
	return c.search(transfer.CardFilter{
		Organisation: c.QueryParam("organisation"), Status: c.QueryParam("status"), From: from, To: to, Cursor: cursor, Limit: limit,
	})
}

// searchCards is POST /cards/search: a search with ICCIDs.
func searchCards(c *call) error {
	in, err := bind[struct {
		Start        string `json:"start"`
		End          string `json:"end"`
		Organisation string `json:"organisation"`
		Status       string `json:"status"`
		From         string `json:"from"`
		To           string `json:"to"`
		Cursor       string `json:"cursor"`
		Limit        int    `json:"limit"`
	}](c)
	if err != nil {
		return err
	}
	if err := limited(in.Limit); err != nil {
		return err
	}
	if err := bounded(512, "start", in.Start, "end", in.End, "organisation", in.Organisation, "status", in.Status, "cursor", in.Cursor); err != nil {
		return err
	}
	from, to, err := span(in.From, in.To)
	if err != nil {
		return err
	}
	return c.search(transfer.CardFilter{
		Start: in.Start, End: in.End, Organisation: in.Organisation, Status: in.Status, From: from, To: to, Cursor: in.Cursor, Limit: in.Limit,
	})
}

func (c *call) search(f transfer.CardFilter) error {
	page, err := c.Service.SearchCards(c.ctx(), c.caller(), f)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[holdingView]{each(page.Items, func(h transfer.Holding) holdingView {
		return holdingView{h.LotHash, h.CardID, h.Start, h.End, h.Count, viewParty(h.OwnerID, h.OwnerName), h.Status, h.Since}
	}), page.Next})
}

// moment reads an RFC 3339 time; nothing is the zero time.
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, s)
}

// limited refuses what a body may not ask for on one page; 0 is the usual page.
func limited(limit int) error {
	if limit < 0 || limit > 500 {
		return field("limit", "应为 1 到 500")
	}
	return nil
}

// span reads the two fields of a body that bound a time.
func span(begin, end string) (from, to time.Time, err error) {
	const how = "应为 RFC 3339 时间，如 2026-01-02T15:04:05+08:00"
	if from, err = moment(begin); err != nil {
		return from, to, field("from", how)
	}
	if to, err = moment(end); err != nil {
		return from, to, field("to", how)
	}
	return from, to, nil
}

// between reads the two query parameters that bound a time.
func (c *call) between() (from, to time.Time, err error) {
	if from, err = moment(c.QueryParam("from")); err != nil {
		return from, to, queryInvalid("from")
	}
	if to, err = moment(c.QueryParam("to")); err != nil {
		return from, to, queryInvalid("to")
	}
	return from, to, nil
}
