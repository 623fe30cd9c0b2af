package custody_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// chore is one thing that custody does.
type chore struct {
	rig    func(*rig)                // once
	before func(r *rig, name string) // each time, in the test's own process
	do     func(r *rig, j job) error // in the one that is killed
	after  func(r *rig, j job)       // what stands is whole, and the next server brings it to its end
	points int                       // that it comes by, at least
}

// chores by name.
var chores = map[string]chore{
	"sign": {points: 6,
		before: func(r *rig, name string) { r.ensure(name, custody.Machine, custody.Account) },
		do: func(r *rig, j job) error {
			ask, body := confirmBy(j.Round)
			_, _, err := r.Sign(r.t.Context(), ask, body)
			return err
		},
		after: func(r *rig, j job) {
			ask, body := confirmBy(j.Round)
			if r.count(`SELECT COUNT(*) FROM custody_signatures WHERE subject = ?`, ask.Subject) == 1 {
				other := body
				other.Lot = strings.Repeat("cd", 32)
				if _, _, err := r.Sign(r.t.Context(), ask, other); !errors.Is(err, custody.ErrDigestConflict) {
					r.t.Errorf("%s: another digest: %v", j.Round, err)
				}
			}
			if sig, _, err := r.Sign(r.t.Context(), ask, body); err != nil || len(sig.Bytes) == 0 {
				r.t.Errorf("%s: %v", j.Round, err)
			}
			r.has(j, 1, `SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.intent' AND subject = ?`, ask.Subject)
			r.has(j, 1, `SELECT COUNT(*) FROM custody_signatures WHERE subject = ? AND signature IS NOT NULL`, ask.Subject)
		},
	},
	"log in and ask": {points: 4,
		before: func(r *rig, name string) { r.ensure(name, request.Consumer, custody.Account) },
		do: func(r *rig, j job) error {
			ask, body := confirmBy(j.Round)
			s, err := r.LogIn(r.t.Context(), custody.Login{Participant: j.Round, Role: request.Consumer}, time.Hour)
			if err != nil {
				return err
			}
			return r.Authorise(r.t.Context(), s.Token, ask.Subject, body, ask.NotAfter)
		},
		after: func(r *rig, j job) {
			ask, body := confirmBy(j.Round)
			asked := r.count(`SELECT COUNT(*) FROM custody_authorisations WHERE subject = ?`, ask.Subject)
			if _, _, err := r.Sign(r.t.Context(), ask, body); (err == nil) != (asked == 1) || err != nil && !errors.Is(err, custody.ErrUnauthorised) {
				r.t.Errorf("%s: asked for %d times, and signed: %v", j.Round, asked, err)
			}
			if asked == 0 {
				ask.Attempt = 1
				r.asks(ask, body)
				if _, _, err := r.Sign(r.t.Context(), ask, body); err != nil {
					r.t.Errorf("%s: %v", j.Round, err)
				}
			}
		},
	},
	"erase": {points: 4,
		before: func(r *rig, name string) { r.ensure(name, request.Consumer, custody.Account) },
		do:     func(r *rig, j job) error { return r.erase(j.Round, nothingElse) },
		after: func(r *rig, j job) {
			erased, gone := r.count(`SELECT COUNT(*) FROM erasures WHERE participant = ?`, j.Round), model.CustodyActive
			if erased == 1 {
				gone = model.CustodyRevoked
			}
			if state := r.state(r.keyOf(j.Round)); state != gone {
				r.t.Errorf("%s: %d erasures, and the key is %s", j.Round, erased, state)
			}
			if erased == 0 {
				if err := r.erase(j.Round, nothingElse); err != nil {
					r.t.Errorf("%s: %v", j.Round, err)
				}
			}
			r.has(j, 1, `SELECT COUNT(*) FROM custody_audit WHERE act = 'account.erase' AND subject = ?`, j.Round)
			r.has(j, 1, `SELECT COUNT(*) FROM custody_wishes WHERE key_id = ? AND wish = 'revoke'`, r.keyOf(j.Round))
			r.has(j, 0, `SELECT COUNT(*) FROM custody_sessions WHERE participant = ?`, j.Round)
		},
	},
	"provision": {points: 6,
		do: func(r *rig, j job) error {
			_, _, err := r.Provision(r.t.Context(), ownersOf(j.Round), request.Consumer, custody.Account, "test")
			return err
		},
		after: func(r *rig, j job) {
			list := ownersOf(j.Round)
			kept := map[string]bool{}
			if content, err := os.ReadFile(filepath.Join(j.Dir, "kept")); err == nil {
				for _, id := range strings.Fields(string(content)) {
					kept[id] = true
				}
			}
			there := r.column(`SELECT id FROM custody_keys WHERE owner LIKE ?`, j.Round+".%")
			for _, id := range there {
				if !kept[id] {
					r.t.Errorf("%s: a key is in the database, and nowhere else", j.Round)
				}
			}
			if len(there)%100 != 0 && len(there) != len(list) {
				r.t.Errorf("%s: %d keys: a batch came half", j.Round, len(there))
			}
			if _, made, err := r.Provision(r.t.Context(), list, request.Consumer, custody.Account, "test"); err != nil || made != len(list)-len(there) {
				r.t.Errorf("%s: the next one makes %d beside %d: %v", j.Round, made, len(there), err)
			}
			r.has(j, len(list), `SELECT COUNT(*) FROM custody_keys WHERE owner LIKE ?`, j.Round+".%")
			r.has(j, len(list), `SELECT COUNT(*) FROM custody_audit a JOIN custody_keys k ON k.id = a.subject WHERE a.act = 'key.make' AND k.owner LIKE ?`, j.Round+".%")
		},
	},
	"suspend, revoke, destroy": {points: 12,
		rig:    (*rig).staff,
		before: func(r *rig, name string) { r.ensure(name, custody.Machine, custody.Account) },
		do:     func(r *rig, j job) error { return r.endKey(r.keyOf(j.Round)) },
		after: func(r *rig, j job) {
			id := r.keyOf(j.Round)
			stopped := r.state(id) != model.CustodyActive
			ask, body := confirmBy(j.Round)
			if _, _, err := r.Sign(r.t.Context(), ask, body); stopped != errors.Is(err, custody.ErrKeyNotActive) {
				r.t.Errorf("%s: it is %s: %v", j.Round, r.state(id), err)
			}
			for range 3 { // what was approved is done by whoever comes next, when the lease is over
				if r.state(id) != model.CustodyDestroyed {
					r.later(2 * time.Minute)
				}
			}
			if r.state(id) != model.CustodyDestroyed {
				if err := r.endKey(id); err != nil {
					r.t.Errorf("%s: %v", j.Round, err)
				}
			}
			for _, act := range []string{"key.suspend", "key.revoke", "key.destroy"} {
				r.has(j, 1, `SELECT COUNT(*) FROM custody_audit WHERE act = ? AND subject = ?`, act, id)
			}
			r.has(j, 1, `SELECT COUNT(*) FROM custody_keys WHERE id = ? AND state = 'destroyed' AND LENGTH(wrapped) = 0`, id)
			r.has(j, 1, `SELECT COUNT(*) FROM custody_wishes WHERE key_id = ? AND wish = 'revoke'`, id)
		},
	},
	"replace a key": {points: 6,
		before: func(r *rig, name string) { r.ensure(name, custody.Machine, custody.Account) },
		do:     func(r *rig, j job) error { return r.replaceKey(j.Round) },
		after: func(r *rig, j job) {
			ask, body := confirmBy(j.Round)
			if _, _, err := r.Sign(r.t.Context(), ask, body); err != nil {
				r.t.Errorf("%s: neither the old one nor the new one signs: %v", j.Round, err)
			}
			if err := r.replaceKey(j.Round); err != nil {
				r.t.Errorf("%s: %v", j.Round, err)
			}
			r.has(j, 1, `SELECT COUNT(*) FROM custody_keys WHERE owner = ? AND version = 2 AND state = 'active'`, j.Round)
			r.has(j, 1, `SELECT COUNT(*) FROM custody_keys WHERE owner = ? AND version = 1 AND state = 'rotated'`, j.Round)
			r.has(j, 2, `SELECT COUNT(*) FROM custody_keys WHERE owner = ?`, j.Round)
			r.has(j, 0, `SELECT (SELECT COUNT(*) FROM custody_wishes) + (SELECT COUNT(*) FROM custody_successors)`)
			ask.Subject += "-after"
			if _, _, err := r.Sign(r.t.Context(), ask, body); err != nil {
				r.t.Errorf("%s: the new one: %v", j.Round, err)
			}
		},
	},
	"rotate the root": {points: 8,
		rig: func(r *rig) { r.staff(); r.ensure("c-0001", custody.Machine, custody.Account) },
		do:  func(r *rig, j job) error { return r.rotateTo(j.nextRoot(r.t)) },
		after: func(r *rig, j job) {
			old, next := r.config().Root, j.nextRoot(r.t)
			now := func() string {
				s, err := custody.LookAtRoot(r.t.Context(), r.db)
				if err != nil {
					r.t.Fatal(err)
				}
				return s.Root.ID
			}
			switch now() {
			case old.ID():
				r.isUnder(old, next)
			case next.ID():
				r.isUnder(next, old)
			default:
				r.t.Errorf("%s: it is under neither", j.Round)
			}
			for range 3 {
				if now() != next.ID() {
					r.later(2 * time.Minute)
				}
			}
			if now() != next.ID() {
				if err := r.rotateTo(next); err != nil {
					r.t.Errorf("%s: %v", j.Round, err)
				}
			}
			r.isUnder(next, old)
			r.root = j.nextRootFile()
			r.Custody = r.open()
			r.has(j, 1, `SELECT COUNT(*) FROM custody_audit WHERE act = 'root.rotate' AND subject = ?`, next.ID())
			r.stillSigns(r.Custody, j.Round)
		},
	},
	"make a key-encryption key": {points: 8,
		rig: func(r *rig) { r.staff(); r.ensure("c-0001", custody.Machine, custody.Account) },
		do:  func(r *rig, j job) error { return r.renewAfter(roundOf(j)) },
		after: func(r *rig, j job) {
			r.stillSigns(r.Custody, j.Round)
			keks := func() int { return r.count(`SELECT COUNT(*) FROM custody_keks`) }
			for range 3 {
				if keks() == roundOf(j) {
					r.later(2 * time.Minute)
				}
			}
			if keks() == roundOf(j) {
				if err := r.renewAfter(roundOf(j)); err != nil {
					r.t.Errorf("%s: %v", j.Round, err)
				}
			}
			if n := keks(); n != roundOf(j)+1 {
				r.t.Errorf("%s: %d key-encryption keys", j.Round, n)
			}
			if _, err := r.Ensure(r.t.Context(), custody.Post{Owner: j.Round, Role: custody.Machine, Slot: custody.Account}, "test"); err != nil {
				r.t.Error(err)
			}
			r.has(j, roundOf(j)+1, `SELECT kek_version FROM custody_keys WHERE owner = ?`, j.Round)
			r.stillSigns(r.open(), j.Round+"-after")
		},
	},
	"rewrap": {points: 6,
		rig: func(r *rig) { r.stock(300) },
		before: func(r *rig, _ string) {
			if _, err := r.NewKEK(r.t.Context(), "ops"); err != nil {
				r.t.Fatal(err)
			}
		},
		do: func(r *rig, _ job) error {
			_, err := r.Rewrap(r.t.Context(), "server-1", false, nil)
			return err
		},
		after: func(r *rig, j job) {
			newest := r.count(`SELECT MAX(version) FROM custody_keks`)
			for _, id := range r.column(`SELECT id FROM custody_keys`) {
				if _, err := r.Scalar(r.t.Context(), id); err != nil {
					r.t.Errorf("%s: a key doesn't open: %v", j.Round, err)
				}
			}
			left := r.count(`SELECT COUNT(*) FROM custody_keys WHERE kek_version < ?`, newest)
			r.clock.ahead.Add(time.Minute.Milliseconds())
			if p, err := r.Rewrap(r.t.Context(), "server-2", false, nil); err != nil || p.Done != int64(left) || p.Left != 0 {
				r.t.Errorf("%s: the next one, with %d to do: %+v, %v", j.Round, left, p, err)
			}
			r.has(j, 300, `SELECT COUNT(*) FROM custody_keys WHERE kek_version = ?`, newest)
		},
	},
	"stop": {points: 2,
		rig: func(r *rig) { r.ensure("c-0001", custody.Machine, custody.Account) },
		do:  func(r *rig, j job) error { return r.Seal(r.t.Context(), j.Round) },
		after: func(r *rig, j job) {
			stopped := r.count(`SELECT COUNT(*) FROM custody_audit_head WHERE stopped_at > 0`)
			r.has(j, stopped, `SELECT COUNT(*) FROM custody_audit WHERE act = 'seal.stop' AND actor = ?`, j.Round)
			ask, body := confirm(j.Round)
			if _, _, err := r.Sign(r.t.Context(), ask, body); errors.Is(err, custody.ErrSealed) != (stopped == 1) {
				r.t.Errorf("%s: stopped: %d, and signed: %v", j.Round, stopped, err)
			}
			if s, err := r.Unseal(r.t.Context(), nil, "ops-2"); err != nil || s.Sealed {
				r.t.Errorf("%s: %+v, %v", j.Round, s, err)
			}
			r.stillSigns(r.Custody, j.Round)
		},
	},
	"lift a stop": {points: 2,
		rig: func(r *rig) { r.ensure("c-0001", custody.Machine, custody.Account) },
		before: func(r *rig, _ string) {
			if err := r.Seal(r.t.Context(), "ops-1"); err != nil {
				r.t.Fatal(err)
			}
		},
		do: func(r *rig, j job) error { _, err := r.Unseal(r.t.Context(), nil, j.Round); return err },
		after: func(r *rig, j job) {
			stopped := r.count(`SELECT COUNT(*) FROM custody_audit_head WHERE stopped_at > 0`)
			r.has(j, 1-stopped, `SELECT COUNT(*) FROM custody_audit WHERE act = 'seal.open' AND actor = ?`, j.Round)
			ask, body := confirm(j.Round)
			if _, _, err := r.Sign(r.t.Context(), ask, body); errors.Is(err, custody.ErrSealed) != (stopped == 1) {
				r.t.Errorf("%s: stopped: %d, and signed: %v", j.Round, stopped, err)
			}
			if s, err := r.Unseal(r.t.Context(), nil, "ops-2"); err != nil || s.Sealed || !s.Stopped.IsZero() {
				r.t.Errorf("%s: %+v, %v", j.Round, s, err)
			}
			r.stillSigns(r.Custody, j.Round)
		},
	},
	"unfreeze": unfreezing,
	"unseal": {points: 8, // with shares
		do: func(r *rig, j job) error {
			for i, text := range j.Shares {
				if _, err := r.Unseal(r.t.Context(), []byte(text), fmt.Sprint("holder-", i)); err != nil {
					return err
				}
			}
			return nil
		},
		after: func(r *rig, j job) {
			r.Custody = r.sealed()
			s, err := r.SealStatus(r.t.Context())
			if err != nil || !s.Sealed || len(s.Entered) != 0 {
				r.t.Errorf("%s: the next server begins with %+v, %v", j.Round, s, err)
			}
			noted := r.count(`SELECT (SELECT COUNT(*) FROM custody_audit WHERE act = 'seal.share') + (SELECT COUNT(*) FROM custody_waiting)`)
			for _, text := range j.Shares {
				if s, err = r.Unseal(r.t.Context(), []byte(text), "holder"); err != nil {
					r.t.Errorf("%s: %v", j.Round, err)
				}
			}
			if s.Sealed {
				r.t.Errorf("%s: %+v", j.Round, s)
			}
			r.has(j, noted+len(j.Shares), `SELECT COUNT(*) FROM custody_audit WHERE act = 'seal.share'`)
			r.has(j, 0, `SELECT COUNT(*) FROM custody_waiting`)
			for _, text := range j.Shares {
				if strings.Contains(r.dump(), strings.Fields(text)[8]) {
					r.t.Errorf("%s: something of a share is in the database", j.Round)
				}
			}
		},
	},
}

