package custody_test

import (
	"errors"
	"slices"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// logFaults walks the sign log.
func (r *rig) logFaults() (lines int64, problems []string) {
	r.t.Helper()
	lines, err := r.VerifySignLog(r.t.Context(), func(f custody.SignLogFault) { problems = append(problems, f.Subject+": "+f.Problem) })
	if err != nil {
		r.t.Fatal(err)
	}
	return lines, problems
}

// A signature that custody made and has forgotten, because its database was put back to an older copy, is taken over
// from the ledger: once, verified, and on the record. One that it remembers stays as it is; one of a key that it does
// not keep is none of its business.
func TestAdopt(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		k := r.ensure("c-1", custody.Machine, custody.Account)
		body := request.Decline{Trade: "t-1", Receiver: "c-1", Reason: "DAMAGED"}
		ask := custody.Ask{Owner: "c-1", Slot: custody.Account, Subject: "act-1", Attempt: 1, NotAfter: until, Actor: "test"}
		sig, req, err := r.Sign(t.Context(), ask, body)
		if err != nil {
			t.Fatal(err)
		}
		standing := func(req request.Request, sig request.Signature, want custody.Standing) {
			t.Helper()
			got, err := r.StandingOf(t.Context(), req, sig)
			if err != nil || got != want {
				t.Errorf("standing is %s, %v, want %s", got, err, want)
			}
		}
		standing(req, sig, custody.Recorded)
		other := request.New(channel, request.Decline{Trade: "t-2", Receiver: "c-1", Reason: "DAMAGED"})
		standing(other, sig, custody.Missing)
		foreign := sig
		foreign.KeyID = "0000000000000000000000000000000000000000000000000000000000000000"
		standing(req, foreign, custody.Foreign)

		// The same key, as it signed after the copy was made: played by a second custody with the row taken away.
		ask.Subject = "act-2"
		lost, lostReq, err := r.Sign(t.Context(), ask, request.Decline{Trade: "t-2", Receiver: "c-1", Reason: "DAMAGED"})
		if err != nil {
			t.Fatal(err)
		}
		r.unguarded()
		r.exec("DELETE FROM custody_signatures WHERE subject = 'act-2'")
		standing(lostReq, lost, custody.Missing)
		if _, problems := r.logFaults(); len(problems) != 1 || problems[0] != "act-2: attempt 1 was intended, and has no line in the sign log" {
			t.Errorf("found %q", problems)
		}
		false1 := lost
		false1.Bytes = slices.Clone(sig.Bytes)
		if err := r.Adopt(t.Context(), "tx", lostReq, false1); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("a false signature: %v", err)
		}
		standing(lostReq, lost, custody.Missing)

		before := r.whole().Rows
		for range 2 {
			if err := r.Adopt(t.Context(), "tx", lostReq, lost); err != nil {
				t.Error(err)
			}
		}
		standing(lostReq, lost, custody.Recorded)
		if rows := r.whole().Rows; rows != before+1 {
			t.Errorf("%d rows of audit, want %d", rows, before+1)
		}
		if alarms := r.heard(&r.alarms); !slices.Equal(alarms, []string{custody.ErrUnnoted.Code}) {
			t.Errorf("alarms %v", alarms)
		}
		if err := r.Adopt(t.Context(), "tx-2", req, foreign); err != nil {
			t.Error(err)
		}
		if lines, _ := r.logFaults(); lines != 2 {
			t.Errorf("%d lines", lines)
		}
		if public, err := gm.ParsePublicKey(k.Public.Bytes()); err != nil || gm.Verify(public, lostReq.SigningBytes(lost.KeyID, lost.NotAfter), lost.Bytes) != nil {
			t.Error("the signature that was taken over is none")
		}
	})
}

// What the copy has of a request may be an intent without a signature, or the signature that an earlier wish for the very
// same was refused with: what stands on the ledger is taken over beside it, and the record is whole.
func TestAdoptBesideALine(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-1", custody.Machine, custody.Account)
		body := request.Decline{Trade: "t", Receiver: "c-1", Reason: "DAMAGED"}
		sign := func(subject string) (request.Signature, request.Request) {
			t.Helper()
			ask := custody.Ask{Owner: "c-1", Slot: custody.Account, Subject: subject, Attempt: 1, NotAfter: until, Actor: "test"}
			sig, req, err := r.Sign(t.Context(), ask, body)
			if err != nil {
				t.Fatal(err)
			}
			return sig, req
		}
		sign("refused")
		lost, req := sign("act")
		r.unguarded()
		for n, copied := range []string{
			"UPDATE custody_signatures SET signature = NULL, signed_at = 0 WHERE subject = 'act'",
			"UPDATE custody_signatures SET signature = NULL, signed_at = 0",
		} {
			r.exec("DELETE FROM custody_signatures WHERE actor = 'ledger'")
			r.exec("DELETE FROM custody_audit WHERE act = 'sign.adopt'")
			r.exec(copied)
			if got, err := r.StandingOf(t.Context(), req, lost); err != nil || got != custody.Missing {
				t.Errorf("%d: standing is %s, %v", n, got, err)
			}
			if err := r.Adopt(t.Context(), "tx", req, lost); err != nil {
				t.Error(err)
			}
			if got, err := r.StandingOf(t.Context(), req, lost); err != nil || got != custody.Recorded {
				t.Errorf("%d: adopted, and its standing is %s, %v", n, got, err)
			}
			if lines, problems := r.logFaults(); lines != 3 || len(problems) > 0 {
				t.Errorf("%d: %d lines, found %q", n, lines, problems)
			}
		}
	})
}

