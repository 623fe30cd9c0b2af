package model_test

import (
	"errors"
	"fmt"
	"testing"

	"cardflow/model"
)

func custodyKey(id, owner string, version int, state model.CustodyKeyState) model.CustodyKey {
	return model.CustodyKey{
		ID: id, Owner: owner, Role: "consumer", Slot: "account", Version: version, Kind: "account", Functions: []string{"Confirm"},
		Public: []byte("public"), Possession: []byte("possession"), KEKVersion: 1, Wrapped: envelope(state), State: state, CreatedAt: now,
	}
}

// envelope is what a key's row holds in a state: a destroyed key has nothing left that could be opened.
func envelope(state model.CustodyKeyState) []byte {
	if state == model.CustodyDestroyed {
		return []byte{}
	}
	return []byte("wrapped")
}

// addKEK stores the key-encryption key that the keys of these tests name.
func addKEK(t *testing.T, db *model.DB) {
	t.Helper()
	write(t, db, func(tx *model.Tx) error {
		return tx.AddCustodyKEK(model.CustodyKEK{Version: 1, RootID: "root", Wrapped: []byte("wrapped"), CreatedAt: now})
	})
}

// TestCustodyKeyMoves asks Go and the database about every pair of states.
func TestCustodyKeyMoves(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		write(t, db, func(tx *model.Tx) error {
			for _, from := range model.CustodyKeyMoves.States() {
				for _, to := range model.CustodyKeyMoves.States() {
					can := model.CustodyKeyMoves.Can(from, to)
					raw, moved := fmt.Sprintf("%s-%s-raw", from, to), fmt.Sprintf("%s-%s", from, to)
					if err := errors.Join(tx.AddCustodyKey(custodyKey(raw, raw, 1, from)), tx.AddCustodyKey(custodyKey(moved, moved, 1, from))); err != nil {
						return err
					}
					live := map[bool]any{true: "account"}[to.Live()]
					err := tx.Exec("UPDATE custody_keys SET state = ?, live_slot = ?, wrapped = ? WHERE id = ?", to, live, envelope(to), raw)
					if (err == nil) != (can || from == to) || err != nil && !errors.Is(err, model.ErrState) {
						t.Errorf("the database moves %s to %s: %v; the table says %t", from, to, err, can)
					}
					if err := tx.MoveCustodyKey(moved, from, to); (err == nil) != can || err != nil && !errors.Is(err, model.ErrState) {
						t.Errorf("Go moves %s to %s: %v; the table says %t", from, to, err, can)
					}
					key, err := tx.CustodyKey(moved)
					if want := map[bool]model.CustodyKeyState{true: to, false: from}[can]; err != nil || key.State != want {
						t.Errorf("after %s to %s the row says %s, %v", from, to, key.State, err)
					}
					if (len(key.Wrapped) == 0) != (key.State == model.CustodyDestroyed) {
						t.Errorf("a key that is %s has an envelope of %d bytes", key.State, len(key.Wrapped))
					}
					if (key.LiveSlot == key.Slot) != key.State.Live() {
						t.Errorf("a key that is %s has the live slot %q", key.State, key.LiveSlot)
					}
				}
			}
			return nil
		})
		refused(t, db, model.ErrState, func(tx *model.Tx) error { // somebody else moved it first
			return tx.MoveCustodyKey("active-active", model.CustodySuspended, model.CustodyRevoked)
		})
	})
}

func TestOneLiveKeyPerSlot(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		write(t, db, func(tx *model.Tx) error {
			return errors.Join(tx.AddCustodyKey(custodyKey("k1", "ann", 1, model.CustodyActive)), tx.AddCustodyKey(custodyKey("b1", "bob", 1, model.CustodyActive)))
		})
		second := func(tx *model.Tx) error { return tx.AddCustodyKey(custodyKey("k2", "ann", 2, model.CustodyActive)) }
		refused(t, db, model.ErrConflict, second)
		write(t, db, func(tx *model.Tx) error { return tx.MoveCustodyKey("k1", model.CustodyActive, model.CustodySuspended) })
		refused(t, db, model.ErrConflict, second)
		write(t, db, func(tx *model.Tx) error { return tx.MoveCustodyKey("k1", model.CustodySuspended, model.CustodyRevoked) })
		write(t, db, second)
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddCustodyKey(custodyKey("k3", "ann", 2, model.CustodyRotated)) })
		newest := read(t, db, func(tx *model.Tx) (model.CustodyKey, error) { return tx.NewestCustodyKey("ann", "account") })
		if newest.ID != "k2" || len(newest.Functions) != 1 || string(newest.Wrapped) != "wrapped" {
			t.Errorf("newest key %+v", newest)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error {
			_, err := tx.LockNewestCustodyKey("ann", "ticket")
			return err
		})
	})
}

