package custody_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
)

// TestEmergencyStop: it holds on all servers, a restart doesn't undo it, and a person lifts it.
func TestEmergencyStop(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		other := r.open()
		ask, body := confirm("trade-1")
		signed, _, err := other.Sign(t.Context(), ask, body)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Errorf("twice: %v", err)
		}
		next, nextBody := confirm("trade-2")
		restarted := r.open()
		for name, c := range map[string]*custody.Custody{"this server": r.Custody, "another": other, "one that starts": restarted} {
			if _, _, err := c.Sign(t.Context(), next, nextBody); !errors.Is(err, custody.ErrSealed) {
				t.Errorf("%s signs: %v", name, err)
			}
			if _, _, err := c.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrSealed) {
				t.Errorf("%s gives a signature out: %v", name, err)
			}
			if s, err := c.SealStatus(t.Context()); err != nil || !s.Sealed || s.Stopped.IsZero() {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
			if _, err := c.KEK(1); !errors.Is(err, custody.ErrSealed) {
				t.Errorf("%s has its keys in memory: %v", name, err)
			}
		}
		if _, err := r.Unseal(t.Context(), []byte("00000"), "ops-2"); !errors.Is(err, custody.ErrShareUnwanted) {
			t.Errorf("a share where there are none: %v", err)
		}
		if s, err := restarted.Unseal(t.Context(), nil, "ops-2"); err != nil || s.Sealed || !s.Stopped.IsZero() {
			t.Fatalf("lifted: %+v, %v", s, err)
		}
		for _, c := range []*custody.Custody{r.Custody, other, restarted} {
			if sig, _, err := c.Sign(t.Context(), ask, body); err != nil || string(sig.Bytes) != string(signed.Bytes) {
				t.Errorf("after it was lifted: %v", err)
			}
		}
		if _, _, err := other.Sign(t.Context(), next, nextBody); err != nil {
			t.Error(err)
		}
		if got := r.actsLike("seal.%"); len(got) != 2 || !strings.HasPrefix(got[0], "seal.stop ops-1") || !strings.HasPrefix(got[1], "seal.open ops-2") {
			t.Errorf("in the audit: %q", got)
		}
		r.whole()
	})
}

// TestStopBetweenIntentAndSignature: what was being signed when somebody stopped it doesn't leave.
func TestStopBetweenIntentAndSignature(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		other := r.open()
		r.random.set(func() error {
			r.random.set(func() error { return nil })
			return other.Seal(t.Context(), "ops-1")
		})
		if sig, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrSealed) || sig.Bytes != nil {
			t.Errorf("%v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NOT NULL`); n != 0 {
			t.Error("a signature was stored")
		}
		if _, err := other.Unseal(t.Context(), nil, "ops-1"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("after it was lifted: %v", err)
		}
		r.whole()
	})
}

// TestStopWithShares: the stop empties every server, and each needs its shares again. Who asks all the time meanwhile
// doesn't disturb those who bring them.
func TestStopWithShares(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		if _, err := bring(t.Context(), r.Custody, shares[:3]...); err != nil {
			t.Fatal(err)
		}
		r.ensure("c-0001", custody.Machine, custody.Account)
		other := r.sealed()
		if err := other.Seal(t.Context(), "ops-1"); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("a sealed server says that it stopped the others: %v", err)
		}
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			ask, body := confirm("trade-1")
			for {
				select {
				case <-done:
					return
				default:
					_, _, _ = r.Sign(t.Context(), ask, body)
					_ = r.Ready(t.Context())
				}
			}
		}()
		s, err := bring(t.Context(), r.Custody, shares[2:]...)
		close(done)
		<-asked
		if err != nil || s.Sealed || !s.Stopped.IsZero() {
			t.Fatalf("%+v, %v", s, err)
		}
		if err := r.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		if s, err := other.SealStatus(t.Context()); err != nil || !s.Sealed || !s.Stopped.IsZero() {
			t.Errorf("the other server: %+v, %v", s, err)
		}
		r.whole()
	})
}

