package custody_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cardflow/custody"
)

// stock makes many keys.
func (r *rig) stock(n int) (ids []string) {
	r.t.Helper()
	for i := range n {
		ids = append(ids, r.ensure(fmt.Sprintf("c-%06d", i), custody.Machine, custody.Account).ID)
	}
	return ids
}

// TestRewrap: every key, of several key-encryption keys, is under the newest one and is what it was.
func TestRewrap(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		ids := r.stock(200)
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ensure("c-between", custody.Machine, custody.Account).ID)
		r.exec(`UPDATE custody_keys SET state = 'revoked', live_slot = NULL WHERE id = ?`, ids[7])
		r.exec(`UPDATE custody_keys SET state = 'destroyed', wrapped = ? WHERE id = ?`, []byte{}, ids[7])
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		before, err := r.Scalar(t.Context(), ids[0])
		if err != nil {
			t.Fatal(err)
		}
		var told []int64
		p, err := r.Rewrap(t.Context(), "server-1", false, func(p custody.RewrapProgress) { told = append(told, p.Left) })
		if err != nil || p.Done != 201 || p.Left != 0 || p.Version != 3 || p.Unreadable != 0 {
			t.Errorf("%+v, %v", p, err)
		}
		if len(told) != 2 || !slices.IsSortedFunc(told, func(a, b int64) int { return int(b - a) }) {
			t.Errorf("progress %v", told)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_keys WHERE kek_version <> 3`); n != 0 {
			t.Errorf("%d keys are elsewhere", n)
		}
		restarted := r.open()
		if after, err := restarted.Scalar(t.Context(), ids[0]); err != nil || !bytes.Equal(after, before) {
			t.Errorf("a key has changed: %v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_keys WHERE id = ? AND length(wrapped) = 0`, ids[7]); n != 1 {
			t.Error("a destroyed key is back")
		}
		if p, err := r.Rewrap(t.Context(), "server-1", false, nil); err != nil || p.Done != 0 {
			t.Errorf("again: %+v, %v", p, err)
		}
		r.whole()
	})
}

// TestRewrapKilled: in each statement of a batch, and between two. Whoever comes next goes on.
func TestRewrapKilled(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.stock(300)
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		for _, broken := range []struct{ table, on, when string }{
			{"custody_keys", "UPDATE", "1 = 1"}, {"custody_audit", "INSERT", "NEW.act = 'kek.rewrap'"}, {"custody_audit_head", "UPDATE", "1 = 1"},
		} {
			r.exec(r.breaking(broken.table, broken.on, broken.when))
			// A row that the database refuses to change is left for the next walk; all else ends this one.
			if p, err := r.Rewrap(t.Context(), "server-1", false, nil); p.Done != 0 || (err == nil) != (broken.table == "custody_keys") {
				t.Errorf("%+v: it went through: %+v, %v", broken, p, err)
			}
			r.exec(`DROP TRIGGER broken`)
			if n := r.count(`SELECT COUNT(*) FROM custody_keys WHERE kek_version = 1`); n != 300 {
				t.Errorf("%+v: %d are left", broken, n)
			}
		}
		// Killed after the first batch: it gives nothing back, and its lease is still there.
		killed, kill := context.WithCancel(t.Context())
		if _, err := r.Rewrap(killed, "server-1", false, func(custody.RewrapProgress) { kill() }); !errors.Is(err, context.Canceled) {
			t.Errorf("killed: %v", err)
		}
		left := r.count(`SELECT COUNT(*) FROM custody_keys WHERE kek_version = 1`)
		if left != 44 {
			t.Errorf("%d are left after one batch", left)
		}
		now := r.clock.now().UnixMilli()
		r.exec(`INSERT INTO leases (name, owner, until_at, updated_at) VALUES ('custody/rewrap', 'server-1', ?, ?)`, now+1000, now)
		if p, err := r.open().Rewrap(t.Context(), "server-2", false, nil); !errors.Is(err, custody.ErrRewrapElsewhere) || p.Done != 0 {
			t.Errorf("while another one has the lease: %+v, %v", p, err)
		}
		r.clock.ahead.Add(2000)
		if p, err := r.open().Rewrap(t.Context(), "server-2", false, nil); err != nil || p.Done != int64(left) {
			t.Errorf("the next server: %+v, %v", p, err)
		}
		r.whole()
	})
}

// TestRewrapMeetsADamagedRow: it is named, and the rest is done.
func TestRewrapMeetsADamagedRow(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		ids := r.stock(5)
		r.swap("wrapped", ids[1], ids[3])
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		p, err := r.Rewrap(t.Context(), "server-1", false, nil)
		if err != nil || p.Done != 3 || p.Left != 2 || p.Unreadable != 2 {
			t.Errorf("%+v, %v", p, err)
		}
		if got := r.heard(&r.alarms); len(got) != 2 || got[0] != custody.ErrKeyUnreadable.Code {
			t.Errorf("alarms %q", got)
		}
	})
}

