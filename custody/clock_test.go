package custody_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// year is how far the clocks of these tests jump.
const year = 365 * 24 * hour

// TestSignWhileTheClockJumps: between intent and signature, to and fro. The deadline that was fixed is the one that is
// signed, the audit stays whole, and is exported and verified although its times go back.
func TestSignWhileTheClockJumps(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		auditor := r.ensure("platform", request.Platform, custody.Audit)
		for name, to := range map[string]int64{"ahead": 10 * year, "back": -10 * year} {
			ask, body := confirm("trade-" + name)
			r.clock.ahead.Store(0)
			r.random.set(func() error {
				r.clock.ahead.Store(to)
				return nil
			})
			first, _, err := r.Sign(t.Context(), ask, body)
			if err != nil || first.NotAfter != ask.NotAfter {
				t.Errorf("%s: %+v, %v", name, first, err)
			}
			r.random.set(func() error { return nil })
			for _, now := range []int64{to, 0} {
				r.clock.ahead.Store(now)
				if again, _, err := r.open().Sign(t.Context(), ask, body); err != nil || !bytes.Equal(again.Bytes, first.Bytes) {
					t.Errorf("%s, asked again at %d: %v", name, now, err)
				}
			}
			// What is asked for first while the clock is wrong.
			r.clock.ahead.Store(to)
			later, laterBody := confirm("trade-while-" + name)
			later.NotAfter = r.clock.now().UnixMilli() + hour
			if _, _, err := r.Sign(t.Context(), later, laterBody); err != nil {
				t.Errorf("while it is %s: %v", name, err)
			}
			r.clock.ahead.Store(0)
			r.stillSigns(r.Custody, "trade-after-"+name)
		}
		r.whole()
		var file bytes.Buffer
		if _, err := r.Export(t.Context(), &file, custody.ExportOptions{Owner: "platform", Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		verified(t, "exported", file.Bytes(), auditor.ID, nil, "")
	})
}

// TestLeaseOfAClockThatJumped: a server whose clock was far ahead took duties, and died. Nobody waits for its time to come.
func TestLeaseOfAClockThatJumped(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.stock(3)
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		register(r.Custody, countOnce)
		id := r.proposeCount("once")
		// It approves in its time, begins in another one, and dies.
		if err := r.ApproveOnly(t.Context(), "p-wang", id); err != nil {
			t.Fatal(err)
		}
		dying := r.open()
		register(dying, func(context.Context, *custody.Execution, counter) error { select {} })
		r.clock.ahead.Store(10 * year)
		go dying.Carry(context.Background(), id)
		r.until("it has begun", func() bool {
			return r.count(`SELECT COUNT(*) FROM custody_proposals WHERE id = ? AND state = 'executing'`, id) == 1
		})
		now := r.clock.now().UnixMilli()
		r.exec(`INSERT INTO leases (name, owner, until_at, updated_at) VALUES ('custody/rewrap', 'server-1', ?, ?)`, now+30*second, now)
		r.clock.ahead.Store(0)

		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if p, err := r.Proposal(t.Context(), id); err != nil || p.State != model.ProposalExecuted || r.counted("once") != 1 {
			t.Errorf("done %d times; %+v, %v", r.counted("once"), p, err)
		}
		if p, err := r.open().Rewrap(t.Context(), "server-2", false, nil); err != nil || p.Done != 3 {
			t.Errorf("%+v, %v", p, err)
		}
		r.whole()
	})
}

// until waits until something is so.
func (r *rig) until(what string, yes func() bool) {
	r.t.Helper()
	deadline, look := time.NewTimer(2*time.Minute), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer look.Stop()
	for !yes() {
		select {
		case <-deadline.C:
			r.t.Fatalf("not yet: %s", what)
		case <-look.C:
		}
	}
}

// TestSharesWhileTheClockJumps: those that came before are dropped when it jumps ahead, stay when it jumps back, and nobody is
// kept from opening.
func TestSharesWhileTheClockJumps(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		for _, to := range []int64{10 * year, -10 * year, 0} {
			if _, err := bring(t.Context(), r.Custody, shares[0], shares[1]); err != nil {
				t.Fatal(err)
			}
			r.clock.ahead.Store(to)
			s, err := bring(t.Context(), r.Custody, shares[2])
			if err == nil && s.Sealed {
				s, err = bring(t.Context(), r.Custody, shares[3], shares[4])
			}
			if err != nil || s.Sealed {
				t.Errorf("at %d: %+v, %v", to, s, err)
			}
			r.Custody = r.sealed()
		}
		if _, err := bring(t.Context(), r.Custody, shares[:3]...); err != nil {
			t.Fatal(err)
		}
		r.whole()
	})
}

// TestLoginWhileTheClockJumps: a session is over when its time has come, also if that is soon; and none that was opened by a
// clock that was ahead lasts, or lets anybody ask, beyond what is allowed once the clock is right.
func TestLoginWhileTheClockJumps(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		c := r.openAs(func(c *custody.Config) { c.LoginAge = 24 * time.Hour })
		r.ensure("c-0001", request.Consumer, custody.Account)
		logIn := func() custody.LoginToken {
			s, err := c.LogIn(t.Context(), custody.Login{Participant: "c-0001", Role: request.Consumer}, 48*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return s.Token
		}
		asked := func(login custody.LoginToken, trade string) error {
			ask, body := confirm(trade)
			return c.Authorise(t.Context(), login, ask.Subject, body, ask.NotAfter)
		}
		before := logIn()
		r.clock.ahead.Store(10 * year)
		if err := asked(before, "ahead"); !errors.Is(err, custody.ErrSessionOver) {
			t.Errorf("years later: %v", err)
		}
		ahead := logIn()
		r.clock.ahead.Store(0)
		if err := asked(ahead, "from-ahead"); !errors.Is(err, custody.ErrLoginOld) {
			t.Errorf("logged in years from now: %v", err)
		}
		if err := asked(before, "right-again"); err != nil {
			t.Errorf("the clock is right again: %v", err)
		}
		if _, _, err := c.Sign(t.Context(), askOf("right-again"), bodyOf("right-again")); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}

func askOf(trade string) custody.Ask { ask, _ := confirm(trade); return ask }

func bodyOf(trade string) request.Confirm { _, body := confirm(trade); return body }
