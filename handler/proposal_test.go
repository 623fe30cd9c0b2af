package handler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/model"
)

var (
	_ handler.Custody = (*fakeCustody)(nil)
	// The real custody fits as well.
	_ handler.Custody = (*custody.Custody)(nil)
)

// fakeCustody keeps the promises of custody that handler relies on: one proposal for one wish, nobody approves his
// own, what is decided is decided.
type fakeCustody struct {
	mu        sync.Mutex
	proposals map[string]custody.Proposal
	order     []string
	fail      error // what every call answers, if set

	seal    custody.SealStatus // what it says of itself
	shares  []string           // what was brought to it, and by whom
	refused error              // what it says to shares

	root     custody.RootStatus
	report   custody.AuditReport
	walks    chan struct{} // a walk along the audit waits for it, if set
	scans    []bool        // of the walks
	verifier string        // who wanted the last one
}

func newFakeCustody() *fakeCustody {
	f := &fakeCustody{proposals: map[string]custody.Proposal{}, seal: custody.SealStatus{Kind: custody.InFile, RootID: "ab"},
		root: custody.RootStatus{Root: model.CustodyRoot{ID: "ab", Kind: "file"}}}
	for id, person := range map[string]string{"proposal-of-ops": "p-ops", "proposal-of-another": "p-ops2"} {
		f.proposals[id] = custody.Proposal{
			ID: id, Operation: "quota.raise", Arguments: []byte(`{}`), Description: "会发生什么", Reason: "试", State: model.ProposalProposed,
			Proposer: custody.Person{ID: person, Username: "somebody"}, CreatedAt: start, ExpiresAt: start.Add(24 * time.Hour),
		}
	}
	return f
}

func (f *fakeCustody) Propose(_ context.Context, w custody.Draft) (custody.Proposal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return custody.Proposal{}, f.fail
	}
	id := w.Person + "-" + w.Name
	if old, ok := f.proposals[id]; ok {
		if string(old.Arguments) != string(w.Arguments) {
			return old, custody.ErrWish
		}
		return old, nil
	}
	var office struct{ Organisation string }
	if w.Operation == custody.OperationUnfreeze {
		if err := json.Unmarshal(w.Arguments, &office); err != nil || !strings.Contains(string(w.Arguments), lotHash) {
			return custody.Proposal{}, errors.Join(custody.ErrNotFrozen, err)
		}
	}
	p := custody.Proposal{
		Organisation: office.Organisation, ID: id, Operation: w.Operation, Arguments: w.Arguments, Description: "会发生什么", Reason: w.Reason, State: model.ProposalProposed,
		Proposer: custody.Person{ID: w.Person, Username: "ops"}, CreatedAt: start, ExpiresAt: start.Add(24 * time.Hour),
	}
	f.proposals[id] = p
	f.order = append([]string{id}, f.order...)
	return p, nil
}

func (f *fakeCustody) decide(person, id string, own bool, to model.ProposalState, reason string) (custody.Proposal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.proposals[id]
	switch {
	case f.fail != nil:
		return p, f.fail
	case !ok:
		return p, fmt.Errorf("fake: %w", custody.ErrProposalNotFound)
	case own != (p.Proposer.ID == person) && to == model.ProposalExecuted:
		return p, custody.ErrSelfApproval
	case own != (p.Proposer.ID == person):
		return p, custody.ErrNotProposer
	case p.State != model.ProposalProposed:
		return p, custody.ErrProposalDecided
	}
	p.State, p.Decider, p.Decision, p.DecidedAt, p.EndedAt = to, custody.Person{ID: person, Username: "ops2"}, reason, start, start
	f.proposals[id] = p
	return p, nil
}

func (f *fakeCustody) Approve(_ context.Context, person, id string) (custody.Proposal, error) {
	return f.decide(person, id, false, model.ProposalExecuted, "")
}

func (f *fakeCustody) Reject(_ context.Context, person, id, reason string) (custody.Proposal, error) {
	return f.decide(person, id, false, model.ProposalRejected, reason)
}

