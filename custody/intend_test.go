package custody_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// busy keeps the database from all who write until free is called.
func (r *rig) busy() (free func()) {
	r.t.Helper()
	held, let := make(chan struct{}), make(chan struct{})
	var once sync.Once // a transaction may start over
	var wg sync.WaitGroup
	wg.Go(func() {
		err := r.db.Write(r.t.Context(), func(tx *model.Tx) error {
			if _, err := tx.LockAuditHead(); err != nil {
				return err
			}
			once.Do(func() { close(held) })
			<-let
			return nil
		})
		if err != nil {
			r.t.Error(err)
		}
	})
	<-held
	return func() { close(let); wg.Wait() }
}

// atOnce has several ask while the database is busy, so that all but the first are written together, and answers what each
// got. One who dies on the way got errDied.
func (r *rig) atOnce(asks []custody.Ask, bodies []request.Confirm) ([]request.Signature, []error) {
	r.t.Helper()
	sigs, errs := make([]request.Signature, len(asks)), make([]error, len(asks))
	free := r.busy()
	var wg sync.WaitGroup
	for i := range asks {
		if i == 1 { // the first one leads alone, or he would take along whoever comes before he begins
			awaited(r.t, "the first one leads", r.Taken)
		}
		wg.Go(func() {
			defer func() {
				if died := recover(); died != nil {
					errs[i] = errDied
				}
			}()
			sigs[i], _, errs[i] = r.Sign(r.t.Context(), asks[i], bodies[i])
		})
	}
	awaited(r.t, "all but one wait", func() bool { return r.Waiting() == len(asks)-1 })
	free()
	wg.Wait()
	return sigs, errs
}

var errDied = errors.New("he has died")

// awaited waits until something is so.
func awaited(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
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

// TestTwoDigestsTogether: of two that want something else signed for one act at the same moment one gets it, on whichever
// server, and so does everybody who wants the same; the other is refused and alarms.
func TestTwoDigestsTogether(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		const acts = 6
		servers := []*rig{r, {t: t, db: r.db, Custody: r.open()}}
		errs := make([][]error, len(servers))
		var wg sync.WaitGroup
		for n, server := range servers {
			wg.Go(func() {
				var asks []custody.Ask
				var bodies []request.Confirm
				for i := range 4 * acts { // of each act two bodies, twice
					ask, body := confirm(fmt.Sprint("trade-", i%acts))
					body.Lot = strings.Repeat(fmt.Sprintf("%02x", i/acts%2), 32)
					asks, bodies = append(asks, ask), append(bodies, body)
				}
				_, errs[n] = server.atOnce(asks, bodies)
			})
		}
		wg.Wait()
		for act := range acts {
			won := map[int]bool{}
			for _, list := range errs {
				for i := act; i < len(list); i += acts {
					if list[i] == nil {
						won[i/acts%2] = true
					} else if !errors.Is(list[i], custody.ErrDigestConflict) {
						t.Errorf("trade-%d: %v", act, list[i])
					}
				}
			}
			if len(won) != 1 {
				t.Errorf("trade-%d: %d digests were signed", act, len(won))
			}
		}
		lines, intents := r.count(`SELECT COUNT(*) FROM custody_signatures`), r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`)
		if refusals := r.refusals(custody.ErrDigestConflict); lines != acts || intents != acts || refusals != 4*acts {
			t.Errorf("%d lines, %d intents, %d refusals", lines, intents, refusals)
		}
		r.whole()
	})
}

// TestUnusualTogether: a key that is asked for far more than usual at one moment, on two servers, signs up to what is usual
// and not once more, and is stopped once.
func TestUnusualTogether(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		key := r.ensure("c-0001", request.Consumer, custody.Account)
		if err := r.signs(r.Custody, "first"); err != nil {
			t.Fatal(err)
		}
		r.exec(`UPDATE custody_usage SET used = 95 WHERE owner = 'c-0001'`) // of 100
		servers := []*rig{r, {t: t, db: r.db, Custody: r.open()}}
		errs := make([][]error, len(servers))
		var wg sync.WaitGroup
		for n, server := range servers {
			var asks []custody.Ask
			var bodies []request.Confirm
			for i := range 12 {
				ask, body := confirm(fmt.Sprintf("trade-%d-%d", n, i))
				r.asks(ask, body)
				asks, bodies = append(asks, ask), append(bodies, body)
			}
			wg.Go(func() { _, errs[n] = server.atOnce(asks, bodies) })
		}
		wg.Wait()
		signed := 0
		for _, err := range slices.Concat(errs...) {
			switch {
			case err == nil:
				signed++
			case !errors.Is(err, custody.ErrUnusual) && !errors.Is(err, custody.ErrKeyStopped) && !errors.Is(err, custody.ErrKeyNotActive):
				t.Error(err)
			}
		}
		lines := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE subject LIKE 'trade-%'`)
		kept := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE subject LIKE 'trade-%' AND signature IS NOT NULL`)
		// One that was written down may have met the stop before its signature was stored.
		if q := r.quota(annQuota); lines != 5 || signed != kept || q.Used != 100 || q.StoppedAt == 0 {
			t.Errorf("%d signed, %d lines, %d signatures, %+v", signed, lines, kept, q)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_wishes`); n != 1 || r.state(key.ID) != model.CustodySuspended {
			t.Errorf("%d wishes, the key is %s", n, r.state(key.ID))
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'key.suspend'`); n != 1 {
			t.Errorf("stopped %d times", n)
		}
		r.whole()
	})
}
