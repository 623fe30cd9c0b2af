package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"cardflow/transfer"
)

// Staff are what carriers, distributors and retailers do with the cards that they hold.
type Staff interface {
	// Offer waits a little for the commit. More cards than one ledger transaction can open become a job.
	Offer(ctx context.Context, c transfer.Caller, idem transfer.Idem, in transfer.OfferInput) (transfer.OfferResult, error)
	Trades(ctx context.Context, c transfer.Caller, f transfer.TradeFilter) (transfer.Page[transfer.TradeView], error)
	// GetTrade has the code for its seller only, and while it can be used.
	GetTrade(ctx context.Context, c transfer.Caller, id string) (transfer.TradeView, error)
	Cancel(ctx context.Context, c transfer.Caller, idem transfer.Idem, tradeID string) (transfer.Act, error)
	Lots(ctx context.Context, c transfer.Caller, cursor string, limit int) (transfer.Page[transfer.LotView], error)
	Inventory(ctx context.Context, c transfer.Caller) (transfer.Inventory, error)
	Merge(ctx context.Context, c transfer.Caller, idem transfer.Idem, lots []string) (transfer.Act, error)
	Job(ctx context.Context, c transfer.Caller, id string) (transfer.JobView, error)
	Stats(ctx context.Context, c transfer.Caller, days int) (transfer.Stats, error)
}

// spanInput is cards as a person writes them: a run, or one card.
type spanInput struct {
	Start string `json:"start"`
	End   string `json:"end"`
	ICCID string `json:"iccid"`
}

