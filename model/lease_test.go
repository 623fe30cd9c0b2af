package model_test

import (
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
