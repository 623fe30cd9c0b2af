package custody

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// The two-person rule. One person proposes a dangerous act and another one approves it; then it is carried out, once
// (execution.go). Whoever can write to the database can't do it in their place: a row that custody didn't write has no
// seal, and nothing happens on its word.

// Proposal is a dangerous act that one person wants and another one decides on.
type Proposal struct {
	ID          string
	Operation   string
	Arguments   json.RawMessage // in the one form that the operation gives them
	Description string          // exactly what will happen, one fact a line
	Reason      string
	State       model.ProposalState

	Organisation string // whose people decide; "" the platform's
	Proposer     Person
	Decider      Person // who approved, rejected or withdrew it
	Decision     string // why it was rejected or withdrawn
	ErrorCode    string // why it failed
	CreatedAt    time.Time
	ExpiresAt    time.Time
	DecidedAt    time.Time
	BegunAt      time.Time
	EndedAt      time.Time
}

// Person is a member of staff, as others may see him.
type Person struct {
	ID       string
	Username string
}

// Draft is what somebody proposes.
type Draft struct {
	Person    string // who; an active one with the role ops, or of the organisation whose matter it is
	Name      string // his name for this wish: asked for again under it, it is the same proposal
	Operation string
	Arguments []byte // JSON
	Reason    string // for the other person to read
}

// mostReason is how long a reason may be, in characters.
const mostReason = 500

// skew is how far the clocks of two servers may be apart.
const skew = 5 * time.Minute

// The acts of proposals in the audit.
const (
	actPropose  = "proposal.propose"
	actApprove  = "proposal.approve"
	actReject   = "proposal.reject"
	actWithdraw = "proposal.withdraw"
	actExpire   = "proposal.expire"
	actBeginRun = "proposal.begin"
	actEndRun   = "proposal.end"
	actFailRun  = "proposal.fail"
	actDeny     = "proposal.refuse"
)

// Propose records that somebody wants a dangerous act. Nothing happens before another person approves it. Errors:
// ErrOperationUnknown, ErrArguments or what the operation says of them, ErrReason, ErrNotOperator, ErrNotColleague, ErrWish
// if the name was used for something else.
func (c *Custody) Propose(ctx context.Context, w Draft) (Proposal, error) {
	var out Proposal
	err := c.decide(ctx, w.Person, "", func(tx *model.Tx) error {
		op, err := c.Dangerous.find(w.Operation)
		if err != nil {
			return err
		}
		if !printable.MatchString(w.Name) {
			return ErrAsk
		}
		if err := reasonFits(w.Reason); err != nil {
			return err
		}
		arguments, office, err := op.canonical(w.Arguments)
		if err != nil {
			return err
		}
		who, marks, err := decider(tx, office.Organisation, w.Person)
		if err == nil && office.Organisation != "" {
			var role request.Role
			if role, err = roleOf(tx, office.Organisation); err == nil && !slices.Contains(office.Roles, role) {
				err = ErrNotColleague
			}
		}
		if err != nil {
			return err
		}
		now := c.now()
		sum := gm.SM3(bind("cardflow/custody/proposal/id/1", who.ID, w.Name))
		p := model.Proposal{
			ID: hex.EncodeToString(sum[:16]), Operation: w.Operation, Arguments: string(arguments), Reason: w.Reason, State: model.ProposalProposed,
			Organisation: office.Organisation, Proposer: who.ID, ProposerMarks: marks, CreatedAt: now, ExpiresAt: now + model.Millis(c.proposalLife.Milliseconds()),
		}
		switch old, err := tx.Proposal(p.ID); {
		case err == nil && old.Operation == p.Operation && old.Arguments == p.Arguments && old.Reason == p.Reason:
			out, err = c.view(ctx, tx, old)
			return err
		case err == nil:
			return ErrWish
		case !errors.Is(err, model.ErrNotFound):
			return err
		}
		if p.Description, err = op.describe(ctx, tx, arguments); err != nil {
			return err
		}
		if err := c.sealProposal(ctx, tx, &p); err != nil {
			return err
		}
		if err := tx.AddProposal(p); err != nil {
			return err
		}
		if err := c.record(ctx, tx, entry{who.ID, actPropose, p.ID, evidence(p)}); err != nil {
			return err
		}
		out, err = c.view(ctx, tx, p)
		return err
	})
	if err != nil {
		return Proposal{}, fmt.Errorf("propose: %w", err)
	}
	return out, nil
}

