package custody_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// atOnce has several ask while the database is busy, so that they are written together, and answers what each got.
func (r *rig) atOnce(asks []custody.Ask, bodies []request.Confirm) ([]request.Signature, []error) {
	r.t.Helper()
	sigs, errs := make([]request.Signature, len(asks)), make([]error, len(asks))
	busy, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := r.db.Write(r.t.Context(), func(tx *model.Tx) error {
			if _, err := tx.LockAuditHead(); err != nil {
				return err
			}
			close(busy)
			<-free
			return nil
		})
		if err != nil {
			r.t.Error(err)
		}
	})
	<-busy
	var asked sync.WaitGroup
	for i := range asks {
		asked.Add(1)
		wg.Go(func() {
			asked.Done()
			sigs[i], _, errs[i] = r.Sign(r.t.Context(), asks[i], bodies[i])
		})
	}
	asked.Wait()
	close(free)
	wg.Wait()
	return sigs, errs
}

// TestSignTogether: those who sign at the same moment get each what they would get alone, and the log, the audit and the
// counts say the same as if they had come one after the other.
func TestSignTogether(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		keys := map[string]custody.Key{}
		for _, owner := range []string{"c-0001", "c-0002", "c-0003"} {
			keys[owner] = r.ensure(owner, custody.Machine, custody.Account)
		}
		stopped := r.ensure("c-0004", custody.Machine, custody.Account)
		r.move(stopped.ID, model.CustodyActive, model.CustodySuspended)
		earlier, earlierBody := confirm("earlier")
		before, _, err := r.Sign(t.Context(), earlier, earlierBody)
		if err != nil {
			t.Fatal(err)
		}
		var asks []custody.Ask
		var bodies []request.Confirm
		var want []*custody.Error
		add := func(owner, trade string, attempt int, lot string, as *custody.Error) {
			ask, body := confirm(trade)
			ask.Owner, ask.Attempt, body.Receiver, body.Lot = owner, attempt, owner, strings.Repeat(lot, 32)
			asks, bodies, want = append(asks, ask), append(bodies, body), append(want, as)
		}
		for n := range 8 {
			for owner := range keys {
				add(owner, fmt.Sprint("trade-", n), 1, "ab", nil)
				add(owner, fmt.Sprint("trade-", n), 1, "ab", nil) // by another worker
			}
		}
		add("c-0001", "earlier", 1, "ab", nil)
		add("c-0001", "earlier", 1, "cd", custody.ErrDigestConflict)
		add("c-0001", "earlier", 2, "ab", custody.ErrAttemptOpen)
		add("c-0001", "unknown", 2, "ab", custody.ErrAttemptUnknown)
		add("c-0004", "trade-0", 1, "ab", custody.ErrKeyNotActive)
		add("c-0005", "trade-0", 1, "ab", custody.ErrKeyNotFound)
		sigs, errs := r.atOnce(asks, bodies)
		seen := map[string]gm.Signature{}
		for i, err := range errs {
			if want[i] != nil {
				if !errors.Is(err, want[i]) {
					t.Errorf("%s of %s, attempt %d: %v, want %v", asks[i].Subject, asks[i].Owner, asks[i].Attempt, err, want[i])
				}
				continue
			}
			if err != nil {
				t.Errorf("%s of %s: %v", asks[i].Subject, asks[i].Owner, err)
				continue
			}
			key := keys[asks[i].Owner]
			message := request.New(channel, bodies[i]).SigningBytes(key.ID, until)
			if err := gm.Verify(key.Public, message, sigs[i].Bytes); err != nil {
				t.Errorf("%s of %s: %v", asks[i].Subject, asks[i].Owner, err)
			}
			act := asks[i].Owner + asks[i].Subject
			if first, ok := seen[act]; ok && !bytes.Equal(first, sigs[i].Bytes) {
				t.Errorf("%s of %s has two signatures", asks[i].Subject, asks[i].Owner)
			}
			seen[act] = sigs[i].Bytes
		}
		if !bytes.Equal(seen["c-0001earlier"], before.Bytes) {
			t.Error("what was signed before has another signature")
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NOT NULL`); n != 25 {
			t.Errorf("%d signatures", n)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`); n != 25 {
			t.Errorf("%d intents in the audit", n)
		}
		for owner, n := range map[string]int64{"c-0001": 9, "c-0002": 8, "c-0003": 8} {
			if q := r.quota("owner:" + owner + "/account"); q.Used != n {
				t.Errorf("%d signatures of %s are counted, not %d", q.Used, owner, n)
			}
		}
		var faults []custody.SignLogFault
		if lines, err := r.VerifySignLog(t.Context(), func(f custody.SignLogFault) { faults = append(faults, f) }); err != nil || lines != 25 || len(faults) > 0 {
			t.Errorf("%d lines, %v, %v", lines, faults, err)
		}
		r.whole()
	})
}

// TestSignTogetherWithinQuota: a key that has few signatures left makes so many, of whatever it is asked for at once.
func TestSignTogetherWithinQuota(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", custody.Machine, custody.Account)
		r.lower("owner:c-0001/account", 10)
		var asks []custody.Ask
		var bodies []request.Confirm
		for n := range 40 {
			ask, body := confirm(fmt.Sprint("trade-", n))
			asks, bodies = append(asks, ask), append(bodies, body)
		}
		_, errs := r.atOnce(asks, bodies)
		signed := 0
		for _, err := range errs {
			if err == nil {
				signed++
			} else if !errors.Is(err, custody.ErrDailyQuota) {
				t.Error(err)
			}
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures`); signed != 10 || n != 10 || r.quota("owner:c-0001/account").Used != 10 {
			t.Errorf("%d signed, %d lines, %+v", signed, n, r.quota("owner:c-0001/account"))
		}
		r.whole()
	})
}

// TestSignTogetherWithOneThatFails: what the database doesn't take of one doesn't cost the others their signatures.
func TestSignTogetherWithOneThatFails(t *testing.T) {
	for table, moment := range map[string]string{"intent": "INSERT", "signature": "UPDATE"} {
		t.Run(table, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				r.ensure("c-0001", custody.Machine, custody.Account)
				if r.cfg.Driver == model.SQLite {
					r.exec(`CREATE TRIGGER poison BEFORE ` + moment + ` ON custody_signatures WHEN NEW.subject = 'trade-7' BEGIN SELECT RAISE(ABORT, 'poison'); END`)
				} else {
					r.exec(`CREATE TRIGGER poison BEFORE ` + moment + ` ON custody_signatures FOR EACH ROW IF NEW.subject = 'trade-7' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'poison'; END IF`)
				}
				var asks []custody.Ask
				var bodies []request.Confirm
				for n := range 20 {
					ask, body := confirm(fmt.Sprint("trade-", n))
					asks, bodies = append(asks, ask), append(bodies, body)
				}
				_, errs := r.atOnce(asks, bodies)
				failed := slices.IndexFunc(errs, func(err error) bool { return err != nil })
				if failed != 7 || slices.ContainsFunc(errs[8:], func(err error) bool { return err != nil }) {
					t.Errorf("%v", errs)
				}
				if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NOT NULL`); n != 19 {
					t.Errorf("%d signatures", n)
				}
				r.exec(`DROP TRIGGER poison`)
				if _, _, err := r.Sign(t.Context(), asks[7], bodies[7]); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				r.whole()
			})
		})
	}
}
