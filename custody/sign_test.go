package custody_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

var aPublicKey = func() gm.PublicKey {
	key, err := gm.GenerateKey(&random{})
	if err != nil {
		panic(err)
	}
	return key.Public()
}()

// confirm is a shop's ask and body for a trade. A consumer's key signs what he has asked for (see rig.asks), so what has
// nothing to do with that is tried with a shop's.
func confirm(trade string) (custody.Ask, request.Confirm) {
	return custody.Ask{Owner: "c-0001", Slot: custody.Account, Subject: trade, Attempt: 1, NotAfter: until, Actor: "session-1"},
		request.Confirm{Trade: trade, Lot: strings.Repeat("ab", 32), Receiver: "c-0001"}
}

func TestSign(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		sig, req, err := r.Sign(t.Context(), ask, body)
		if err != nil {
			t.Fatal(err)
		}
		if want := request.New(channel, body); !bytes.Equal(req.Args, want.Args) || req.ID() != want.ID() {
			t.Errorf("signed %s", req.Args)
		}
		if sig.KeyID != key.ID || sig.NotAfter != until {
			t.Errorf("signature %+v", sig)
		}
		message := req.SigningBytes(key.ID, until)
		if err := gm.Verify(key.Public, message, sig.Bytes); err != nil {
			t.Error(err)
		}
		sum := gm.SM3(message)
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE owner = 'c-0001' AND purpose = 'Confirm' AND subject = 'trade-1'
			AND attempt = 1 AND key_id = ? AND digest = ? AND request_id = ? AND signature = ?`,
			key.ID, hex.EncodeToString(sum[:]), req.ID(), []byte(sig.Bytes)); n != 1 {
			t.Errorf("%d lines in the sign log say so", n)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent' AND actor = 'session-1' AND subject = 'trade-1' AND detail LIKE ?`,
			"%"+hex.EncodeToString(sum[:])+"%"); n != 1 {
			t.Errorf("%d rows in the audit say so", n)
		}
		r.whole()
	})
}

func TestAskedTwiceAnswersTheSameSignature(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		first, _, err := r.Sign(t.Context(), ask, body)
		if err != nil {
			t.Fatal(err)
		}
		ask.Actor = "session-2"       // who asks makes no difference
		r.clock.ahead.Store(2 * hour) // nor that it is late: it was signed in time
		again, _, err := r.open().Sign(t.Context(), ask, body)
		if err != nil || !bytes.Equal(first.Bytes, again.Bytes) {
			t.Errorf("other bytes, %v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`); n != 1 || r.signed.Load() != 1 {
			t.Errorf("%d intents, %d signatures", n, r.signed.Load())
		}
	})
}

func TestAnotherDigestIsRefusedAndHeard(t *testing.T) {
	for name, change := range map[string]func(*custody.Ask, *request.Confirm){
		"another lot":      func(_ *custody.Ask, b *request.Confirm) { b.Lot = strings.Repeat("cd", 32) },
		"another deadline": func(a *custody.Ask, _ *request.Confirm) { a.NotAfter++ },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				r.ensure("c-0001", custody.Machine, custody.Account)
				ask, body := confirm("trade-1")
				if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
					t.Fatal(err)
				}
				change(&ask, &body)
				sig, req, err := r.Sign(t.Context(), ask, body)
				if !errors.Is(err, custody.ErrDigestConflict) || sig.Bytes != nil || req.Args != nil {
					t.Errorf("answered %v", err)
				}
				if n := r.refusals(custody.ErrDigestConflict); n != 1 {
					t.Errorf("%d rows in the audit", n)
				}
				want := []string{custody.ErrDigestConflict.Code}
				if got := r.heard(&r.alarms); !slices.Equal(got, want) {
					t.Errorf("alarms %q", got)
				}
				if got := r.heard(&r.refused); !slices.Equal(got, want) {
					t.Errorf("refusals %q", got)
				}
				if !strings.Contains(r.log.String(), `"code":"CUSTODY_DIGEST_CONFLICT"`) {
					t.Error("nothing in the log")
				}
				r.whole()
			})
		})
	}
}

