package model_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"cardflow/model"
)

func fullAct() model.Act {
	return model.Act{ID: "full", Function: "Offer", Contract: "ownership", Actor: "ann", Person: "p", Subject: "s", State: model.ActSubmitted, FieldsSealed: []byte{0},
		Body: []byte{1}, Attempt: 2, KeyID: "k", NotAfter: now, RequestID: "r", Proof: []byte{2}, Proposal: []byte{3}, TxID: "tx", Sent: true, Tries: 3,
		LeaseOwner: "w", LeaseUntil: now, NextAt: now, ErrorCode: "E", ErrorText: "出错", WaitsFor: "other", BlockNumber: 4, CommittedAt: now, Result: []byte{5},
		CreatedAt: now, UpdatedAt: now, Deadline: now}
}

func TestActKeepsEverything(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error { return tx.AddAct(fullAct()) })
		for name, find := range map[string]func(tx *model.Tx) (model.Act, error){
			"id":      func(tx *model.Tx) (model.Act, error) { return tx.Act("full") },
			"tx":      func(tx *model.Tx) (model.Act, error) { return tx.ActByTx("tx") },
			"request": func(tx *model.Tx) (model.Act, error) { return tx.LockActByRequest("r") },
		} {
			var got model.Act
			write(t, db, func(tx *model.Tx) (err error) { got, err = find(tx); return err })
			if want := fullAct(); !reflect.DeepEqual(got, want) {
				t.Errorf("by %s: got\n%+v, want\n%+v", name, got, want)
			}
		}
		twin := fullAct()
		twin.ID = "twin"
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddAct(twin) }) // the transaction ID
		twin.TxID = ""
		write(t, db, func(tx *model.Tx) error {
			other := twin
			other.ID = "third"
			return errors.Join(tx.AddAct(twin), tx.AddAct(other)) // many have none
		})
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.ActByTx("none"); return err })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.ActByTx(""); return err })
	})
}

// TestLeaseActs: workers that take acts at the same time never take the same one, and between them they take all
// that are due and none that isn't.
func TestLeaseActs(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		const due = 60
		write(t, db, func(tx *model.Tx) error {
			for i := range due {
				if err := tx.AddAct(act(numbered("due", i), unfinished[i%len(unfinished)])); err != nil {
					return err
				}
			}
			later, leased := act("later", model.ActAccepted), act("leased", model.ActSigned)
			later.NextAt = now + 1
			leased.LeaseOwner, leased.LeaseUntil = "somebody", now+1
			return errors.Join(tx.AddAct(later), tx.AddAct(leased), tx.AddAct(act("done", model.ActCommitted)), tx.AddAct(act("gone", model.ActFailed)))
		})
		const workers = 4
		taken := make([][]string, workers)
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for {
					var got []model.Act
					err := db.Write(t.Context(), func(tx *model.Tx) (err error) {
						got, err = tx.LeaseActs(numbered("worker", w), now, now+1000, 7)
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
					if len(got) == 0 {
						return
					}
					for _, a := range got {
						if a.LeaseOwner != numbered("worker", w) || a.LeaseUntil != now+1000 {
							t.Errorf("%s: leased by %s until %v", a.ID, a.LeaseOwner, a.LeaseUntil)
						}
						taken[w] = append(taken[w], a.ID)
					}
				}
			})
		}
		all.Wait()
		ids := slices.Concat(taken...)
		slices.Sort(ids)
		if n := len(ids); n != due || len(slices.Compact(ids)) != due || slices.ContainsFunc(ids, func(id string) bool { return id[:3] != "due" }) {
			t.Errorf("%d of %d taken: %v", n, due, ids)
		}
		again := read(t, db, func(tx *model.Tx) (model.Act, error) { return tx.Act("due000") })
		if again.LeaseUntil != now+1000 {
			t.Errorf("the lease of due000 is not stored: %+v", again)
		}
		write(t, db, func(tx *model.Tx) error { // when leases have run out, others may take them
			got, err := tx.LeaseActs("next", now+1000, now+2000, 100)
			if len(got) != due+2 {
				t.Errorf("%d acts after the leases", len(got))
			}
			return err
		})
	})
}

var unfinished = []model.ActState{model.ActAccepted, model.ActSigned, model.ActPrepared, model.ActSubmitted}