// spansOf reads a list of cards. What the numbers say is for the use cases.
func spansOf(in []spanInput) ([]transfer.Span, error) {
	out := make([]transfer.Span, len(in))
	for i, s := range in {
		switch {
		case s.ICCID != "" && s.Start == "" && s.End == "":
			out[i] = transfer.Span{Start: s.ICCID, End: s.ICCID}
		case s.ICCID == "" && s.Start != "" && s.End != "":
			out[i] = transfer.Span{Start: s.Start, End: s.End}
		default:
			return nil, field("segments", "每一段应写 start 和 end，或只写 iccid")
		}
		if err := bounded(64, "segments", out[i].Start, "segments", out[i].End); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type tradeView struct {
	TradeID    string     `json:"tradeId"`
	Mode       string     `json:"mode"`
	Code       string     `json:"code,omitempty"`
	Link       string     `json:"link,omitempty"` // what the plain QR code says
	Seller     *partyView `json:"seller,omitempty"`
	Receiver   *partyView `json:"receiver,omitempty"`
	Segments   []spanView `json:"segments"`
	Count      uint64     `json:"count"`
	State      string     `json:"state"`
	OfferedAt  time.Time  `json:"offeredAt"`
	ExpiresAt  time.Time  `json:"expiresAt"`
	EndedAt    time.Time  `json:"endedAt,omitzero"`
	OfferTx    string     `json:"offerTx,omitempty"`
	OfferBlock uint64     `json:"offerBlock,omitempty"`
	EndTx      string     `json:"endTx,omitempty"`
	EndBlock   uint64     `json:"endBlock,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	ReasonText string     `json:"reasonText,omitempty"`
	Reverses   string     `json:"reverses,omitempty"`
	LotHash    string     `json:"lotHash"`
}

func (c *call) viewTrade(t transfer.TradeView) tradeView {
	v := tradeView{
		TradeID: t.TradeID, Mode: t.Mode, Code: t.Code, Seller: viewParty(t.SellerID, t.SellerName), Receiver: viewParty(t.ReceiverID, t.ReceiverName),
		Segments: each(t.Segments, viewSpan), Count: t.Count, State: t.State, OfferedAt: t.OfferedAt, ExpiresAt: t.ExpiresAt,
		EndedAt: t.EndedAt, OfferTx: t.OfferTx, OfferBlock: t.OfferBlock, EndTx: t.EndTx, EndBlock: t.EndBlock,
		Reason: t.Reason, ReasonText: t.ReasonText, Reverses: t.Reverses, LotHash: t.LotHash,
	}
	if t.Code != "" {
		v.Link = c.link(t.Code)
	}
	return v
}

type offerView struct {
	Trades []tradeView `json:"trades"`
}

type jobStarted struct {
	JobID string `json:"jobId"`
}

// offer is POST /trades.
func offer(c *call) error {
	in, err := bind[struct {
		Mode      string      `json:"mode"`
		To        string      `json:"to"`
		Segments  []spanInput `json:"segments"`
		Each      bool        `json:"each"`
		ExpiresIn string      `json:"expiresIn"`
		Reverses  string      `json:"reverses"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("mode", in.Mode), bounded(80, "mode", in.Mode, "to", in.To, "expiresIn", in.ExpiresIn, "reverses", in.Reverses)); err != nil {
		return err
	}
	spans, err := spansOf(in.Segments)
	if err != nil {
		return err
	}
	var expires time.Duration
	if in.ExpiresIn != "" {
		if expires, err = time.ParseDuration(in.ExpiresIn); err != nil || expires <= 0 {
			return field("expiresIn", "应为时长，如 30m 或 24h")
		}
	}
	made, err := c.Service.Offer(c.ctx(), c.caller(), c.idem(), transfer.OfferInput{
		Mode: in.Mode, To: in.To, Segments: spans, Each: in.Each, ExpiresIn: expires, Reverses: in.Reverses,
	})
	if err != nil {
		return err
	}
	if made.JobID != "" {
		return render(c, http.StatusAccepted, jobStarted{made.JobID})
	}
	return render(c, http.StatusCreated, offerView{each(made.Trades, c.viewTrade)})
}

// listTrades is GET /trades.
func listTrades(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	side := c.QueryParam("side")
	if side != "" && side != "seller" && side != "receiver" {
		return queryInvalid("side")
	}
	return c.findTrades(transfer.TradeFilter{Side: side, State: c.QueryParam("state"), Query: c.QueryParam("q"), Cursor: cursor, Limit: limit})
}

// searchTrades is POST /trades/search: a search by what must stand in no address.
func searchTrades(c *call) error {
	in, err := bind[struct {
		Code   string `json:"code"`
		Card   string `json:"card"`
		Side   string `json:"side"`
		State  string `json:"state"`
		From   string `json:"from"`
		To     string `json:"to"`
		Cursor string `json:"cursor"`
		Limit  int    `json:"limit"`
	}](c)
	if err != nil {
		return err
	}
	if err := limited(in.Limit); err != nil {
		return err
	}
	if in.Side != "" && in.Side != "seller" && in.Side != "receiver" {
		return field("side", "应为 seller 或 receiver")
	}
	if err := errors.Join(bounded(64, "code", in.Code, "card", in.Card, "state", in.State), bounded(512, "cursor", in.Cursor)); err != nil {
		return err
	}
	from, to, err := span(in.From, in.To)
	if err != nil {
		return err
	}
	return c.findTrades(transfer.TradeFilter{
		Side: in.Side, State: in.State, Code: in.Code, Card: in.Card, From: from, To: to, Cursor: in.Cursor, Limit: in.Limit,
	})
}

func (c *call) findTrades(f transfer.TradeFilter) error {
	page, err := c.Service.Trades(c.ctx(), c.caller(), f)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[tradeView]{each(page.Items, c.viewTrade), page.Next})
}

// showTrade is GET /trades/{id}.
func showTrade(c *call) error {
	t, err := c.Service.GetTrade(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, c.viewTrade(t))
}

// cancel is POST /trades/{id}/cancel.
func cancel(c *call) error {
	return c.accepted(c.Service.Cancel(c.ctx(), c.caller(), c.idem(), c.Param("id")))
}

type lotView struct {
	Hash         string     `json:"hash"`
	Issuer       *partyView `json:"issuer,omitempty"`
	Owner        *partyView `json:"owner,omitempty"`
	Status       string     `json:"status"`
	Frozen       []string   `json:"frozen"`
	RetailPolicy string     `json:"retailPolicy"`
	Restrictions []string   `json:"restrictions"`
	Segments     []spanView `json:"segments"`
	Count        uint64     `json:"count"`
	TxID         string     `json:"txId,omitempty"`
	BlockNumber  uint64     `json:"blockNumber"`
	Version      int        `json:"version"`
	Since        time.Time  `json:"since,omitzero"`
}

