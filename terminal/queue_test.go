package terminal

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cardflow/terminal/protocol"
	"cardflow/terminal/terminaltest"
)

// lieAbout answers a path with something else, under the gateway's own signature.
func lieAbout(path string, v any) func(*terminaltest.Reply) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return func(r *terminaltest.Reply) {
		if r.Request.Path == path {
			r.Status, r.Body = 200, body
		}
	}
}

func (r *rig) queued(a, b int) Entry {
	r.t.Helper()
	c, _, err := r.Prepare(r.t.Context(), Order{Cards: box(r.t, a, b)})
	check(r.t, err)
	e, err := r.Sell(c, nil)
	check(r.t, err)
	return e
}

// TestTrade: a box goes from one terminal to the other, and a card of it on by code.
func TestTrade(t *testing.T) {
	g := newGateway(t)
	a, b, c := newRig(t, g, seller, "SN-0001"), newRig(t, g, buyer, "SN-0002"), newRig(t, g, protocol.Party{ID: "retailer-2", Role: "retailer"}, "SN-0003")
	a.give(0, 99)
	a.sells(box(t, 0, 49), buyer.ID)
	offers, err := b.Offers(t.Context())
	check(t, err)
	if len(offers) != 1 || offers[0].Count != 50 {
		t.Fatalf("offered: %+v", offers)
	}
	if e := b.takes(protocol.ConfirmAsk{Trade: offers[0].Trade}); e.State != Committed {
		t.Fatalf("taken: %+v", e)
	}
	_, err = c.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: offers[0].Trade})
	wants(t, "someone else's trade", err, "TRADE_NOT_FOUND")

	// What it took it can sell on without having asked for its stock.
	sold := b.sells(box(t, 7, 7), "")
	if sold.Code == "" {
		t.Fatal("no code")
	}
	if e := c.takes(protocol.ConfirmAsk{Code: sold.Code, ICCIDLast6: card(7)[14:]}); e.State != Committed {
		t.Fatalf("taken by code: %+v", e)
	}
	if x, y, z := g.Owned(seller.ID), g.Owned(buyer.ID), g.Owned("retailer-2"); x != 50 || y != 49 || z != 1 {
		t.Errorf("they have %d, %d, %d", x, y, z)
	}
	for _, r := range []*rig{a, b, c} {
		stock, err := r.state.Stock()
		check(t, err)
		n := uint64(0)
		for _, l := range stock {
			n += l.Cards.Count()
		}
		if want := g.Owned(r.profile.Device.Participant.ID); n != want && r != a { // a has never asked for its stock
			t.Errorf("%s knows of %d, not %d", r.profile.Device.Serial, n, want)
		}
	}
}

// TestTwoConfirm: two terminals of one organisation confirm one trade: one act, and both learn its end.
func TestTwoConfirm(t *testing.T) {
	g := newGateway(t)
	a, b, c := newRig(t, g, seller, "SN-0001"), newRig(t, g, buyer, "SN-0002"), newRig(t, g, buyer, "SN-0003")
	a.give(0, 99)
	trade := a.sells(box(t, 0, 49), buyer.ID).Trade
	for _, r := range []*rig{b, c} {
		in, err := r.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: trade})
		check(t, err)
		got := NewReceipt(in.Cards)
		_, err = got.Box(card(0), card(49))
		check(t, err)
		_, err = one(r.Take(got, nil, in))
		check(t, err)
	}
	for _, r := range []*rig{b, c} {
		sent, err := r.Send(t.Context())
		check(t, err)
		if len(sent) != 1 || sent[0].State != Committed {
			t.Errorf("%s: %+v", r.profile.Device.Serial, sent)
		}
	}
	if g.Owned(buyer.ID) != 50 {
		t.Errorf("%d cards", g.Owned(buyer.ID))
	}
}

// TestTakeRefuses: goods that are not what is offered can't be confirmed, and go back for a reason that the ledger knows.
func TestTakeRefuses(t *testing.T) {
	g := newGateway(t)
	a, b := newRig(t, g, seller, "SN-0001"), newRig(t, g, buyer, "SN-0002")
	a.give(0, 99)
	in, err := b.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: a.sells(box(t, 0, 9), buyer.ID).Trade})
	check(t, err)
	got := NewReceipt(in.Cards)
	_, err = got.Box(card(0), card(8))
	check(t, err)
	_, err = b.Take(got, nil, in)
	wants(t, "one missing", err, "GOODS_WRONG")
	_, err = got.Box(card(9), card(10))
	check(t, err)
	_, err = b.Take(got, nil, in)
	wants(t, "one too many", err, "GOODS_WRONG")
	whole := NewReceipt(box(t, 0, 8))
	_, err = whole.Box(card(0), card(8))
	check(t, err)
	_, err = b.Take(whole, nil, in)
	wants(t, "another receipt", err, "GOODS_WRONG")
	_, err = b.Decline("JUST_SO", nil, in)
	wants(t, "no reason", err, "REASON_INVALID")
	_, err = b.Decline("WRONG_CARDS", nil, in)
	check(t, err)
	sent, err := b.Send(t.Context())
	check(t, err)
	if sent[0].State != Committed || g.Owned(seller.ID) != 100 {
		t.Errorf("%+v, the seller has %d", sent[0], g.Owned(seller.ID))
	}
}

