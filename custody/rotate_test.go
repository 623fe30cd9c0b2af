package custody_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
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
