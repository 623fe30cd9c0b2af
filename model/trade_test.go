package model_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cardflow/iccid"
	"cardflow/model"
)

// traded is each with a lot to trade in.
func traded(t *testing.T, test func(t *testing.T, db *model.DB)) {
	t.Helper()
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "retailer", model.LotOwned), run(0, 9))
		test(t, db)
	})
}

func fullTrade() model.Trade {
	return model.Trade{ID: "t", Batch: "b", Mode: "NAMED", LotHash: hash("a"), Seller: "retailer", Receiver: "ann", State: model.TradeConfirming, PendingAct: "p",
		CodeSealed: []byte{0, 1}, CodeIndex: "index", LiveCode: "index", Count: 10, Reverses: "r", ReasonCode: "OTHER", ReasonTextSealed: []byte{2},
		OfferedAt: now, ExpiresAt: now + 1, OfferTx: "tx1", OfferBlock: 1, OfferDevice: "WECHAT", EndTx: "tx2", EndBlock: 2, EndDevice: "SE", EndedAt: now + 2,
		CreatedAt: now, CreatedBy: "p1"}
}

func TestTradeKeepsEverything(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error { return tx.AddTrade(fullTrade()) })
		got := read(t, db, func(tx *model.Tx) (model.Trade, error) { return tx.Trade("t") })
		if want := fullTrade(); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
	})
}

// TestLiveCodeIsUnique: two trades can't be found by one code at a time, but one after the other.
func TestLiveCodeIsUnique(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		coded := func(id string) model.Trade {
			tr := trade(id, model.TradeOffered)
			tr.CodeIndex, tr.LiveCode = "code", "code"
			return tr
		}
		write(t, db, func(tx *model.Tx) error { return tx.AddTrade(coded("t1")) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddTrade(coded("t2")) })
		if got := read(t, db, func(tx *model.Tx) (model.Trade, error) { return tx.TradeByLiveCode("code") }); got.ID != "t1" {
			t.Errorf("the code leads to %s", got.ID)
		}
		if got := read(t, db, func(tx *model.Tx) (map[string]bool, error) { return tx.LiveCodes([]string{"code", "other"}) }); len(got) != 1 || !got["code"] {
			t.Errorf("live codes %v", got)
		}
		write(t, db, func(tx *model.Tx) error {
			_, err := tx.MoveTrade("t1", model.TradeOffered, model.TradeCancelled, func(tr *model.Trade) { tr.EndTx = "tx" })
			return err
		})
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.TradeByLiveCode("code"); return err })
		write(t, db, func(tx *model.Tx) error { return tx.AddTrade(coded("t2")) })
		if got := read(t, db, func(tx *model.Tx) ([]model.Trade, error) { return tx.TradesByCode("code") }); len(got) != 2 || got[0].ID != "t2" || got[1].LiveCode != "" {
			t.Errorf("trades of the code: %+v", got)
		}
		if err := db.Write(t.Context(), func(tx *model.Tx) error { return tx.Exec("UPDATE trades SET live_code = 'x' WHERE id = 't1'") }); err == nil {
			t.Error("an ended trade got a live code")
		}
	})
}

// TestOneWinner: fifty confirm one trade at once.
func TestOneWinner(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error { return tx.AddTrade(trade("t1", model.TradeOffered)) })
		var won atomic.Int32
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				err := db.Write(t.Context(), func(tx *model.Tx) error {
					_, err := tx.MoveTrade("t1", model.TradeOffered, model.TradeConfirming, func(tr *model.Trade) { tr.PendingAct = numbered("act", i) })
					return err
				})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, model.ErrState) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d winners", won.Load())
		}
	})
}

// TestSaveTradeMirror: the ledger's word, without a trace of it here, and over what is here.
func TestSaveTradeMirror(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		mirror := fullTrade()
		mirror.State = model.TradeOffered
		write(t, db, func(tx *model.Tx) error { return tx.SaveTradeMirror(mirror) })
		if got := read(t, db, func(tx *model.Tx) (model.Trade, error) { return tx.Trade("t") }); !reflect.DeepEqual(got, mirror) {
			t.Errorf("added\n%+v, want\n%+v", got, mirror)
		}
		ended := model.Trade{ID: "t", Mode: "NAMED", LotHash: hash("a"), Seller: "retailer", Receiver: "bob", State: model.TradeConfirmed, EndTx: "tx9", EndBlock: 9,
			EndedAt: now + 9, OfferTx: "tx1", OfferBlock: 1, OfferedAt: now, ExpiresAt: now + 1}
		for range 2 { // twice is once
			write(t, db, func(tx *model.Tx) error { return tx.SaveTradeMirror(ended) })
		}
		got := read(t, db, func(tx *model.Tx) (model.Trade, error) { return tx.Trade("t") })
		if got.State != model.TradeConfirmed || got.Receiver != "bob" || got.EndTx != "tx9" || got.LiveCode != "" || got.PendingAct != "" || got.ReasonCode != "" {
			t.Errorf("the ledger's fields: %+v", got)
		}
		if got.Batch != "b" || got.CodeIndex != "index" || len(got.CodeSealed) != 2 || got.Count != 10 || got.CreatedBy != "p1" || got.CreatedAt != now || len(got.ReasonTextSealed) != 1 {
			t.Errorf("our fields: %+v", got)
		}
		ended.State = model.TradeDeclined
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.SaveTradeMirror(ended) })
	})
}