// TestAnswerLost: the network goes between submit and answer. The same bytes go out again, and the act is one.
func TestAnswerLost(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	r.give(0, 99)
	e := r.queued(0, 9)
	r.g.Locked(func() {
		r.g.Lie = func(reply *terminaltest.Reply) { reply.Cut = reply.Request.Path == protocol.PathSubmit }
	})
	for range 3 {
		_, err := r.Send(t.Context())
		wants(t, "cut", err, "OFFLINE")
	}
	r.g.Locked(func() { r.g.Lie = nil })
	sent, err := r.Send(t.Context())
	check(t, err)
	if len(sent) != 1 || sent[0].State != Committed || sent[0].Attempts != 4 {
		t.Errorf("sent: %+v", sent)
	}
	if a := r.g.Ledger()[e.RequestID]; a.Times != 4 {
		t.Errorf("%d times", a.Times)
	}
	r.onlyOnce()
	if sent, err = r.Send(t.Context()); err != nil || len(sent) != 0 {
		t.Errorf("sent again: %v, %v", sent, err)
	}
}

// TestSubmittedLies: whatever the gateway says wrongly of a submitted request, under its own signature, the request stays in the
// queue and is sent again.
func TestSubmittedLies(t *testing.T) {
	for _, c := range []struct {
		name, code string
		lie        func(e Entry, tx protocol.Transaction) func(*terminaltest.Reply)
	}{
		{"another request", "SUBMITTED_WRONG", func(Entry, protocol.Transaction) func(*terminaltest.Reply) {
			return lieAbout(protocol.PathSubmit, protocol.Submitted{RequestID: strings.Repeat("0", 64), State: "failed", Error: &protocol.Refusal{Code: "X"}})
		}},
		{"an unknown state", "SUBMITTED_WRONG", func(e Entry, _ protocol.Transaction) func(*terminaltest.Reply) {
			return lieAbout(protocol.PathSubmit, protocol.Submitted{RequestID: e.RequestID, State: "lost"})
		}},
		{"failed without a reason", "SUBMITTED_WRONG", func(e Entry, _ protocol.Transaction) func(*terminaltest.Reply) {
			return lieAbout(protocol.PathSubmit, protocol.Submitted{RequestID: e.RequestID, State: "failed"})
		}},
		{"committed by nothing", "SUBMITTED_WRONG", func(e Entry, _ protocol.Transaction) func(*terminaltest.Reply) {
			return lieAbout(protocol.PathSubmit, protocol.Submitted{RequestID: e.RequestID, State: "committed"})
		}},
		{"a TXID that isn't there", "TX_WRONG", func(e Entry, _ protocol.Transaction) func(*terminaltest.Reply) {
			return lieAbout(protocol.PathSubmit, protocol.Submitted{RequestID: e.RequestID, State: "committed", TxID: "tx-9", BlockNumber: 9})
		}},
		{"another's TXID", "TX_WRONG", func(e Entry, tx protocol.Transaction) func(*terminaltest.Reply) {
			return lieAbout(protocol.PathSubmit, protocol.Submitted{RequestID: e.RequestID, State: "committed", TxID: tx.TxID, BlockNumber: tx.BlockNumber})
		}},
		{"another block", "TX_WRONG", func(e Entry, _ protocol.Transaction) func(*terminaltest.Reply) {
			return lieAbout(protocol.PathSubmit, protocol.Submitted{RequestID: e.RequestID, State: "committed", TxID: strings.Repeat("0", 63) + "2", BlockNumber: 77})
		}},
		{"a transaction that doesn't count", "TX_WRONG", func(_ Entry, tx protocol.Transaction) func(*terminaltest.Reply) {
			return func(r *terminaltest.Reply) {
				r.Body = []byte(strings.ReplaceAll(string(r.Body), `"validation":"VALID"`, `"validation":"MVCC_READ_CONFLICT"`))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, newGateway(t), seller, "SN-0001")
			r.give(0, 99)
			first := r.sells(box(t, 50, 59), "")
			e := r.queued(0, 9)
			r.g.Locked(func() {})
			tx := r.g.Ledger()[first.RequestID].Tx
			r.g.Locked(func() { r.g.Lie = c.lie(e, tx) })
			_, err := r.Send(t.Context())
			wants(t, c.name, err, c.code)
			queue, err := r.state.Queue()
			check(t, err)
			if queue[1].State != Sent {
				t.Errorf("it is %s", queue[1].State)
			}
			r.g.Locked(func() { r.g.Lie = nil })
			_, err = r.Send(t.Context())
			check(t, err)
			r.onlyOnce()
		})
	}
}

