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
		store := func(id int64, signature string) func(tx *model.Tx) error {
			return func(tx *model.Tx) error {
				return tx.StoreSignatures([]model.MadeSignature{{Line: id, Bytes: []byte(signature)}}, now)
			}
		}
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
		write(t, db, store(id, "first"))
		refused(t, db, model.ErrState, store(id, "second"))
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
		refused(t, db, model.ErrState, store(id, "late"))
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
		// Several at once; and the database lets the head go to no other row than the last of those that were appended.
		link := func(seq int64, prev, hash string) model.AuditRow {
			return model.AuditRow{Seq: seq, At: now, Actor: "test", Act: "act", Detail: "{}", PrevHash: prev, Hash: hash}
		}
		for name, rows := range map[string][]model.AuditRow{
			"a gap":             {link(2, "1", "2"), link(4, "2", "4")},
			"another beginning": {link(2, "x", "2")},
		} {
			last := rows[len(rows)-1]
			refused(t, db, model.ErrState, func(tx *model.Tx) error {
				if err := tx.AppendAudit(rows, model.AuditHead{}); err != nil {
					return err
				}
				return fmt.Errorf("%s, up to %d", name, last.Seq)
			})
		}
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.Exec("UPDATE custody_audit_head SET seq = 2, hash = '2'") })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.Exec("UPDATE custody_audit_head SET seq = 0, hash = '0'") })
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			err := tx.Exec("INSERT INTO custody_audit (seq, `at`, actor, act, subject, detail, prev_hash, hash) VALUES (2, 1, 'a', 'a', 'a', '{}', '1', '2')")
			if err == nil {
				err = tx.Exec("UPDATE custody_audit_head SET seq = 2, hash = 'x'")
			}
			return err
		})
		rows := read(t, db, func(tx *model.Tx) ([]model.AuditRow, error) { return tx.AuditRows(0, 10) })
		if len(rows) != 1 || rows[0] != row {
			t.Errorf("rows %+v", rows)
		}
		if got := read(t, db, (*model.Tx).AuditHead); got.Seq != 1 || got.Hash != "1" || string(got.Seal) != "s" {
			t.Errorf("head %+v", got)
		}
		more := []model.AuditRow{link(2, "1", "2"), link(3, "2", "3"), link(4, "3", "4")}
		write(t, db, func(tx *model.Tx) error {
			return tx.AppendAudit(more, model.AuditHead{Seq: 4, Hash: "4", KEKVersion: 1, Seal: []byte("t")})
		})
		if got := read(t, db, (*model.Tx).AuditHead); got.Seq != 4 || got.Hash != "4" || string(got.Seal) != "t" {
			t.Errorf("head %+v", got)
		}
	})
}

