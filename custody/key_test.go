package custody_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

func TestEnsureIsIdempotent(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		first := r.ensure("c-0001", request.Consumer, custody.Account)
		again := r.ensure("c-0001", request.Consumer, custody.Account)
		if first.ID != again.ID || first.Public != again.Public || again.Version != 1 || again.State != model.CustodyActive {
			t.Errorf("asked twice: %+v, then %+v", first, again)
		}
		if first.ID != first.Public.KeyID() || first.Kind != request.AccountKey || !first.CreatedAt.Equal(start) {
			t.Errorf("key %+v", first)
		}
		if other := r.ensure("c-0002", request.Consumer, custody.Account); other.ID == first.ID {
			t.Error("two owners have one key")
		}
		byID, err := r.Key(t.Context(), first.ID)
		if err != nil || byID.Owner != "c-0001" {
			t.Errorf("by ID: %+v, %v", byID, err)
		}
		active, err := r.ActiveKey(t.Context(), "c-0001", custody.Account)
		if err != nil || active.ID != first.ID {
			t.Errorf("by owner: %+v, %v", active, err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'key.make'`); n != 2 {
			t.Errorf("%d keys in the audit, want 2", n)
		}
		r.whole()
	})
}

func TestEnsureByTwoServersMakesOneKey(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		servers := []*custody.Custody{r.Custody, r.open()}
		post := custody.Post{Owner: "c-0001", Role: request.Consumer, Slot: custody.Account}
		ids := make([]string, 50)
		var group sync.WaitGroup
		for i := range ids {
			group.Go(func() {
				key, err := servers[i%2].Ensure(t.Context(), post, "test")
				if err != nil {
					t.Error(err)
				}
				ids[i] = key.ID
			})
		}
		group.Wait()
		if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 1 {
			t.Errorf("not one key: %q", ids)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_keys`); n != 1 {
			t.Errorf("%d keys stored", n)
		}
		r.whole()
	})
}

func TestPosts(t *testing.T) {
	platform := map[custody.Slot]request.KeyKind{
		custody.Registrar: request.PlatformKey, custody.Ticket: request.PlatformKey, custody.Release: request.PlatformKey,
		custody.Anchor: request.PlatformKey, custody.Audit: request.PlatformKey,
	}
	slots := []custody.Slot{custody.Account, custody.Registrar, custody.Ticket, custody.Release, custody.Anchor, custody.Audit, "", "root"}
	roles := []request.Role{request.Administrator, request.Carrier, request.Distributor, request.Retailer, request.Consumer,
		request.Platform, request.Regulator, "", "owner"}
	each(t, func(t *testing.T, r *rig) {
		for _, role := range roles {
			for _, slot := range slots {
				var want request.KeyKind
				switch {
				case role == request.Platform:
					want = platform[slot]
				case role != "" && role != "owner" && slot == custody.Account:
					want = request.AccountKey
				}
				key, err := r.Ensure(t.Context(), custody.Post{Owner: "p-" + string(role), Role: role, Slot: slot}, "test")
				switch {
				case want == "" && !errors.Is(err, custody.ErrPost):
					t.Errorf("%q key of a %q: %v, want ErrPost", slot, role, err)
				case want != "" && (err != nil || key.Kind != want):
					t.Errorf("%q key of a %q: %v %v, want %v", slot, role, key.Kind, err, want)
				case want != "" && len(key.Functions) > 32:
					t.Errorf("%q key of a %q lists %d functions: the ledger takes 32", slot, role, len(key.Functions))
				case want == request.PlatformKey && len(key.Functions) == 0:
					t.Errorf("%q key of a %q lists no functions: the ledger refuses it", slot, role)
				}
			}
		}
	})
}

func TestEnsureRefuses(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		for name, c := range map[string]struct {
			post  custody.Post
			actor string
			want  error
		}{
			"another role":         {custody.Post{Owner: "c-0001", Role: request.Carrier, Slot: custody.Account}, "test", custody.ErrPost},
			"an owner in capitals": {custody.Post{Owner: "C-0002", Role: request.Consumer, Slot: custody.Account}, "test", custody.ErrPost},
			"no owner":             {custody.Post{Role: request.Consumer, Slot: custody.Account}, "test", custody.ErrPost},
			"no actor":             {custody.Post{Owner: "c-0002", Role: request.Consumer, Slot: custody.Account}, "", custody.ErrAsk},
		} {
			if key, err := r.Ensure(t.Context(), c.post, c.actor); !errors.Is(err, c.want) || key.ID != "" {
				t.Errorf("%s: %+v, %v, want %v", name, key, err, c.want)
			}
		}
		if _, err := r.Key(t.Context(), "00"); !errors.Is(err, custody.ErrKeyNotFound) {
			t.Errorf("unknown key: %v", err)
		}
		if _, err := r.ActiveKey(t.Context(), "c-0009", custody.Account); !errors.Is(err, custody.ErrKeyNotFound) {
			t.Errorf("unknown owner: %v", err)
		}
	})
}

