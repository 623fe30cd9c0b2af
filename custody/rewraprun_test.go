package custody_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
)

// runs lets servers do in the background what they do, until the test ends.
func (r *rig) runs(servers map[string]*custody.Custody) {
	r.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for name, c := range servers {
		running.Go(func() { c.Run(ctx, name) })
	}
	r.t.Cleanup(func() { stop(); running.Wait() })
}

// rewrapped is how many keys each server has put under another key-encryption key, by the audit.
func (r *rig) rewrapped() map[string]int {
	r.t.Helper()
	rows, err := r.raw.QueryContext(r.t.Context(), `SELECT actor, detail FROM custody_audit WHERE act = 'kek.rewrap'`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	by := map[string]int{}
	for rows.Next() {
		var actor, detail string
		var d struct{ Keys int }
		if err := rows.Scan(&actor, &detail); err != nil {
			r.t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(detail), &d); err != nil {
			r.t.Fatal(err)
		}
		by[actor] += d.Keys
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return by
}

// TestRewrapInTheBackground: two servers see by themselves that there is a new key-encryption key, and put all keys under
// it, each key once. An emergency stop in the middle stops that, too; it goes on when three holders have come.
func TestRewrapInTheBackground(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		servers := map[string]*custody.Custody{}
		for _, name := range []string{"server-1", "server-2"} {
			config := r.config()
			config.Root, config.Shares, config.RewrapEvery = nil, true, 10*time.Millisecond
			c, err := custody.Open(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			if _, err := bring(t.Context(), c, shares[:3]...); err != nil {
				t.Fatal(err)
			}
			servers[name] = c
		}
		one := servers["server-1"]
		if _, _, err := one.Provision(t.Context(), owners(300), request.Consumer, custody.Account, "test"); err != nil {
			t.Fatal(err)
		}
		left := func() int { return r.count(`SELECT COUNT(*) FROM custody_keys WHERE kek_version = 1`) }

		// Once a batch stands, nobody seals another key before the stop has come.
		reached, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		if _, err := one.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		r.random.set(func() error {
			var some bool
			if err := r.raw.QueryRowContext(t.Context(), `SELECT EXISTS (SELECT 1 FROM custody_keys WHERE kek_version = 2)`).Scan(&some); err != nil || !some {
				return err
			}
			once.Do(func() { close(reached) })
			<-goOn
			return nil
		})
		r.runs(servers)
		select {
		case <-reached:
		case <-time.After(2 * time.Minute):
			t.Error("nobody begins")
		}
		err := one.Seal(t.Context(), "ops-1")
		r.random.set(func() error { return nil })
		close(goOn)
		if err != nil {
			t.Fatal(err)
		}
		if n := left(); n != 300-256 {
			t.Errorf("stopped in the second batch, %d are left", n)
		}
		for name, c := range servers {
			if _, err := bring(t.Context(), c, shares[2:]...); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		r.until("all keys are under the new key-encryption key", func() bool { return left() == 0 })
		sum := 0
		for _, n := range r.rewrapped() {
			sum += n
		}
		if sum != 300 {
			t.Errorf("each key once: %v", r.rewrapped())
		}
		if found, opened := r.unopened(one); len(found) > 0 || opened != 300 {
			t.Errorf("%d open, found %v", opened, found)
		}
		r.Custody = one
		r.whole()
	})
}

// TestRewrapLeavesAServerBehind: one that was not restarted since the root was rotated can't, and leaves it to one that was.
func TestRewrapLeavesAServerBehind(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.stock(20)
		config := r.config()
		config.RewrapEvery = 10 * time.Millisecond
		behind, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(behind.Close)
		root := r.another("next.key")
		if err := r.RotateRoot(t.Context(), root, "ops"); err != nil {
			t.Fatal(err)
		}
		config.Root = root
		restarted, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(restarted.Close)
		if _, err := restarted.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		r.runs(map[string]*custody.Custody{"behind": behind, "restarted": restarted})
		r.until("all keys are under the new key-encryption key", func() bool {
			return r.count(`SELECT COUNT(*) FROM custody_keys WHERE kek_version = 1`) == 0
		})
		if by := r.rewrapped(); by["behind"] != 0 || by["restarted"] != 20 {
			t.Errorf("done by %v", by)
		}
	})
}