// TestWhoHangsUpIsRecorded: the context ends between a refusal and its record.
func TestWhoHangsUpIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		ctx, hangUp := context.WithCancel(t.Context())
		config := r.config()
		config.Metrics.Refused = func(string) { hangUp() }
		c, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ask, body := confirm("trade-1")
		body.Receiver = "c-0002"
		if _, _, err := c.Sign(ctx, ask, body); !errors.Is(err, custody.ErrOwner) || ctx.Err() == nil {
			t.Errorf("answered %v", err)
		}
		if n := r.refusals(custody.ErrOwner); n != 1 {
			t.Errorf("%d rows in the audit", n)
		}
	})
}

// TestTwoServersMakeOneSignature: fifty workers of two servers want the same signature.
func TestTwoServersMakeOneSignature(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		servers := []*custody.Custody{r.Custody, r.open()}
		ask, body := confirm("trade-1")
		got := make([]string, 50)
		var group sync.WaitGroup
		for i := range got {
			group.Go(func() {
				sig, _, err := servers[i%2].Sign(t.Context(), ask, body)
				if err != nil {
					t.Error(err)
				}
				got[i] = sig.Bytes.Hex()
			})
		}
		group.Wait()
		if distinct := slices.Compact(slices.Sorted(slices.Values(got))); len(distinct) != 1 || distinct[0] == "" {
			t.Errorf("%d different signatures", len(distinct))
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures`); n != 1 {
			t.Errorf("%d lines in the sign log", n)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`); n != 1 {
			t.Errorf("%d intents in the audit", n)
		}
		r.whole()
	})
}

// TestTwoDigestsRace: of two bodies for one attempt one is signed, whoever is first.
func TestTwoDigestsRace(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		servers := []*custody.Custody{r.Custody, r.open()}
		errs := make([]error, 20)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() {
				ask, body := confirm("trade-1")
				body.Lot = strings.Repeat(fmt.Sprintf("%02x", i%2), 32)
				_, _, errs[i] = servers[i/2%2].Sign(t.Context(), ask, body)
			})
		}
		group.Wait()
		for i, err := range errs {
			if (err == nil) != (errs[i%2] == nil) || (err != nil && !errors.Is(err, custody.ErrDigestConflict)) {
				t.Errorf("worker %d: %v", i, err)
			}
		}
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("first %v, second %v: want one winner", errs[0], errs[1])
		}
		if n := r.refusals(custody.ErrDigestConflict); n != 10 {
			t.Errorf("%d refusals in the audit", n)
		}
		r.whole()
	})
}

func TestSignRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*custody.Ask, *request.Confirm)
		want   *custody.Error
	}{
		"an unknown owner":    {func(a *custody.Ask, b *request.Confirm) { a.Owner, b.Receiver = "c-0009", "c-0009" }, custody.ErrKeyNotFound},
		"another's slot":      {func(a *custody.Ask, _ *request.Confirm) { a.Slot = custody.Ticket }, custody.ErrKeyNotFound},
		"another's request":   {func(_ *custody.Ask, b *request.Confirm) { b.Receiver = "c-0002" }, custody.ErrOwner},
		"another's key":       {func(a *custody.Ask, _ *request.Confirm) { a.Owner = "c-0002" }, custody.ErrOwner},
		"no owner":            {func(a *custody.Ask, _ *request.Confirm) { a.Owner = "" }, custody.ErrAsk},
		"no slot":             {func(a *custody.Ask, _ *request.Confirm) { a.Slot = "" }, custody.ErrAsk},
		"no subject":          {func(a *custody.Ask, _ *request.Confirm) { a.Subject = "" }, custody.ErrAsk},
		"a subject in words":  {func(a *custody.Ask, _ *request.Confirm) { a.Subject = "张三的卡" }, custody.ErrAsk},
		"an endless subject":  {func(a *custody.Ask, _ *request.Confirm) { a.Subject = strings.Repeat("s", 129) }, custody.ErrAsk},
		"no actor":            {func(a *custody.Ask, _ *request.Confirm) { a.Actor = "" }, custody.ErrAsk},
		"attempt 0":           {func(a *custody.Ask, _ *request.Confirm) { a.Attempt = 0 }, custody.ErrAsk},
		"no deadline":         {func(a *custody.Ask, _ *request.Confirm) { a.NotAfter = 0 }, custody.ErrAsk},
		"a deadline gone by":  {func(a *custody.Ask, _ *request.Confirm) { a.NotAfter = start.UnixMilli() }, custody.ErrExpired},
		"attempt 2 at once":   {func(a *custody.Ask, _ *request.Confirm) { a.Attempt = 2 }, custody.ErrAttemptUnknown},
		"attempt 2 too early": {func(a *custody.Ask, _ *request.Confirm) { a.Subject, a.Attempt = "trade-0", 2 }, custody.ErrAttemptOpen},
	}
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		r.ensure("c-0002", custody.Machine, custody.Account)
		ask, body := confirm("trade-0")
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Fatal(err)
		}
		for name, c := range cases {
			before := r.refusals(c.want)
			ask, body := confirm("trade-1")
			c.change(&ask, &body)
			sig, req, err := r.Sign(t.Context(), ask, body)
			if !errors.Is(err, c.want) || sig.Bytes != nil || req.Args != nil {
				t.Errorf("%s: answered %v, want %v", name, err, c.want)
			}
			if n := r.refusals(c.want) - before; n != 1 {
				t.Errorf("%s: %d refusals in the audit", name, n)
			}
			if n := r.count(`SELECT COUNT(*) FROM custody_signatures`); n != 1 || r.signed.Load() != 1 {
				t.Errorf("%s: %d lines in the sign log, %d signatures", name, n, r.signed.Load())
			}
		}
		r.whole()
	})
}

func TestAStoppedKeySignsNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		signed, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), signed, body); err != nil {
			t.Fatal(err)
		}

		// Stopped while it signs: the intent stands, the signature is thrown away.
		var once sync.Once
		r.random.set(func() error {
			once.Do(func() { r.move(key.ID, model.CustodyActive, model.CustodySuspended) })
			return nil
		})
		ask, body := confirm("trade-2")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrKeyNotActive) {
			t.Errorf("stopped meanwhile: %v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NULL`); n != 1 {
			t.Errorf("%d lines without a signature", n)
		}
		// Stopped before, for a new act and for one that was signed.
		ask, body = confirm("trade-3")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrKeyNotActive) {
			t.Errorf("stopped before: %v", err)
		}
		_, body = confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), signed, body); !errors.Is(err, custody.ErrKeyNotActive) {
			t.Errorf("signed, then stopped: %v", err)
		}
		if n := r.refusals(custody.ErrKeyNotActive); n != 3 {
			t.Errorf("%d refusals in the audit", n)
		}

		r.move(key.ID, model.CustodySuspended, model.CustodyActive)
		ask, body = confirm("trade-2")
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("resumed: %v", err)
		}
		r.whole()
	})
}

func TestWithoutAnAuditNothingIsSigned(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		r.breakAudit()
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAuditUnwritable) {
			t.Errorf("Sign: %v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures`); n != 0 {
			t.Errorf("%d lines in the sign log", n)
		}
		body.Receiver = "c-0002" // a refusal that can't be recorded says that first
		_, _, err := r.Sign(t.Context(), ask, body)
		var first *custody.Error
		if !errors.As(err, &first) || first != custody.ErrAuditUnwritable || !errors.Is(err, custody.ErrOwner) {
			t.Errorf("refusal: %v", err)
		}
		r.exec(`DROP TRIGGER full_disk`)
		body.Receiver = "c-0001"
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		r.whole()
	})
}