// TestSignLogTogether: what is read and written for many says what it says for one.
func TestSignLogTogether(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		line := func(owner, subject string, attempt int) model.CustodySignature {
			return model.CustodySignature{Owner: owner, Purpose: "Confirm", Subject: subject, Attempt: attempt, KeyID: "k-" + owner, Digest: "d", RequestID: "r", NotAfter: now, Actor: "test", CreatedAt: now}
		}
		acts := []model.SignedAct{{Owner: "ann", Function: "Confirm", Subject: "one"}, {Owner: "ann", Function: "Confirm", Subject: "two"}, {Owner: "bob", Function: "Confirm", Subject: "one"}}
		write(t, db, func(tx *model.Tx) error {
			return errors.Join(tx.AddCustodyKey(custodyKey("k-old", "ann", 1, model.CustodyRotated)), tx.AddCustodyKey(custodyKey("k-ann", "ann", 2, model.CustodyActive)),
				tx.AddCustodyKey(custodyKey("k-bob", "bob", 1, model.CustodySuspended)),
				tx.AddSignatures([]model.CustodySignature{line("ann", "one", 1), line("ann", "one", 2), line("ann", "two", 1), line("bob", "one", 1), line("bob", "other", 1)}))
		})
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error {
			return tx.AddSignatures([]model.CustodySignature{line("ann", "three", 1), line("ann", "two", 1)})
		})
		keys := locked(t, db, func(tx *model.Tx) (map[model.CustodyPlace]model.CustodyKey, error) {
			return tx.LockNewestCustodyKeys([]string{"ann", "bob", "cy"})
		})
		if len(keys) != 2 || keys[model.CustodyPlace{Owner: "ann", Slot: "account"}].ID != "k-ann" || keys[model.CustodyPlace{Owner: "bob", Slot: "account"}].ID != "k-bob" {
			t.Errorf("keys %v", keys)
		}
		states := locked(t, db, func(tx *model.Tx) (map[string]model.CustodyKeyState, error) {
			return tx.LockCustodyKeyStates([]string{"k-ann", "k-bob", "k-cy"})
		})
		if len(states) != 2 || states["k-ann"] != model.CustodyActive || states["k-bob"] != model.CustodySuspended {
			t.Errorf("states %v", states)
		}
		find := func(tx *model.Tx) (map[model.SignedAct][]model.CustodySignature, error) {
			return tx.SignaturesOf(append(acts, model.SignedAct{Owner: "cy", Function: "Confirm", Subject: "one"}))
		}
		lines := read(t, db, find)
		if len(lines) != 3 || len(lines[acts[0]]) != 2 || lines[acts[0]][1].Attempt != 2 || len(lines[acts[1]]) != 1 || len(lines[acts[2]]) != 1 {
			t.Fatalf("lines %v", lines)
		}
		made := func(n int, bytes string) model.MadeSignature {
			return model.MadeSignature{Line: lines[acts[n]][0].ID, Bytes: []byte(bytes)}
		}
		write(t, db, func(tx *model.Tx) error {
			return tx.StoreSignatures([]model.MadeSignature{made(0, "first"), made(1, "second")}, now)
		})
		refused(t, db, model.ErrState, func(tx *model.Tx) error { // all or none
			return tx.StoreSignatures([]model.MadeSignature{made(1, "again"), made(2, "third")}, now)
		})
		lines = read(t, db, find)
		if string(lines[acts[0]][0].Signature) != "first" || string(lines[acts[1]][0].Signature) != "second" || lines[acts[2]][0].Signature != nil || lines[acts[0]][1].Signature != nil {
			t.Errorf("lines %v", lines)
		}
		for n := range int64(2) {
			write(t, db, func(tx *model.Tx) error {
				return tx.SaveUsages([]model.Usage{{Owner: "ann", Slot: "account", Used: 3 + n}, {Owner: "bob", Slot: "account", Used: 5 + n}})
			})
		}
		used := locked(t, db, func(tx *model.Tx) (map[model.CustodyPlace]model.Usage, error) {
			return tx.LockUsages([]string{"ann", "bob", "cy"})
		})
		if len(used) != 2 || used[model.CustodyPlace{Owner: "ann", Slot: "account"}].Used != 4 || used[model.CustodyPlace{Owner: "bob", Slot: "account"}].Used != 6 {
			t.Errorf("usage %v", used)
		}
	})
}

// locked is read for what locks.
func locked[T any](t *testing.T, db *model.DB, fn func(*model.Tx) (T, error)) (found T) {
	t.Helper()
	write(t, db, func(tx *model.Tx) (err error) {
		found, err = fn(tx)
		return err
	})
	return found
}

// TestRewrapCustodyKeys: each of many keys gets its own envelope, in whatever order they come; those that were destroyed, or
// are elsewhere, stay as they are.
func TestRewrapCustodyKeys(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		var keys []model.CustodyKey
		for i := range 300 {
			k := custodyKey(fmt.Sprintf("%032x", (i*7919)%300), fmt.Sprintf("c-%d", i), 1, model.CustodyActive)
			if i == 5 {
				k = custodyKey(k.ID, k.Owner, 1, model.CustodyDestroyed)
			}
			keys = append(keys, k)
		}
		write(t, db, func(tx *model.Tx) error {
			if err := tx.AddCustodyKEK(model.CustodyKEK{Version: 2, RootID: "root", Wrapped: []byte("wrapped"), CreatedAt: now}); err != nil {
				return err
			}
			return tx.AddCustodyKeys(keys)
		})
		for n := range keys {
			keys[n].Wrapped = []byte("another of " + keys[n].ID)
		}
		keys[5].State = model.CustodyActive // as it was when somebody looked
		rewrap := func(some []model.CustodyKey) (moved int64) {
			write(t, db, func(tx *model.Tx) (err error) {
				moved, err = tx.RewrapCustodyKeys(some, 1, 2)
				return err
			})
			return moved
		}
		for _, part := range []struct{ from, to, want int }{{0, 1, 1}, {0, 9, 7}, {0, 300, 291}, {0, 300, 0}} {
			if moved := rewrap(keys[part.from:part.to]); moved != int64(part.want) {
				t.Errorf("%+v: %d have moved", part, moved)
			}
		}
		for _, k := range keys {
			got := locked(t, db, func(tx *model.Tx) (model.CustodyKey, error) { return tx.LockCustodyKey(k.ID) })
			if k.ID == keys[5].ID {
				if got.KEKVersion != 1 || len(got.Wrapped) != 0 {
					t.Errorf("the destroyed key: version %d, %q", got.KEKVersion, got.Wrapped)
				}
			} else if got.KEKVersion != 2 || string(got.Wrapped) != string(k.Wrapped) {
				t.Errorf("%s: version %d, %q", k.ID, got.KEKVersion, got.Wrapped)
			}
		}
	})
}
