package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// market is a shop and its customers, who go on whatever happens to the server. A wish that got no answer is made again,
// under the same key, until it has one: so they do, and asking twice must be harmless.
type market struct {
	t     *testing.T
	hands []*hand

	mu      sync.Mutex
	cards   []string          // that the shop has not offered yet
	fates   map[string]*fate  // what was accepted, by confirmation
	offered map[string]string // key of the wish to trade
	left    int               // answers until enough is called
	enough  func()

	unanswered int // requests

	open chan trade
}

// fate is what people were told of a write that the server had accepted.
type fate struct {
	who   *hand
	what  string // confirm, decline, cancel
	trade trade
	txID  string // set once somebody was told that it is committed
}

// hand is one who does one thing after the other.
type hand struct {
	*client
	name   string
	work   []string // what he does, picked at random
	wish   *wish    // not answered yet
	regret *trade   // that a seller has just offered and would rather cancel
	serial int
}

// wish is a write that somebody wants.
type wish struct {
	key   string
	what  string
	trade trade // that it ends
	path  string
	body  any
}

func newMarket(t *testing.T, cards []string) *market {
	m := &market{t: t, cards: cards, fates: map[string]*fate{}, offered: map[string]string{}, open: make(chan trade, len(cards)*2)}
	for n := range 2 {
		m.hands = append(m.hands, &hand{name: fmt.Sprint("seller", n), work: []string{"offer"}})
	}
	for n := range 4 {
		m.hands = append(m.hands, &hand{name: fmt.Sprint("buyer", n), work: []string{"confirm", "confirm", "confirm", "decline"}})
	}
	return m
}

func (h *hand) sells() bool { return h.work[0] == "offer" }