// Approve makes a proposal two people's, and has it carried out. It waits a little for the end; the proposal that it
// answers tells how far it is. Approving again what one has approved changes nothing.
//
// Nobody approves what he has proposed, with whatever account (ErrSelfApproval). ErrProposalExpired: it is too late.
// ErrProposalChanged: as things stand now something else would happen than was proposed. ErrProposerGone: the
// proposer can't propose any more. Also ErrProposalNotFound, ErrProposalDecided, ErrNotOperator.
func (c *Custody) Approve(ctx context.Context, person, id string) (Proposal, error) {
	carry, err := c.approve(ctx, person, id)
	if err != nil {
		return Proposal{}, fmt.Errorf("approve: %w", err)
	}
	if carry {
		c.carryAndWait(ctx, id)
	}
	return c.Proposal(ctx, id)
}

// approve makes a proposal two people's; carry says that it was this call that did.
func (c *Custody) approve(ctx context.Context, person, id string) (carry bool, err error) {
	err = c.decide(ctx, person, id, func(tx *model.Tx) error {
		carry = false
		p, err := c.proposal(ctx, tx, id)
		if err != nil {
			return err
		}
		who, marks, err := decider(tx, p.Organisation, person)
		if err != nil {
			return err
		}
		if p.Decider == who.ID && p.State != model.ProposalRejected && p.State != model.ProposalWithdrawn {
			return nil // he has approved it
		}
		if err := c.apart(tx, p, who, marks); err != nil {
			return err
		}
		if err := c.undecided(p); err != nil {
			return err
		}
		if _, _, err := decider(tx, p.Organisation, p.Proposer); errors.Is(err, ErrNotOperator) || errors.Is(err, ErrNotColleague) {
			return ErrProposerGone
		} else if err != nil {
			return err
		}
		if err := c.same(ctx, tx, p); err != nil {
			return err
		}
		carry = true
		p.Decider, p.DeciderMarks, p.DecidedAt = who.ID, marks, c.now()
		return c.move(ctx, tx, &p, model.ProposalApproved, entry{who.ID, actApprove, p.ID, evidence(p)})
	})
	return carry, err
}

// Reject ends a proposal that somebody else has made. Errors as for Approve, and ErrReason.
func (c *Custody) Reject(ctx context.Context, person, id, reason string) (Proposal, error) {
	return c.refuseProposal(ctx, person, id, reason, false)
}

// Withdraw ends a proposal that one has made oneself.
func (c *Custody) Withdraw(ctx context.Context, person, id, reason string) (Proposal, error) {
	return c.refuseProposal(ctx, person, id, reason, true)
}

func (c *Custody) refuseProposal(ctx context.Context, person, id, reason string, own bool) (Proposal, error) {
	to, act := model.ProposalRejected, actReject
	if own {
		to, act = model.ProposalWithdrawn, actWithdraw
	}
	var out Proposal
	err := c.decide(ctx, person, id, func(tx *model.Tx) error {
		if err := reasonFits(reason); err != nil {
			return err
		}
		p, err := c.proposal(ctx, tx, id)
		if err != nil {
			return err
		}
		who, marks, err := decider(tx, p.Organisation, person)
		if err != nil {
			return err
		}
		switch {
		case p.State == to && p.Decider == who.ID:
			out, err = c.view(ctx, tx, p)
			return err
		case own != (p.Proposer == who.ID):
			return ErrNotProposer
		}
		if err := c.undecided(p); err != nil {
			return err
		}
		p.Decider, p.DeciderMarks, p.DecidedAt, p.Decision, p.EndedAt = who.ID, marks, c.now(), reason, c.now()
		if err := c.move(ctx, tx, &p, to, entry{who.ID, act, p.ID, evidence(p)}); err != nil {
			return err
		}
		out, err = c.view(ctx, tx, p)
		return err
	})
	if err != nil {
		return Proposal{}, fmt.Errorf("%s a proposal: %w", to, err)
	}
	return out, nil
}