func (f *fakeCustody) Withdraw(_ context.Context, person, id, reason string) (custody.Proposal, error) {
	return f.decide(person, id, true, model.ProposalWithdrawn, reason)
}

func (f *fakeCustody) Proposal(_ context.Context, id string) (custody.Proposal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.proposals[id]
	if !ok {
		return p, errors.Join(f.fail, custody.ErrProposalNotFound)
	}
	return p, f.fail
}

func (f *fakeCustody) Proposals(_ context.Context, organisation string, state model.ProposalState, cursor string, limit int) ([]custody.Proposal, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []custody.Proposal
	for _, id := range f.order {
		if p := f.proposals[id]; p.Organisation == organisation && (state == "" || p.State == state) {
			out = append(out, p)
		}
	}
	switch {
	case cursor == "next":
		return nil, "", f.fail
	case cursor != "":
		return nil, "", model.ErrCursor
	case limit > 0 && len(out) > limit:
		return out[:limit], "next", f.fail
	}
	return out, "", f.fail
}

func (f *fakeCustody) Quotas(context.Context) ([]custody.Quota, error) {
	return []custody.Quota{{Name: "platform", Daily: 10, Default: 10, Used: 3}}, f.fail
}

func (f *fakeCustody) LowerQuota(_ context.Context, person, name string, daily int64) (custody.Quota, error) {
	switch {
	case f.fail != nil:
		return custody.Quota{}, f.fail
	case name != "platform" || daily < 0:
		return custody.Quota{}, custody.ErrQuota
	case daily > 10:
		return custody.Quota{}, custody.ErrQuotaRaise
	}
	return custody.Quota{Name: name, Daily: daily, Default: 10, Set: true, ChangedBy: custody.Person{ID: person, Username: "ops"}, ChangedAt: model.MillisOf(start)}, nil
}

type proposal struct {
	ID, State, Description, Decision string
	Proposer                         struct{ ID, Username string }
	Decider                          *struct{ ID, Username string }
	Error                            *struct{ Code, Message string }
}

