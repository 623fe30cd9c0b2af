package custody_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// unopened is what VerifyKeys finds, by key.
func (r *rig) unopened(c *custody.Custody) (found map[string]string, opened int64) {
	r.t.Helper()
	found = map[string]string{}
	opened, err := c.VerifyKeys(r.t.Context(), func(id, problem string) { found[id] += problem })
	if err != nil {
		r.t.Fatal(err)
	}
	return found, opened
}

// unbound changes the database by hand, past its foreign keys.
func (r *rig) unbound(statement string, args ...any) {
	r.t.Helper()
	conn, err := r.raw.Conn(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	off, on := "PRAGMA foreign_keys = 0", "PRAGMA foreign_keys = 1"
	if r.cfg.Driver != model.SQLite {
		off, on = "SET FOREIGN_KEY_CHECKS = 0", "SET FOREIGN_KEY_CHECKS = 1"
	}
	for _, s := range []string{off, statement, on} {
		with := args
		if s != statement {
			with = nil
		}
		if _, err := conn.ExecContext(r.t.Context(), s, with...); err != nil {
			r.t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestVerifyKeys: more than a page of keys under two key-encryption keys, and one that waits to take over. Each that was
// cut, exchanged or lost what it is under is named, and no other; a destroyed one has nothing to open.
func TestVerifyKeys(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.unguarded()
		keys, _, err := r.Provision(t.Context(), owners(260), request.Consumer, custody.Account, "test")
		if err != nil {
			t.Fatal(err)
		}
		id := func(i int) string { return keys[i].Public.KeyID() }
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		under := r.ensure("c-under-2", request.Consumer, custody.Account)
		waiting := map[string]bool{}
		for _, i := range []int{0, 1} {
			if _, err := r.Replace(t.Context(), id(i), "ops-1"); err != nil {
				t.Fatal(err)
			}
			next, err := r.Prepare(t.Context(), id(i), "relay")
			if err != nil {
				t.Fatal(err)
			}
			waiting[next.ID] = true
		}
		r.exec(`UPDATE custody_keys SET state = 'revoked', live_slot = NULL WHERE id IN (?, ?)`, id(2), id(3))
		if err := r.destroy(id(2)); err != nil {
			t.Fatal(err)
		}
		if found, opened := r.unopened(r.Custody); len(found) != 0 || opened != 260+1+2-1 {
			t.Errorf("%d opened, found %v", opened, found)
		}

		var cut []byte
		if err := r.raw.QueryRowContext(t.Context(), `SELECT wrapped FROM custody_keys WHERE id = ?`, id(10)).Scan(&cut); err != nil {
			t.Fatal(err)
		}
		r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, cut[:len(cut)-1], id(10))
		r.swap("wrapped", id(11), id(12))
		r.swap("public", id(13), id(14))
		r.exec(`UPDATE custody_keys SET owner = 'c-thief' WHERE id = ?`, id(15))
		r.exec(`UPDATE custody_keys SET state = 'destroyed' WHERE id = ?`, id(3)) // and its envelope stays
		one := slices.Sorted(maps.Keys(waiting))[0]
		r.exec(`UPDATE custody_successors SET version = 9 WHERE id = ?`, one)
		r.unbound(`UPDATE custody_keys SET kek_version = 7 WHERE id = ?`, id(16))
		want := map[string]string{
			id(10): "under key-encryption key 1", id(11): "not the row that was sealed", id(12): "not the row that was sealed",
			id(13): "not the row that was sealed", id(14): "not the row that was sealed", id(15): "not the row that was sealed",
			id(3): "envelope is there", one: "under key-encryption key 2", id(16): "no key-encryption key 7",
		}
		found, opened := r.unopened(r.Custody)
		for key, problem := range want {
			if !strings.Contains(found[key], problem) {
				t.Errorf("key %s: %q, want %q", key, found[key], problem)
			}
			delete(found, key)
		}
		if len(found) > 0 || opened != 262-9 {
			t.Errorf("%d opened; also found %v", opened, found)
		}

		// The key-encryption key before the newest goes. A custody that runs has it in memory; the next one has not.
		r.unbound(`DELETE FROM custody_keks WHERE version = 1`)
		found, opened = r.unopened(r.open())
		if found[under.ID] != "" || !strings.Contains(found[id(20)], "no key-encryption key 1") || opened != 2 {
			t.Errorf("without its key-encryption key: %d opened, %q", opened, found[id(20)])
		}

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.VerifyKeys(gone, func(string, string) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("whoever hangs up: %v", err)
		}
		r.Close()
		if _, err := r.VerifyKeys(t.Context(), func(string, string) {}); !errors.Is(err, custody.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// TestVerifyKeysWhileSealed: nothing is opened, and nothing is said of any key.
func TestVerifyKeysWhileSealed(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		for _, s := range shares[:3] {
			if _, err := bring(t.Context(), r.Custody, s); err != nil {
				t.Fatal(err)
			}
		}
		r.stock(3)
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		found := 0
		if n, err := r.VerifyKeys(t.Context(), func(string, string) { found++ }); !errors.Is(err, custody.ErrSealed) || found > 0 || n > 0 {
			t.Errorf("%d opened, %d found, %v", n, found, err)
		}
	})
}
