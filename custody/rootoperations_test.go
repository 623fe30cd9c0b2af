package custody_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/model"
)

// prepared is another root that waits for two people.
func (r *rig) prepared(name string) custody.RootKey {
	r.t.Helper()
	next := r.another(name)
	if err := r.PrepareRoot(r.t.Context(), next, "cli:ops"); err != nil {
		r.t.Fatal(err)
	}
	return next
}

func (r *rig) wants(operation, arguments string) custody.Proposal {
	r.t.Helper()
	p, err := r.proposes(operation, arguments)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func toRoot(next custody.RootKey) string { return fmt.Sprintf(`{"root":%q}`, next.ID()) }

// stateOf is how far a proposal is.
func (r *rig) stateOf(p custody.Proposal) model.ProposalState {
	r.t.Helper()
	now, err := r.Proposal(r.t.Context(), p.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return now.State
}

// isUnder fails the test unless a root, and no other one, opens the database.
func (r *rig) isUnder(root, other custody.RootKey) {
	r.t.Helper()
	if _, err := r.under(root); err != nil {
		r.t.Errorf("the root that it should be under: %v", err)
	}
	if _, err := r.under(other); !errors.Is(err, custody.ErrRootMismatch) {
		r.t.Errorf("the other one: %v", err)
	}
}

// TestTwoPeopleRotateTheRoot: it is prepared by one, and nothing has changed; two let it take over, and it does so once.
func TestTwoPeopleRotateTheRoot(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", custody.Machine, custody.Account)
		old := r.config().Root
		if _, err := r.proposes(custody.OperationRotateRoot, `{"root":"ab"}`); !errors.Is(err, custody.ErrRootNotPrepared) {
			t.Errorf("nobody has prepared one: %v", err)
		}
		next := r.prepared("next.key")
		r.isUnder(old, next)
		if s, err := r.RootStatus(t.Context()); err != nil || s.Root.ID != old.ID() || s.Next == nil || s.Next.ID != next.ID() || s.Next.MadeBy != "cli:ops" {
			t.Errorf("status %+v, %v", s, err)
		}
		p := r.wants(custody.OperationRotateRoot, toRoot(next))
		for _, fact := range []string{old.ID(), next.ID(), "cli:ops", "1 把密钥加密密钥"} {
			if !strings.Contains(p.Description, fact) {
				t.Errorf("%s isn't shown: %q", fact, p.Description)
			}
		}
		for person, want := range map[string]*custody.Error{"p-li": custody.ErrSelfApproval, "p-audit": custody.ErrNotOperator, "p-nobody": custody.ErrNotOperator} {
			if _, err := r.Approve(t.Context(), person, p.ID); !errors.Is(err, want) {
				t.Errorf("approved by %s: %v", person, err)
			}
		}
		r.isUnder(old, next)
		for range 2 { // asked twice
			if done, err := r.Approve(t.Context(), "p-wang", p.ID); err != nil || done.State != model.ProposalExecuted {
				t.Fatalf("%+v, %v", done, err)
			}
		}
		r.isUnder(next, old)
		r.stillSigns(r.Custody, "trade-1")
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'root.rotate' AND actor = 'p-wang' AND subject = ? AND detail LIKE ?`,
			next.ID(), "%"+p.ID+"%"); n != 1 {
			t.Errorf("%d records of it", n)
		}
		if s, err := r.RootStatus(t.Context()); err != nil || s.Root.ID != next.ID() || s.Next != nil {
			t.Errorf("status %+v, %v", s, err)
		}
		if _, err := r.proposes(custody.OperationRotateRoot, toRoot(next)); !errors.Is(err, custody.ErrRootNotPrepared) {
			t.Errorf("again: %v", err)
		}
		if err := r.PrepareRoot(t.Context(), old, "cli:ops"); !errors.Is(err, custody.ErrRootExists) {
			t.Errorf("back to the one before: %v", err)
		}
		r.whole()
	})
}

// TestKilledWhileTwoPeopleRotateTheRoot: at each statement. All stays under the old root until another server goes on, and
// then it is done once.
func TestKilledWhileTwoPeopleRotateTheRoot(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", custody.Machine, custody.Account)
		old := r.config().Root
		next := r.prepared("next.key")
		p := r.wants(custody.OperationRotateRoot, toRoot(next))
		if err := r.ApproveOnly(t.Context(), "p-wang", p.ID); err != nil {
			t.Fatal(err)
		}
		for _, broken := range [][3]string{
			{"custody_audit", "INSERT", "NEW.act = 'proposal.begin'"}, {"custody_keks", "UPDATE", "1 = 1"}, {"custody_roots", "UPDATE", "1 = 1"},
			{"custody_roots", "INSERT", "1 = 1"}, {"custody_next_root", "DELETE", "1 = 1"},
			{"custody_audit", "INSERT", "NEW.act = 'root.rotate'"}, {"custody_audit", "INSERT", "NEW.act = 'proposal.end'"},
		} {
			r.exec(r.breaking(broken[0], broken[1], broken[2]))
			r.Carry(t.Context(), p.ID)
			r.exec(`DROP TRIGGER broken`)
			if s := r.stateOf(p); s != model.ProposalApproved && s != model.ProposalExecuting {
				t.Errorf("%q: it is %s", broken, s)
			}
			r.isUnder(old, next)
			r.clock.ahead.Add(time.Minute.Milliseconds())
		}
		r.open().Carry(t.Context(), p.ID)
		if s := r.stateOf(p); s != model.ProposalExecuted {
			t.Errorf("it is %s", s)
		}
		r.isUnder(next, old)
		r.whole()
	})
}

// TestTwoServersRotateTheRoot, and make a key-encryption key: one of them does it.
func TestTwoServersRotateTheRoot(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", custody.Machine, custody.Account)
		both := []*custody.Custody{r.Custody, r.open()}
		next := r.prepared("next.key")
		r.together(both, r.wants(custody.OperationRotateRoot, toRoot(next)))
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'root.rotate'`); n != 1 {
			t.Errorf("rotated %d times", n)
		}
		started, err := r.under(next)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.under(next)
		if err != nil {
			t.Fatal(err)
		}
		r.Custody = started // the others need the root, too, from here on
		r.together([]*custody.Custody{started, again}, r.wants(custody.OperationRotateKEK, `{"after":1}`))
		if n := r.count(`SELECT COUNT(*) FROM custody_keks`); n != 2 {
			t.Errorf("%d key-encryption keys", n)
		}
		r.stillSigns(started, "trade-1")
		r.stillSigns(again, "trade-2")
		r.whole()
	})
}

