package model_test

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"

	"cardflow/iccid"
	"cardflow/model"
)

// full is a lot with no field empty.
func full() model.Lot {
	return model.Lot{Hash: hash("full"), Issuer: "carrier", Rule: iccid.Serial, Owner: "ann", Status: model.LotOwned, Frozen: []string{"regulator"},
		RetailPolicy: "REAL_NAME", Restrictions: []string{"NO_SMS", "NO_VOICE"}, CardCount: 10, SegmentCount: 1, SaltSealed: []byte{1, 0, 2}, TradeID: "t1",
		MadeByAct: "act", MadeTx: "tx1", Parents: []string{hash("a")}, Children: []string{hash("c")}, Version: 3, HeldBy: "other", ReversedUntil: now,
		IssuedTx: "tx0", BlockNumber: 7, CreatedAt: now, UpdatedAt: now, OwnedSince: now}
}

func TestLotKeepsEverything(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "carrier", model.LotSpent))
		addLot(t, db, full(), run(0, 9))
		got := read(t, db, func(tx *model.Tx) (model.Lot, error) { return tx.Lot(hash("full")) })
		if want := full(); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddLot(full(), nil) })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.Lot("none"); return err })
	})
}

// TestUpdateLot: the ledger's fields change, ours stay, and the runs follow.
func TestUpdateLot(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "carrier", model.LotSpent))
		l := full()
		l.Status = model.LotPending
		l.Version = 0
		addLot(t, db, l, run(0, 9))
		at := func() (*model.Segment, error) {
			var s *model.Segment
			err := db.Read(t.Context(), func(tx *model.Tx) (err error) {
				s, err = tx.LiveSegment(iccid.Serial, run(0, 0).Head, 7, 5)
				return err
			})
			return s, err
		}
		if _, err := at(); !errors.Is(err, model.ErrNotFound) {
			t.Errorf("the cards of a pending lot are live: %v", err)
		}
		mirror := model.Lot{Hash: l.Hash, Issuer: "bob", Rule: iccid.Luhn, Owner: "bob", Status: model.LotOwned, Version: 2, BlockNumber: 9, RetailPolicy: "OPEN"}
		write(t, db, func(tx *model.Tx) error { return tx.UpdateLot(mirror) })
		got := read(t, db, func(tx *model.Tx) (model.Lot, error) { return tx.Lot(l.Hash) })
		if got.Owner != "bob" || got.Status != model.LotOwned || got.Version != 2 || got.BlockNumber != 9 || got.RetailPolicy != "OPEN" || got.Frozen != nil || got.TradeID != "" {
			t.Errorf("the ledger's fields: %+v", got)
		}
		if got.Issuer != "carrier" || got.Rule != iccid.Serial || got.HeldBy != "other" || got.MadeByAct != "act" || !slices.Equal(got.SaltSealed, l.SaltSealed) || got.CardCount != 10 || got.CreatedAt != now {
			t.Errorf("our fields: %+v", got)
		}
		if s, err := at(); err != nil || s.Owner != "bob" {
			t.Errorf("the run: %v, %v", s, err)
		}
		old := mirror
		old.Version, old.Owner = 1, "ann"
		write(t, db, func(tx *model.Tx) error { return tx.UpdateLot(old) })
		if got := read(t, db, func(tx *model.Tx) (model.Lot, error) { return tx.Lot(l.Hash) }); got.Owner != "bob" {
			t.Error("an older version came through")
		}
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			mirror.Status = model.LotAbandoned
			return tx.UpdateLot(mirror)
		})
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error {
			mirror.Hash = hash("none")
			return tx.UpdateLot(mirror)
		})
		mirror.Hash, mirror.Status = l.Hash, model.LotSpent
		write(t, db, func(tx *model.Tx) error { return tx.UpdateLot(mirror) })
		if _, err := at(); !errors.Is(err, model.ErrNotFound) {
			t.Errorf("the cards of a spent lot are live: %v", err)
		}
	})
}