// Each line has its intent, each intent its line, also beyond a page, also with attempts that follow each other.
func TestSignLog(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-1", custody.Machine, custody.Account)
		for n := range 3 {
			ask := custody.Ask{Owner: "c-1", Slot: custody.Account, Subject: "act", Attempt: n + 1, NotAfter: until + int64(n), Actor: "test"}
			if _, _, err := r.Sign(t.Context(), ask, request.Decline{Trade: "t", Receiver: "c-1", Reason: "DAMAGED"}); err != nil {
				t.Fatal(err)
			}
			if err := r.CloseAttempt(t.Context(), "c-1", "Decline", "act", n+1, "never_broadcast", "test"); err != nil {
				t.Fatal(err)
			}
		}
		if lines, problems := r.logFaults(); lines != 3 || len(problems) > 0 {
			t.Errorf("%d lines, found %q", lines, problems)
		}
		r.unguarded()
		for what, c := range map[string]struct{ sql, finds string }{
			"another digest": {"UPDATE custody_signatures SET digest = REPLACE(digest, SUBSTR(digest, 1, 1), 'z') WHERE attempt = 1", "act: attempt 1 has another digest than was intended"},
			"nobody's line": {"INSERT INTO custody_signatures (owner, purpose, subject, attempt, key_id, digest, request_id, not_after, actor, closed, created_at, signed_at, closed_at) " +
				"SELECT owner, purpose, 'nobody', attempt, key_id, digest, request_id, not_after, actor, closed, created_at, signed_at, closed_at FROM custody_signatures WHERE attempt = 2",
				"nobody: attempt 2 stands in the sign log, and nobody intended it"},
		} {
			t.Run(what, func(t *testing.T) {
				r.exec(c.sql)
				if _, problems := r.logFaults(); !slices.Contains(problems, c.finds) {
					t.Errorf("found %q, not %q", problems, c.finds)
				}
			})
		}
	})
}

// Every new key is kept elsewhere before it is one, and taken back from there: as it was, once, and only if it opens.
func TestKeepAndRestore(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		var kept []model.CustodyKey
		config := r.config()
		config.Keep = func(k ...model.CustodyKey) error { kept = append(kept, k...); return nil }
		c, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		post := custody.Post{Owner: "c-1", Role: custody.Machine, Slot: custody.Account}
		made, err := c.Ensure(t.Context(), post, "test")
		if err != nil || len(kept) != 1 || kept[0].ID != made.ID {
			t.Fatalf("made %+v, kept %d, %v", made, len(kept), err)
		}
		sig, req, err := c.Sign(t.Context(), custody.Ask{Owner: "c-1", Slot: custody.Account, Subject: "act", Attempt: 1, NotAfter: until, Actor: "test"},
			request.Decline{Trade: "t", Receiver: "c-1", Reason: "DAMAGED"})
		if err != nil {
			t.Fatal(err)
		}

		// The database goes back to where it was.
		r.unguarded()
		r.exec("DELETE FROM custody_signatures")
		r.exec("DELETE FROM custody_keys")
		edited := kept[0]
		edited.Owner = "c-2"
		if err := c.Restore(t.Context(), edited); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("another's key: %v", err)
		}
		before := r.whole().Rows
		for range 2 {
			if err := c.Restore(t.Context(), kept[0]); err != nil {
				t.Fatal(err)
			}
		}
		if rows := r.whole().Rows; rows != before+1 {
			t.Errorf("%d rows of audit, want %d", rows, before+1)
		}
		if again, err := c.Ensure(t.Context(), post, "test"); err != nil || again.ID != made.ID {
			t.Errorf("he has key %s, %v, and had %s", again.ID, err, made.ID)
		}
		if err := c.Adopt(t.Context(), "tx", req, sig); err != nil {
			t.Error(err)
		}

		// Who has been given another key keeps that one.
		r.exec("DELETE FROM custody_signatures")
		r.exec("DELETE FROM custody_keys")
		other, err := c.Ensure(t.Context(), post, "test")
		if err != nil || other.ID == made.ID {
			t.Fatalf("made %s, %v", other.ID, err)
		}
		if err := c.Restore(t.Context(), kept[0]); err != nil {
			t.Error(err)
		}
		if now, err := c.ActiveKey(t.Context(), "c-1", custody.Account); err != nil || now.ID != other.ID {
			t.Errorf("he has %s, %v", now.ID, err)
		}

		// What can't be kept is not made.
		config.Keep = func(...model.CustodyKey) error { return errors.New("the disk is full") }
		full, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(full.Close)
		if _, err := full.Ensure(t.Context(), custody.Post{Owner: "c-3", Role: custody.Machine, Slot: custody.Account}, "test"); err == nil {
			t.Error("a key was made that could not be kept")
		}
		if _, err := full.ActiveKey(t.Context(), "c-3", custody.Account); !errors.Is(err, custody.ErrKeyNotFound) {
			t.Errorf("and is there: %v", err)
		}
	})
}