// Proposal shows one. Errors: ErrProposalNotFound; ErrProposalForged if custody didn't write the row, which also
// raises an alarm.
func (c *Custody) Proposal(ctx context.Context, id string) (out Proposal, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		p, err := tx.Proposal(id)
		if errors.Is(err, model.ErrNotFound) {
			return ErrProposalNotFound
		}
		if err != nil {
			return err
		}
		out, err = c.view(ctx, tx, p)
		return err
	})
	return out, err
}

// Proposals lists those on which an organisation's people decide, or the platform's for "", newest first; state "" means all. A row that custody didn't write is left out, and raises an
// alarm.
func (c *Custody) Proposals(ctx context.Context, organisation string, state model.ProposalState, cursor string, limit int) (items []Proposal, next string, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.Proposals(organisation, state, cursor, limit)
		if err != nil {
			return err
		}
		items, next = nil, page.Next
		for _, row := range page.Items {
			p, err := c.view(ctx, tx, row)
			if errors.Is(err, ErrProposalForged) {
				continue
			}
			if err != nil {
				return err
			}
			items = append(items, p)
		}
		return nil
	})
	return items, next, err
}

// undecided says why a proposal can't be decided any more.
func (c *Custody) undecided(p model.Proposal) error {
	now := c.now()
	switch {
	case p.State == model.ProposalExpired || p.State == model.ProposalProposed && now >= p.ExpiresAt:
		return ErrProposalExpired
	case p.State != model.ProposalProposed:
		return ErrProposalDecided
	case now < p.CreatedAt-model.Millis(skew.Milliseconds()):
		return ErrClockBack // it could be over for all that this clock knows
	}
	return nil
}

// same describes a proposal again: what would happen now must be what was proposed, word for word.
func (c *Custody) same(ctx context.Context, tx *model.Tx, p model.Proposal) error {
	op, err := c.Dangerous.find(p.Operation)
	if err != nil {
		return err
	}
	now, err := op.describe(ctx, tx, []byte(p.Arguments))
	var e *Error
	switch {
	case errors.As(err, &e) && !alarming[e] && !unable(e):
		return fmt.Errorf("%w: it can't be done any more: %w", ErrProposalChanged, err)
	case err != nil:
		return err
	case now != p.Description:
		return ErrProposalChanged
	}
	return nil
}

// expire ends a proposal that nobody has decided in time. model.ErrState: somebody has, or there is time left.
func (c *Custody) expire(ctx context.Context, tx *model.Tx, id string) error {
	p, err := c.proposal(ctx, tx, id)
	if err != nil {
		return err
	}
	if p.State != model.ProposalProposed || c.now() < p.ExpiresAt {
		return model.ErrState
	}
	p.EndedAt = c.now()
	return c.move(ctx, tx, &p, model.ProposalExpired, entry{"custody", actExpire, p.ID, evidence(p)})
}

// view shows a proposal that custody has written.
func (c *Custody) view(ctx context.Context, tx *model.Tx, p model.Proposal) (Proposal, error) {
	if err := c.genuine(ctx, tx, p); err != nil {
		return Proposal{}, err
	}
	v := Proposal{
		ID: p.ID, Operation: p.Operation, Arguments: json.RawMessage(p.Arguments), Description: p.Description, Reason: p.Reason, State: p.State,
		Organisation: p.Organisation, Decision: p.Decision, ErrorCode: p.ErrorCode, CreatedAt: p.CreatedAt.Time(), ExpiresAt: p.ExpiresAt.Time(),
		DecidedAt: p.DecidedAt.Time(), BegunAt: p.BegunAt.Time(), EndedAt: p.EndedAt.Time(),
	}
	if v.State == model.ProposalProposed && c.now() >= p.ExpiresAt {
		v.State = model.ProposalExpired // nobody can approve it, and soon the row says so
	}
	var err error
	if v.Proposer, err = personOf(tx, p.Proposer); err == nil && p.Decider != "" {
		v.Decider, err = personOf(tx, p.Decider)
	}
	return v, err
}

func personOf(tx *model.Tx, id string) (Person, error) {
	p, err := tx.Person(id)
	return Person{p.ID, p.Username}, err
}

// reasonFits: the other person must be able to read it.
func reasonFits(reason string) error {
	n := utf8.RuneCountInString(strings.TrimSpace(reason))
	if n == 0 || utf8.RuneCountInString(reason) > mostReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl) {
		return ErrReason
	}
	return nil
}