func TestSignLog(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		line := model.CustodySignature{Owner: "ann", Purpose: "Confirm", Subject: "trade", Attempt: 1, KeyID: "k1", Digest: "d", RequestID: "r", NotAfter: now, Actor: "test", CreatedAt: now}
		write(t, db, func(tx *model.Tx) error { return tx.AddCustodyKey(custodyKey("k1", "ann", 1, model.CustodyActive)) })
		var id int64
		write(t, db, func(tx *model.Tx) error {
			stored, err := tx.AddSignature(line)
			id = stored.ID
			return err
		})
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { _, err := tx.AddSignature(line); return err })
		if got := read(t, db, func(tx *model.Tx) (model.CustodySignature, error) { return tx.Signature("ann", "Confirm", "trade", 1) }); got.ID != id || got.Signature != nil {
			t.Errorf("line %+v", got)
		}
		// The first signature stays.
		write(t, db, func(tx *model.Tx) error { return tx.StoreSignature(id, []byte("first"), now) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.StoreSignature(id, []byte("second"), now) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			return tx.Exec("UPDATE custody_signatures SET signature = ? WHERE id = ?", []byte("second"), id)
		})
		// A closed attempt stays closed.
		write(t, db, func(tx *model.Tx) error { return tx.CloseSignature(id, model.NeverBroadcast, now) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.CloseSignature(id, model.DefinitelyInvalid, now) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			return tx.Exec("UPDATE custody_signatures SET closed = '' WHERE id = ?", id)
		})
		line.Attempt = 2
		write(t, db, func(tx *model.Tx) error {
			second, err := tx.AddSignature(line)
			id = second.ID
			return err
		})
		write(t, db, func(tx *model.Tx) error { return tx.CloseSignature(id, model.NeverBroadcast, now) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.StoreSignature(id, []byte("late"), now) })
		last := read(t, db, func(tx *model.Tx) (model.CustodySignature, error) { return tx.LastSignature("ann", "Confirm", "trade") })
		if last.Attempt != 2 || last.Signature != nil || last.Closed != model.NeverBroadcast {
			t.Errorf("last line %+v", last)
		}
	})
}

func TestAuditIsAppendedAtItsHead(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		head := model.AuditHead{Hash: "0", KEKVersion: 1, Seal: []byte("seal")}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.LockAuditHead(); return err })
		write(t, db, func(tx *model.Tx) error { return tx.AddAuditHead(head) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddAuditHead(head) })
		row := model.AuditRow{Seq: 1, At: now, Actor: "test", Act: "act", Detail: "{}", PrevHash: "0", Hash: "1"}
		write(t, db, func(tx *model.Tx) error {
			return tx.AppendAudit([]model.AuditRow{row}, model.AuditHead{Seq: 1, Hash: "1", KEKVersion: 1, Seal: []byte("s")})
		})
		// Not where the head stands: nothing of it is left.
		stray := row
		stray.Seq, stray.Hash = 2, "2"
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			return tx.AppendAudit([]model.AuditRow{stray}, model.AuditHead{Seq: 2, Hash: "2"})
		})
		rows := read(t, db, func(tx *model.Tx) ([]model.AuditRow, error) { return tx.AuditRows(0, 10) })
		if len(rows) != 1 || rows[0] != row {
			t.Errorf("rows %+v", rows)
		}
		if got := read(t, db, (*model.Tx).AuditHead); got.Seq != 1 || got.Hash != "1" || string(got.Seal) != "s" {
			t.Errorf("head %+v", got)
		}
	})
}