func TestAStoredSignatureIsLookedAtAgain(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Fatal(err)
		}
		other, otherBody := confirm("trade-2")
		wrong, _, err := r.Sign(t.Context(), other, otherBody)
		if err != nil {
			t.Fatal(err)
		}
		r.unguarded()
		r.exec(`UPDATE custody_signatures SET signature = ? WHERE subject = 'trade-1'`, []byte(wrong.Bytes))
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("exchanged signature: %v", err)
		}
		if got := r.heard(&r.alarms); len(got) != 1 {
			t.Errorf("alarms %q", got)
		}
	})
}

func TestAClosedCustodySignsNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		if err := r.Ready(t.Context()); err != nil {
			t.Errorf("not ready: %v", err)
		}
		r.Close()
		if err := r.Ready(t.Context()); !errors.Is(err, custody.ErrClosed) {
			t.Errorf("ready: %v", err)
		}
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrClosed) {
			t.Errorf("Sign: %v", err)
		}
		if _, err := r.Ensure(t.Context(), custody.Post{Owner: "c-0003", Role: custody.Machine, Slot: custody.Account}, "test"); !errors.Is(err, custody.ErrClosed) {
			t.Errorf("Ensure: %v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures`); n != 0 {
			t.Errorf("%d lines in the sign log", n)
		}
	})
}

// TestSignLogProperties plays random asks and closings against a model in a map: an attempt has one digest and one
// signature for ever, no attempt is made beside an open one, none is answered once it is closed.
func TestSignLogProperties(t *testing.T) {
	r := bareRig(t)
	config := r.config()
	config.Unguarded = true // it signs more in no time than anybody may
	var err error
	if r.Custody, err = custody.Open(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	r.ensure("c-0001", custody.Machine, custody.Account)
	history := 0
	rapid.Check(t, func(t *rapid.T) {
		history++
		type line struct {
			lot, signature string
			closed         bool
		}
		var lines []line
		steps := rapid.IntRange(1, 8).Draw(t, "steps")
		for range steps {
			attempt := rapid.IntRange(1, 3).Draw(t, "attempt")
			ask, body := confirm(fmt.Sprintf("history-%d", history))
			ask.Attempt = attempt
			if rapid.Bool().Draw(t, "close") {
				err := r.CloseAttempt(r.t.Context(), ask.Owner, "Confirm", ask.Subject, attempt, model.NeverBroadcast, "relay")
				if known := attempt <= len(lines); known != (err == nil) {
					t.Fatalf("closing %d of %d: %v", attempt, len(lines), err)
				} else if known {
					lines[attempt-1].closed = true
				}
				continue
			}
			body.Lot = strings.Repeat(rapid.SampledFrom([]string{"aa", "bb"}).Draw(t, "lot"), 32)
			sig, _, err := r.Sign(r.t.Context(), ask, body)
			var want *custody.Error
			switch {
			case attempt > len(lines)+1:
				want = custody.ErrAttemptUnknown
			case attempt == len(lines)+1 && attempt > 1 && !lines[attempt-2].closed:
				want = custody.ErrAttemptOpen
			case attempt == len(lines)+1:
				lines = append(lines, line{lot: body.Lot, signature: sig.Bytes.Hex()})
			case lines[attempt-1].lot != body.Lot:
				want = custody.ErrDigestConflict
			case lines[attempt-1].closed:
				want = custody.ErrAttemptClosed
			}
			switch {
			case want != nil && !errors.Is(err, want), want == nil && err != nil:
				t.Fatalf("attempt %d: %v, want %v", attempt, err, want)
			case want == nil && lines[attempt-1].signature != sig.Bytes.Hex():
				t.Fatalf("attempt %d has another signature", attempt)
			}
		}
	})
	r.whole()
}
