package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
)

// judge lets everything come to its end, and holds what people were told against what they are told now: every
// write that was accepted has ended, as was said if anything was said, and each buyer has the cards that he confirmed.
func (m *market) judge(ctx context.Context) {
	m.t.Helper()
	check(m.t, m.finish(ctx))
	m.settled(ctx)
	m.released(ctx)
	m.owned(ctx)
}

// each does something for every hand, as he, side by side.
func (m *market) everybody(ctx context.Context, do func(h *hand, v *visitor)) {
	var all sync.WaitGroup
	for _, h := range m.hands {
		all.Go(func() {
			m.stays(ctx, h)
			do(h, &visitor{h.client, m.t})
		})
	}
	all.Wait()
}

// stays makes sure that a hand has a session that is known.
func (m *market) stays(ctx context.Context, h *hand) {
	until(m.t, h.name+" to be logged in", func() bool {
		err := m.login(ctx, h)
		if err == nil {
			err = h.call(ctx, http.MethodGet, "/me", nil, nil)
		}
		if err != nil {
			m.failing(ctx, h, err)
		}
		return err == nil
	})
}

// settled waits until every write that was accepted has ended.
func (m *market) settled(ctx context.Context) {
	m.t.Helper()
	of := map[*hand]map[string]*fate{}
	for id, f := range m.fates {
		if !f.checked {
			if of[f.who] == nil {
				of[f.who] = map[string]*fate{}
			}
			of[f.who][id] = f
		}
	}
	m.everybody(ctx, func(h *hand, v *visitor) {
		for _, id := range slices.Sorted(maps.Keys(of[h])) {
			f := of[h][id]
			var now confirmation
			until(m.t, f.what+" "+id+" to end", func() bool {
				now = confirmation{}
				err := v.call(ctx, http.MethodGet, "/confirmations/"+id, nil, &now)
				var unavailable *apiError
				if err != nil && !(errors.As(err, &unavailable) && unavailable.Status == http.StatusServiceUnavailable) {
					m.t.Errorf("%s of trade %s: %v", f.what, f.trade.TradeID, err)
					return true
				}
				return now.State == "committed" || now.State == "failed"
			})
			var failed *apiError
			if now.State != "committed" {
				failed = &apiError{Code: "?"}
				if now.Error != nil {
					failed.Code = now.Error.Code
				}
				now.TxID = ""
			}
			m.told(h, f, now.TxID, failed)
			f.checked = true
		}
	})
}

// released waits until the ledger has given back what nobody took in time.
func (m *market) released(ctx context.Context) {
	m.t.Helper()
	ended := map[string]bool{}
	for _, f := range m.fates {
		ended[f.trade.TradeID] = ended[f.trade.TradeID] || f.txID != ""
	}
	shop := m.hands[0]
	m.stays(ctx, shop)
	v := &visitor{shop.client, m.t}
	for _, id := range slices.Sorted(maps.Keys(m.deals)) {
		d := m.deals[id]
		if !d.brief || ended[id] || d.State == "failed" {
			continue
		}
		unborn := d.State == "offering"  // whose offer may have come too late
		late := time.After(3 * patience) // an offer that was lost after it had been marked as sent gets relay.grace to turn up
		for d.State != "released" && !(unborn && d.State == "failed") {
			select {
			case <-late:
				m.t.Fatalf("nobody takes trade %s, which expired at %s, and at %s it is %s", id, d.ExpiresAt, time.Now(), d.State)
			case <-time.After(20 * time.Millisecond):
			}
			v.get("/trades/"+id, &d.trade)
		}
	}
}

// owned demands that each buyer has exactly the cards that he confirmed and has not given back, and that no trade was
// ended twice.
func (m *market) owned(ctx context.Context) {
	m.t.Helper()
	ended, buyer := map[string]string{}, map[string]*hand{}
	for id, f := range m.fates {
		if f.txID == "" || f.what == "return" {
			continue
		}
		if other, twice := ended[f.trade.TradeID]; twice {
			m.t.Errorf("trade %s was ended by %s and by %s", f.trade.TradeID, other, id)
		}
		ended[f.trade.TradeID] = id
		if f.what == "confirm" {
			buyer[f.trade.TradeID] = f.who
		}
	}
	count := map[*hand]map[string]int{}
	for _, h := range m.hands {
		count[h] = map[string]int{}
	}
	for _, f := range m.fates {
		if f.txID == "" {
			continue
		}
		switch card := f.trade.Segments[0].Start; f.what {
		case "confirm":
			count[f.who][card]++
		case "take back":
			count[buyer[f.trade.Reverses]][card]--
		}
	}
	m.everybody(ctx, func(h *hand, v *visitor) {
		if h.sells() {
			return
		}
		var want []string
		for card, n := range count[h] {
			if n < 0 || n > 1 {
				m.t.Errorf("%s should have card %s %d times", h.name, iccid.Last6(card), n)
			}
			if n > 0 {
				want = append(want, card)
			}
		}
		slices.Sort(want)
		if got := v.inventory(ctx); !slices.Equal(got, want) {
			m.t.Errorf("%s confirmed %v and owns %v", h.name, less(want, got), less(got, want))
		}
	})
}

