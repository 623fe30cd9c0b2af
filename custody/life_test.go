package custody_test

import (
	"context"
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

// order is what can be asked of a key, and what it makes of each state at once. A state without an entry refuses.
var orders = map[string]struct {
	ask  func(*custody.Custody, context.Context, string) error
	want map[model.CustodyKeyState]model.CustodyKeyState
}{
	"suspend": {func(c *custody.Custody, ctx context.Context, id string) error {
		_, err := c.Suspend(ctx, id, "ops-1")
		return err
	},
		map[model.CustodyKeyState]model.CustodyKeyState{model.CustodyActive: model.CustodySuspended}},
	"resume": {func(c *custody.Custody, ctx context.Context, id string) error {
		_, err := c.Resume(ctx, id, "ops-1")
		return err
	},
		map[model.CustodyKeyState]model.CustodyKeyState{model.CustodySuspended: model.CustodySuspended}},
	"revoke": {func(c *custody.Custody, ctx context.Context, id string) error {
		_, err := c.Revoke(ctx, id, "ops-1")
		return err
	},
		map[model.CustodyKeyState]model.CustodyKeyState{model.CustodyActive: model.CustodyRevoked, model.CustodySuspended: model.CustodyRevoked, model.CustodyRotated: model.CustodyRevoked}},
	"replace": {func(c *custody.Custody, ctx context.Context, id string) error {
		_, err := c.Replace(ctx, id, "ops-1")
		return err
	},
		map[model.CustodyKeyState]model.CustodyKeyState{model.CustodyActive: model.CustodyActive, model.CustodyRotated: model.CustodyRotated, model.CustodyRevoked: model.CustodyRevoked, model.CustodyDestroyed: model.CustodyDestroyed}},
}

// ways lead from active to each state.
var ways = map[model.CustodyKeyState][]model.CustodyKeyState{
	model.CustodyActive: nil, model.CustodySuspended: {model.CustodySuspended}, model.CustodyRotated: {model.CustodyRotated},
	model.CustodyRevoked: {model.CustodyRevoked}, model.CustodyDestroyed: {model.CustodyRevoked, model.CustodyDestroyed},
}

// inState makes a key and brings it to a state.
func (r *rig) inState(owner string, state model.CustodyKeyState) custody.Key {
	r.t.Helper()
	key := r.ensure(owner, custody.Machine, custody.Account)
	from := model.CustodyActive
	for _, to := range ways[state] {
		r.move(key.ID, from, to)
		from = to
	}
	return key
}

// destroy is what two people have decided.
func (r *rig) destroy(keyID string) error {
	return r.db.Write(r.t.Context(), func(tx *model.Tx) error { return tx.DestroyCustodyKey(keyID) })
}

func (r *rig) state(keyID string) model.CustodyKeyState {
	r.t.Helper()
	key, err := r.Key(r.t.Context(), keyID)
	if err != nil {
		r.t.Fatal(err)
	}
	return key.State
}

// TestOrders asks every order of a key in every state: what is refused changes nothing and is recorded, what isn't has its
// record, and the ledger's wish.
func TestOrders(t *testing.T) {
	for what, order := range orders {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				for _, state := range model.CustodyKeyMoves.States() {
					key := r.inState("c-"+string(state), state)
					rows := r.count(`SELECT COUNT(*) FROM custody_audit`)
					err := order.ask(r.Custody, t.Context(), key.ID)
					want, can := order.want[state]
					if !can {
						want = state
						if !errors.Is(err, custody.ErrKeyTransition) {
							t.Errorf("%s: %v, want a refusal", state, err)
						}
						if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'key.refuse' AND subject = ? AND actor = 'ops-1'`, key.ID); n != 1 {
							t.Errorf("%s: %d refusals in the audit", state, n)
						}
					} else if err != nil {
						t.Errorf("%s: %v", state, err)
					}
					if got := r.state(key.ID); got != want {
						t.Errorf("from %s it is %s, want %s", state, got, want)
					}
					if n := r.count(`SELECT COUNT(*) FROM custody_audit`) - rows; n != 1 {
						t.Errorf("%s: %d rows in the audit", state, n)
					}
					wishes := r.count(`SELECT COUNT(*) FROM custody_wishes WHERE key_id = ? AND wish = ?`, key.ID, what)
					if (wishes == 1) != can {
						t.Errorf("%s: %d wishes", state, wishes)
					}
				}
				if err := order.ask(r.Custody, t.Context(), "00"); !errors.Is(err, custody.ErrKeyNotFound) {
					t.Errorf("unknown key: %v", err)
				}
				r.whole()
			})
		})
	}
}

// TestOrdersAreAskedTwice: the wish that stands is answered, and nothing is recorded again.
func TestOrdersAreAskedTwice(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.inState("c-0001", model.CustodyActive)
		first, err := r.Suspend(t.Context(), key.ID, "ops-1")
		if err != nil || first.What != model.WishSuspend || first.Key.State != model.CustodySuspended {
			t.Fatalf("%+v, %v", first, err)
		}
		again, err := r.open().Suspend(t.Context(), key.ID, "ops-2")
		if err != nil || again.ID != first.ID || again.Actor != "ops-1" {
			t.Errorf("asked twice: %+v, %v", again, err)
		}
		resumed, err := r.Resume(t.Context(), key.ID, "ops-1")
		if err != nil || resumed.ID == first.ID || r.state(key.ID) != model.CustodySuspended {
			t.Errorf("resumed before the ledger said so: %+v, %v", resumed, err)
		}
		// Whoever stops it has the last word.
		if w, err := r.Suspend(t.Context(), key.ID, "ops-1"); err != nil || w.What != model.WishSuspend {
			t.Errorf("%+v, %v", w, err)
		}
		list, err := r.Wishes(t.Context(), "", 10)
		if err != nil || len(list) != 1 || list[0].What != model.WishSuspend || list[0].Key.ID != key.ID {
			t.Errorf("wishes %+v, %v", list, err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act LIKE 'key.%'`); n != 4 {
			t.Errorf("%d rows", n)
		}
		r.whole()
	})
}

// TestFollow brings every state together with everything that the ledger can say, with and without a wish.
func TestFollow(t *testing.T) {
	said := []custody.LedgerStatus{custody.LedgerActive, custody.LedgerSuspended, custody.LedgerRotated, custody.LedgerRevoked}
	want := map[model.CustodyKeyState][]model.CustodyKeyState{ // in the order of said
		model.CustodyActive:    {model.CustodyActive, model.CustodySuspended, model.CustodyRotated, model.CustodyRevoked},
		model.CustodySuspended: {model.CustodyActive, model.CustodySuspended, model.CustodyRotated, model.CustodyRevoked},
		model.CustodyRotated:   {model.CustodyRotated, model.CustodyRotated, model.CustodyRotated, model.CustodyRevoked},
		model.CustodyRevoked:   {model.CustodyRevoked, model.CustodyRevoked, model.CustodyRevoked, model.CustodyRevoked},
		model.CustodyDestroyed: {model.CustodyDestroyed, model.CustodyDestroyed, model.CustodyDestroyed, model.CustodyDestroyed},
	}
	each(t, func(t *testing.T, r *rig) {
		for state, results := range want {
			for i, status := range said {
				key := r.inState(fmt.Sprintf("c-%s-%d", state, i), state)
				news := []custody.LedgerKey{{ID: key.ID, Status: status, Version: 2}}
				for range 2 { // the second time it is old news
					if err := r.Follow(t.Context(), "tx", news); err != nil {
						t.Fatal(err)
					}
				}
				if got := r.state(key.ID); got != results[i] {
					t.Errorf("%s and the ledger says %s: %s, want %s", state, status, got, results[i])
				}
				if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'key.follow' AND subject = ?`, key.ID); n != 1 {
					t.Errorf("%s, %s: %d rows in the audit", state, status, n)
				}
			}
		}
		// Nobody's of ours; a registration.
		if err := r.Follow(t.Context(), "tx", []custody.LedgerKey{{ID: "00", Status: custody.LedgerRevoked, Version: 3}}); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}

// TestTheLedgerLetsNothingSignThatIsStoppedHere: an older resume, or somebody else's, is on its way while this platform
// stops the key.
func TestTheLedgerLetsNothingSignThatIsStoppedHere(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.inState("c-0001", model.CustodyActive)
		follow := func(status custody.LedgerStatus, version int) {
			t.Helper()
			if err := r.Follow(t.Context(), "tx", []custody.LedgerKey{{ID: key.ID, Status: status, Version: version}}); err != nil {
				t.Fatal(err)
			}
		}
		wishes := func() int { return r.count(`SELECT COUNT(*) FROM custody_wishes`) }
		if _, err := r.Suspend(t.Context(), key.ID, "ops-1"); err != nil {
			t.Fatal(err)
		}
		follow(custody.LedgerActive, 3)
		if r.state(key.ID) != model.CustodySuspended || wishes() != 1 {
			t.Errorf("it is %s, %d wishes", r.state(key.ID), wishes())
		}
		follow(custody.LedgerSuspended, 4)
		if r.state(key.ID) != model.CustodySuspended || wishes() != 0 {
			t.Errorf("followed: %s, %d wishes", r.state(key.ID), wishes())
		}
		follow(custody.LedgerSuspended, 2) // seen again, after a restart
		if _, err := r.Resume(t.Context(), key.ID, "ops-1"); err != nil {
			t.Fatal(err)
		}
		follow(custody.LedgerActive, 5)
		if r.state(key.ID) != model.CustodyActive || wishes() != 0 {
			t.Errorf("resumed: %s, %d wishes", r.state(key.ID), wishes())
		}
		// What the ledger has stopped doesn't sign here any more.
		follow(custody.LedgerRevoked, 6)
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrKeyNotActive) {
			t.Errorf("signed with a key that the ledger revoked: %v", err)
		}
		r.whole()
	})
}

// TestReplace: the old key signs until the ledger has the new one, then the new one does and the old one only verifies.
func TestReplace(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		old := r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		before, req, err := r.Sign(t.Context(), ask, body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Prepare(t.Context(), old.ID, "relay"); !errors.Is(err, custody.ErrKeyNotFound) {
			t.Errorf("prepared a key that nobody wishes: %v", err)
		}
		if _, err := r.Replace(t.Context(), old.ID, "ops-1"); err != nil {
			t.Fatal(err)
		}
		ids := make([]string, 8)
		servers := []*custody.Custody{r.Custody, r.open()}
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() {
				k, err := servers[i%2].Prepare(t.Context(), old.ID, "relay")
				if err != nil {
					t.Error(err)
				}
				ids[i] = k.ID
			})
		}
		all.Wait()
		if slices.Sort(ids); ids[0] != ids[len(ids)-1] || ids[0] == "" || ids[0] == old.ID {
			t.Fatalf("not one successor: %q", ids)
		}
		next := ids[0]
		if p, err := r.Possession(t.Context(), next); err != nil || gm.Verify(p.Public, request.PossessionBytes(channel, "c-0001", p.Public), p.Possession) != nil ||
			!slices.Equal(p.Functions, old.Functions) {
			t.Errorf("possession %+v, %v", p, err)
		}
		if active, err := r.ActiveKey(t.Context(), "c-0001", custody.Account); err != nil || active.ID != old.ID {
			t.Errorf("it signs before the ledger has it: %+v, %v", active, err)
		}
		if v, err := r.KeyView(t.Context(), old.ID); err != nil || v.Successor != next || len(v.Wishes) != 1 {
			t.Errorf("view %+v, %v", v, err)
		}
		news := []custody.LedgerKey{{ID: next, Status: custody.LedgerActive, Version: 1}, {ID: old.ID, Status: custody.LedgerRotated, Version: 2}}
		for range 2 {
			if err := r.Follow(t.Context(), "tx", news); err != nil {
				t.Fatal(err)
			}
		}
		active, err := r.ActiveKey(t.Context(), "c-0001", custody.Account)
		if err != nil || active.ID != next || active.Version != 2 || r.state(old.ID) != model.CustodyRotated {
			t.Fatalf("after: %+v, the old one is %s, %v", active, r.state(old.ID), err)
		}
		if n := r.count(`SELECT (SELECT COUNT(*) FROM custody_wishes) + (SELECT COUNT(*) FROM custody_successors)`); n != 0 {
			t.Errorf("%d rows left", n)
		}
		// What the old one signed is answered, and verifies; anew it signs nothing.
		again, _, err := r.Sign(t.Context(), ask, body)
		if err != nil || again.KeyID != old.ID || gm.Verify(old.Public, req.SigningBytes(old.ID, until), before.Bytes) != nil {
			t.Errorf("%+v, %v", again, err)
		}
		ask2, body2 := confirm("trade-2")
		if sig, _, err := r.open().Sign(t.Context(), ask2, body2); err != nil || sig.KeyID != next {
			t.Errorf("signed by %s, %v", sig.KeyID, err)
		}
		r.whole()
	})
}

// TestReplaceWhileSuspended: who is suspended while his new key is on its way stays suspended.
func TestReplaceWhileSuspended(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		old := r.ensure("c-0001", custody.Machine, custody.Account)
		if _, err := r.Replace(t.Context(), old.ID, "ops-1"); err != nil {
			t.Fatal(err)
		}
		next, err := r.Prepare(t.Context(), old.ID, "relay")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Suspend(t.Context(), old.ID, "ops-2"); err != nil {
			t.Fatal(err)
		}
		if err := r.Follow(t.Context(), "tx", []custody.LedgerKey{{ID: next.ID, Status: custody.LedgerActive, Version: 1}, {ID: old.ID, Status: custody.LedgerRotated, Version: 2}}); err != nil {
			t.Fatal(err)
		}
		wishes, err := r.Wishes(t.Context(), "", 10)
		if err != nil || r.state(next.ID) != model.CustodySuspended || len(wishes) != 1 || wishes[0].Key.ID != next.ID || wishes[0].What != model.WishSuspend {
			t.Errorf("the new key is %s, wishes %+v, %v", r.state(next.ID), wishes, err)
		}
		r.whole()
	})
}

// TestDestroyLeavesATombstone: nothing of the private half is left in the row, and what the key signed still verifies.
func TestDestroyLeavesATombstone(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		ask, body := confirm("trade-1")
		sig, req, err := r.Sign(t.Context(), ask, body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Revoke(t.Context(), key.ID, "ops-1"); err != nil {
			t.Fatal(err)
		}
		if err := r.destroy(key.ID); err != nil {
			t.Fatal(err)
		}
		if n := r.count(`SELECT LENGTH(wrapped) FROM custody_keys WHERE id = ?`, key.ID); n != 0 {
			t.Errorf("%d bytes of the envelope are left", n)
		}
		dead, err := r.Key(t.Context(), key.ID)
		if err != nil || dead.State != model.CustodyDestroyed || dead.Public != key.Public || gm.Verify(dead.Public, req.SigningBytes(key.ID, until), sig.Bytes) != nil {
			t.Errorf("tombstone %+v, %v", dead, err)
		}
		ask2, body2 := confirm("trade-2")
		if _, _, err := r.Sign(t.Context(), ask2, body2); !errors.Is(err, custody.ErrKeyNotActive) {
			t.Errorf("signed: %v", err)
		}
		r.whole()
	})
}

// TestStoppedWhileSigning stops a key at every point at which a signature can be: the signature is there, with its intent
// recorded before, or it is refused and there is none.
func TestStoppedWhileSigning(t *testing.T) {
	stops := map[string]struct {
		stop func(r *rig, key custody.Key) error
		want *custody.Error
	}{
		"suspend": {func(r *rig, key custody.Key) error { _, err := r.Suspend(r.t.Context(), key.ID, "ops-1"); return err }, custody.ErrKeyNotActive},
		"revoke":  {func(r *rig, key custody.Key) error { _, err := r.Revoke(r.t.Context(), key.ID, "ops-1"); return err }, custody.ErrKeyNotActive},
		"destroy": {func(r *rig, key custody.Key) error {
			_, err := r.Revoke(r.t.Context(), key.ID, "ops-1")
			return errors.Join(err, r.destroy(key.ID))
		}, custody.ErrKeyNotActive},
		"rotate": {func(r *rig, key custody.Key) error {
			_, err := r.Replace(r.t.Context(), key.ID, "ops-1")
			next, err2 := r.Prepare(r.t.Context(), key.ID, "relay")
			return errors.Join(err, err2, r.Follow(r.t.Context(), "tx", []custody.LedgerKey{
				{ID: next.ID, Status: custody.LedgerActive, Version: 1}, {ID: key.ID, Status: custody.LedgerRotated, Version: 2}}))
		}, custody.ErrKeyReplaced},
	}
	for name, s := range stops {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				key := r.ensure("c-0001", custody.Machine, custody.Account)
				// Randomness is read between intent and signature.
				var once sync.Once
				r.random.set(func() (err error) {
					once.Do(func() {
						r.random.set(func() error { return nil })
						err = s.stop(r, key)
					})
					return err
				})
				ask, body := confirm("trade-1")
				if sig, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, s.want) || sig.Bytes != nil {
					t.Errorf("answered %+v, %v", sig, err)
				}
				if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NOT NULL`); n != 0 {
					t.Errorf("%d signatures", n)
				}
				if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent'`); n != 1 {
					t.Errorf("%d intents", n)
				}
				// And it stays refused, also for a server that begins anew.
				if _, _, err := r.open().Sign(t.Context(), ask, body); !errors.Is(err, s.want) {
					t.Errorf("asked again: %v", err)
				}
				r.whole()
			})
		})
	}
}

