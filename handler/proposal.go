package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// TwoPeople is the two-person rule, and what it guards. That a caller has the role is checked again by custody, as it is
// then, and not as it was when he logged in.
type TwoPeople interface {
	Propose(ctx context.Context, w custody.Draft) (custody.Proposal, error)
	// Approve waits a little for the end of what is approved.
	Approve(ctx context.Context, person, id string) (custody.Proposal, error)
	Reject(ctx context.Context, person, id, reason string) (custody.Proposal, error)
	Withdraw(ctx context.Context, person, id, reason string) (custody.Proposal, error)
	Proposal(ctx context.Context, id string) (custody.Proposal, error)
	Proposals(ctx context.Context, organisation string, state model.ProposalState, cursor string, limit int) (items []custody.Proposal, next string, err error)
	Quotas(ctx context.Context) ([]custody.Quota, error)
	LowerQuota(ctx context.Context, person, name string, daily int64) (custody.Quota, error)
}

type proposalView struct {
	ID          string          `json:"id"` // also of the act that it becomes, if it is one on lots
	Operation   string          `json:"operation"`
	Arguments   json.RawMessage `json:"arguments"`
	Description string          `json:"description"`
	Reason      string          `json:"reason"`
	State       string          `json:"state"`
	Proposer    personView      `json:"proposer"`
	Decider     *personView     `json:"decider,omitempty"`
	Decision    string          `json:"decision,omitempty"`
	Error       *actErrorView   `json:"error,omitempty"`
	CreatedAt   time.Time       `json:"createdAt"`
	ExpiresAt   time.Time       `json:"expiresAt"`
	DecidedAt   time.Time       `json:"decidedAt,omitzero"`
	BegunAt     time.Time       `json:"begunAt,omitzero"`
	EndedAt     time.Time       `json:"endedAt,omitzero"`
}

func viewProposal(p custody.Proposal) proposalView {
	v := proposalView{
		ID: p.ID, Operation: p.Operation, Arguments: p.Arguments, Description: p.Description, Reason: p.Reason, State: string(p.State),
		Proposer: personView(p.Proposer), Decision: p.Decision,
		CreatedAt: p.CreatedAt, ExpiresAt: p.ExpiresAt, DecidedAt: p.DecidedAt, BegunAt: p.BegunAt, EndedAt: p.EndedAt,
	}
	if p.Decider.ID != "" {
		decider := personView(p.Decider)
		v.Decider = &decider
	}
	if p.ErrorCode != "" {
		v.Error = &actErrorView{p.ErrorCode, custody.MessageOf(p.ErrorCode)}
	}
	return v
}

// shown renders a proposal.
func (c *call) shown(status int, p custody.Proposal, err error) error {
	if err != nil {
		return err
	}
	return render(c, status, viewProposal(p))
}

// office is whose proposals the caller sees: those of his organisation, if such decide on anything; else the platform's.
func (c *call) office() string {
	if c.who.Role == request.Carrier || c.who.Role == request.Regulator {
		return c.who.Participant
	}
	return ""
}

// proposalStates are what a list may be asked for.
var proposalStates = model.ProposalMoves.States()

// listProposals is GET /custody/proposals.
func listProposals(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	state := model.ProposalState(c.QueryParam("state"))
	if state != "" && !slices.Contains(proposalStates, state) {
		return queryInvalid("state")
	}
	items, next, err := c.Custody.Proposals(c.ctx(), c.office(), state, cursor, limit)
	if errors.Is(err, model.ErrCursor) {
		return refuse("CURSOR_INVALID")
	}
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[proposalView]{each(items, viewProposal), next})
}

// propose is POST /custody/proposals.
func propose(c *call) error {
	in, err := bind[struct {
		Operation string          `json:"operation"`
		Arguments json.RawMessage `json:"arguments"`
		Reason    string          `json:"reason"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("operation", in.Operation, "arguments", string(in.Arguments), "reason", in.Reason),
		bounded(64, "operation", in.Operation), bounded(16<<10, "arguments", string(in.Arguments)), bounded(4096, "reason", in.Reason)); err != nil {
		return err
	}
	return c.propose(in.Operation, in.Arguments, in.Reason)
}

// propose proposes in the name of who calls.
func (c *call) propose(operation string, arguments []byte, reason string) error {
	p, err := c.proposed(operation, arguments, reason)
	return c.shown(http.StatusCreated, p, err)
}

func (c *call) proposed(operation string, arguments []byte, reason string) (custody.Proposal, error) {
	return c.Custody.Propose(c.ctx(), custody.Draft{Person: c.who.Person, Name: c.key, Operation: operation, Arguments: arguments, Reason: reason})
}

// showProposal is GET /custody/proposals/{id}.
func showProposal(c *call) error {
	p, err := c.Custody.Proposal(c.ctx(), c.Param("id"))
	if err == nil && p.Organisation != c.office() {
		err = custody.ErrProposalNotFound
	}
	return c.shown(http.StatusOK, p, err)
}

// approveProposal is POST /custody/proposals/{id}/approve. Whoever asks twice has approved once.
func approveProposal(c *call) error {
	p, err := c.Custody.Approve(c.ctx(), c.who.Person, c.Param("id"))
	return c.shown(http.StatusOK, p, err)
}

// rejectProposal is POST /custody/proposals/{id}/reject.
func rejectProposal(c *call) error { return c.endProposal(c.Custody.Reject) }

// withdrawProposal is POST /custody/proposals/{id}/withdraw.
func withdrawProposal(c *call) error { return c.endProposal(c.Custody.Withdraw) }

func (c *call) endProposal(end func(ctx context.Context, person, id, reason string) (custody.Proposal, error)) error {
	in, err := bind[struct {
		Reason string `json:"reason"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("reason", in.Reason), bounded(4096, "reason", in.Reason)); err != nil {
		return err
	}
	p, err := end(c.ctx(), c.who.Person, c.Param("id"), in.Reason)
	return c.shown(http.StatusOK, p, err)
}

type quotaView struct {
	Name      string      `json:"name"`
	Daily     int64       `json:"daily"`
	Default   int64       `json:"default"`
	Set       bool        `json:"set"`
	ChangedBy *personView `json:"changedBy,omitempty"`
	ChangedAt time.Time   `json:"changedAt,omitzero"`
	Used      int64       `json:"used"`
	Usual     int64       `json:"usual"`
	StoppedAt time.Time   `json:"stoppedAt,omitzero"`
}

func viewQuota(q custody.Quota) quotaView {
	v := quotaView{
		Name: q.Name, Daily: q.Daily, Default: q.Default, Set: q.Set, ChangedAt: q.ChangedAt.Time(), Used: q.Used, Usual: q.Usual, StoppedAt: q.StoppedAt.Time(),
	}
	if q.Set {
		by := personView(q.ChangedBy)
		v.ChangedBy = &by
	}
	return v
}

// listQuotas is GET /custody/quotas.
func listQuotas(c *call) error {
	quotas, err := c.Custody.Quotas(c.ctx())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[quotaView]{Items: each(quotas, viewQuota)})
}

// lowerQuota is POST /custody/quotas: at once. Raising is a proposal.
func lowerQuota(c *call) error {
	in, err := bind[struct {
		Name  string `json:"name"`
		Daily *int64 `json:"daily"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("name", in.Name), bounded(128, "name", in.Name)); err != nil {
		return err
	}
	if in.Daily == nil {
		return field("daily", "必填")
	}
	q, err := c.Custody.LowerQuota(c.ctx(), c.who.Person, in.Name, *in.Daily)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewQuota(q))
}