// enter logs everybody in at a server that has just started: it has forgotten them.
func (m *market) enter(ctx context.Context, url string) error {
	token := ""
	for _, h := range m.hands {
		h.client = newClient(url, h.name)
		var err error
		switch {
		case !h.sells():
			err = h.client.wechat(ctx, "demo:"+h.name)
		case token == "":
			err = h.login(ctx, "xiaowang", demoPassword)
			token = h.token
		default:
			h.token = token
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run lets everybody work until the server is gone, or ctx ends. After so many answers it calls enough. It answers why
// everybody stopped.
func (m *market) run(ctx context.Context, url string, answers int, enough func()) error {
	m.mu.Lock()
	m.left, m.enough = answers, enough
	m.mu.Unlock()
	if err := m.enter(ctx, url); err != nil {
		return err
	}
	why := make([]error, len(m.hands))
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	var all sync.WaitGroup
	for n, h := range m.hands {
		all.Go(func() {
			for why[n] == nil {
				why[n] = m.act(ctx, h)
			}
			gone() // whoever waits for a trade to be offered waits in vain
			h.http.CloseIdleConnections()
		})
	}
	all.Wait()
	return errors.Join(why...)
}

// busy reports whether enough has happened: of each kind of write somebody was told that it is committed.
func (m *market) busy() bool {
	kinds := map[string]bool{}
	for _, f := range m.fates {
		kinds[f.what] = kinds[f.what] || f.txID != ""
	}
	return kinds["confirm"] && kinds["decline"] && kinds["cancel"]
}

// finish lets everybody have an answer to what he wished for, and wish for nothing more.
func (m *market) finish(ctx context.Context, url string) error {
	if err := m.enter(ctx, url); err != nil {
		return err
	}
	for _, h := range m.hands {
		if h.wish != nil {
			if err := m.act(ctx, h); err != nil {
				return fmt.Errorf("%s wishes to %s: %w", h.name, h.wish.what, err)
			}
		}
	}
	return nil
}

// act makes a hand's next wish, or the one that has got no answer. An error means that there is no server any more.
func (m *market) act(ctx context.Context, h *hand) error {
	if h.wish == nil {
		if h.wish = m.next(ctx, h); h.wish == nil {
			return ctx.Err()
		}
	}
	w := h.wish
	var made struct {
		confirmation
		Trades []trade
	}
	err := h.asks(ctx, w, &made)
	var refused *apiError
	if err != nil && (!errors.As(err, &refused) || refused.Status == http.StatusServiceUnavailable) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.unanswered++
		return err
	}
	h.wish = nil
	defer m.answered()
	if refused != nil {
		m.refused(h, w, refused)
		return nil
	}
	if w.what == "offer" {
		m.opened(h, w, made.Trades)
		return nil
	}
	m.mu.Lock()
	if m.fates[made.ConfirmationID] == nil { // else he has wished for it twice, and it is one
		m.fates[made.ConfirmationID] = &fate{who: h, what: w.what, trade: w.trade}
	}
	m.mu.Unlock()
	end, err := h.await(ctx, made.ConfirmationID)
	if errors.As(err, &refused) {
		m.t.Errorf("%s may %s trade %s, is told %s, and then that it failed: %v", h.name, w.what, w.trade.TradeID, made.ConfirmationID, err)
		return nil
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.fates[made.ConfirmationID].txID = end.TxID
	m.mu.Unlock()
	return nil
}

// next makes up what a hand wants to do.
func (m *market) next(ctx context.Context, h *hand) *wish {
	h.serial++
	w := &wish{key: fmt.Sprintf("%s-wish-%d", h.name, h.serial), what: h.work[rand.IntN(len(h.work))]}
	if h.regret != nil {
		w.what, w.trade, h.regret = "cancel", *h.regret, nil
		w.path = "/trades/" + w.trade.TradeID + "/cancel"
		return w
	}
	if w.what == "offer" {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.cards) == 0 {
			m.t.Error("there are no cards left to offer")
			return nil
		}
		w.path, w.body = "/trades", map[string]any{"mode": "BEARER", "segments": []any{map[string]string{"iccid": m.cards[0]}}}
		m.cards = m.cards[1:]
		return w
	}
	select {
	case w.trade = <-m.open:
	case <-ctx.Done():
		return nil
	}
	if rand.IntN(4) == 0 {
		m.open <- w.trade // for another to want as well
	}
	w.path = "/trades/" + w.trade.TradeID + "/" + w.what
	proof := shows(w.trade)
	if w.what == "decline" {
		proof["reason"] = "OTHER"
	}
	w.body = proof
	return w
}

// asks sends a wish under its key.
func (h *hand) asks(ctx context.Context, w *wish, out any) error {
	b, err := json.Marshal(w.body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base+w.path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Idempotency-Key", w.key)
	if w.body != nil {
		req.Header.Set("Content-Type", "application/json")
	} else {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	return h.do(req, out)
}

// refused: two who want the same trade have one winner, and the other is told. An offer has no reason to be refused.
func (m *market) refused(h *hand, w *wish, e *apiError) {
	if w.what == "offer" || !slices.Contains([]string{"TRADE_BUSY", "TRADE_ENDED", "TRADE_CODE_NOT_FOUND"}, e.Code) {
		m.t.Errorf("%s wishes to %s and is told %v", h.name, w.what, e)
	}
}

// opened puts a new trade where all can see it, and makes its seller regret it now and then: he cancels while a buyer
// confirms. A trade that is not on the ledger yet comes to nobody.
func (m *market) opened(h *hand, w *wish, trades []trade) {
	if len(trades) != 1 {
		m.t.Errorf("an offer of one card made the trades %+v", trades)
		return
	}
	m.mu.Lock()
	m.offered[w.key] = trades[0].TradeID
	m.mu.Unlock()
	if trades[0].State == "offered" {
		m.open <- trades[0]
		if rand.IntN(3) == 0 {
			h.regret = &trades[0]
		}
	}
}

// answered counts.
func (m *market) answered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left == 0 {
		time.AfterFunc(time.Duration(rand.IntN(int(20*time.Millisecond))), m.enough)
	}
}