func TestListTrades(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("b", "ann", model.LotOwned), run(20, 29))
		for i := range 12 {
			tr := trade(fmt.Sprintf("%02dtrade", i), model.TradeOffered)
			tr.CreatedAt = now + model.Millis(i/3) // several at one moment
			if i%2 == 0 {
				tr.Receiver = "bob"
			}
			if i == 5 {
				tr.Seller, tr.LotHash, tr.State, tr.OfferTx = "bob", hash("b"), model.TradeFailed, "tx5"
			}
			tr.Batch = fmt.Sprint("batch", i%4)
			write(t, db, func(tx *model.Tx) error { return tx.AddTrade(tr) })
		}
		for name, c := range map[string]struct {
			filter model.TradeFilter
			want   string // numbers, newest first
		}{
			"all":         {model.TradeFilter{}, "11 10 09 08 07 06 05 04 03 02 01 00"},
			"seller":      {model.TradeFilter{Participant: "bob", Side: model.Seller}, "05"},
			"receiver":    {model.TradeFilter{Participant: "bob", Side: model.Receiver}, "10 08 06 04 02 00"},
			"either":      {model.TradeFilter{Participant: "bob"}, "10 08 06 05 04 02 00"},
			"state":       {model.TradeFilter{States: []model.TradeState{model.TradeFailed, model.TradeReleased}}, "05"},
			"time":        {model.TradeFilter{From: now + 1, To: now + 2}, "05 04 03"},
			"lot":         {model.TradeFilter{Lot: hash("b"), Mode: "BEARER"}, "05"},
			"mode":        {model.TradeFilter{Mode: "NAMED"}, ""},
			"trade ID":    {model.TradeFilter{Q: " 07tr "}, "07"},
			"wildcard":    {model.TradeFilter{Q: "%"}, ""},
			"lot hash":    {model.TradeFilter{Q: hash("b")[:8]}, "05"},
			"transaction": {model.TradeFilter{Q: "tx5"}, "05"},
			"batch":       {model.TradeFilter{Q: "batch3"}, "11 07 03"},
			"somebody":    {model.TradeFilter{Q: "bob", Participant: "ann"}, ""},
			"some":        {model.TradeFilter{IDs: []string{"03trade", "05trade", "nothing"}}, "05 03"},
			"none":        {model.TradeFilter{IDs: []string{}}, ""},
			"a card":      {model.TradeFilter{End: iccid.Luhn.Format(run(25, 25).First())[14:]}, "05"},
			"no card":     {model.TradeFilter{End: iccid.Luhn.Format(run(35, 35).First())[14:]}, ""},
		} {
			want := []string{}
			for _, f := range strings.Fields(c.want) {
				want = append(want, f+"trade")
			}
			got := []string{}
			for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
				page := read(t, db, func(tx *model.Tx) (model.Page[model.Trade], error) { return tx.ListTrades(c.filter, cursor, 2) })
				for _, tr := range page.Items {
					got = append(got, tr.ID)
				}
				cursor = page.Next
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
		if got := read(t, db, func(tx *model.Tx) ([]model.Trade, error) { return tx.TradesOfBatch("batch1") }); len(got) != 3 || got[0].ID != "01trade" {
			t.Errorf("batch: %v", got)
		}
		if got := read(t, db, func(tx *model.Tx) ([]model.Trade, error) { return tx.TradesOfLot(hash("b")) }); len(got) != 1 {
			t.Errorf("lot: %v", got)
		}
		if got := read(t, db, func(tx *model.Tx) ([]model.Trade, error) { return tx.AllTrades("09trade", 10) }); len(got) != 2 {
			t.Errorf("walk: %v", got)
		}
	})
}

func TestExpiredTrades(t *testing.T) {
	traded(t, func(t *testing.T, db *model.DB) {
		for i, state := range []model.TradeState{model.TradeOffered, model.TradeOffered, model.TradeConfirming, model.TradeOffered} {
			tr := trade(numbered("t", i), state)
			tr.ExpiresAt = now - model.Millis(i)
			write(t, db, func(tx *model.Tx) error { return tx.AddTrade(tr) })
		}
		got := read(t, db, func(tx *model.Tx) ([]model.Trade, error) { return tx.ExpiredTrades(now, 10) })
		if len(got) != 2 || got[0].ID != "t003" || got[1].ID != "t001" {
			t.Errorf("expired: %v", got)
		}
		if got := read(t, db, func(tx *model.Tx) ([]model.Trade, error) { return tx.ExpiredTrades(now, 1) }); len(got) != 1 {
			t.Errorf("at most one: %v", got)
		}
	})
}
