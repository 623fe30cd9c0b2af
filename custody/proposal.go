package custody

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cardflow/gm"
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
	Proposer    Person
	Decider     Person // who approved, rejected or withdrew it
	Decision    string // why it was rejected or withdrawn
	ErrorCode   string // why it failed
	CreatedAt   time.Time
	ExpiresAt   time.Time
	DecidedAt   time.Time
	BegunAt     time.Time
	EndedAt     time.Time
}

// Person is a member of staff, as others may see him.
type Person struct {
	ID       string
	Username string
}

// Draft is what somebody proposes.
type Draft struct {
	Person    string // who; an active one with the role ops
	Name      string // his name for this wish: asked for again under it, it is the same proposal
	Operation string
	Arguments []byte // JSON
	Reason    string // for the other person to read
}

// The role whose people propose and decide.
const operatorRole = "ops"

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
// ErrOperationUnknown, ErrArguments or what the operation says of them, ErrReason, ErrNotOperator, ErrWish if the
// name was used for something else.
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
		arguments, err := op.canonical(w.Arguments)
		if err != nil {
			return err
		}
		who, marks, err := operator(tx, w.Person)
		if err != nil {
			return err
		}
		now := c.now()
		sum := gm.SM3(bind("cardflow/custody/proposal/id/1", who.ID, w.Name))
		p := model.Proposal{
			ID: hex.EncodeToString(sum[:16]), Operation: w.Operation, Arguments: string(arguments), Reason: w.Reason, State: model.ProposalProposed,
			Proposer: who.ID, ProposerMarks: marks, CreatedAt: now, ExpiresAt: now + model.Millis(c.proposalLife.Milliseconds()),
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
		who, marks, err := operator(tx, person)
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
		if _, _, err := operator(tx, p.Proposer); errors.Is(err, ErrNotOperator) {
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
		who, marks, err := operator(tx, person)
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

// Proposals lists them, newest first; state "" means all. A row that custody didn't write is left out, and raises an
// alarm.
func (c *Custody) Proposals(ctx context.Context, state model.ProposalState, cursor string, limit int) (items []Proposal, next string, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.Proposals(state, cursor, limit)
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

// decide runs a transaction in which a person decides something, and records a refusal before he hears of it.
func (c *Custody) decide(ctx context.Context, person, id string, fn func(tx *model.Tx) error) error {
	cause := c.write(ctx, fn)
	e, ok := codeOf(cause)
	if !ok || e == ErrAuditBroken || e == ErrAuditUnwritable || e == ErrClosed {
		return cause
	}
	if c.metrics.Refused != nil {
		c.metrics.Refused(e.Code)
	}
	if alarming[e] {
		c.alarm(e, "proposal", id, "person", person)
	}
	if !printable.MatchString(person) {
		person = ""
	}
	if !printable.MatchString(id) {
		id = ""
	}
	ctx = context.WithoutCancel(ctx)
	err := c.write(ctx, func(tx *model.Tx) error {
		if e == ErrProposalExpired {
			if err := c.expire(ctx, tx, id); err != nil && !errors.Is(err, model.ErrState) {
				return err
			}
		}
		return c.record(ctx, tx, entry{person, actDeny, id, map[string]any{"code": e.Code}})
	})
	if err != nil {
		return fmt.Errorf("%w: while refusing: %w", err, cause)
	}
	return cause
}

// operator finds a person who may propose and decide now, whatever his session says, and what shows who he is.
func operator(tx *model.Tx, id string) (model.Person, []string, error) {
	p, err := tx.Person(id)
	if errors.Is(err, model.ErrNotFound) || err == nil && (p.State != model.PersonActive || p.MustChange || !slices.Contains(p.Roles, operatorRole)) {
		return p, nil, ErrNotOperator
	}
	if err != nil {
		return p, nil, err
	}
	i, err := tx.Identity(p.ID)
	return p, i.Marks(p.ParticipantID), err
}

// apart makes sure that a second account is a second person, as far as the directory shows: another one than the
// proposer's, with no staff number or mobile number of his, now or when it was proposed, and not made since.
func (c *Custody) apart(tx *model.Tx, p model.Proposal, who model.Person, marks []string) error {
	if p.Proposer == who.ID {
		return ErrSelfApproval
	}
	proposer, err := tx.Person(p.Proposer)
	if err != nil {
		return err
	}
	now, err := tx.Identity(p.Proposer)
	if err != nil {
		return err
	}
	for _, mark := range slices.Concat(p.ProposerMarks, now.Marks(proposer.ParticipantID)) {
		if slices.Contains(marks, mark) {
			return ErrSelfApproval
		}
	}
	if who.CreatedAt >= p.CreatedAt {
		return ErrApproverNew
	}
	return nil
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
	case errors.As(err, &e) && !alarming[e] && e != ErrClosed:
		return fmt.Errorf("%w: it can't be done any more: %w", ErrProposalChanged, err)
	case err != nil:
		return err
	case now != p.Description:
		return ErrProposalChanged
	}
	return nil
}

// move moves a proposal and records it.
func (c *Custody) move(ctx context.Context, tx *model.Tx, p *model.Proposal, to model.ProposalState, e entry) error {
	from := p.State
	p.State = to
	if err := c.sealProposal(ctx, tx, p); err != nil {
		return err
	}
	if err := tx.MoveProposal(from, *p); err != nil {
		return err
	}
	return c.record(ctx, tx, e)
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

// proposal locks a proposal that custody has written.
func (c *Custody) proposal(ctx context.Context, tx *model.Tx, id string) (model.Proposal, error) {
	p, err := tx.LockProposal(id)
	if errors.Is(err, model.ErrNotFound) {
		return p, fmt.Errorf("proposal %q: %w", clip(id), ErrProposalNotFound)
	}
	if err != nil {
		return p, err
	}
	return p, c.genuine(ctx, tx, p)
}

// view shows a proposal that custody has written.
func (c *Custody) view(ctx context.Context, tx *model.Tx, p model.Proposal) (Proposal, error) {
	if err := c.genuine(ctx, tx, p); err != nil {
		if errors.Is(err, ErrProposalForged) {
			c.alarm(ErrProposalForged, "proposal", p.ID)
		}
		return Proposal{}, err
	}
	v := Proposal{
		ID: p.ID, Operation: p.Operation, Arguments: json.RawMessage(p.Arguments), Description: p.Description, Reason: p.Reason, State: p.State,
		Decision: p.Decision, ErrorCode: p.ErrorCode, CreatedAt: p.CreatedAt.Time(), ExpiresAt: p.ExpiresAt.Time(),
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

// evidence is what the audit says of a proposal: its content by digest, so that a row that was exchanged shows.
func evidence(p model.Proposal) map[string]any {
	sum := gm.SM3(bind(p.Operation, p.Arguments, p.Description, p.Reason, p.Proposer))
	e := map[string]any{"operation": p.Operation, "proposer": p.Proposer, "content": hex.EncodeToString(sum[:])}
	if p.Decider != "" {
		e["decider"] = p.Decider
	}
	if p.ErrorCode != "" {
		e["code"] = p.ErrorCode
	}
	return e
}

// sealProposal puts the tag into a row that is complete but for it.
func (c *Custody) sealProposal(ctx context.Context, tx *model.Tx, p *model.Proposal) error {
	var err error
	if p.KEKVersion, err = newestKEK(tx); err != nil {
		return err
	}
	return c.keys.use(ctx, tx, p.KEKVersion, func(kek gm.Secret) error {
		p.Seal = proposalTag(kek, *p)
		return nil
	})
}

// genuine checks the tag.
func (c *Custody) genuine(ctx context.Context, tx *model.Tx, p model.Proposal) error {
	err := c.keys.use(ctx, tx, p.KEKVersion, func(kek gm.Secret) error {
		if !hmac.Equal(proposalTag(kek, p), p.Seal) {
			return fmt.Errorf("proposal %s: %w", p.ID, ErrProposalForged)
		}
		return nil
	})
	if errors.Is(err, model.ErrNotFound) {
		return fmt.Errorf("proposal %s names an unknown key: %w", p.ID, ErrProposalForged)
	}
	return err
}

// proposalTag covers all that a row says, but for the lease.
func proposalTag(kek gm.Secret, p model.Proposal) []byte {
	key := gm.Derive(kek, "cardflow/custody/proposal/1", 32)
	defer key.Clear()
	at := func(m model.Millis) string { return strconv.FormatInt(int64(m), 10) }
	tag := gm.HMAC(key, bind(p.ID, p.Operation, p.Arguments, p.Description, p.Reason, string(p.State), p.Proposer, string(bind(p.ProposerMarks...)),
		p.Decider, string(bind(p.DeciderMarks...)), p.Decision, p.ErrorCode, at(p.CreatedAt), at(p.ExpiresAt), at(p.DecidedAt), at(p.BegunAt), at(p.EndedAt)))
	return tag[:]
}

// reasonFits: the other person must be able to read it.
func reasonFits(reason string) error {
	n := utf8.RuneCountInString(strings.TrimSpace(reason))
	if n == 0 || utf8.RuneCountInString(reason) > mostReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl) {
		return ErrReason
	}
	return nil
}
