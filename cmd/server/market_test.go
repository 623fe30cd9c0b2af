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

// market is a shop and its customers, who go on whatever happens to the servers. A wish that got no answer is made again,
// under the same key, at whichever server there is, until it has one: so they do, and asking twice must be harmless.
type market struct {
	t     *testing.T
	hands []*hand
	goods

	mu    sync.Mutex
	fates map[string]*fate // what was accepted, by confirmation
	deals map[string]*deal // trades that the shop has opened, by ID
	back  []trade          // trades that went through and that their buyers have returned, by the trade that was
	token string           // of the shop's session

	urls   []string
	heard  func(f *fate) // is called when somebody is first told of the end of a write
	left   int           // answers until enough is called
	enough func()

	unanswered int // requests
	offers     int // answered

	open chan trade
}

// goods says how the shop sells.
type goods struct {
	each  int           // most cards of an offer; each is a trade of its own
	brief time.Duration // how long beyond two seconds one offer in five may be taken; 0: all of them for a day
}

// fate is what people were told of a write that the server had accepted.
type fate struct {
	who      *hand
	what     string // confirm, decline, cancel, return, take back
	trade    trade  // that it ends, or gives back
	accepted time.Time
	told     time.Time // that it has ended; zero until then
	txID     string    // if it was said to be committed
	code     string    // if it was said to have failed
	checked  bool
	lost     bool // its row is, with the database that had it
}

// deal is a trade that the shop has opened.
type deal struct {
	trade
	brief bool
}

// hand is one who does one thing after the other.
type hand struct {
	*client
	name   string
	work   []string // what he does, picked at random
	shelf  []string // cards that a seller may offer
	wish   *wish    // not answered yet
	regret []trade  // that a seller has just offered and would rather cancel
	owns   []trade  // that a buyer has confirmed and not returned
	serial int
	server int // of market.urls
}

// wish is a write that somebody wants.
type wish struct {
	key   string
	what  string
	trade trade // that it ends, or gives back
	brief bool
	cards []string // that it offers
	path  string
	body  any
}

func newMarket(t *testing.T, sellers, buyers int, g goods) *market {
	m := &market{t: t, goods: g, fates: map[string]*fate{}, deals: map[string]*deal{}, open: make(chan trade, 1<<16)}
	for n := range sellers {
		m.hands = append(m.hands, &hand{name: fmt.Sprint("seller", n), work: []string{"offer", "offer", "offer", "take back"}})
	}
	for n := range buyers {
		m.hands = append(m.hands, &hand{name: fmt.Sprint("buyer", n), work: []string{
			"confirm", "confirm", "confirm", "confirm", "confirm", "confirm", "confirm", "decline", "decline", "return",
		}})
	}
	for _, h := range m.hands {
		h.client = newClient("", h.name)
	}
	t.Cleanup(func() {
		for _, h := range m.hands {
			h.http.CloseIdleConnections()
		}
	})
	return m
}

func (h *hand) sells() bool { return h.work[0] == "offer" }

// shelve gives a seller cards of his own to sell.
func (m *market) shelve(n int, cards []string) {
	for _, h := range m.hands {
		if h.sells() {
			if n == 0 {
				h.shelf = append(h.shelf, cards...)
				return
			}
			n--
		}
	}
	m.t.Fatal("there are not so many sellers")
}

// at says where the servers are.
func (m *market) at(servers ...*process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.urls = nil
	for _, p := range servers {
		m.urls = append(m.urls, p.url)
	}
}

// run lets everybody work until ctx ends. After so many answers, if that is any, it calls enough.
func (m *market) run(ctx context.Context, answers int, enough func()) {
	m.mu.Lock()
	m.left, m.enough = answers, enough
	m.mu.Unlock()
	var all sync.WaitGroup
	for _, h := range m.hands {
		all.Go(func() {
			for ctx.Err() == nil {
				m.act(ctx, h)
			}
		})
	}
	all.Wait()
}

