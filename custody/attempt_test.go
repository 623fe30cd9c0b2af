package custody_test

import (
	"bytes"
	"errors"
	"testing"

	"cardflow/custody"
	"cardflow/model"
)

func TestTheNextAttemptNeedsTheLastOneClosed(t *testing.T) {
	for _, why := range []model.AttemptEnd{model.NeverBroadcast, model.DefinitelyInvalid} {
		t.Run(string(why), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				key := r.ensure("c-0001", custody.Machine, custody.Account)
				ask, body := confirm("trade-1")
				first, req, err := r.Sign(t.Context(), ask, body)
				if err != nil {
					t.Fatal(err)
				}
				want := custody.Attempt{Number: 1, KeyID: key.ID, RequestID: req.ID(), NotAfter: until, Signed: true}
				if got, err := r.LastAttempt(t.Context(), "c-0001", "Confirm", "trade-1"); err != nil || got != want {
					t.Errorf("last attempt %+v, %v", got, err)
				}

				next := ask
				next.Attempt, next.NotAfter = 2, until+hour
				if _, _, err := r.Sign(t.Context(), next, body); !errors.Is(err, custody.ErrAttemptOpen) {
					t.Fatalf("beside an open one: %v", err)
				}
				for range 2 { // closing twice is harmless
					if err := r.CloseAttempt(t.Context(), "c-0001", "Confirm", "trade-1", 1, why, "relay-7"); err != nil {
						t.Fatal(err)
					}
				}
				if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'attempt.close' AND actor = 'relay-7' AND detail LIKE ?`, "%"+string(why)+"%"); n != 1 {
					t.Errorf("%d closings in the audit", n)
				}
				if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAttemptClosed) {
					t.Errorf("the closed one again: %v", err)
				}
				second, again, err := r.Sign(t.Context(), next, body)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(first.Bytes, second.Bytes) || again.ID() != req.ID() {
					t.Error("the second attempt is not a new signature over the same act")
				}
				r.whole()
			})
		})
	}
}

func TestCloseAttemptRefuses(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			subject string
			attempt int
			why     model.AttemptEnd
			actor   string
			want    error
		}{
			"an unknown act":      {"trade-2", 1, model.NeverBroadcast, "relay", custody.ErrAttemptUnknown},
			"an unknown attempt":  {"trade-1", 2, model.NeverBroadcast, "relay", custody.ErrAttemptUnknown},
			"no reason":           {"trade-1", 1, model.AttemptOpen, "relay", custody.ErrAsk},
			"a reason of its own": {"trade-1", 1, "unknown", "relay", custody.ErrAsk},
			"nobody":              {"trade-1", 1, model.NeverBroadcast, "", custody.ErrAsk},
		} {
			if err := r.CloseAttempt(t.Context(), "c-0001", "Confirm", c.subject, c.attempt, c.why, c.actor); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if _, err := r.LastAttempt(t.Context(), "c-0001", "Confirm", "trade-2"); !errors.Is(err, custody.ErrAttemptUnknown) {
			t.Errorf("last attempt at an unknown act: %v", err)
		}
		// Without an audit nothing is closed.
		r.breakAudit()
		if err := r.CloseAttempt(t.Context(), "c-0001", "Confirm", "trade-1", 1, model.NeverBroadcast, "relay"); !errors.Is(err, custody.ErrAuditUnwritable) {
			t.Errorf("no audit: %v", err)
		}
		if last, err := r.LastAttempt(t.Context(), "c-0001", "Confirm", "trade-1"); err != nil || last.Closed != model.AttemptOpen {
			t.Errorf("closed without a record: %+v, %v", last, err)
		}
	})
}

// TestAttemptClosedWhileSigning: the relay gave the attempt up while a worker was at it. The signature doesn't go out.
func TestAttemptClosedWhileSigning(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		closed := false
		r.random.set(func() error {
			if closed {
				return nil
			}
			closed = true
			return r.CloseAttempt(t.Context(), "c-0001", "Confirm", "trade-1", 1, model.NeverBroadcast, "relay")
		})
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAttemptClosed) {
			t.Errorf("answered %v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NOT NULL`); n != 0 {
			t.Errorf("%d signatures", n)
		}
		r.whole()
	})
}