// has fails the test unless a query counts so many.
func (r *rig) has(j job, want int, query string, args ...any) {
	r.t.Helper()
	if got := r.count(query, args...); got != want {
		r.t.Errorf("%s: %d, want %d: %s", j.Round, got, want, query)
	}
}

func (r *rig) column(query string, args ...any) (list []string) {
	r.t.Helper()
	rows, err := r.raw.QueryContext(r.t.Context(), query, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			r.t.Fatal(err)
		}
		list = append(list, value)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// keyOf is somebody's first key.
func (r *rig) keyOf(owner string) string {
	r.t.Helper()
	keys, err := r.Keys(r.t.Context(), model.CustodyKeyFilter{Owner: owner}, "", 10)
	for _, k := range keys.Items {
		if k.Version == 1 {
			return k.ID
		}
	}
	r.t.Fatalf("%s has no key: %v", owner, err)
	return ""
}

// later lets time pass, and a server do what is to be done.
func (r *rig) later(d time.Duration) {
	r.t.Helper()
	r.clock.ahead.Add(d.Milliseconds())
	if err := r.Attend(r.t.Context()); err != nil {
		r.t.Error(err)
	}
}

// approve has one propose and another approve.
func (r *rig) approve(operation, arguments string) error {
	p, err := r.Propose(r.t.Context(), custody.Draft{Person: "p-li", Name: fmt.Sprintf("wish-%d-%d", os.Getpid(), r.clock.ahead.Add(1)), Operation: operation, Arguments: []byte(arguments), Reason: "试"})
	if err != nil {
		return err
	}
	p, err = r.Approve(r.t.Context(), "p-wang", p.ID)
	if err == nil && p.State != model.ProposalExecuted {
		err = fmt.Errorf("it is %s", p.State)
	}
	return err
}

// endKey brings a key to its end, from wherever it is.
func (r *rig) endKey(id string) error {
	key, err := r.Key(r.t.Context(), id)
	if err == nil && key.State == model.CustodyActive {
		_, err = r.Suspend(r.t.Context(), id, "ops-1")
		key.State = model.CustodySuspended
	}
	if err == nil && key.State == model.CustodySuspended {
		_, err = r.Revoke(r.t.Context(), id, "ops-1")
	}
	if err != nil {
		return err
	}
	return r.approve(custody.OperationDestroy, fmt.Sprintf(`{"key":%q}`, id))
}

// replaceKey brings somebody's key to its second version, from wherever it is.
func (r *rig) replaceKey(owner string) error {
	id := r.keyOf(owner)
	key, err := r.Key(r.t.Context(), id)
	if err != nil || key.State == model.CustodyRotated {
		return err
	}
	if _, err := r.Replace(r.t.Context(), id, "ops-1"); err != nil {
		return err
	}
	next, err := r.Prepare(r.t.Context(), id, "relay")
	if err != nil {
		return err
	}
	return r.Follow(r.t.Context(), "tx", []custody.LedgerKey{{ID: next.ID, Status: custody.LedgerActive, Version: 1}, {ID: id, Status: custody.LedgerRotated, Version: 2}})
}

func (r *rig) rotateTo(next custody.RootKey) error {
	if err := r.PrepareRoot(r.t.Context(), next, "cli:ops"); err != nil {
		return err
	}
	return r.approve(custody.OperationRotateRoot, toRoot(next))
}

func (r *rig) renewAfter(version int) error {
	return r.approve(custody.OperationRotateKEK, fmt.Sprintf(`{"after":%d}`, version))
}
