package model_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardflow/model"
)

func TestTotals(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("b", "ann", model.LotSpent), run(20, 29))
		for i, state := range []model.TradeState{model.TradeOffered, model.TradeConfirmed, model.TradeConfirmed} {
			tr := trade(numbered("t", i), state)
			if i > 1 {
				tr.Receiver = "ann"
			}
			write(t, db, func(tx *model.Tx) error { return tx.AddTrade(tr) })
		}
		type states = map[model.TradeState]int64
		all := states{model.TradeOffered: 1, model.TradeConfirmed: 2}
		for who, want := range map[string]model.Totals{
			"":         {Lots: 1, Cards: 10, Sold: all, Received: all},
			"retailer": {Lots: 1, Cards: 10, Sold: all},
			"ann":      {Received: states{model.TradeConfirmed: 1}},
		} {
			got := read(t, db, func(tx *model.Tx) (model.Totals, error) { return tx.Totals(who) })
			if got.Lots != want.Lots || got.Cards != want.Cards || !maps.Equal(got.Sold, want.Sold) || !maps.Equal(got.Received, want.Received) {
				t.Errorf("%q: %+v, want %+v", who, got, want)
			}
		}
	})
}

// TestDaily: trades fall into the days of Beijing, whose midnight is 16:00 UTC.
func TestDaily(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		beijing := time.FixedZone("CST", 8*3600)
		at := func(day, hour, minute int) model.Millis {
			return model.MillisOf(time.Date(2026, 3, day, hour, minute, 0, 0, beijing))
		}
		for i, tr := range []model.Trade{
			{OfferedAt: at(1, 23, 59), EndedAt: at(2, 0, 0), State: model.TradeConfirmed, Count: 5},
			{OfferedAt: at(2, 0, 0), State: model.TradeOffered, Count: 3},
			{OfferedAt: at(2, 23, 59), EndedAt: at(3, 9, 0), State: model.TradeDeclined, Count: 3},
			{OfferedAt: at(2, 9, 0), EndedAt: at(3, 9, 0), State: model.TradeConfirmed, Count: 2, Receiver: "ann", Seller: "bob"},
			{OfferedAt: at(2, 9, 0), EndedAt: at(3, 9, 0), State: model.TradeCancelled, Count: 1},
			{OfferedAt: at(2, 9, 0), EndedAt: at(3, 9, 0), State: model.TradeReleased, Count: 1},
			{OfferedAt: at(2, 9, 0), State: model.TradeFailed, Count: 1},
			{OfferedAt: at(2, 9, 0), State: model.TradeOffering, Count: 1},
		} {
			tr.ID, tr.Mode, tr.LotHash = numbered("t", i), "NAMED", hash("a")
			if tr.Seller == "" {
				tr.Seller = "retailer"
			}
			write(t, db, func(tx *model.Tx) error { return tx.AddTrade(tr) })
		}
		for who, want := range map[string][]model.Day{
			"": {
				{Date: "2026-03-02", Offered: 5, Confirmed: 1, CardsMoved: 5},
				{Date: "2026-03-03", Confirmed: 1, CardsMoved: 2, Declined: 1, Cancelled: 1, Released: 1},
				{Date: "2026-03-04"},
			},
			"ann": {{Date: "2026-03-02", Offered: 1}, {Date: "2026-03-03", Confirmed: 1, CardsMoved: 2}, {Date: "2026-03-04"}},
		} {
			got := read(t, db, func(tx *model.Tx) ([]model.Day, error) { return tx.Daily(who, at(4, 8, 0).Time(), beijing, 3) })
			if !slices.Equal(got, want) {
				t.Errorf("%q: %+v, want %+v", who, got, want)
			}
		}
	})
}

// TestCursorsAreStable: while somebody pages through a list others add to it. Nothing that was there at the start is
// missed, nothing comes twice.
func TestCursorsAreStable(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		rapid.Check(t, func(r *rapid.T) {
			rollback := errors.New("enough")
			err := db.Write(t.Context(), func(tx *model.Tx) error {
				n := 0
				add := func() string {
					tr := trade(fmt.Sprintf("%s%d", rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 1, 3, -1).Draw(r, "id"), n), model.TradeOffered)
					tr.CreatedAt = now + model.Millis(rapid.IntRange(0, 3).Draw(r, "at"))
					n++
					if err := tx.AddTrade(tr); err != nil {
						r.Fatal(err)
					}
					return tr.ID
				}
				missing := map[string]bool{}
				for range rapid.IntRange(0, 12).Draw(r, "before") {
					missing[add()] = true
				}
				seen := map[string]bool{}
				for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
					page, err := tx.ListTrades(model.TradeFilter{}, cursor, rapid.IntRange(1, 4).Draw(r, "limit"))
					if err != nil {
						r.Fatal(err)
					}
					for _, tr := range page.Items {
						if seen[tr.ID] {
							r.Fatalf("%s came twice", tr.ID)
						}
						seen[tr.ID] = true
						delete(missing, tr.ID)
					}
					cursor = page.Next
					if pages < 5 {
						add()
					}
				}
				if len(missing) > 0 {
					r.Fatalf("missed %v", missing)
				}
				return rollback
			})
			if !errors.Is(err, rollback) {
				r.Fatal(err)
			}
		})
	})
}

func TestForeignCursors(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		for _, cursor := range []string{"x", "!", "bm90IEpTT04", "WzFd"} {
			for name, list := range map[string]func(tx *model.Tx) error{
				"trades":   func(tx *model.Tx) error { _, err := tx.ListTrades(model.TradeFilter{}, cursor, 1); return err },
				"segments": func(tx *model.Tx) error { _, err := tx.FindSegments(model.SegmentFilter{}, cursor, 1); return err },
				"live":     func(tx *model.Tx) error { _, err := tx.AllLiveSegments("ann", cursor, 1); return err },
			} {
				if err := db.Read(t.Context(), list); !errors.Is(err, model.ErrCursor) {
					t.Errorf("%s with %q: %v", name, cursor, err)
				}
			}
		}
	})
}

func TestMillis(t *testing.T) {
	for millis, want := range map[model.Millis]string{0: "null", 1: `"1970-01-01T00:00:00.001Z"`, now: `"2026-03-01T09:00:00.000Z"`} {
		got, err := json.Marshal(millis)
		if err != nil || string(got) != want {
			t.Errorf("%d is %s, %v", millis, got, err)
		}
		var back model.Millis
		if err := json.Unmarshal(got, &back); err != nil || back != millis {
			t.Errorf("%s is %d, %v", got, back, err)
		}
	}
	if m := model.MillisOf(time.Time{}); m != 0 || !m.Time().IsZero() {
		t.Errorf("never is %d", m)
	}
	var m model.Millis
	for _, odd := range []string{`"yesterday"`, `12`, `{}`} {
		if err := json.Unmarshal([]byte(odd), &m); err == nil {
			t.Errorf("%s is %d", odd, m)
		}
	}
	if err := json.Unmarshal([]byte(`"2026-03-01T17:00:00+08:00"`), &m); err != nil || m != now {
		t.Errorf("Beijing time: %d, %v", m, err)
	}
}