// together lets all servers carry out a proposal at once.
func (r *rig) together(servers []*custody.Custody, p custody.Proposal) {
	r.t.Helper()
	if err := r.ApproveOnly(r.t.Context(), "p-wang", p.ID); err != nil {
		r.t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, c := range servers {
		all.Go(func() { c.Carry(r.t.Context(), p.ID) })
	}
	all.Wait()
	if s := r.stateOf(p); s != model.ProposalExecuted {
		r.t.Errorf("%s is %s", p.Operation, s)
	}
}

// TestRootThatIsNotWhatWasProposed: another one was prepared, a key-encryption key was made, or somebody wrote the row.
func TestRootThatIsNotWhatWasProposed(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", custody.Machine, custody.Account)
		old := r.config().Root
		for name, change := range map[string]func(){
			"another one was prepared": func() { r.prepared("third.key") },
			"a key-encryption key was made": func() {
				r.approved(custody.OperationRotateKEK, fmt.Sprintf(`{"after":%d}`, r.count(`SELECT COUNT(*) FROM custody_keks`)))
			},
			"the row was written by another": func() { r.exec(`UPDATE custody_next_root SET made_by = 'nobody'`) },
			"what it wraps was exchanged":    func() { r.exec(`UPDATE custody_next_root SET keks = REPLACE(keks, 'a', 'b')`) },
			"it is gone":                     func() { r.exec(`DELETE FROM custody_next_root`) },
		} {
			next := r.prepared("next.key")
			p := r.wants(custody.OperationRotateRoot, toRoot(next))
			change()
			if _, err := r.Approve(t.Context(), "p-wang", p.ID); !errors.Is(err, custody.ErrProposalChanged) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := r.proposes(custody.OperationRotateRoot, toRoot(next)); !errors.Is(err, custody.ErrRootNotPrepared) && !errors.Is(err, custody.ErrRootMoved) {
				t.Errorf("%s, proposed again: %v", name, err)
			}
			r.isUnder(old, next)
		}
		if got := r.heard(&r.alarms); len(got) == 0 {
			t.Error("nobody hears of a row that custody didn't write")
		}
		r.stillSigns(r.Custody, "trade-1")
		r.whole()
	})
}