// TestProposals: one proposes, another one decides, and what they said is shown.
func TestProposals(t *testing.T) {
	r := newRig(t)
	ops, other, auditor := r.staff("ops"), r.staff("ops2"), r.staff("auditor")
	body := fields{"operation": "quota.raise", "arguments": fields{"name": "platform", "daily": 20}, "reason": "双十一"}
	wish := r.wish("/custody/proposals", ops, body)
	var p, again proposal
	r.want(201, "", wish).into(t, &p)
	r.want(201, "", wish).into(t, &again)
	if p.ID == "" || p.ID != again.ID || p.State != "proposed" || p.Proposer.ID != "p-ops" || p.Decider != nil || p.Description == "" {
		t.Errorf("%+v, again %+v", p, again)
	}
	wish.body = fields{"operation": "quota.raise", "arguments": fields{"name": "platform", "daily": 21}, "reason": "双十一"}
	r.want(422, "IDEMPOTENCY_KEY_REUSED", wish)
	for _, bad := range []any{
		fields{"operation": "quota.raise", "reason": "x"}, fields{"arguments": fields{}, "reason": "x"}, fields{"operation": "x", "arguments": fields{}},
		fields{"operation": strings.Repeat("x", 65), "arguments": fields{}, "reason": "x"},
	} {
		r.want(400, "FIELD_INVALID", r.wish("/custody/proposals", ops, bad))
	}
	path := "/custody/proposals/" + p.ID
	r.want(403, "CUSTODY_SELF_APPROVAL", r.wish(path+"/approve", ops, nil))
	r.want(403, "CUSTODY_NOT_PROPOSER", r.wish(path+"/reject", ops, fields{"reason": "不"}))
	r.want(400, "FIELD_INVALID", r.wish(path+"/reject", other, fields{}))
	r.want(400, "BODY_UNEXPECTED", r.wish(path+"/approve", other, fields{"reason": "好"}))
	r.want(404, "CUSTODY_PROPOSAL_NOT_FOUND", r.wish("/custody/proposals/none/approve", other, nil))
	r.want(404, "CUSTODY_PROPOSAL_NOT_FOUND", get("/custody/proposals/none", other))
	r.want(200, "", r.wish(path+"/approve", other, nil)).into(t, &p)
	if p.State != "executed" || p.Decider == nil || p.Decider.ID != "p-ops2" {
		t.Errorf("%+v", p)
	}
	r.want(409, "CUSTODY_PROPOSAL_DECIDED", r.wish(path+"/withdraw", ops, fields{"reason": "算了"}))

	for end, who := range map[string]string{"reject": other, "withdraw": ops} {
		r.want(201, "", r.wish("/custody/proposals", ops, body)).into(t, &p)
		r.want(200, "", r.wish("/custody/proposals/"+p.ID+"/"+end, who, fields{"reason": "不需要"})).into(t, &p)
		if !slices.Contains([]string{"rejected", "withdrawn"}, p.State) || p.Decision != "不需要" {
			t.Errorf("%s: %+v", end, p)
		}
	}
	r.custody.mu.Lock()
	failed := r.custody.proposals[p.ID]
	failed.State, failed.ErrorCode = model.ProposalFailed, "CUSTODY_PROPOSAL_CHANGED"
	r.custody.proposals[p.ID] = failed
	r.custody.mu.Unlock()
	r.want(200, "", get("/custody/proposals/"+p.ID, auditor)).into(t, &p)
	if p.Error == nil || p.Error.Code != "CUSTODY_PROPOSAL_CHANGED" || !strings.Contains(p.Error.Message, "情况已变") {
		t.Errorf("%+v", p)
	}
	var list struct {
		Items      []proposal
		NextCursor string
	}
	r.want(200, "", get("/custody/proposals?limit=2", auditor)).into(t, &list)
	if len(list.Items) != 2 || list.NextCursor != "next" {
		t.Errorf("%+v", list)
	}
	r.want(200, "", get("/custody/proposals?state=executed", auditor)).into(t, &list)
	if len(list.Items) != 1 {
		t.Errorf("%+v", list)
	}
	r.want(400, "QUERY_INVALID", get("/custody/proposals?state=done", ops))
	r.want(400, "CURSOR_INVALID", get("/custody/proposals?cursor=x", ops))
}

// TestUnfreeze: letting cards go is a proposal of the organisation's, which others don't see.
func TestUnfreeze(t *testing.T) {
	r := newRig(t)
	carrier, ops := r.staff("carrier"), r.staff("ops")
	path := "/lots/" + lotHash + "/unfreeze"
	var p proposal
	wish := r.wish(path, carrier, fields{"segments": []fields{{"iccid": oneCard}}, "reason": "已核实"})
	r.want(201, "", wish).into(t, &p)
	var arguments custody.UnfreezeLot
	if err := json.Unmarshal(r.custody.proposals[p.ID].Arguments, &arguments); err != nil || arguments.Organisation != "carrier-1" || arguments.Lot != lotHash ||
		!slices.Equal(arguments.Segments, []custody.CardRange{{Start: oneCard, End: oneCard}}) {
		t.Errorf("%+v, %v", arguments, err)
	}
	r.want(201, "", wish)
	if p.State != "proposed" || p.Proposer.ID != "p-carrier" {
		t.Errorf("%+v", p)
	}
	r.want(400, "FIELD_INVALID", r.wish(path, carrier, fields{}))
	r.want(404, "LOT_UNKNOWN", r.wish("/lots/"+strings.Repeat("0", 64)+"/unfreeze", carrier, fields{"reason": "已核实"}))
	r.want(403, "FORBIDDEN", r.wish(path, ops, fields{"reason": "已核实"}))
	for token, want := range map[string]int{carrier: 1, r.staff("regulator"): 0, ops: 0} {
		var list struct{ Items []proposal }
		r.want(200, "", get("/custody/proposals", token)).into(t, &list)
		if len(list.Items) != want {
			t.Errorf("%d proposals", len(list.Items))
		}
		if want == 0 {
			r.want(404, "CUSTODY_PROPOSAL_NOT_FOUND", get("/custody/proposals/"+p.ID, token))
		}
	}
	r.want(200, "", get("/custody/proposals/"+p.ID, carrier))
	r.want(404, "CUSTODY_PROPOSAL_NOT_FOUND", get("/custody/proposals/proposal-of-ops", carrier))
}

