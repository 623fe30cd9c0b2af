package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cardflow/ledger/request"
	"cardflow/model"
)

// The people who decide about custody, and about what takes two of an organisation: who they are now, whatever their sessions say, and that two of them are two.

// operatorRole is the role of the platform's people who propose and decide.
const operatorRole = "ops"

// operator finds a person of the platform's who may decide now, whatever his session says, and what shows who he is.
func operator(tx *model.Tx, id string) (model.Person, []string, error) {
	return whoMay(tx, id, func(p model.Person) bool { return slices.Contains(p.Roles, operatorRole) }, ErrNotOperator)
}

// Operates says whether a person may run custody now: one of the platform's with the role ops. Errors: ErrNotOperator.
func (c *Custody) Operates(ctx context.Context, person string) error {
	return c.db.Read(ctx, func(tx *model.Tx) error {
		_, _, err := operator(tx, person)
		return err
	})
}

// decider finds a person who may propose and decide in an office now: one of the platform's, or of the organisation's own who
// have its role. What role that is its key says, which no web process writes.
func decider(tx *model.Tx, organisation, id string) (model.Person, []string, error) {
	if organisation == "" {
		return operator(tx, id)
	}
	role, err := roleOf(tx, organisation)
	if err != nil {
		return model.Person{}, nil, err
	}
	return whoMay(tx, id, func(p model.Person) bool {
		return p.ParticipantID == organisation && slices.Contains(p.Roles, string(role))
	}, ErrNotColleague)
}

// roleOf is the role of an organisation whose key is kept here.
func roleOf(tx *model.Tx, organisation string) (request.Role, error) {
	key, err := tx.NewestCustodyKey(organisation, string(Account))
	if errors.Is(err, model.ErrNotFound) {
		err = ErrNotColleague
	}
	return request.Role(key.Role), err
}

// whoMay finds an active person who fits, and what shows who he is.
func whoMay(tx *model.Tx, id string, fits func(model.Person) bool, not error) (model.Person, []string, error) {
	p, err := tx.Person(id)
	if errors.Is(err, model.ErrNotFound) || err == nil && (p.State != model.PersonActive || p.MustChange || !fits(p)) {
		return p, nil, not
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

// decide runs a transaction in which a person decides something, and records a refusal before he hears of it.
func (c *Custody) decide(ctx context.Context, person, id string, fn func(tx *model.Tx) error) error {
	cause := c.write(ctx, fn)
	e, ok := codeOf(cause)
	if !ok || unable(e) {
		return cause
	}
	if c.metrics.Refused != nil {
		c.metrics.Refused(e.Code)
	}
	if alarming[e] && e != ErrProposalForged { // which has raised its own
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
