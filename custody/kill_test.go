package custody_test

import (
	"errors"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
)

// TestKilled stops Sign between any two of its steps, by failure and by panic; the next call goes on from there, with
// the digest that was fixed, and nobody with another one.
func TestKilled(t *testing.T) {
	dead := errors.New("dead")
	for name, kill := range map[string]struct {
		arm   func(r *rig, die func() error)
		lines int
	}{
		"before the intent":     {func(r *rig, die func() error) { r.onClock(1, die) }, 0},
		"within the intent":     {func(r *rig, die func() error) { r.onClock(4, die) }, 0},
		"between intent, sign":  {func(r *rig, die func() error) { r.random.set(die) }, 1},
		"between sign and keep": {func(r *rig, die func() error) { r.onClock(6, die) }, 1},
	} {
		for way, die := range map[string]func() error{
			"failing":   func() error { return dead },
			"panicking": func() error { panic(dead) },
		} {
			if way == "failing" && !strings.Contains(name, "intent, sign") {
				continue // a clock can't fail
			}
			t.Run(name+", "+way, func(t *testing.T) {
				each(t, func(t *testing.T, r *rig) {
					r.ensure("c-0001", custody.Machine, custody.Account)
					ask, body := confirm("trade-1")
					kill.arm(r, die)
					if err := signAndDie(r, ask, body); !errors.Is(err, dead) {
						t.Fatalf("survived: %v", err)
					}
					r.onClock(0, nil)
					r.random.set(func() error { return nil })
					if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NULL`); n != kill.lines {
						t.Errorf("%d lines without a signature, want %d", n, kill.lines)
					}
					restarted := r.open()
					if kill.lines == 1 {
						other := body
						other.Lot = strings.Repeat("cd", 32)
						if _, _, err := restarted.Sign(t.Context(), ask, other); !errors.Is(err, custody.ErrDigestConflict) {
							t.Errorf("another digest: %v", err)
						}
					}
					sig, req, err := restarted.Sign(t.Context(), ask, body)
					if err != nil {
						t.Fatal(err)
					}
					key, err := restarted.Key(t.Context(), sig.KeyID)
					if err != nil {
						t.Fatal(err)
					}
					if err := gm.Verify(key.Public, req.SigningBytes(sig.KeyID, until), sig.Bytes); err != nil {
						t.Error(err)
					}
					if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`); n != 1 {
						t.Errorf("%d intents in the audit", n)
					}
					r.whole()
				})
			})
		}
	}
}

// onClock calls do at the nth reading of the clock from now; 0 disarms.
func (r *rig) onClock(nth int, do func() error) {
	if nth == 0 {
		r.clock.call.Store(nil)
		return
	}
	call := func() {
		if nth--; nth == 0 {
			_ = do()
		}
	}
	r.clock.call.Store(&call)
}

func signAndDie(r *rig, ask custody.Ask, body request.Body) (err error) {
	defer func() {
		if died := recover(); died != nil {
			err = died.(error)
		}
	}()
	_, _, err = r.Sign(r.t.Context(), ask, body)
	return err
}