// TestQuotas: who may look, who may lower, and that raising is refused here.
func TestQuotas(t *testing.T) {
	r := newRig(t)
	ops := r.staff("ops")
	var list struct {
		Items []struct {
			Name        string
			Daily, Used int64
		}
	}
	r.want(200, "", get("/custody/quotas", r.staff("auditor"))).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "platform" || list.Items[0].Used != 3 {
		t.Errorf("%+v", list)
	}
	var q struct {
		Daily     int64
		Set       bool
		ChangedBy struct{ Username string }
	}
	r.want(200, "", r.wish("/custody/quotas", ops, fields{"name": "platform", "daily": 0})).into(t, &q)
	if q.Daily != 0 || !q.Set || q.ChangedBy.Username != "ops" {
		t.Errorf("%+v", q)
	}
	r.want(400, "FIELD_INVALID", r.wish("/custody/quotas", ops, fields{"name": "platform"}))
	r.want(400, "CUSTODY_QUOTA_INVALID", r.wish("/custody/quotas", ops, fields{"name": "nobody", "daily": 1}))
	r.want(409, "CUSTODY_QUOTA_RAISE", r.wish("/custody/quotas", ops, fields{"name": "platform", "daily": 11}))
}

// TestCustodyErrors: custody's refusals reach ops as what they are; of what is not meant for them nothing is told.
func TestCustodyErrors(t *testing.T) {
	r := newRig(t)
	ops := r.staff("ops")
	for err, want := range map[error]struct {
		status int
		code   string
	}{
		custody.ErrNotOperator:                       {403, "CUSTODY_NOT_OPERATOR"},
		custody.ErrClosed:                            {503, "CUSTODY_CLOSED"},
		custody.ErrAuditUnwritable:                   {503, "CUSTODY_AUDIT_UNWRITABLE"},
		fmt.Errorf("x: %w", custody.ErrQuotaLower):   {409, "CUSTODY_QUOTA_LOWER"},
		custody.ErrKeyUnreadable:                     {500, "INTERNAL"},
		errors.New("what nobody needs to know"):      {500, "INTERNAL"},
		fmt.Errorf("database: %w", model.ErrUnknown): {500, "INTERNAL"},
	} {
		r.custody.fail = err
		got := r.want(want.status, want.code, r.wish("/custody/proposals", ops, fields{"operation": "x", "arguments": fields{}, "reason": "x"}))
		if strings.Contains(string(got.body), "nobody needs") {
			t.Errorf("%s", got.body)
		}
	}
}

// TestDestroyKey: wiping a key is a proposal of ops.
func TestDestroyKey(t *testing.T) {
	r := newRig(t)
	ops, key := r.staff("ops"), strings.Repeat("ab", 16)
	path := "/custody/keys/" + key + "/destroy"
	var p proposal
	wish := r.wish(path, ops, fields{"reason": "撤销已满一年"})
	r.want(201, "", wish).into(t, &p)
	if made := r.custody.proposals[p.ID]; made.Operation != custody.OperationDestroy || string(made.Arguments) != `{"key":"`+key+`"}` || p.State != "proposed" {
		t.Errorf("%+v", made)
	}
	r.want(201, "", wish)
	r.want(400, "FIELD_INVALID", r.wish(path, ops, fields{}))
	r.want(403, "FORBIDDEN", r.wish(path, r.staff("auditor"), fields{"reason": "撤销已满一年"}))
	r.custody.fail = custody.ErrKeyTransition
	r.want(409, "CUSTODY_KEY_TRANSITION", r.wish(path, ops, fields{"reason": "撤销已满一年"}))
}
