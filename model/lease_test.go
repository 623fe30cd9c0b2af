package model_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"cardflow/model"
)

// A lease is one owner's at a time, from the first moment on, when it is prolonged, when it has run out, and when it was
// given up and all the others reach for it at once.
func TestLeaseIsOneOwners(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		take := func(name, owner string, at, until model.Millis) (ok bool) {
			write(t, db, func(tx *model.Tx) (err error) { ok, err = tx.TakeLease(name, owner, at, until); return err })
			return ok
		}
		for n := range 20 { // nobody has it, or somebody has given it up: there is no row to wait for
			name := numbered("duty", n)
			var taken atomic.Int64
			var wg sync.WaitGroup
			for who := range 8 {
				wg.Go(func() {
					if take(name, numbered("server", who), now, now+1000) {
						taken.Add(1)
					}
				})
			}
			wg.Wait()
			if got := taken.Load(); got != 1 {
				t.Fatalf("%s is %d servers'", name, got)
			}
		}
		if !take("duty", "one", now, now+10) || take("duty", "two", now+9, now+20) || !take("duty", "one", now+9, now+30) {
			t.Error("who has it doesn't keep it")
		}
		if !take("duty", "two", now+30, now+40) || take("duty", "one", now+31, now+50) {
			t.Error("a lease that has run out isn't the next one's")
		}
		write(t, db, func(tx *model.Tx) error { return tx.GiveUpLease("duty", "one") }) // no longer his
		if take("duty", "one", now+31, now+50) {
			t.Error("given up by somebody else")
		}
		write(t, db, func(tx *model.Tx) error { return tx.GiveUpLease("duty", "two") })
		if !take("duty", "one", now+31, now+50) {
			t.Error("given up, and still not to be had")
		}
		all := read(t, db, func(tx *model.Tx) ([]model.Lease, error) { return tx.Leases("duty") })
		if len(all) != 21 || all[0].Owner != "one" || all[0].UntilAt != now+50 {
			t.Errorf("%+v", all)
		}
		if some := read(t, db, func(tx *model.Tx) ([]model.Lease, error) { return tx.Leases("dut_0") }); len(some) != 0 {
			t.Errorf("_ is a wildcard: %+v", some)
		}
	})
}

// A server whose clock was far ahead took leases, and put off what it could not do. Nobody waits for its time to come;
// a lease that may be somebody's is left to him, however long leases are.
func TestLeasesOfAClockThatJumped(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		ahead := now + 10*365*24*60*60*1000
		for name, c := range map[string]struct {
			at, until       model.Millis // of who has it
			nowAt, nowUntil model.Millis // of who wants it
			taken           bool
		}{
			"ahead":             {ahead, ahead + 30_000, now, now + 30_000, true},
			"ahead, for long":   {ahead, ahead + 30_000, now, now + 4*60*60_000, true},
			"another's":         {now, now + 30_000, now, now + 30_000, false},
			"another's, longer": {now, now + 50*60_000, now, now + 30_000, false},
			"as long as mine":   {now, now + 4*60*60_000, now, now + 4*60*60_000, false},
		} {
			write(t, db, func(tx *model.Tx) error {
				a := act(name, model.ActAccepted)
				a.Function = name
				return errors.Join(tx.AddAct(a),
					tx.AddImport(model.Import{ID: name, ParticipantID: "carrier", State: model.ImportQueued, CreatedAt: now}),
					tx.AddJob(model.Job{ID: name, ParticipantID: "retailer", Kind: name, State: model.JobQueued, CreatedAt: now}))
			})
			ours := func(i model.Import) bool { return i.ID == name }
			lease := func(who string, at, until model.Millis) (acts []model.Act, imports, jobs, duties bool) {
				write(t, db, func(tx *model.Tx) error {
					_, err := tx.LeaseImport(who, at, until, ours)
					imports = err == nil
					_, err2 := tx.LeaseJob(who, at, until, name)
					jobs = err2 == nil
					var err3, err4 error
					acts, err3 = tx.LeaseActs(who, at, until, 10)
					duties, err4 = tx.TakeLease(name, who, at, until)
					for _, err := range []error{err, err2} {
						if err != nil && !errors.Is(err, model.ErrNotFound) {
							return err
						}
					}
					return errors.Join(err3, err4)
				})
				return acts, imports, jobs, duties
			}
			if acts, imports, jobs, duties := lease("they", c.at, c.until); len(acts) != 1 || !imports || !jobs || !duties {
				t.Fatalf("%s: they have %v, %v, %v, %v", name, acts, imports, jobs, duties)
			}
			if acts, imports, jobs, duties := lease("we", c.nowAt, c.nowUntil); (len(acts) == 1) != c.taken || imports != c.taken || jobs != c.taken || duties != c.taken {
				t.Errorf("%s: we have %v, %v, %v, %v", name, acts, imports, jobs, duties)
			}
			var a model.Act
			write(t, db, func(tx *model.Tx) (err error) { // and by its name
				if a, err = tx.Act(name); err == nil {
					a.LeaseUntil = c.until
					err = tx.SaveAct(a)
				}
				return err
			})
			err := db.Write(t.Context(), func(tx *model.Tx) error {
				_, err := tx.LeaseAct(name, "we", c.nowAt, c.nowUntil)
				return err
			})
			if (err == nil) != c.taken || err != nil && !errors.Is(err, model.ErrState) {
				t.Errorf("%s, by its name: %v", name, err)
			}
			write(t, db, func(tx *model.Tx) error {
				_, err := tx.MoveAct(name, model.ActAccepted, model.ActFailed, nil)
				return err
			})
		}

		// What was put off comes after what is due, and is not taken twice.
		late, due, soon := act("late", model.ActSubmitted), act("due", model.ActAccepted), act("soon", model.ActAccepted)
		late.NextAt, soon.NextAt = ahead, now+24*60*60_000
		asked := registration("asked", model.RealNameChecking)
		asked.NextAt = ahead
		write(t, db, func(tx *model.Tx) error {
			return errors.Join(tx.AddAct(late), tx.AddAct(due), tx.AddAct(soon), tx.AddRealName(asked))
		})
		for _, want := range []string{"due", "late", ""} {
			write(t, db, func(tx *model.Tx) error {
				acts, err := tx.LeaseActs("we", now, now+30_000, 1)
				if got := ""; err == nil {
					if len(acts) > 0 {
						got = acts[0].ID
					}
					if got != want {
						t.Errorf("leased %q, want %q", got, want)
					}
				}
				return err
			})
		}
		if list := read(t, db, func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesDue(now, 10) }); len(list) != 1 {
			t.Errorf("%d to ask about", len(list))
		}
		write(t, db, func(tx *model.Tx) error { return tx.LeaseRealName("asked", now, now+1000) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.LeaseRealName("asked", now, now+1000) })
	})
}
