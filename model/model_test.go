package model_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/model"
	"cardflow/model/modeltest"
)

// now is when the tests happen.
var now = model.MillisOf(time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC))

// write runs a transaction that must succeed.
func write(t testing.TB, db *model.DB, fn func(tx *model.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// read asks for one thing that must be there.
func read[T any](t testing.TB, db *model.DB, fn func(tx *model.Tx) (T, error)) T {
	t.Helper()
	var out T
	err := db.Read(t.Context(), func(tx *model.Tx) (err error) {
		out, err = fn(tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused runs a transaction that must end in the given error.
func refused(t testing.TB, db *model.DB, want error, fn func(tx *model.Tx) error) error {
	t.Helper()
	err := db.Write(t.Context(), fn)
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	return err
}

// settle stores a carrier, a retailer and two consumers.
func settle(t testing.TB, db *model.DB) {
	t.Helper()
	write(t, db, func(tx *model.Tx) error {
		for _, p := range []model.Participant{
			{ID: "carrier", Role: "carrier", Kind: model.Organisation, Name: "某某电信", State: model.ParticipantRegistered},
			{ID: "retailer", Role: "retailer", Kind: model.Organisation, Name: "街角手机店", State: model.ParticipantPending},
			{ID: "ann", Role: "consumer", Kind: model.Consumer, State: model.ParticipantPending},
			{ID: "bob", Role: "consumer", Kind: model.Consumer, State: model.ParticipantPending},
		} {
			if err := tx.AddParticipant(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// open is a fresh database with those participants.
func each(t *testing.T, test func(t *testing.T, db *model.DB)) {
	t.Helper()
	modeltest.Each(t, func(t *testing.T, db *model.DB) {
		settle(t, db)
		test(t, db)
	})
}

// hash is a lot hash with a recognisable beginning.
func hash(name string) string { return name + strings.Repeat("0", 64-len(name)) }

func lot(name, owner string, status model.LotStatus) model.Lot {
	return model.Lot{Hash: hash(name), Issuer: "carrier", Rule: iccid.Luhn, Owner: owner, Status: status, RetailPolicy: "OPEN", CreatedAt: now}
}

func run(lo, hi uint32) iccid.Segment {
	return iccid.Segment{Head: "898600000000", Width: 7, Lo: lo, Hi: hi}
}

func set(t testing.TB, runs ...iccid.Segment) iccid.Set {
	t.Helper()
	s, err := iccid.NewSet(iccid.Luhn, runs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addLot(t testing.TB, db *model.DB, l model.Lot, runs ...iccid.Segment) {
	t.Helper()
	write(t, db, func(tx *model.Tx) error { return tx.AddLot(l, runs) })
}

func trade(id string, state model.TradeState) model.Trade {
	return model.Trade{ID: id, Mode: "BEARER", LotHash: hash("a"), Seller: "retailer", State: state, Count: 1, CreatedAt: now}
}

func act(id string, state model.ActState) model.Act {
	return model.Act{ID: id, Function: "Confirm", Contract: "ownership", Actor: "ann", Subject: "t1", State: state, CreatedAt: now}
}

func numbered(prefix string, n int) string { return fmt.Sprintf("%s%03d", prefix, n) }