func viewLot(l transfer.LotView) lotView {
	return lotView{
		Hash: l.Hash, Issuer: viewParty(l.IssuerID, l.IssuerName), Owner: viewParty(l.OwnerID, l.OwnerName), Status: l.Status, Frozen: texts(l.Frozen),
		RetailPolicy: l.RetailPolicy, Restrictions: texts(l.Restrictions), Segments: each(l.Segments, viewSpan), Count: l.Count,
		TxID: l.TxID, BlockNumber: l.BlockNumber, Version: l.Version, Since: l.Since,
	}
}

// listLots is GET /lots.
func listLots(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	page, err := c.Service.Lots(c.ctx(), c.caller(), cursor, limit)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[lotView]{each(page.Items, viewLot), page.Next})
}

type inventoryView struct {
	Total int64       `json:"total"` // cards that are free to sell
	Lines []stockView `json:"lines"`
}

type stockView struct {
	Issuer *partyView `json:"issuer,omitempty"`
	Status string     `json:"status"`
	Lots   int64      `json:"lots"`
	Cards  int64      `json:"cards"`
}

// inventory is GET /inventory.
func inventory(c *call) error {
	in, err := c.Service.Inventory(c.ctx(), c.caller())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, inventoryView{in.Total, each(in.Lines, func(l transfer.Stock) stockView {
		return stockView{viewParty(l.IssuerID, l.IssuerName), l.Status, l.Lots, l.Cards}
	})})
}

// merge is POST /lots/merge.
func merge(c *call) error {
	in, err := bind[struct {
		Lots []string `json:"lots"`
	}](c)
	if err != nil {
		return err
	}
	if len(in.Lots) < 2 {
		return field("lots", "至少两批")
	}
	for _, l := range in.Lots {
		if err := bounded(64, "lots", l); err != nil {
			return err
		}
	}
	return c.accepted(c.Service.Merge(c.ctx(), c.caller(), c.idem(), in.Lots))
}

type jobView struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`
	State     string          `json:"state"`
	Total     int64           `json:"total"` // cards
	Done      int64           `json:"done"`
	Failed    int64           `json:"failed"`
	Results   json.RawMessage `json:"results,omitempty"`
	Error     *actErrorView   `json:"error,omitempty"` // of one of which nothing succeeded
	CreatedAt time.Time       `json:"createdAt"`
}

// job is GET /jobs/{id}.
func job(c *call) error {
	j, err := c.Service.Job(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, jobView{j.ID, j.Kind, j.State, j.Total, j.Done, j.Failed, j.Results, viewActError(j.Error), j.CreatedAt})
}

type statsView struct {
	Lots     int64            `json:"lots"`
	Cards    int64            `json:"cards"`
	Sold     map[string]int64 `json:"sold"`
	Received map[string]int64 `json:"received"`
	Days     []dayView        `json:"days"`
}

type dayView struct {
	Date       string `json:"date"`
	Offered    int64  `json:"offered"`
	Confirmed  int64  `json:"confirmed"`
	Declined   int64  `json:"declined"`
	Cancelled  int64  `json:"cancelled"`
	Released   int64  `json:"released"`
	CardsMoved int64  `json:"cardsMoved"`
}

// stats is GET /stats.
func stats(c *call) error {
	days := 30
	if text := c.QueryParam("days"); text != "" {
		var err error
		if days, err = strconv.Atoi(text); err != nil || days < 1 || days > 366 {
			return queryInvalid("days")
		}
	}
	s, err := c.Service.Stats(c.ctx(), c.caller(), days)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, statsView{s.Lots, s.Cards, counts(s.Sold), counts(s.Received), each(s.Days, func(d transfer.Day) dayView {
		return dayView{d.Date, d.Offered, d.Confirmed, d.Declined, d.Cancelled, d.Released, d.CardsMoved}
	})})
}

// counts is a map that is {} and not null when it is empty.
func counts(in map[string]int64) map[string]int64 {
	if in == nil {
		return map[string]int64{}
	}
	return in
}