// TestRewrapMeetsADestroyer: a key that is destroyed between a batch's look and its write stays destroyed.
func TestRewrapMeetsADestroyer(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		ids := r.stock(3)
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		r.random.set(func() error { // sealing the first one
			r.random.set(func() error { return nil })
			r.exec(`UPDATE custody_keys SET state = 'revoked', live_slot = NULL WHERE id = ?`, ids[1])
			r.exec(`UPDATE custody_keys SET state = 'destroyed', wrapped = ? WHERE id = ?`, []byte{}, ids[1])
			return nil
		})
		if p, err := r.Rewrap(t.Context(), "server-1", false, nil); err != nil || p.Done != 2 || p.Left != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_keys WHERE id = ? AND length(wrapped) = 0`, ids[1]); n != 1 {
			t.Error("a destroyed key is back")
		}
		if p, err := r.Rewrap(t.Context(), "server-1", false, nil); err != nil || p.Done != 1 || p.Left != 0 {
			t.Errorf("the next walk: %+v, %v", p, err)
		}
	})
}

// TestRewrapOfKeysThatWait: keys that wait to take over are put under the newest key-encryption key, too, whoever is killed
// and whichever of them takes over meanwhile.
func TestRewrapOfKeysThatWait(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		ids := r.stock(20)
		next := map[string]string{} // by the key before it
		for _, id := range ids {
			if _, err := r.Replace(t.Context(), id, "ops-1"); err != nil {
				t.Fatal(err)
			}
			k, err := r.Prepare(t.Context(), id, "relay")
			if err != nil {
				t.Fatal(err)
			}
			next[id] = k.ID
		}
		takesOver := func(id string) {
			if err := r.Follow(t.Context(), "tx", []custody.LedgerKey{
				{ID: next[id], Status: custody.LedgerActive, Version: 1}, {ID: id, Status: custody.LedgerRotated, Version: 2},
			}); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		status := func() custody.RootStatus {
			s, err := custody.LookAtRoot(t.Context(), r.db)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := status(); s.Left != 40 || s.Total != 40 {
			t.Errorf("before: %+v", s)
		}
		r.exec(r.breaking("custody_audit", "INSERT", "NEW.act = 'kek.rewrap'"))
		if p, err := r.Rewrap(t.Context(), "server-1", false, nil); err == nil || p.Done != 0 {
			t.Errorf("it went through: %+v, %v", p, err)
		}
		r.exec(`DROP TRIGGER broken`)
		left := func(table string) int { return r.count(`SELECT COUNT(*) FROM ` + table + ` WHERE kek_version = 1`) }
		if n := left("custody_successors"); n != 20 {
			t.Errorf("%d are left", n)
		}
		// One takes over while the batch is being sealed, others after it.
		waiting := slices.SortedFunc(maps.Keys(next), func(a, b string) int { return strings.Compare(next[a], next[b]) })
		r.random.set(func() error {
			r.random.set(func() error { return nil })
			takesOver(waiting[0])
			return nil
		})
		killed, kill := context.WithCancel(t.Context())
		if _, err := r.Rewrap(killed, "server-1", false, func(custody.RewrapProgress) { kill() }); !errors.Is(err, context.Canceled) {
			t.Errorf("killed: %v", err)
		}
		if n, m := left("custody_successors"), left("custody_keys"); n != 0 || m != 21 {
			t.Errorf("after a batch %d that wait and %d others are left", n, m)
		}
		takesOver(waiting[1])
		if p, err := r.open().Rewrap(t.Context(), "server-2", false, nil); err != nil || p.Done != 21 || p.Left != 0 {
			t.Errorf("the next server: %+v, %v", p, err)
		}
		if s := status(); s.Left != 0 || s.Total != 40 || s.KEKs[1].Keys != 40 {
			t.Errorf("after: %+v", s)
		}
		takesOver(waiting[2])
		restarted := r.open()
		for _, id := range []string{waiting[0], waiting[1], waiting[2]} {
			if _, err := restarted.Scalar(t.Context(), next[id]); err != nil {
				t.Errorf("a key that has taken over: %v", err)
			}
		}
		r.whole()
	})
}

// TestSigningWhileRewrapping: both go on, on two servers, and every signature is good.
func TestSigningWhileRewrapping(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.stock(150)
		r.ensure("c-0001", custody.Machine, custody.Account)
		config := r.config()
		config.Unguarded = true // on a slow machine it signs more meanwhile than anybody may in a minute
		signer, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(signer.Close)
		other := r.open()
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := other.Rewrap(t.Context(), "server-2", true, nil)
			done <- err
		}()
		n := 0
		for going := true; going; n++ {
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				going = false
			default:
			}
			r.stillSigns(signer, fmt.Sprintf("trade-%d", n))
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_keys WHERE kek_version = 1`); n != 0 {
			t.Errorf("%d are left", n)
		}
		r.whole()
	})
}
