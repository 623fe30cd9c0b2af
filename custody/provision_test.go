package custody_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

func owners(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("c-%06d", i))
	}
	return list
}

// TestProvision: everybody gets one key, with its proof and its row in the audit, and whoever has one keeps it.
func TestProvision(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		before := r.ensure("c-000003", request.Consumer, custody.Account)
		stopped := r.ensure("c-000005", request.Consumer, custody.Account)
		other := r.ensure("c-000007", request.Retailer, custody.Account)
		r.exec(`UPDATE custody_keys SET state = 'suspended' WHERE id = ?`, stopped.ID)
		list := append(owners(230), "c-000009") // whom it names twice
		keys, made, err := r.Provision(t.Context(), list, request.Consumer, custody.Account, "test")
		if err != nil || made != 227 || len(keys) != len(list) {
			t.Fatalf("%d keys, %d made, %v", len(keys), made, err)
		}
		for i, owner := range list {
			if owner == "c-000005" || owner == "c-000007" {
				if !keys[i].Public.IsZero() {
					t.Errorf("%s has a key to register", owner)
				}
				continue
			}
			if err := gm.Verify(keys[i].Public, request.PossessionBytes(channel, owner, keys[i].Public), keys[i].Possession); err != nil {
				t.Errorf("%s: %v", owner, err)
			}
			if n := r.count(`SELECT COUNT(*) FROM custody_keys WHERE owner = ? AND id = ?`, owner, keys[i].Public.KeyID()); n != 1 {
				t.Errorf("%s: it is not his", owner)
			}
		}
		if keys[3].Public.KeyID() != before.ID || other.Role != request.Retailer {
			t.Error("somebody who had a key has another one")
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'key.make'`); n != 230 {
			t.Errorf("%d keys in the audit", n)
		}
		if again, made, err := r.Provision(t.Context(), list, request.Consumer, custody.Account, "test"); err != nil || made != 0 || again[0].Public.KeyID() != keys[0].Public.KeyID() {
			t.Errorf("again: %d made, %v", made, err)
		}
		ask, body := confirm("trade-1")
		ask.Owner, body.Receiver = "c-000001", "c-000001"
		r.asks(ask, body)
		if _, _, err := r.open().Sign(t.Context(), ask, body); err != nil {
			t.Error(err)
		}
		for _, bad := range []struct {
			owner string
			role  request.Role
			slot  custody.Slot
		}{{"", request.Consumer, custody.Account}, {"李", request.Consumer, custody.Account}, {"c-1", request.Consumer, custody.Ticket}} {
			if _, _, err := r.Provision(t.Context(), []string{"c-new", bad.owner}, bad.role, bad.slot, "test"); !errors.Is(err, custody.ErrPost) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		r.whole()
	})
}

// TestProvisionKilled: in each statement of a batch, and where the keys are kept. What was killed has left nothing, and
// whoever comes next goes on.
func TestProvisionKilled(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		list := owners(150)
		for _, broken := range []struct{ table, on, when string }{
			{"custody_keys", "INSERT", "NEW.owner = 'c-000099'"},
			{"custody_audit", "INSERT", "NEW.seq = 60"},
			{"custody_audit_head", "UPDATE", "1 = 1"},
		} {
			r.exec(r.breaking(broken.table, broken.on, broken.when))
			if _, made, err := r.Provision(t.Context(), list, request.Consumer, custody.Account, "test"); err == nil || made != 0 {
				t.Errorf("%+v: %d made, %v", broken, made, err)
			}
			r.exec(`DROP TRIGGER broken`)
			if n := r.count(`SELECT COUNT(*) FROM custody_keys`); n != 0 {
				t.Errorf("%+v: %d keys are there", broken, n)
			}
		}
		full := errors.New("the disk is full")
		config := r.config()
		config.Keep = func(keys ...model.CustodyKey) error {
			if keys[0].Owner != list[0] { // the second batch
				return full
			}
			return nil
		}
		c, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if _, made, err := c.Provision(t.Context(), list, request.Consumer, custody.Account, "test"); !errors.Is(err, full) || made != 100 {
			t.Errorf("killed between two batches: %d made, %v", made, err)
		}
		if _, made, err := r.open().Provision(t.Context(), list, request.Consumer, custody.Account, "test"); err != nil || made != 50 {
			t.Errorf("the next one: %d made, %v", made, err)
		}
		r.whole()
	})
}

// TestProvisionTwice: two servers at once, and a consumer who comes meanwhile. Nobody gets two keys.
func TestProvisionTwice(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		list := owners(120)
		var all sync.WaitGroup
		for range 2 {
			server := r.open()
			all.Go(func() {
				if _, _, err := server.Provision(t.Context(), list, request.Consumer, custody.Account, "test"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Go(func() { r.ensure(list[110], request.Consumer, custody.Account) })
		all.Wait()
		if n := r.count(`SELECT COUNT(*) FROM custody_keys`); n != len(list) {
			t.Errorf("%d keys for %d owners", n, len(list))
		}
		r.whole()
	})
}