// TestRacesOfSignAndStop lets both run at once: whatever wins, each signature that was answered has its intent before the
// record of the stop, and after that nothing is answered that was not signed before.
func TestRacesOfSignAndStop(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		var mu sync.Mutex
		var signed []string
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				if i == 12 {
					if _, err := r.Revoke(t.Context(), key.ID, "ops-1"); err != nil {
						t.Error(err)
					}
					if err := r.destroy(key.ID); err != nil {
						t.Error(err)
					}
					return
				}
				ask, body := confirm(fmt.Sprintf("trade-%d", i))
				_, _, err := r.Sign(t.Context(), ask, body)
				switch {
				case err == nil:
					mu.Lock()
					signed = append(signed, ask.Subject)
					mu.Unlock()
				case !errors.Is(err, custody.ErrKeyNotActive):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE signature IS NOT NULL`); n != len(signed) {
			t.Errorf("%d signatures are stored, %d were answered", n, len(signed))
		}
		stop := r.count(`SELECT seq FROM custody_audit WHERE act = 'key.revoke'`)
		for _, subject := range signed {
			if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent' AND subject = ? AND seq < ?`, subject, stop); n != 1 {
				t.Errorf("%s: %d intents before the stop", subject, n)
			}
		}
		r.whole()
	})
}