func TestNoSecondKeyBesideAStoppedOne(t *testing.T) {
	for _, way := range [][]model.CustodyKeyState{
		{model.CustodySuspended},
		{model.CustodyRevoked},
		{model.CustodySuspended, model.CustodyRevoked, model.CustodyDestroyed},
		{model.CustodyRotated},
	} {
		t.Run(string(way[len(way)-1]), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				key := r.ensure("c-0001", request.Consumer, custody.Account)
				from := model.CustodyActive
				for _, to := range way {
					r.move(key.ID, from, to)
					from = to
				}
				_, err := r.Ensure(t.Context(), key.Post, "test")
				if !errors.Is(err, custody.ErrKeyNotActive) {
					t.Errorf("Ensure: %v", err)
				}
				if _, err := r.ActiveKey(t.Context(), key.Owner, key.Slot); !errors.Is(err, custody.ErrKeyNotActive) {
					t.Errorf("ActiveKey: %v", err)
				}
				if n := r.count(`SELECT COUNT(*) FROM custody_keys`); n != 1 {
					t.Errorf("%d keys", n)
				}
			})
		})
	}
}

func (r *rig) move(keyID string, from, to model.CustodyKeyState) {
	r.t.Helper()
	if err := r.db.Write(r.t.Context(), func(tx *model.Tx) error { return tx.MoveCustodyKey(keyID, from, to) }); err != nil {
		r.t.Fatal(err)
	}
}

func TestPossession(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("platform", request.Platform, custody.Ticket)
		first, err := r.Possession(t.Context(), key.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := gm.Verify(key.Public, request.PossessionBytes(channel, "platform", key.Public), first.Possession); err != nil {
			t.Error(err)
		}
		if first.Public != key.Public || first.Kind != request.PlatformKey || !slices.Equal(first.Functions, []string{"Ticket"}) ||
			first.SerialHash != "" || first.ValidUntil != 0 {
			t.Errorf("new key %+v", first)
		}
		again, err := r.open().Possession(t.Context(), key.ID)
		if err != nil || !slices.Equal(first.Possession, again.Possession) {
			t.Errorf("asked twice: other bytes, %v", err)
		}
		if _, err := r.Possession(t.Context(), "00"); !errors.Is(err, custody.ErrKeyNotFound) {
			t.Errorf("unknown key: %v", err)
		}
		// A proof that was put there by someone else doesn't go out.
		other, err := r.Possession(t.Context(), r.ensure("c-0001", request.Consumer, custody.Account).ID)
		if err != nil {
			t.Fatal(err)
		}
		r.unguarded()
		r.exec(`UPDATE custody_keys SET possession = ? WHERE id = ?`, []byte(other.Possession), key.ID)
		if _, err := r.Possession(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("exchanged proof: %v", err)
		}
	})
}

// TestEnsureLeavesNothingBehindAFailure: no randomness, no audit, no key.
func TestEnsureLeavesNothingBehindAFailure(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		post := custody.Post{Owner: "c-0001", Role: request.Consumer, Slot: custody.Account}
		r.random.set(func() error { return errors.New("dry") })
		if _, err := r.Ensure(t.Context(), post, "test"); !errors.Is(err, gm.ErrRandom) {
			t.Errorf("no randomness: %v", err)
		}
		r.random.set(func() error { return nil })
		r.breakAudit()
		if _, err := r.Ensure(t.Context(), post, "test"); !errors.Is(err, custody.ErrAuditUnwritable) {
			t.Errorf("no audit: %v", err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_keys`); n != 0 {
			t.Errorf("%d keys", n)
		}
		r.exec(`DROP TRIGGER full_disk`)
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.whole()
	})
}

// breakAudit makes the audit refuse rows, as a full disk would.
func (r *rig) breakAudit() {
	r.t.Helper()
	if r.cfg.Driver == model.SQLite {
		r.exec(`CREATE TRIGGER full_disk BEFORE INSERT ON custody_audit BEGIN SELECT RAISE(ABORT, 'full'); END`)
		return
	}
	r.exec(`CREATE TRIGGER full_disk BEFORE INSERT ON custody_audit FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'full'`)
}