func TestLease(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error {
			return errors.Join(tx.AddAct(act("a", model.ActAccepted)), tx.AddAct(act("f", model.ActFailed)))
		})
		var mine model.Act
		write(t, db, func(tx *model.Tx) (err error) { mine, err = tx.LeaseAct("a", "me", now, now+10); return err })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { _, err := tx.LeaseAct("a", "you", now+9, now+20); return err })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { _, err := tx.LeaseAct("f", "me", now, now+10); return err })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.LeaseAct("none", "me", now, now+10); return err })

		mine.Tries, mine.NextAt, mine.LeaseUntil = 2, now+5, now+12
		write(t, db, func(tx *model.Tx) error { return tx.SaveAct(mine) })

		write(t, db, func(tx *model.Tx) error { _, err := tx.LeaseAct("a", "you", now+12, now+20); return err })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.SaveAct(mine) }) // the sleeper wakes

		got := read(t, db, func(tx *model.Tx) (model.Act, error) { return tx.Act("a") })
		if got.LeaseOwner != "you" || got.Tries != 2 || got.NextAt != now+5 {
			t.Errorf("stored: %+v", got)
		}
		write(t, db, func(tx *model.Tx) error {
			a, err := tx.MoveAct("a", model.ActAccepted, model.ActSigned, func(a *model.Act) { a.Proof = []byte{1} })
			if a.LeaseOwner != "you" || a.State != model.ActSigned {
				t.Errorf("signed: %+v", a)
			}
			return err
		})
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.SaveAct(got) }) // its state is another one by now
		write(t, db, func(tx *model.Tx) error {
			a, err := tx.MoveAct("a", model.ActSigned, model.ActCommitted, func(a *model.Act) { a.BlockNumber = 9 })
			if a.LeaseOwner != "" || a.LeaseUntil != 0 || a.BlockNumber != 9 {
				t.Errorf("committed: %+v", a)
			}
			return err
		})
	})
}

func TestWaiters(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		first, second, other := act("first", model.ActAccepted), act("second", model.ActAccepted), act("other", model.ActAccepted)
		second.WaitsFor, second.NextAt = "first", now+1000
		other.WaitsFor, other.NextAt = "second", now+1000
		write(t, db, func(tx *model.Tx) error {
			return errors.Join(tx.AddAct(first), tx.AddAct(second), tx.AddAct(other))
		})
		lease := func(at model.Millis) (ids []string) {
			write(t, db, func(tx *model.Tx) error {
				acts, err := tx.LeaseActs("w", at, at, 10) // until now: it is free again at once
				ids = nil
				for _, a := range acts {
					ids = append(ids, a.ID)
				}
				return err
			})
			slices.Sort(ids)
			return ids
		}
		if got := lease(now); !slices.Equal(got, []string{"first"}) {
			t.Errorf("due: %v", got)
		}
		write(t, db, func(tx *model.Tx) error {
			n, err := tx.WakeWaiters("first", now)
			if n != 1 {
				t.Errorf("%d woken", n)
			}
			return err
		})
		if got := lease(now); !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("due after the first: %v", got)
		}
		if got := lease(now + 1000); len(got) != 3 {
			t.Errorf("a waiter that missed its waking sleeps on: %v", got)
		}
		if a := read(t, db, func(tx *model.Tx) (model.Act, error) { return tx.Act("second") }); a.WaitsFor != "" {
			t.Errorf("second still waits for %s", a.WaitsFor)
		}
	})
}

func TestActLists(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		for i, state := range model.ActMoves.States() {
			a := act(numbered("a", i), state)
			a.CreatedAt, a.Function = now+model.Millis(i), map[bool]string{true: "Offer", false: "Confirm"}[i%2 == 0]
			a.Person = "p"
			write(t, db, func(tx *model.Tx) error { return tx.AddAct(a) })
		}
		ids := func(acts []model.Act) (ids []string) {
			for _, a := range acts {
				ids = append(ids, a.ID)
			}
			return ids
		}
		on := read(t, db, func(tx *model.Tx) ([]model.Act, error) { return tx.UnfinishedActsOn("t1") })
		if got := ids(on); !slices.Equal(got, []string{"a000", "a001", "a002", "a003"}) {
			t.Errorf("unfinished: %v", got)
		}
		for name, c := range map[string]struct {
			filter model.ActFilter
			want   []string
		}{
			"state":    {model.ActFilter{States: []model.ActState{model.ActFailed, model.ActSigned}}, []string{"a005", "a001"}},
			"function": {model.ActFilter{Function: "Offer"}, []string{"a004", "a002", "a000"}},
			"who":      {model.ActFilter{Actor: "ann", Person: "p", Subject: "t1", From: now + 4}, []string{"a005", "a004"}},
			"nobody":   {model.ActFilter{Actor: "bob"}, nil},
			"before":   {model.ActFilter{To: now + 1}, []string{"a000"}},
		} {
			page := read(t, db, func(tx *model.Tx) (model.Page[model.Act], error) { return tx.ListActs(c.filter, "", 10) })
			if got := ids(page.Items); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		counts := read(t, db, (*model.Tx).CountActs)
		if want := map[model.ActState]int64{"accepted": 1, "signed": 1, "prepared": 1, "submitted": 1, "committed": 1, "failed": 1}; !maps.Equal(counts, want) {
			t.Errorf("counts: %v", counts)
		}
	})
}