// inventory lists the cards of a consumer.
func (v *visitor) inventory(ctx context.Context) (all []string) {
	for query := "?limit=500"; ; {
		var page items[struct{ ICCID string }]
		if err := v.call(ctx, http.MethodGet, "/me/cards"+query, nil, &page); err != nil {
			v.t.Errorf("%s: %v", v.name, err)
			return nil
		}
		for _, c := range page.Items {
			all = append(all, c.ICCID)
		}
		if page.NextCursor == "" {
			slices.Sort(all)
			return all
		}
		query = "?limit=500&cursor=" + page.NextCursor
	}
}

// less is what one list has and the other has not.
func less(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

// onLedger reads the ledger itself, and finds there what people were told and nothing else: each committed write once, in
// the transaction that was named; each trade ended once, by a write that somebody was told of, or released because nobody
// took it in time; each offer once.
func (m *market) onLedger(ctx context.Context, l ledger.Ledger) {
	m.t.Helper()
	height, err := l.Height(ctx)
	check(m.t, err)
	told := map[string]*fate{}
	for _, f := range m.fates {
		if f.txID != "" {
			told[f.txID] = f
		}
	}
	found, endedBy, made := map[string]int{}, map[string]string{}, map[string]string{}
	for n := range height {
		b, err := l.Block(ctx, n)
		check(m.t, err)
		for _, t := range b.Transactions {
			if t.Validation != ledger.Valid || len(t.Args) == 0 {
				continue
			}
			f := told[t.ID]
			if f != nil {
				found[t.ID]++
				if f.on(t.Function) != f.what {
					m.t.Errorf("%s of trade %s is a %s on the ledger", f.what, f.trade.TradeID, t.Function)
				}
			}
			id, opens, err := about(t)
			check(m.t, err)
			for _, id := range opens {
				if other := made[id]; other != "" {
					m.t.Errorf("trade %s was opened by %s and by %s", id, other, t.ID)
				}
				made[id] = t.ID
			}
			if id == "" {
				continue
			}
			if other := endedBy[id]; other != "" {
				m.t.Errorf("trade %s was ended by %s and by %s", id, other, t.ID)
			}
			endedBy[id] = t.ID
			if d := m.deals[id]; d != nil && f == nil && !(d.brief && t.Function == "Release") {
				m.t.Errorf("trade %s was ended by a %s of which nobody was told", id, t.Function)
			}
		}
	}
	for tx, f := range told {
		if found[tx] != 1 {
			m.t.Errorf("%s of trade %s was committed in %s, and stands on the ledger %d times", f.what, f.trade.TradeID, tx, found[tx])
		}
	}
	for id, d := range m.deals {
		if made[id] == "" && d.State != "failed" {
			m.t.Errorf("trade %s was opened, and the ledger does not know it", id)
		}
	}
}

// on is what people call a function of the contract.
func (f *fate) on(function string) string {
	names := map[string]string{"Confirm": "confirm", "Decline": "decline", "Cancel": "cancel", "Return": "return"}
	if function == "Confirm" && f.what == "take back" {
		return f.what
	}
	return names[function]
}

// about answers the trade that a transaction ends, and those that it opens.
func about(t ledger.Transaction) (ends string, opens []string, err error) {
	var body struct {
		Trade   string
		Outputs []struct{ Trade string }
	}
	switch t.Function {
	case "Confirm", "Decline", "Cancel", "Release", "Offer", "Return":
		err = json.Unmarshal(t.Args[0], &body)
	}
	for _, out := range body.Outputs {
		opens = append(opens, out.Trade)
	}
	return body.Trade, opens, err
}