// TestATool looks at what is stopped, and lifts nothing.
func TestATool(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		if _, err := bring(t.Context(), r.Custody, shares[:3]...); err != nil {
			t.Fatal(err)
		}
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		config := r.config()
		config.Root, config.Shares, config.Tool = nil, true, true
		tool, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer tool.Close()
		if s, err := bring(t.Context(), tool, shares[1:4]...); err != nil || s.Sealed || s.Stopped.IsZero() {
			t.Errorf("%+v, %v", s, err)
		}
		if _, err := tool.VerifyAudit(t.Context(), custody.VerifyOptions{}); err != nil {
			t.Errorf("it can't look: %v", err)
		}
		post := custody.Post{Owner: "c-0001", Role: custody.Machine, Slot: custody.Account}
		if _, err := tool.Ensure(t.Context(), post, "test"); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("it makes a key: %v", err)
		}
		if _, err := tool.NewKEK(t.Context(), "ops"); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("it makes a key-encryption key: %v", err)
		}
		if s, err := r.SealStatus(t.Context()); err != nil || !s.Sealed || s.Stopped.IsZero() {
			t.Errorf("it has lifted the stop: %+v, %v", s, err)
		}
	})
}

// watched is a root that lets something happen whenever it opens a key.
type watched struct {
	custody.RootKey
	opens func()
}

func (w *watched) Unwrap(ctx context.Context, wrapped, ad []byte) (gm.Secret, error) {
	if w.opens != nil {
		w.opens()
	}
	return w.RootKey.Unwrap(ctx, wrapped, ad)
}

// TestStopWhileUnsealing: a stop that comes while somebody lifts the one before it stays.
func TestStopWhileUnsealing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		root := &watched{RootKey: r.config().Root}
		other, err := r.under(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		root.opens = func() {
			root.opens = nil
			if _, err := r.Unseal(t.Context(), nil, "ops-1"); err != nil {
				t.Error(err)
			}
			r.clock.ahead.Add(1)
			if err := r.Seal(t.Context(), "ops-3"); err != nil {
				t.Error(err)
			}
		}
		if s, err := other.Unseal(t.Context(), nil, "ops-2"); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("it lifts what it hasn't seen: %+v, %v", s, err)
		}
		ask, body := confirm("trade-1")
		for name, c := range map[string]*custody.Custody{"this server": r.Custody, "the other": other} {
			if s, err := c.SealStatus(t.Context()); err != nil || !s.Sealed || s.Stopped.IsZero() {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
			if _, _, err := c.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrSealed) {
				t.Errorf("%s signs: %v", name, err)
			}
		}
		if s, err := other.Unseal(t.Context(), nil, "ops-2"); err != nil || s.Sealed {
			t.Errorf("asked again: %+v, %v", s, err)
		}
		r.stillSigns(r.Custody, "trade-1")
		r.whole()
	})
}

// TestStopByWhoHasNotHeard: a server that was sealed by a stop, and doesn't know yet that it was lifted, stops the others again.
func TestStopByWhoHasNotHeard(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		other := r.open()
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		if err := other.Ready(t.Context()); !errors.Is(err, custody.ErrSealed) {
			t.Fatal(err)
		}
		if _, err := r.Unseal(t.Context(), nil, "ops-1"); err != nil {
			t.Fatal(err)
		}
		if err := other.Seal(t.Context(), "ops-2"); err != nil {
			t.Errorf("the second stop: %v", err)
		}
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("it signs: %v", err)
		}
	})
}

// TestStopIsSealed: whoever writes to the database can't lift it.
func TestStopIsSealed(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		if err := r.Seal(t.Context(), "ops-1"); err != nil {
			t.Fatal(err)
		}
		r.unguarded()
		stopped := r.count(`SELECT stopped_at FROM custody_audit_head`)
		r.exec(`UPDATE custody_audit_head SET stopped_at = 0`)
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAuditBroken) {
			t.Errorf("it signs: %v", err)
		}
		if _, err := custody.Open(t.Context(), r.config()); !errors.Is(err, custody.ErrAuditBroken) {
			t.Errorf("one that starts: %v", err)
		}
		r.exec(`UPDATE custody_audit_head SET stopped_at = ?`, stopped)
		if s, err := r.Unseal(t.Context(), nil, "ops-2"); err != nil || s.Sealed {
			t.Errorf("lifted by a person: %+v, %v", s, err)
		}
		r.stillSigns(r.Custody, "trade-1")
		r.whole()
	})
}