// TestOrdersLeaveNothingBehindAFailure: no record, no move.
func TestOrdersLeaveNothingBehindAFailure(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		active := r.inState("c-0001", model.CustodyActive)
		r.breakAudit()
		for name, err := range map[string]error{
			"suspend": orders["suspend"].ask(r.Custody, t.Context(), active.ID),
			"revoke":  orders["revoke"].ask(r.Custody, t.Context(), active.ID),
			"replace": orders["replace"].ask(r.Custody, t.Context(), active.ID),
			"follow":  r.Follow(t.Context(), "tx", []custody.LedgerKey{{ID: active.ID, Status: custody.LedgerRevoked, Version: 2}}),
		} {
			if !errors.Is(err, custody.ErrAuditUnwritable) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if r.state(active.ID) != model.CustodyActive || r.count(`SELECT COUNT(*) FROM custody_wishes`) != 0 {
			t.Errorf("it is %s", r.state(active.ID))
		}
		r.exec(`DROP TRIGGER full_disk`)
		r.whole()
	})
}

// TestRestoreOfASuccessor: a key that was made after the copy waits again until the ledger says that it took over.
func TestRestoreOfASuccessor(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		var kept []model.CustodyKey
		c := r.openAs(func(c *custody.Config) {
			c.Keep = func(k ...model.CustodyKey) error { kept = append(kept, k...); return nil }
		})
		old, err := c.Ensure(t.Context(), custody.Post{Owner: "c-0001", Role: custody.Machine, Slot: custody.Account}, "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Replace(t.Context(), old.ID, "ops-1"); err != nil {
			t.Fatal(err)
		}
		next, err := c.Prepare(t.Context(), old.ID, "relay")
		if err != nil || len(kept) != 2 || kept[1].ID != next.ID {
			t.Fatalf("kept %d keys, %v", len(kept), err)
		}
		r.exec(`DELETE FROM custody_successors`) // as in the copy
		r.exec(`DELETE FROM custody_wishes`)
		for range 2 {
			for _, k := range kept {
				if err := c.Restore(t.Context(), k); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.Follow(t.Context(), "tx", []custody.LedgerKey{{ID: old.ID, Status: custody.LedgerRotated, Version: 2}, {ID: next.ID, Status: custody.LedgerActive, Version: 1}}); err != nil {
			t.Fatal(err)
		}
		ask, body := confirm("trade-1")
		if sig, _, err := c.Sign(t.Context(), ask, body); err != nil || sig.KeyID != next.ID {
			t.Errorf("signed by %q, %v", sig.KeyID, err)
		}
		r.whole()
	})
}

// TestLifeErrorsSpeak: each refusal of this file has a sentence in Chinese that says what to do.
func TestLifeErrorsSpeak(t *testing.T) {
	for _, e := range []*custody.Error{custody.ErrKeyTransition, custody.ErrKeyReplaced, custody.ErrKeyUnfollowed} {
		if !strings.HasPrefix(e.Code, "CUSTODY_KEY_") || len([]rune(e.Message)) < 10 || !strings.ContainsRune(e.Message, '请') {
			t.Errorf("%s: %s", e.Code, e.Message)
		}
	}
}
