package custody_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/model"
	"cardflow/model/modeltest"
)

// another makes a second root in a file.
func (r *rig) another(name string) custody.RootKey {
	r.t.Helper()
	root, err := custody.FileRoot(filepath.Join(r.t.TempDir(), name), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	return root
}

// under opens a custody with a root.
func (r *rig) under(root custody.RootKey) (*custody.Custody, error) {
	config := r.config()
	config.Root = root
	c, err := custody.Open(r.t.Context(), config)
	if err == nil {
		r.t.Cleanup(c.Close)
	}
	return c, err
}

// stillSigns fails the test unless a custody signs.
func (r *rig) stillSigns(c *custody.Custody, trade string) {
	r.t.Helper()
	ask, body := confirm(trade)
	if _, _, err := c.Sign(r.t.Context(), ask, body); err != nil {
		r.t.Errorf("%s: %v", trade, err)
	}
}

// TestRotateRoot, from a file to shares to another set of shares: the old root opens nothing any more, whoever runs goes
// on, and no key has changed.
func TestRotateRoot(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		before, err := r.Scalar(t.Context(), key.ID)
		if err != nil {
			t.Fatal(err)
		}
		other := r.open() // a server that runs meanwhile
		root, shares := split(t, 2, 3)
		if err := r.RotateRoot(t.Context(), root, "ops"); err != nil {
			t.Fatal(err)
		}
		r.stillSigns(r.Custody, "trade-1")
		r.stillSigns(other, "trade-2")
		if _, err := custody.Open(t.Context(), r.config()); !errors.Is(err, custody.ErrRootMismatch) {
			t.Errorf("the old root: %v", err)
		}
		started := r.sealed()
		if s, err := bring(t.Context(), started, shares[2], shares[0]); err != nil || s.Sealed {
			t.Fatalf("the new one: %+v, %v", s, err)
		}
		if after, err := started.Scalar(t.Context(), key.ID); err != nil || !bytes.Equal(after, before) {
			t.Errorf("the key has changed: %v", err)
		}
		next, nextShares := split(t, 3, 3)
		if err := started.RotateRoot(t.Context(), next, "ops"); err != nil {
			t.Fatal(err)
		}
		again := r.sealed()
		if _, err := bring(t.Context(), again, shares[0]); !errors.Is(err, custody.ErrShareForeign) {
			t.Errorf("a share of the set before: %v", err)
		}
		if s, err := bring(t.Context(), again, nextShares...); err != nil || s.Sealed {
			t.Errorf("%+v, %v", s, err)
		}
		r.stillSigns(again, "trade-3")
		// Neither the one that is, nor one that was.
		for name, bad := range map[string]custody.RootKey{"the same": next, "one that was given up": root} {
			if err := started.RotateRoot(t.Context(), bad, "ops"); !errors.Is(err, custody.ErrRootExists) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'root.rotate'`); n != 2 {
			t.Errorf("%d rotations in the audit", n)
		}
		s, err := custody.LookAtRoot(t.Context(), r.db)
		if err != nil || s.Root.ID != next.ID() || s.Root.Threshold != 3 || s.Set != nextShares[0].Set || len(s.KEKs) != 1 || s.Total != 1 || s.Left != 0 {
			t.Errorf("status %+v, %v", s, err)
		}
		r.Custody = again
		r.whole()
	})
}

// TestKilledWhileRotatingTheRoot: in each statement of its transaction. All is under the old root, or all under the new.
func TestKilledWhileRotatingTheRoot(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		for range 2 {
			if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
				t.Fatal(err)
			}
		}
		next := r.another("next.key")
		for _, broken := range []struct{ table, on, when string }{
			{"custody_keks", "UPDATE", "NEW.version = 1"}, {"custody_keks", "UPDATE", "NEW.version = 3"},
			{"custody_roots", "UPDATE", "1 = 1"}, {"custody_roots", "INSERT", "1 = 1"},
			{"custody_next_root", "INSERT", "1 = 1"}, {"custody_next_root", "DELETE", "1 = 1"},
			{"custody_audit", "INSERT", "NEW.act = 'root.rotate'"}, {"custody_audit_head", "UPDATE", "1 = 1"},
		} {
			r.exec(r.breaking(broken.table, broken.on, broken.when))
			if err := r.RotateRoot(t.Context(), next, "ops"); err == nil {
				t.Errorf("%+v: it went through", broken)
			}
			r.exec(`DROP TRIGGER broken`)
			r.stillSigns(r.Custody, fmt.Sprintf("trade-%s-%s-%d", broken.table, broken.on, len(broken.when)))
			if c, err := custody.Open(t.Context(), r.config()); err != nil {
				t.Errorf("%+v: the old root: %v", broken, err)
			} else {
				c.Close()
			}
			if _, err := r.under(next); !errors.Is(err, custody.ErrRootMismatch) {
				t.Errorf("%+v: the new root: %v", broken, err)
			}
		}
		// A root that fails before there is a transaction changes nothing either.
		for name, bad := range map[string]custody.RootKey{"doesn't wrap": &faulty{RootKey: next, wrap: custody.ErrToken}, "wraps what it can't open": &faulty{RootKey: next, unwrap: gm.ErrOpen}} {
			if err := r.RotateRoot(t.Context(), bad, "ops"); err == nil {
				t.Errorf("a root that %s was taken", name)
			}
		}
		if err := r.RotateRoot(t.Context(), next, "ops"); err != nil {
			t.Fatal(err)
		}
		c, err := r.under(next)
		if err != nil {
			t.Fatal(err)
		}
		r.stillSigns(c, "trade-end")
		r.whole()
	})
}

// breaking is a trigger that ends a transaction at one of its statements.
func (r *rig) breaking(table, on, when string) string {
	if r.cfg.Driver == model.SQLite {
		return fmt.Sprintf(`CREATE TRIGGER broken BEFORE %s ON %s WHEN %s BEGIN SELECT RAISE(ABORT, 'broken'); END`, on, table, when)
	}
	return fmt.Sprintf(`CREATE TRIGGER broken BEFORE %s ON %s FOR EACH ROW IF %s THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'broken'; END IF`, on, table, when)
}

// faulty is a root that goes away.
type faulty struct {
	custody.RootKey
	wrap, unwrap error
	asked        int
}

func (f *faulty) Unwrap(ctx context.Context, wrapped, ad []byte) (gm.Secret, error) {
	f.asked++
	if f.unwrap != nil {
		return nil, f.unwrap
	}
	return f.RootKey.Unwrap(ctx, wrapped, ad)
}

func (f *faulty) Wrap(ctx context.Context, random io.Reader, key gm.Secret, ad []byte) ([]byte, error) {
	if f.wrap != nil {
		return nil, f.wrap
	}
	return f.RootKey.Wrap(ctx, random, key, ad)
}

// TestTokenGoesAwayMidSignature: what is in memory signs on; what isn't waits for the token, and nothing is decided.
func TestTokenGoesAwayMidSignature(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		token := &faulty{RootKey: r.config().Root}
		other, err := r.under(token)
		if err != nil {
			t.Fatal(err)
		}
		token.unwrap = fmt.Errorf("pulled: %w", custody.ErrToken)
		r.stillSigns(other, "trade-1")
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		ask, body := confirm("trade-2")
		if _, _, err := other.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrToken) {
			t.Errorf("a key-encryption key that it hasn't: %v", err)
		}
		if err := other.Ready(t.Context()); !errors.Is(err, custody.ErrToken) {
			t.Errorf("ready: %v", err)
		}
		token.unwrap = nil
		r.stillSigns(other, "trade-2")
		r.whole()
	})
}

// TestNewKEK: every server takes it up without a restart; what was made before still opens.
func TestNewKEK(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		other := r.open()
		for want := 2; want < 5; want++ {
			if got, err := r.NewKEK(t.Context(), "ops"); err != nil || got != want {
				t.Fatalf("version %d, want %d, %v", got, want, err)
			}
			r.stillSigns(other, fmt.Sprintf("trade-%d", want))
			owner := fmt.Sprintf("c-000%d", want)
			if _, err := other.Ensure(t.Context(), custody.Post{Owner: owner, Role: custody.Machine, Slot: custody.Account}, "test"); err != nil {
				t.Fatal(err)
			}
			if n := r.count(`SELECT kek_version FROM custody_keys WHERE owner = ?`, owner); n != want {
				t.Errorf("a new key is under %d, want %d", n, want)
			}
		}
		r.whole()
	})
}

// TestNewKEKThatCameToNothing: another server makes one of the same version afterwards, and it is that one that counts.
func TestNewKEKThatCameToNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		r.exec(r.breaking("custody_audit", "INSERT", "NEW.act = 'audit.reseal'"))
		if _, err := r.NewKEK(t.Context(), "ops"); err == nil {
			t.Fatal("it went through")
		}
		r.exec(`DROP TRIGGER broken`)
		if n := r.count(`SELECT COUNT(*) FROM custody_keks`); n != 1 {
			t.Errorf("%d key-encryption keys", n)
		}
		if _, err := r.open().NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		r.stillSigns(r.Custody, "trade-1")
		r.whole()
		if got := r.heard(&r.alarms); slices.Contains(got, custody.ErrAuditBroken.Code) {
			t.Errorf("alarms %q", got)
		}
	})
}

// TestNewKEKUnderARootThatThisServerLacks: it waits for the root, instead of signing with what is out of date.
func TestNewKEKUnderARootThatThisServerLacks(t *testing.T) {
	t.Run(modeltest.Engine(t), func(t *testing.T) {
		r := bareRig(t)
		shares := r.ceremony(2, 3)
		if _, err := bring(t.Context(), r.Custody, shares[:2]...); err != nil {
			t.Fatal(err)
		}
		r.ensure("c-0001", custody.Machine, custody.Account)
		other := r.sealed()
		if _, err := bring(t.Context(), other, shares[1:]...); err != nil {
			t.Fatal(err)
		}
		next, nextShares := split(t, 2, 2)
		if err := r.RotateRoot(t.Context(), next, "ops"); err != nil {
			t.Fatal(err)
		}
		if _, err := other.NewKEK(t.Context(), "ops"); !errors.Is(err, custody.ErrRootMismatch) {
			t.Errorf("by a server with the old root: %v", err)
		}
		started := r.sealed()
		if _, err := bring(t.Context(), started, nextShares...); err != nil {
			t.Fatal(err)
		}
		if _, err := started.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		ask, body := confirm("trade-1")
		if _, _, err := other.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("it signs: %v", err)
		}
		if s, err := other.SealStatus(t.Context()); err != nil || !s.Sealed || s.Set != nextShares[0].Set {
			t.Errorf("%+v, %v", s, err)
		}
		if s, err := bring(t.Context(), other, nextShares...); err != nil || s.Sealed {
			t.Errorf("%+v, %v", s, err)
		}
		r.stillSigns(other, "trade-1")
	})
}

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

// TestEnvelopesOfOtherVersions: an envelope that was replaced doesn't open in its row any more, nor one of a newer
// key-encryption key before its time.
func TestEnvelopesOfOtherVersions(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.unguarded()
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		envelope := func() (sealed []byte) {
			if err := r.raw.QueryRowContext(t.Context(), `SELECT wrapped FROM custody_keys WHERE id = ?`, key.ID).Scan(&sealed); err != nil {
				t.Fatal(err)
			}
			return sealed
		}
		old := envelope()
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Rewrap(t.Context(), "server-1", false, nil); err != nil {
			t.Fatal(err)
		}
		now := envelope()
		for name, put := range map[string]func(){
			"replayed":               func() { r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, old, key.ID) },
			"of the newer, as older": func() { r.exec(`UPDATE custody_keys SET kek_version = 1 WHERE id = ?`, key.ID) },
		} {
			put()
			if _, err := r.Scalar(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) {
				t.Errorf("%s: %v", name, err)
			}
			r.exec(`UPDATE custody_keys SET wrapped = ?, kek_version = 2 WHERE id = ?`, now, key.ID)
		}
		for cut := range now {
			r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, now[:cut], key.ID)
			if _, err := r.Scalar(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) {
				t.Errorf("cut at %d: %v", cut, err)
			}
		}
		r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, now, key.ID)
		// Key-encryption keys, exchanged.
		one, two := r.wrappedKEK(1), r.wrappedKEK(2)
		r.exec(`UPDATE custody_keks SET wrapped = ? WHERE version = 1`, two)
		r.exec(`UPDATE custody_keks SET wrapped = ? WHERE version = 2`, one)
		if _, err := custody.Open(t.Context(), r.config()); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("key-encryption keys exchanged: %v", err)
		}
	})
}

func (r *rig) wrappedKEK(version int) (wrapped []byte) {
	r.t.Helper()
	if err := r.raw.QueryRowContext(r.t.Context(), `SELECT wrapped FROM custody_keks WHERE version = ?`, version).Scan(&wrapped); err != nil {
		r.t.Fatal(err)
	}
	return wrapped
}

// FuzzEnvelope: bytes that somebody put in the place of an envelope don't open, whatever they are, and nothing panics;
// neither in the row of a key nor in that of a key-encryption key.
func FuzzEnvelope(f *testing.F) {
	r := newRig(f)
	key := r.ensure("c-0001", custody.Machine, custody.Account)
	var sealed []byte
	if err := r.raw.QueryRowContext(f.Context(), `SELECT wrapped FROM custody_keys WHERE id = ?`, key.ID).Scan(&sealed); err != nil {
		f.Fatal(err)
	}
	r.unguarded()
	root, kek := r.config().Root, r.wrappedKEK(1)
	f.Add([]byte{})
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add(kek)
	f.Add(bytes.Repeat([]byte{0}, 28))
	f.Fuzz(func(t *testing.T, put []byte) {
		if got, err := root.Unwrap(t.Context(), put, []byte("ad")); !errors.Is(err, gm.ErrOpen) || got != nil {
			t.Errorf("as a key-encryption key: %v", err)
		}
		if put == nil {
			put = []byte{} // the column takes no null
		}
		if _, err := r.raw.ExecContext(t.Context(), `UPDATE custody_keys SET wrapped = ? WHERE id = ?`, put, key.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Scalar(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) && !bytes.Equal(put, sealed) {
			t.Errorf("as a key: %v", err)
		}
	})
}

// TestUnsealWithTheRootBefore: a server that was started before its root was rotated, and is stopped by hand after that, says
// why it doesn't open, and opens nothing.
func TestUnsealWithTheRootBefore(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		other := r.open()
		next := r.another("next.key")
		if err := r.RotateRoot(t.Context(), next, "ops"); err != nil {
			t.Fatal(err)
		}
		if err := other.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Unseal(t.Context(), nil, "ops-1"); !errors.Is(err, custody.ErrRootMismatch) {
			t.Errorf("%v", err)
		}
		if s, err := other.SealStatus(t.Context()); err != nil || !s.Sealed || s.Stopped.IsZero() {
			t.Errorf("%+v, %v", s, err)
		}
		restarted, err := r.under(next)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := restarted.Unseal(t.Context(), nil, "ops-1"); err != nil || s.Sealed {
			t.Errorf("with the new one: %+v, %v", s, err)
		}
		r.stillSigns(restarted, "trade-1")
	})
}