// TestRootThatWaitsTooLong is forgotten, and not before a proposal of it is over.
func TestRootThatWaitsTooLong(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		next := r.prepared("next.key")
		r.clock.ahead.Store(47 * hour)
		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		r.wants(custody.OperationRotateRoot, toRoot(next))
		r.clock.ahead.Store(48 * hour)
		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_next_root`); n != 0 || r.acts("root.drop", next.ID()) != 1 {
			t.Errorf("%d roots wait", n)
		}
		r.whole()
	})
}

// TestTwoPeopleMakeAKEK: once, whoever is killed, and after an emergency stop only when that is lifted.
func TestTwoPeopleMakeAKEK(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.stock(3)
		r.ensure("c-0001", custody.Machine, custody.Account)
		for _, arguments := range []string{`{"after":0}`, `{"after":2}`, `{"after":-1}`} {
			if _, err := r.proposes(custody.OperationRotateKEK, arguments); !errors.Is(err, custody.ErrRootMoved) {
				t.Errorf("%s: %v", arguments, err)
			}
		}
		if _, err := r.proposes(custody.OperationRotateKEK, `{"after":"1"}`); !errors.Is(err, custody.ErrArguments) {
			t.Errorf("a text: %v", err)
		}
		p, twin := r.wants(custody.OperationRotateKEK, `{"after":1}`), r.wants(custody.OperationRotateKEK, `{"after":1}`)
		if !strings.Contains(p.Description, "第 2 版密钥加密密钥") {
			t.Errorf("shown was %q", p.Description)
		}
		if err := r.ApproveOnly(t.Context(), "p-wang", p.ID); err != nil {
			t.Fatal(err)
		}
		for i, broken := range [][3]string{
			{"custody_keks", "INSERT", "1 = 1"}, {"custody_audit", "INSERT", "NEW.act = 'kek.make'"}, {"custody_audit", "INSERT", "NEW.act = 'audit.reseal'"},
			{"custody_audit", "INSERT", "NEW.act = 'proposal.end'"},
		} {
			r.exec(r.breaking(broken[0], broken[1], broken[2]))
			r.Carry(t.Context(), p.ID)
			r.exec(`DROP TRIGGER broken`)
			if n := r.count(`SELECT COUNT(*) FROM custody_keks`); n != 1 {
				t.Errorf("%q: %d key-encryption keys", broken, n)
			}
			r.stillSigns(r.Custody, fmt.Sprintf("trade-%d", i))
			r.clock.ahead.Add(time.Minute.Milliseconds())
		}
		if err := r.Seal(t.Context(), "p-li"); err != nil {
			t.Fatal(err)
		}
		r.Carry(t.Context(), p.ID)
		if _, err := r.Unseal(t.Context(), nil, "p-li"); err != nil {
			t.Fatal(err)
		}
		if s := r.stateOf(p); s != model.ProposalExecuting {
			t.Errorf("after a stop it is %s", s)
		}
		other := r.open()
		other.Carry(t.Context(), p.ID)
		if s := r.stateOf(p); s != model.ProposalExecuted {
			t.Errorf("it is %s", s)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'kek.make' AND actor = 'p-wang' AND detail LIKE ?`, "%"+p.ID+"%"); n != 1 {
			t.Errorf("%d records of it", n)
		}
		if _, err := r.Approve(t.Context(), "p-wang", twin.ID); !errors.Is(err, custody.ErrProposalChanged) {
			t.Errorf("the same wish, later: %v", err)
		}
		if p, err := other.Rewrap(t.Context(), "server-1", false, nil); err != nil || p.Done != 4 {
			t.Errorf("%+v, %v", p, err)
		}
		r.stillSigns(r.Custody, "trade-end")
		r.whole()
	})
}

// TestKEKByAServerWithTheRootBefore: it leaves it to one that has the root.
func TestKEKByAServerWithTheRootBefore(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		next := r.prepared("next.key")
		r.approved(custody.OperationRotateRoot, toRoot(next))
		p := r.wants(custody.OperationRotateKEK, `{"after":1}`)
		if still, err := r.Approve(t.Context(), "p-wang", p.ID); err != nil || still.State != model.ProposalExecuting {
			t.Errorf("%+v, %v", still, err)
		}
		started, err := r.under(next)
		if err != nil {
			t.Fatal(err)
		}
		r.clock.ahead.Add(time.Minute.Milliseconds())
		if err := started.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if now, err := started.Proposal(t.Context(), p.ID); err != nil || now.State != model.ProposalExecuted {
			t.Errorf("%+v, %v", now, err)
		}
		r.Custody = started
		r.whole()
	})
}