// TestHoldLots: of many acts that want the same lots, one gets them all.
func TestHoldLots(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		names := []string{"a", "b", "c", "d"}
		var hashes []string
		for i, name := range names {
			addLot(t, db, lot(name, "ann", model.LotOwned), run(uint32(i), uint32(i)))
			hashes = append(hashes, hash(name))
		}
		const racers = 8
		var won [racers]bool
		var all sync.WaitGroup
		for i := range racers {
			all.Go(func() {
				order := slices.Clone(hashes)
				if i%2 == 1 {
					slices.Reverse(order)
				}
				err := db.Write(t.Context(), func(tx *model.Tx) error { return tx.HoldLots(order, numbered("act", i)) })
				var held *model.HeldError
				if won[i] = err == nil; !won[i] && !(errors.As(err, &held) && errors.Is(err, model.ErrConflict)) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		winner := slices.Index(won[:], true)
		if winner < 0 || slices.Contains(won[winner+1:], true) {
			t.Fatalf("winners: %v", won)
		}
		name := numbered("act", winner)
		for _, h := range hashes {
			if l := read(t, db, func(tx *model.Tx) (model.Lot, error) { return tx.Lot(h) }); l.HeldBy != name {
				t.Errorf("%s is held by %q and not by %s", h, l.HeldBy, name)
			}
		}
		write(t, db, func(tx *model.Tx) error { return tx.HoldLots(hashes[:2], name) }) // again
		write(t, db, func(tx *model.Tx) error {                                         // a refusal changes nothing, even if its transaction goes on
			addErr := tx.AddLot(lot("e", "ann", model.LotOwned), nil)
			var held *model.HeldError
			if err := tx.HoldLots([]string{hash("e"), hash("d")}, "late"); !errors.As(err, &held) || held.Act != name || held.Lot != hash("d") {
				t.Errorf("late: %v", err)
			}
			return addErr
		})
		if l := read(t, db, func(tx *model.Tx) (model.Lot, error) { return tx.Lot(hash("e")) }); l.HeldBy != "" {
			t.Errorf("a refused hold holds: %s", l.HeldBy)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { return tx.HoldLots([]string{hash("x")}, "late") })
		write(t, db, func(tx *model.Tx) error {
			return errors.Join(tx.ReleaseHold(name), tx.HoldLots(hashes, "late"))
		})
	})
}

func TestLotsInOrder(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		for _, name := range []string{"a", "b", "c"} {
			addLot(t, db, lot(name, "ann", model.LotOwned))
		}
		want := []string{hash("c"), hash("a"), hash("c")}
		got := read(t, db, func(tx *model.Tx) ([]model.Lot, error) { return tx.Lots(want) })
		for i, l := range got {
			if l.Hash != want[i] {
				t.Errorf("%d: %s", i, l.Hash)
			}
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.Lots([]string{hash("a"), hash("z")}); return err })
		if walk := read(t, db, func(tx *model.Tx) ([]model.Lot, error) { return tx.AllLots(hash("a"), 10) }); len(walk) != 2 || walk[0].Hash != hash("b") {
			t.Errorf("walk: %v", walk)
		}
	})
}

func TestLineageEdges(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "carrier", model.LotSpent), run(0, 9))
		addLot(t, db, lot("b", "carrier", model.LotSpent), run(10, 19))
		merged := lot("m", "carrier", model.LotOwned)
		merged.Parents = []string{hash("a"), hash("b")}
		addLot(t, db, merged, run(0, 19))
		parents := read(t, db, func(tx *model.Tx) ([]model.Lot, error) { return tx.Parents(hash("m")) })
		children := read(t, db, func(tx *model.Tx) ([]model.Lot, error) { return tx.Children(hash("b")) })
		if len(parents) != 2 || parents[0].Hash != hash("a") || parents[1].Hash != hash("b") || len(children) != 1 || children[0].Hash != hash("m") {
			t.Errorf("parents %v, children %v", parents, children)
		}
		chain := read(t, db, func(tx *model.Tx) ([]model.Lot, error) { return tx.Lineage(iccid.Luhn, run(0, 0).Head, 7, 12) })
		if len(chain) != 2 || chain[1].Hash != hash("b") {
			t.Errorf("lineage of card 12: %v", chain)
		}
		orphan := lot("o", "carrier", model.LotOwned)
		orphan.Parents = []string{hash("none")}
		if err := db.Write(t.Context(), func(tx *model.Tx) error { return tx.AddLot(orphan, nil) }); err == nil {
			t.Error("a lot with a parent that isn't there was added")
		}
	})
}

func TestInventory(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "ann", model.LotOwned), run(0, 9))
		addLot(t, db, lot("b", "ann", model.LotOwned), run(10, 29))
		addLot(t, db, lot("c", "ann", model.LotInTrade), run(30, 30))
		addLot(t, db, lot("d", "bob", model.LotOwned), run(40, 44))
		want := []model.Stock{
			{Issuer: "carrier", Rule: iccid.Luhn, Status: model.LotInTrade, Lots: 1, Cards: 1},
			{Issuer: "carrier", Rule: iccid.Luhn, Status: model.LotOwned, Lots: 2, Cards: 30},
		}
		if got := read(t, db, func(tx *model.Tx) ([]model.Stock, error) { return tx.Inventory("ann") }); !slices.Equal(got, want) {
			t.Errorf("ann has %v", got)
		}
		want[1].Lots, want[1].Cards = 3, 35
		if got := read(t, db, func(tx *model.Tx) ([]model.Stock, error) { return tx.Inventory("") }); !slices.Equal(got, want) {
			t.Errorf("all have %v", got)
		}
	})
}