// TestRefusals: what the platform refuses for good has failed, and its lots are free again; what passes by itself waits.
func TestRefusals(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	lot := r.give(0, 99)
	check(t, r.RefreshStock(t.Context()))
	e := r.queued(0, 9)
	r.g.Locked(func() {
		r.g.Lie = func(reply *terminaltest.Reply) {
			if reply.Request.Path == protocol.PathSubmit {
				reply.Status, reply.Body = 409, []byte(`{"error":{"code":"LOT_BUSY","message":"忙","requestId":"0"}}`)
			}
		}
	})
	sent, err := r.Send(t.Context())
	check(t, err)
	if sent[0].State != Sent || sent[0].Error == nil || sent[0].Error.Code != "LOT_BUSY" {
		t.Errorf("busy: %+v", sent[0])
	}
	if _, _, err := r.Prepare(t.Context(), Order{Cards: box(t, 20, 29), Offline: true}); CodeOf(err) != "NOT_IN_STOCK" {
		t.Errorf("a lot that a waiting request spends: %v", err)
	}
	// It has arrived in spite of what was said; say that it has not.
	r.g.Locked(func() {
		r.g.Lie = func(reply *terminaltest.Reply) {
			if reply.Request.Path == protocol.PathSubmit {
				reply.Status, reply.Body = 409, []byte(`{"error":{"code":"INPUT_SPENT","message":"已用","requestId":"0"}}`)
			}
		}
	})
	if sent, err = r.Send(t.Context()); err != nil || sent[0].State != Failed || sent[0].RequestID != e.RequestID {
		t.Errorf("spent: %+v, %v", sent, err)
	}
	if stock, err := r.state.Stock(); err != nil || len(stock) != 1 || stock[0].Lot != lot {
		t.Errorf("the stock: %v, %v", stock, err)
	}
}

// TestQueueKeepsNamesApart: a request that is in the queue isn't queued twice, and a lot isn't spent twice.
func TestQueueKeepsNamesApart(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	r.give(0, 99)
	c, _, err := r.Prepare(t.Context(), Order{Cards: box(t, 0, 9)})
	check(t, err)
	one, err := r.Sell(c, nil)
	check(t, err)
	two, err := r.Sell(c, nil)
	check(t, err)
	if one.Sequence != two.Sequence || string(one.Body) != string(two.Body) {
		t.Errorf("queued as %d and %d", one.Sequence, two.Sequence)
	}
	other, _, err := r.Prepare(t.Context(), Order{Cards: box(t, 20, 29)})
	check(t, err)
	_, err = r.Sell(other, nil)
	wants(t, "the same lot", err, "STOCK_SPENT")
	_, err = OpenState(StatePath(r.dir))
	wants(t, "a second process", err, "STATE_BUSY")
}

// TestExpired: a request that waited longer than its signature lasts has failed.
func TestExpired(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	r.give(0, 99)
	r.queued(0, 9)
	later := func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
	r.g.Locked(func() { r.g.Now = later })
	r.client.now, r.now = later, later
	sent, err := r.Send(t.Context())
	check(t, err)
	if sent[0].State != Failed || sent[0].Error.Code != "REQUEST_EXPIRED" {
		t.Errorf("it is %+v", sent[0])
	}
	r.onlyOnce()
}

// TestClockStops: a clock that is off keeps the queue back, says by how much, and nothing is lost by it.
func TestClockStops(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	r.give(0, 99)
	r.give(100, 199)
	r.queued(0, 9)
	r.queued(100, 109)
	r.client.now = func() time.Time { return time.Now().Add(-10 * time.Minute) }
	sent, err := r.Send(t.Context())
	wants(t, "ten minutes slow", err, "CLOCK_SKEW")
	refusal, _ := refusedByGateway(err)
	if ahead, ok := refusal.Facts["ahead"].(time.Duration); !ok || ahead > -9*time.Minute || len(sent) != 1 || sent[0].State != Sent {
		t.Errorf("ahead by %v; sent: %+v", refusal.Facts["ahead"], sent)
	}
	r.client.now = time.Now
	_, err = r.Send(t.Context())
	check(t, err)
	r.onlyOnce()
	r.give(200, 299)
	r.queued(200, 209)
	r.g.Stop(r.Public().KeyID())
	_, err = r.Send(t.Context())
	wants(t, "suspended", err, "DEVICE_REFUSED")
	queue, err := r.state.Queue()
	check(t, err)
	if last := queue[len(queue)-1]; last.State != Sent {
		t.Errorf("it is %s", last.State)
	}
}