// finish lets everybody have an answer to what he wished for, and wish for nothing more.
func (m *market) finish(ctx context.Context) error {
	m.mu.Lock()
	m.left = 0
	m.mu.Unlock()
	var all sync.WaitGroup
	for _, h := range m.hands {
		all.Go(func() {
			for h.wish != nil && ctx.Err() == nil {
				m.act(ctx, h)
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// busy reports whether enough has happened: of each kind of write somebody was told that it is committed.
func (m *market) busy(kinds ...string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	for _, f := range m.fates {
		seen[f.what] = seen[f.what] || f.txID != ""
	}
	return !slices.ContainsFunc(kinds, func(kind string) bool { return !seen[kind] })
}

// String counts what has happened.
func (m *market) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := map[string]int{}
	for _, f := range m.fates {
		switch {
		case f.txID != "":
			told[f.what]++
		case f.code != "":
			told["too late"]++
		}
	}
	return fmt.Sprintf("%d offers of %d trades; %d requests that got no answer; %d writes accepted: %v", m.offers, len(m.deals), m.unanswered, len(m.fates), told)
}

// act makes a hand's next wish, or the one that has got no answer.
func (m *market) act(ctx context.Context, h *hand) {
	if h.wish == nil {
		if h.wish = m.next(ctx, h); h.wish == nil {
			return
		}
	}
	w := h.wish
	var made struct {
		confirmation
		Trades []trade
	}
	err := m.asks(ctx, h, w, &made)
	var refused *apiError
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		m.forget(h) // Redis has forgotten him
		return
	case err != nil && (refused == nil || refused.Status == http.StatusServiceUnavailable):
		m.mu.Lock()
		m.unanswered++
		m.mu.Unlock()
		m.elsewhere(ctx, h)
		return
	}
	h.wish = nil
	m.answered()
	switch {
	case refused != nil:
		m.refused(h, w, refused)
	case w.what == "offer":
		m.opened(h, w, made.Trades)
	default:
		m.accepted(ctx, h, w, made.ConfirmationID)
	}
}

// accepted waits for the end of what was accepted, and remembers what it was told.
func (m *market) accepted(ctx context.Context, h *hand, w *wish, id string) {
	m.mu.Lock()
	f := m.fates[id]
	if f == nil { // else he has wished for it twice, and it is one
		f = &fate{who: h, what: w.what, trade: w.trade, accepted: time.Now()}
		m.fates[id] = f
	}
	m.mu.Unlock()
	for ctx.Err() == nil {
		m.turn(h)
		end, err := h.await(ctx, id)
		var failed *apiError
		switch {
		case errors.As(err, &failed) && failed.Code == "EVENTS":
			m.forget(h)
			m.login(ctx, h)
		case err != nil && failed == nil:
			m.elsewhere(ctx, h)
		default:
			m.told(h, f, end.TxID, failed)
			return
		}
	}
}

// told remembers what somebody was told of the end of a write, and holds it against what was said before.
func (m *market) told(h *hand, f *fate, txID string, failed *apiError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	code := ""
	if failed != nil {
		code = failed.Code
		if !m.mayFail(f, code) {
			m.t.Errorf("%s may %s trade %s, and is told then that it failed: %v", h.name, f.what, f.trade.TradeID, failed)
		}
	}
	if !f.told.IsZero() {
		if f.txID != txID || (f.code == "") != (code == "") {
			m.t.Errorf("%s of trade %s ended as %q %q, and now as %q %q", f.what, f.trade.TradeID, f.txID, f.code, txID, code)
		}
		return
	}
	f.told, f.txID, f.code = time.Now(), txID, code
	if m.heard != nil {
		m.heard(f)
	}
	if failed != nil {
		return
	}
	card := f.trade.Segments[0].Start
	switch f.what {
	case "confirm":
		h.owns = append(h.owns, f.trade)
	case "decline", "cancel", "take back":
		seller := m.hands[rand.IntN(len(m.hands))]
		for !seller.sells() {
			seller = m.hands[rand.IntN(len(m.hands))]
		}
		seller.shelf = append(seller.shelf, card)
	case "return":
		m.back = append(m.back, f.trade)
	}
}

// mayFail: what is accepted has its trade to itself. Only a trade that expires before the write is on the ledger has an end
// of its own.
func (m *market) mayFail(f *fate, code string) bool {
	d := m.deals[f.trade.TradeID]
	return d != nil && d.brief && (f.what == "confirm" || f.what == "decline") &&
		slices.Contains([]string{"TRADE_EXPIRED", "REQUEST_EXPIRED", "TRADE_ENDED"}, code)
}

// next makes up what a hand wants to do; nil if ctx ends before he knows.
func (m *market) next(ctx context.Context, h *hand) *wish {
	h.serial++
	w := &wish{key: fmt.Sprintf("%s-wish-%d", h.name, h.serial), what: h.work[rand.IntN(len(h.work))]}
	if len(h.regret) > 0 {
		w.what, w.trade, h.regret = "cancel", h.regret[0], h.regret[1:]
		w.path = "/trades/" + w.trade.TradeID + "/cancel"
		return w
	}
	if h.sells() {
		return m.nextOffer(ctx, h, w)
	}
	if w.what == "return" {
		m.mu.Lock()
		if len(h.owns) > 0 {
			w.trade, h.owns = h.owns[0], h.owns[1:]
		}
		m.mu.Unlock()
		if w.trade.TradeID != "" {
			w.path = "/trades/" + w.trade.TradeID + "/return"
			return w
		}
		w.what = "confirm"
	}
	select {
	case w.trade = <-m.open:
	case <-ctx.Done():
		return nil
	}
	if rand.IntN(6) == 0 {
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

// nextOffer is a seller's: he takes back what a buyer returns, or offers something, if there is not plenty.
func (m *market) nextOffer(ctx context.Context, h *hand, w *wish) *wish {
	if w.what == "take back" {
		if w.trade = m.returned(ctx, h); w.trade.TradeID != "" {
			w.path = "/trades/" + w.trade.TradeID + "/confirm"
			return w
		}
		w.what = "offer"
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(m.open) > 2*len(m.hands)+2*m.each {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(1+rand.IntN(m.each), len(h.shelf))
	if n == 0 {
		m.t.Errorf("%s has no cards left to offer", h.name)
		return nil
	}
	w.cards, h.shelf = h.shelf[:n:n], h.shelf[n:]
	body := map[string]any{"mode": "BEARER", "segments": singly(w.cards)}
	if n > 1 {
		body["each"] = true
	}
	if w.brief = m.brief > 0 && rand.IntN(5) == 0; w.brief {
		body["expiresIn"] = (2*time.Second + rand.N(m.brief)).String()
	}
	w.path, w.body = "/trades", body
	return w
}

func singly(cards []string) (segments []map[string]string) {
	for _, c := range cards {
		segments = append(segments, map[string]string{"iccid": c})
	}
	return segments
}

// returned is a trade by which a buyer gives cards back that he has bought.
func (m *market) returned(ctx context.Context, h *hand) trade {
	m.mu.Lock()
	some := len(m.back) > 0
	m.mu.Unlock()
	if !some {
		return trade{}
	}
	var list items[trade]
	m.login(ctx, h)
	if err := h.call(ctx, http.MethodGet, "/trades?side=receiver&state=offered&limit=50", nil, &list); err != nil {
		m.failing(ctx, h, err)
		return trade{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range list.Items {
		n := slices.IndexFunc(m.back, func(old trade) bool { return old.TradeID == t.Reverses })
		if n >= 0 {
			m.back = slices.Delete(m.back, n, n+1)
			return t
		}
	}
	return trade{}
}

// asks sends a wish under its key.
func (m *market) asks(ctx context.Context, h *hand, w *wish, out any) error {
	if err := m.login(ctx, h); err != nil {
		return err
	}
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

// login makes sure that a hand has a session, at a server that there is.
func (m *market) login(ctx context.Context, h *hand) error {
	if m.turn(h); h.token != "" {
		return nil
	}
	if !h.sells() {
		return h.client.wechat(ctx, "demo:"+h.name)
	}
	if err := h.client.login(ctx, "xiaowang", demoPassword); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.token = h.token
	return nil
}

// turn makes a hand speak to the server that he has chosen, with the session that he has.
func (m *market) turn(h *hand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h.base = m.urls[h.server%len(m.urls)] + "/api/v1"
	if h.sells() && h.token == "" {
		h.token = m.token // one person with several hands
	}
}

// forget gives up a session that no server knows any more.
func (m *market) forget(h *hand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.token == h.token {
		m.token = ""
	}
	h.token = ""
}

// failing does what a hand does who was told nothing, or to log in.
func (m *market) failing(ctx context.Context, h *hand, err error) {
	var refused *apiError
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		m.forget(h)
		return
	}
	m.elsewhere(ctx, h)
}

// elsewhere makes a hand try the next server, after a moment.
func (m *market) elsewhere(ctx context.Context, h *hand) {
	h.server++
	h.http.CloseIdleConnections()
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
	}
}

// refused: two who want the same trade have one winner, and the other is told. An offer has no reason to be refused unless
// it expires before it is on the ledger, and a return has none.
func (m *market) refused(h *hand, w *wish, e *apiError) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var fine []string
	switch d := m.deals[w.trade.TradeID]; {
	case w.what == "offer" && w.brief:
		fine = []string{"TRADE_EXPIRED"}
		h.shelf = append(h.shelf, w.cards...)
	case w.what == "offer" || w.what == "return":
	case d != nil && d.brief:
		fine = []string{"TRADE_BUSY", "TRADE_ENDED", "TRADE_CODE_NOT_FOUND", "TRADE_EXPIRED"}
	default:
		fine = []string{"TRADE_BUSY", "TRADE_ENDED", "TRADE_CODE_NOT_FOUND"}
	}
	if !slices.Contains(fine, e.Code) {
		m.t.Errorf("%s wishes to %s %s and is told %v", h.name, w.what, w.trade.TradeID, e)
	}
}

// opened puts new trades where all can see them, and makes the seller regret one now and then: he cancels while a buyer
// confirms. A trade that is not on the ledger yet comes to nobody.
func (m *market) opened(h *hand, w *wish, trades []trade) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offers++
	if len(trades) != len(w.cards) {
		m.t.Errorf("an offer of %d cards made %d trades", len(w.cards), len(trades))
	}
	for _, t := range trades {
		if m.deals[t.TradeID] != nil {
			m.t.Errorf("two offers made the trade %s", t.TradeID)
		}
		m.deals[t.TradeID] = &deal{t, w.brief}
		if t.State != "offered" || w.brief && rand.IntN(2) == 0 { // nobody wants this one
			continue
		}
		m.open <- t
		if rand.IntN(10) == 0 {
			h.regret = append(h.regret, t)
		}
	}
}

// answered counts.
func (m *market) answered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left == 0 {
		time.AfterFunc(rand.N(20*time.Millisecond), m.enough)
	}
}
