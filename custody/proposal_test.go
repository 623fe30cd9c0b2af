package custody_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// staff adds the platform's people: two of ops, and one who may only look.
func (r *rig) staff() {
	r.t.Helper()
	r.write(func(tx *model.Tx) error {
		return tx.AddParticipant(model.Participant{ID: "platform", Role: string(request.Platform), Kind: model.System, State: model.ParticipantRegistered, CreatedAt: 1})
	})
	for _, p := range []string{"p-li", "p-wang", "p-zhao"} {
		r.person(p, start.Add(-time.Hour), "ops")
	}
	r.person("p-audit", start.Add(-time.Hour), "auditor")
}

func (r *rig) person(id string, since time.Time, roles ...string) {
	r.t.Helper()
	r.write(func(tx *model.Tx) error {
		return tx.AddPerson(model.Person{ID: id, ParticipantID: "platform", Username: strings.TrimPrefix(id, "p-"), PasswordHash: "x", Roles: roles,
			State: model.PersonActive, CreatedAt: model.MillisOf(since)})
	})
}

func (r *rig) write(fn func(tx *model.Tx) error) {
	r.t.Helper()
	if err := r.db.Write(r.t.Context(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// raise proposes a higher quota of the platform's.
func (r *rig) raise(name string, daily int64) custody.Proposal {
	r.t.Helper()
	p, err := r.Propose(r.t.Context(), custody.Draft{Person: "p-li", Name: name, Operation: custody.OperationRaise,
		Arguments: fmt.Appendf(nil, `{"daily":%d, "name":"platform"}`, daily), Reason: "双十一"})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) platformQuota() int64 {
	r.t.Helper()
	q, err := r.Quota(r.t.Context(), "platform")
	if err != nil {
		r.t.Fatal(err)
	}
	return q.Daily
}

// acts counts an act in the audit.
func (r *rig) acts(act, subject string) int {
	r.t.Helper()
	return r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = ? AND subject = ?`, act, subject)
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

// TestTwoPeople: what one proposes and another approves happens, once.
func TestTwoPeople(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		p := r.raise("wish-1", 20_000_000)
		if p.State != model.ProposalProposed || p.Proposer.Username != "li" || string(p.Arguments) != `{"name":"platform","daily":20000000}` ||
			!strings.Contains(p.Description, "10000000 → 20000000") || !p.ExpiresAt.Equal(start.Add(24*time.Hour)) {
			t.Errorf("proposed %+v", p)
		}
		if again := r.raise("wish-1", 20_000_000); again.ID != p.ID {
			t.Errorf("the same wish made another proposal: %s", again.ID)
		}
		_, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: "wish-1", Operation: custody.OperationRaise,
			Arguments: []byte(`{"daily":1,"name":"platform"}`), Reason: "双十一"})
		wantErr(t, err, custody.ErrWish)

		_, err = r.Approve(t.Context(), "p-li", p.ID)
		wantErr(t, err, custody.ErrSelfApproval)
		for _, nobody := range []string{"p-audit", "p-nobody", ""} {
			_, err = r.Approve(t.Context(), nobody, p.ID)
			wantErr(t, err, custody.ErrNotOperator)
		}
		if got := r.platformQuota(); got != 10_000_000 {
			t.Fatalf("a quota of %d before anyone approved", got)
		}
		done, err := r.Approve(t.Context(), "p-wang", p.ID)
		if err != nil || done.State != model.ProposalExecuted || done.Decider.Username != "wang" || done.EndedAt.IsZero() {
			t.Fatalf("approved %+v, %v", done, err)
		}
		if got := r.platformQuota(); got != 20_000_000 {
			t.Errorf("a quota of %d", got)
		}
		if again, err := r.Approve(t.Context(), "p-wang", p.ID); err != nil || again.State != model.ProposalExecuted {
			t.Errorf("approved again: %+v, %v", again, err)
		}
		_, err = r.Approve(t.Context(), "p-zhao", p.ID)
		wantErr(t, err, custody.ErrProposalDecided)
		_, err = r.Withdraw(t.Context(), "p-li", p.ID, "算了")
		wantErr(t, err, custody.ErrProposalDecided)
		for _, act := range []string{"proposal.propose", "proposal.approve", "proposal.begin", "proposal.end"} {
			if n := r.acts(act, p.ID); n != 1 {
				t.Errorf("%d of %s in the audit", n, act)
			}
		}
		if n := r.acts("proposal.refuse", p.ID); n != 6 {
			t.Errorf("%d refusals in the audit", n)
		}
		r.whole()
	})
}

// TestNoSecondPerson: a second account is no second person where the directory shows it, and an account that was made
// for the purpose doesn't count.
func TestNoSecondPerson(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(r *rig) // the proposal
		want          error
	}{
		"one staff number": {before: func(r *rig) {
			r.identity("p-li", "1007", "")
			r.identity("p-wang", "1007", "")
		}, want: custody.ErrSelfApproval},
		"one mobile": {before: func(r *rig) {
			r.identity("p-li", "1007", "ab")
			r.identity("p-wang", "1008", "ab")
		}, want: custody.ErrSelfApproval},
		"known afterwards": {after: func(r *rig) {
			r.identity("p-li", "1007", "")
			r.identity("p-wang", "1007", "")
		}, want: custody.ErrSelfApproval},
		"wiped afterwards": {before: func(r *rig) {
			r.identity("p-li", "1007", "")
			r.identity("p-wang", "1007", "")
		}, after: func(r *rig) { r.identity("p-li", "", "") }, want: custody.ErrSelfApproval},
		"two numbers": {before: func(r *rig) {
			r.identity("p-li", "1007", "ab")
			r.identity("p-wang", "1008", "cd")
		}},
		"made for it": {after: func(r *rig) {
			r.exec(`UPDATE people SET created_at = ? WHERE id = 'p-wang'`, start.UnixMilli())
		}, want: custody.ErrApproverNew},
		"the proposer is disabled": {after: func(r *rig) {
			r.write(func(tx *model.Tx) error { return tx.MovePerson("p-li", model.PersonActive, model.PersonDisabled) })
		}, want: custody.ErrProposerGone},
		"the proposer lost the role": {after: func(r *rig) { r.exec(`UPDATE people SET roles = '["auditor"]' WHERE id = 'p-li'`) }, want: custody.ErrProposerGone},
		"the approver is disabled": {after: func(r *rig) {
			r.write(func(tx *model.Tx) error { return tx.MovePerson("p-wang", model.PersonActive, model.PersonDisabled) })
		}, want: custody.ErrNotOperator},
		"the approver lost the role": {after: func(r *rig) { r.exec(`UPDATE people SET roles = '[]' WHERE id = 'p-wang'`) }, want: custody.ErrNotOperator},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				r.staff()
				if c.before != nil {
					c.before(r)
				}
				p := r.raise("wish-1", 20_000_000)
				if c.after != nil {
					c.after(r)
				}
				_, err := r.Approve(t.Context(), "p-wang", p.ID)
				if !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("%v, want %v", err, c.want)
				}
				if raised := r.platformQuota() != 10_000_000; raised != (c.want == nil) {
					t.Errorf("raised: %t", raised)
				}
				r.whole()
			})
		})
	}
}

func (r *rig) identity(person, number, mobile string) {
	r.t.Helper()
	r.write(func(tx *model.Tx) error {
		return tx.SetIdentity(model.Identity{PersonID: person, StaffNumber: number, MobileIndex: mobile})
	})
}

// TestProposalEnds: rejected, withdrawn and expired proposals are never carried out.
func TestProposalEnds(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		p := r.raise("wish-1", 20_000_000)
		_, err := r.Withdraw(t.Context(), "p-wang", p.ID, "算了")
		wantErr(t, err, custody.ErrNotProposer)
		_, err = r.Reject(t.Context(), "p-li", p.ID, "算了")
		wantErr(t, err, custody.ErrNotProposer)
		_, err = r.Reject(t.Context(), "p-wang", p.ID, " ")
		wantErr(t, err, custody.ErrReason)
		if got, err := r.Reject(t.Context(), "p-wang", p.ID, "不需要"); err != nil || got.State != model.ProposalRejected || got.Decision != "不需要" {
			t.Errorf("rejected %+v, %v", got, err)
		}
		_, err = r.Approve(t.Context(), "p-wang", p.ID)
		wantErr(t, err, custody.ErrProposalDecided)

		p = r.raise("wish-2", 20_000_000)
		if got, err := r.Withdraw(t.Context(), "p-li", p.ID, "写错了"); err != nil || got.State != model.ProposalWithdrawn {
			t.Errorf("withdrawn %+v, %v", got, err)
		}
		_, err = r.Approve(t.Context(), "p-wang", p.ID)
		wantErr(t, err, custody.ErrProposalDecided)

		// A late approval is refused, whether or not somebody has noticed yet that it is late.
		p = r.raise("wish-3", 20_000_000)
		r.clock.ahead.Store(24 * hour)
		if got, err := r.Custody.Proposal(t.Context(), p.ID); err != nil || got.State != model.ProposalExpired {
			t.Errorf("over, and shown as %s, %v", got.State, err)
		}
		_, err = r.Approve(t.Context(), "p-wang", p.ID)
		wantErr(t, err, custody.ErrProposalExpired)
		// What was seen to be over stays so when the clock goes back.
		r.clock.ahead.Store(0)
		_, err = r.Approve(t.Context(), "p-wang", p.ID)
		wantErr(t, err, custody.ErrProposalExpired)

		p = r.raise("wish-4", 20_000_000)
		r.clock.ahead.Store(24 * hour)
		if err := r.Attend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := r.acts("proposal.expire", p.ID); n != 1 {
			t.Errorf("%d expired in the audit", n)
		}
		// A clock that stands before the proposal can't tell.
		p = r.raise("wish-5", 20_000_000)
		r.clock.ahead.Store(0)
		_, err = r.Approve(t.Context(), "p-wang", p.ID)
		wantErr(t, err, custody.ErrClockBack)
		if got := r.platformQuota(); got != 10_000_000 {
			t.Errorf("a quota of %d", got)
		}
		r.whole()
	})
}

// TestChangedMeanwhile: who approves approves what was proposed, and nothing that has become of it.
func TestChangedMeanwhile(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		p := r.raise("wish-1", 20_000_000)
		if _, err := r.LowerQuota(t.Context(), "p-zhao", "platform", 5_000_000); err != nil {
			t.Fatal(err)
		}
		_, err := r.Approve(t.Context(), "p-wang", p.ID)
		wantErr(t, err, custody.ErrProposalChanged)

		// The same between approval and execution: what was approved fails.
		p = r.raise("wish-2", 20_000_000)
		if err := r.ApproveOnly(t.Context(), "p-wang", p.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.LowerQuota(t.Context(), "p-zhao", "platform", 4_000_000); err != nil {
			t.Fatal(err)
		}
		if err := r.Attend(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := r.Custody.Proposal(t.Context(), p.ID)
		if err != nil || got.State != model.ProposalFailed || got.ErrorCode != custody.ErrProposalChanged.Code {
			t.Errorf("%+v, %v", got, err)
		}
		if got := r.platformQuota(); got != 4_000_000 {
			t.Errorf("a quota of %d", got)
		}
		r.whole()
	})
}

// counter is an operation that counts how often it was done: in the row of a quota, in the transaction that ends it.
type counter struct {
	Name string `json:"name"`
}

func register(c *custody.Custody, do func(ctx context.Context, x *custody.Execution, a counter) error) {
	custody.Operate(c.Dangerous, "test.count", func(context.Context, *model.Tx, counter) (string, error) { return "计数加一", nil }, do)
}

func countOnce(ctx context.Context, x *custody.Execution, a counter) error {
	return x.Commit(ctx, func(tx *model.Tx) error {
		q, err := tx.QuotasNamed("count:" + a.Name)
		if err != nil {
			return err
		}
		n := int64(1)
		if len(q) > 0 {
			n += q[0].Daily
		}
		return tx.SetQuota(model.Quota{Name: "count:" + a.Name, Daily: n, ChangedBy: "test"})
	})
}

func (r *rig) counted(name string) int {
	r.t.Helper()
	return r.count(`SELECT COALESCE(SUM(daily), 0) FROM custody_quotas WHERE name = ?`, "count:"+name)
}

func (r *rig) proposeCount(name string) string {
	r.t.Helper()
	p, err := r.Propose(r.t.Context(), custody.Draft{Person: "p-li", Name: "wish-" + name, Operation: "test.count",
		Arguments: fmt.Appendf(nil, `{"name":%q}`, name), Reason: "试一试"})
	if err != nil {
		r.t.Fatal(err)
	}
	return p.ID
}

// TestApprovedAtOnce: of two who approve at once, on two servers, one does, and it is carried out once.
func TestApprovedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		other := r.open()
		register(r.Custody, countOnce)
		register(other, countOnce)
		for round := range 5 {
			name := fmt.Sprint(round)
			id := r.proposeCount(name)
			errs := make([]error, 2)
			var wg sync.WaitGroup
			for i, c := range []*custody.Custody{r.Custody, other} {
				wg.Go(func() { _, errs[i] = c.Approve(t.Context(), []string{"p-wang", "p-zhao"}[i], id) })
				wg.Go(func() {
					if err := c.Attend(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), custody.ErrProposalDecided) {
				t.Errorf("approved at once: %v", errs)
			}
			r.executed(id)
			if n := r.counted(name); n != 1 {
				t.Errorf("done %d times", n)
			}
		}
		r.whole()
	})
}

// executed waits until a proposal is.
func (r *rig) executed(id string) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		p, err := r.Custody.Proposal(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		if p.State == model.ProposalExecuted {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("still %s", p.State)
		}
		if err := r.Attend(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestExecutionKilled kills whoever approves and carries out at every reading of the clock, which is in every step, and
// has another server go on: what was approved is done once, whatever happened.
func TestExecutionKilled(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		register(r.Custody, countOnce)
		dead := errors.New("dead")
		for n, killed := 1, true; killed; n++ {
			name := fmt.Sprint(n)
			id := r.proposeCount(name)
			var reading int
			var mu sync.Mutex
			die := func() {
				mu.Lock()
				defer mu.Unlock()
				if reading++; reading >= n { // and whatever it tries afterwards
					panic(dead)
				}
			}
			r.clock.call.Store(&die)
			killed = func() (died bool) {
				defer func() { died = recover() != nil }()
				if err := r.ApproveOnly(t.Context(), "p-wang", id); err != nil {
					t.Error(err)
				}
				r.Carry(t.Context(), id)
				return false
			}()
			r.clock.call.Store(nil)
			if n > 60 {
				t.Fatal("it never gets through")
			}
			next := r.open()
			register(next, countOnce)
			if _, err := next.Approve(t.Context(), "p-wang", id); err != nil {
				t.Errorf("killed at reading %d: %v", n, err)
			}
			r.clock.ahead.Add(2 * 60 * second) // the lease of the one that died is over
			if err := next.Attend(t.Context()); err != nil {
				t.Error(err)
			}
			p, err := next.Proposal(t.Context(), id)
			if err != nil || p.State != model.ProposalExecuted {
				t.Fatalf("killed at reading %d: %s, %v", n, p.State, err)
			}
			if done := r.counted(name); done != 1 {
				t.Errorf("killed at reading %d: done %d times", n, done)
			}
			for _, act := range []string{"proposal.approve", "proposal.begin", "proposal.end"} {
				if rows := r.acts(act, id); rows != 1 {
					t.Errorf("killed at reading %d: %d of %s in the audit", n, rows, act)
				}
			}
			if !killed && n < 8 {
				t.Errorf("only %d readings of the clock: this test has nothing to kill", n)
			}
		}
		r.whole()
	})
}

// TestExecutionFails: a refusal ends the proposal, trouble has it tried again, also after a panic.
func TestExecutionFails(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		var way error
		register(r.Custody, func(ctx context.Context, x *custody.Execution, a counter) error {
			switch {
			case errors.Is(way, custody.ErrQuota):
				return fmt.Errorf("no: %w", way)
			case way != nil:
				panic(way)
			}
			return countOnce(ctx, x, a)
		})
		way = custody.ErrQuota
		id := r.proposeCount("refused")
		if p, err := r.Approve(t.Context(), "p-wang", id); err != nil || p.State != model.ProposalFailed || p.ErrorCode != custody.ErrQuota.Code {
			t.Errorf("%+v, %v", p, err)
		}
		way = errors.New("trouble")
		id = r.proposeCount("troubled")
		if p, err := r.Approve(t.Context(), "p-wang", id); err != nil || p.State != model.ProposalExecuting {
			t.Errorf("%+v, %v", p, err)
		}
		way = nil
		if err := r.Attend(t.Context()); err != nil { // too early
			t.Error(err)
		}
		if n := r.counted("troubled"); n != 0 {
			t.Errorf("done %d times before its time", n)
		}
		r.clock.ahead.Add(16 * second)
		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if p, err := r.Custody.Proposal(t.Context(), id); err != nil || p.State != model.ProposalExecuted || r.counted("troubled") != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		// A server that doesn't know the operation leaves it to one that does.
		id = r.proposeCount("elsewhere")
		if err := r.ApproveOnly(t.Context(), "p-wang", id); err != nil {
			t.Fatal(err)
		}
		stranger := r.open()
		if err := stranger.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if p, err := stranger.Proposal(t.Context(), id); err != nil || p.State != model.ProposalApproved {
			t.Errorf("%+v, %v", p, err)
		}
		r.whole()
	})
}

// TestForgedProposal: who can write to the database can't approve, nor have something done twice.
func TestForgedProposal(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		register(r.Custody, countOnce)
		id := r.proposeCount("forged")
		r.exec(`UPDATE custody_proposals SET state = 'approved', decider = 'p-wang', decided_at = 1 WHERE id = ?`, id)
		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		_, err := r.Custody.Proposal(t.Context(), id)
		wantErr(t, err, custody.ErrProposalForged)
		if n := r.counted("forged"); n != 0 {
			t.Errorf("done %d times on a forger's word", n)
		}
		// An older state, seal and all.
		id = r.proposeCount("twice")
		if err := r.ApproveOnly(t.Context(), "p-wang", id); err != nil {
			t.Fatal(err)
		}
		var seal []byte
		if err := r.raw.QueryRow(`SELECT seal FROM custody_proposals WHERE id = ?`, id).Scan(&seal); err != nil {
			t.Fatal(err)
		}
		r.Carry(t.Context(), id)
		r.exec(`DROP TRIGGER custody_proposals_moves`)
		r.exec(`UPDATE custody_proposals SET state = 'approved', begun_at = 0, ended_at = 0, seal = ? WHERE id = ?`, seal, id)
		r.Carry(t.Context(), id)
		if n := r.counted("twice"); n != 1 {
			t.Errorf("done %d times", n)
		}
		if alarms := r.heard(&r.alarms); len(alarms) == 0 {
			t.Error("nobody was told")
		}
	})
}

// TestArguments: what people see is what is read, and nothing else is read.
func TestArguments(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		n := 0
		for arguments, want := range map[string]error{
			`{"name":"platform","daily":20000000,"also":1}`:       custody.ErrArguments,
			`{"name":"platform","daily":20000000} {}`:             custody.ErrArguments,
			`{"name":"platform","daily":"many"}`:                  custody.ErrArguments,
			`[]`:                                                  custody.ErrArguments,
			``:                                                    custody.ErrArguments,
			`{"name":"platform","daily":9}`:                       custody.ErrQuotaLower,
			`{"name":"platform","daily":-1}`:                      custody.ErrQuota,
			`{"name":"platform","daily":1000000001}`:              custody.ErrQuota,
			`{"name":"role:consumer/gateway","daily":1}`:          custody.ErrQuota,
			`{"name":"owner:nobody/account","daily":1}`:           custody.ErrQuota,
			`{"name":"platform","daily":1,"daily":20000000}`:      nil,
			`{"name":"role:consumer/account","daily":1000000000}`: nil,
		} {
			n++
			p, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: fmt.Sprintf("wish-%d", n), Operation: custody.OperationRaise, Arguments: []byte(arguments), Reason: "试"})
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v, want %v", arguments, err, want)
			}
			if want == nil {
				if strings.Count(string(p.Arguments), "daily") != 1 {
					t.Errorf("%s became %s", arguments, p.Arguments)
				}
				if _, err := r.Withdraw(t.Context(), "p-li", p.ID, "试"); err != nil {
					t.Error(err)
				}
			}
		}
		_, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: "wish", Operation: "key.steal", Arguments: []byte(`{}`), Reason: "试"})
		wantErr(t, err, custody.ErrOperationUnknown)
		for _, reason := range []string{"", "  ", "a\nb", strings.Repeat("长", 501), "\xff"} {
			_, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: "wish", Operation: custody.OperationRaise, Arguments: []byte(`{"name":"platform","daily":20000000}`), Reason: reason})
			wantErr(t, err, custody.ErrReason)
		}
		r.whole()
	})
}

// TestForeignLetters: whatever alphabet a name is in, of which there is none, is a refusal and no trouble.
func TestForeignLetters(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		for operation, want := range map[string]struct {
			arguments string
			err       error
		}{
			custody.OperationDestroy: {`{"key":"密钥"}`, custody.ErrKeyNotFound},
			custody.OperationRevoke:  {`{"keys":["密钥😀"]}`, custody.ErrKeyNotFound},
			custody.OperationRecover: {`{"participant":"小王"}`, custody.ErrRecovery},
			custody.OperationRelease: {`{"owner":"小王","slot":"账户"}`, custody.ErrNotStopped},
			custody.OperationRaise:   {`{"name":"owner:小王/account","daily":5}`, custody.ErrQuota},
		} {
			_, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: "wish", Operation: operation, Arguments: []byte(want.arguments), Reason: "试"})
			wantErr(t, err, want.err)
		}
		_, err := r.LowerQuota(t.Context(), "p-li", "owner:小王/account", 1)
		wantErr(t, err, custody.ErrQuota)
		_, err = r.LowerQuota(t.Context(), "p-li", "限额", 1)
		wantErr(t, err, custody.ErrQuota)
		r.whole()
	})
}

// TestSealedWhileExecuting: a stop that is over when the proposal would be given up doesn't end it for good.
func TestSealedWhileExecuting(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		stop := true
		register(r.Custody, func(ctx context.Context, x *custody.Execution, a counter) error {
			if !stop {
				return countOnce(ctx, x, a)
			}
			stop = false
			if err := r.Seal(ctx, "p-zhao"); err != nil {
				t.Error(err)
			}
			err := countOnce(ctx, x, a)
			wantErr(t, err, custody.ErrSealed)
			if _, err := r.Unseal(ctx, nil, "p-zhao"); err != nil {
				t.Error(err)
			}
			return err
		})
		id := r.proposeCount("stopped")
		if p, err := r.Approve(t.Context(), "p-wang", id); err != nil || p.State != model.ProposalExecuting {
			t.Errorf("%+v, %v", p, err)
		}
		r.clock.ahead.Add(16 * second)
		r.executed(id)
		if n := r.counted("stopped"); n != 1 {
			t.Errorf("done %d times", n)
		}
		r.whole()
	})
}
