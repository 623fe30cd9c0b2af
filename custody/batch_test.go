package custody_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/model/modeltest"
)

// TestSignTogetherWithOneThatFails: what the database doesn't take of one doesn't cost the others their signatures.
func TestSignTogetherWithOneThatFails(t *testing.T) {
	for what, where := range map[string]string{
		"intent": "INSERT ON custody_signatures", "signature": "UPDATE ON custody_signatures", "audit": "INSERT ON custody_audit",
	} {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				r.ensure("c-0001", custody.Machine, custody.Account)
				if r.cfg.Driver == model.SQLite {
					r.exec(`CREATE TRIGGER poison BEFORE ` + where + ` WHEN NEW.subject = 'trade-7' BEGIN SELECT RAISE(ABORT, 'poison'); END`)
				} else {
					r.exec(`CREATE TRIGGER poison BEFORE ` + where + ` FOR EACH ROW IF NEW.subject = 'trade-7' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'poison'; END IF`)
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

// TestLeaderDies: whoever serves those who have come with him may die on the way, as a program's fault kills what a server
// was asked for, and not the server. None of the others is told of what does not stand, or given a signature that isn't
// stored; all may ask again, and get what stands. Nothing is counted twice.
func TestLeaderDies(t *testing.T) {
	const many = 12
	for name, x := range map[string]struct {
		storing bool // when the signatures are stored, and not before
		point   string
	}{
		"intents are written":            {false, "custody: " + custody.AtIntending},
		"intents are to be committed":    {false, "model: " + model.AtCommitting},
		"intents have been committed":    {false, "model: " + model.AtCommitted},
		"signatures are to be committed": {true, "model: " + model.AtCommitting},
		"signatures have been committed": {true, "model: " + model.AtCommitted},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				r.staff()
				r.ensure("c-0001", custody.Machine, custody.Account)
				var asks []custody.Ask
				var bodies []request.Confirm
				for n := range many {
					ask, body := confirm(fmt.Sprint("trade-", n))
					asks, bodies = append(asks, ask), append(bodies, body)
				}
				var once sync.Once
				die := func() { once.Do(func() { panic("a fault of the program") }) }
				var signed, armed atomic.Int64
				gathered := make(chan struct{})
				at := func(point string) {
					switch {
					case !x.storing && point == x.point:
						if r.Waiting() <= 1 { // all of the others have been taken; the first one may be back with his signature
							die()
						}
					case x.storing && point == "custody: "+custody.AtSigned:
						// All of them come to this together, while the database is busy.
						if signed.Add(1) < many {
							<-gathered
							return
						}
						// The last one goes on alone, and leads.
						free := r.busy()
						go func() {
							for !r.Taken() {
								runtime.Gosched()
							}
							close(gathered)
							for r.Waiting() < many-1 {
								runtime.Gosched()
							}
							armed.Store(1)
							free()
						}()
					case x.storing && point == x.point && armed.Load() == 1:
						if r.Waiting() == 0 {
							die()
						}
					}
				}
				r.at.Store(&at)
				sigs, errs := r.atOnce(asks, bodies)
				r.at.Store(nil)
				died := 0
				for i, err := range errs {
					if errors.Is(err, errDied) {
						died++
					}
					stored := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE subject = ? AND signature IS NOT NULL`, asks[i].Subject)
					if given := sigs[i].Bytes != nil; given != (err == nil) || given && stored != 1 {
						t.Errorf("%s: %v, given %t, %d stored", asks[i].Subject, err, given, stored)
					}
				}
				if died != 1 {
					t.Errorf("%d died: %v", died, errs)
				}
				for i := range asks {
					if _, _, err := r.Sign(t.Context(), asks[i], bodies[i]); err != nil {
						t.Errorf("%s, asked again: %v", asks[i].Subject, err)
					}
				}
				lines, intents := r.count(`SELECT COUNT(*) FROM custody_signatures`), r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`)
				if used := r.quota("owner:c-0001/account").Used; lines != many || intents != many || used != many {
					t.Errorf("%d lines, %d intents, %d counted", lines, intents, used)
				}
				r.whole()
			})
		})
	}
}

// TestAnswerToABatchLost: the connection breaks when a batch is committed, before the database hears of it or after. Each gets
// his signature, the one that is stored, and is counted once.
func TestAnswerToABatchLost(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	for name, x := range map[string]struct {
		statement string // the batch that has it is the one that is lost
		fate      modeltest.Fate
	}{
		"intents, stand":    {"INSERT INTO `custody_signatures`", modeltest.Unheard},
		"intents, don't":    {"INSERT INTO `custody_signatures`", modeltest.Lost},
		"signatures, stand": {"UPDATE custody_signatures SET signature", modeltest.Unheard},
		"signatures, don't": {"UPDATE custody_signatures SET signature", modeltest.Lost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bareRig(t)
			w := modeltest.NewWire(t, r.cfg)
			r.cfg = w.Config
			r.db = modeltest.OpenConfig(t, r.cfg)
			r.Custody = r.open()
			r.staff()
			r.ensure("c-0001", custody.Machine, custody.Account)
			var asks []custody.Ask
			var bodies []request.Confirm
			for n := range 12 {
				ask, body := confirm(fmt.Sprint("trade-", n))
				asks, bodies = append(asks, ask), append(bodies, body)
			}
			var mu sync.Mutex
			seen := map[int]int{}
			lost := 0
			w.Decide(func(conn int, sql string) modeltest.Fate {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(sql, x.statement) && ofSeveral(sql) {
					seen[conn]++
				}
				if seen[conn] == 0 || !strings.HasPrefix(sql, "COMMIT") {
					return modeltest.Heard
				}
				delete(seen, conn)
				if lost++; lost > 1 {
					return modeltest.Heard
				}
				return x.fate
			})
			sigs, errs := r.atOnce(asks, bodies)
			w.Decide(nil)
			for i, err := range errs {
				var stored []byte
				if err := r.raw.QueryRowContext(t.Context(), `SELECT signature FROM custody_signatures WHERE subject = ?`, asks[i].Subject).Scan(&stored); err != nil {
					t.Error(err)
				}
				if err != nil || !slices.Equal(stored, sigs[i].Bytes) {
					t.Errorf("%s: %v", asks[i].Subject, err)
				}
			}
			lines, intents := r.count(`SELECT COUNT(*) FROM custody_signatures`), r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`)
			if used := r.quota("owner:c-0001/account").Used; lost == 0 || lines != 12 || intents != 12 || used != 12 {
				t.Errorf("%d lost, %d lines, %d intents, %d counted", lost, lines, intents, used)
			}
			r.whole()
		})
	}
}

// ofSeveral reports whether a statement writes rows of several who sign: one of them may come alone.
func ofSeveral(sql string) bool {
	return strings.Count(sql, " WHEN ") > 1 || strings.Contains(strings.ReplaceAll(sql, " ", ""), "),(")
}
