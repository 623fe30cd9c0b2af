package transfer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// The rig's organisations are logged in: what they ask for they ask by a session of custody's, which the rig opens when it
// is first needed. A test that wants none, or another one, speaks to the Service itself.

// consoles are the sessions of staff.
type consoles struct {
	mu       sync.Mutex
	sessions map[string]transfer.SessionToken // by person
}

// console is a caller at his console. Consumers, and whoever has a session, are left as they are.
func (r *rig) console(c transfer.Caller) transfer.Caller {
	if c.Person == "" || c.Session != "" {
		return c
	}
	r.consoles.mu.Lock()
	defer r.consoles.mu.Unlock()
	c.Session = r.consoles.sessions[c.Person]
	ctx := context.WithoutCancel(r.ctx)
	if _, err := r.keys.Session(ctx, custody.LoginToken(c.Session)); err != nil { // or the database was put back
		err := r.db.Write(ctx, func(tx *model.Tx) error {
			if _, err := tx.Person(c.Person); !errors.Is(err, model.ErrNotFound) {
				return err
			}
			return tx.AddPerson(model.Person{
				ID: c.Person, ParticipantID: c.Participant, Username: c.Person, PasswordHash: "x", Roles: []string{string(c.Role)},
				State: model.PersonActive, CreatedAt: 1,
			})
		})
		if err != nil {
			r.t.Error(err)
		}
		s, err := r.keys.LogIn(ctx, custody.Login{Participant: c.Participant, Role: c.Role, Person: c.Person}, sessionLife)
		if err != nil {
			r.t.Error(err)
		}
		c.Session = transfer.SessionToken(s.Token)
		if r.consoles.sessions == nil {
			r.consoles.sessions = map[string]transfer.SessionToken{}
		}
		r.consoles.sessions[c.Person] = c.Session
	}
	return c
}

func (r *rig) Issue(ctx context.Context, c transfer.Caller, i transfer.Idem, in transfer.IssueInput) (transfer.IssueResult, error) {
	return r.Service.Issue(ctx, r.console(c), i, in)
}

func (r *rig) StartImport(ctx context.Context, c transfer.Caller, i transfer.Idem, in transfer.ImportInput) (string, error) {
	return r.Service.StartImport(ctx, r.console(c), i, in)
}

func (r *rig) Offer(ctx context.Context, c transfer.Caller, i transfer.Idem, in transfer.OfferInput) (transfer.OfferResult, error) {
	return r.Service.Offer(ctx, r.console(c), i, in)
}

func (r *rig) Confirm(ctx context.Context, c transfer.Caller, i transfer.Idem, trade, code, last6 string) (transfer.Act, error) {
	return r.Service.Confirm(ctx, r.console(c), i, trade, code, last6)
}

func (r *rig) Decline(ctx context.Context, c transfer.Caller, i transfer.Idem, trade, code, last6, reason, text string) (transfer.Act, error) {
	return r.Service.Decline(ctx, r.console(c), i, trade, code, last6, reason, text)
}

func (r *rig) Cancel(ctx context.Context, c transfer.Caller, i transfer.Idem, trade string) (transfer.Act, error) {
	return r.Service.Cancel(ctx, r.console(c), i, trade)
}

func (r *rig) Return(ctx context.Context, c transfer.Caller, i transfer.Idem, trade, reason string) (transfer.Act, error) {
	return r.Service.Return(ctx, r.console(c), i, trade, reason)
}

func (r *rig) Merge(ctx context.Context, c transfer.Caller, i transfer.Idem, lots []string) (transfer.Act, error) {
	return r.Service.Merge(ctx, r.console(c), i, lots)
}

func (r *rig) Freeze(ctx context.Context, c transfer.Caller, i transfer.Idem, lot string, cards []transfer.Span) (transfer.Act, error) {
	return r.Service.Freeze(ctx, r.console(c), i, lot, cards)
}

// Unfreeze is what two people of an organisation want: the caller, and a colleague.
func (r *rig) Unfreeze(ctx context.Context, c transfer.Caller, i transfer.Idem, lot string, cards []transfer.Span) (transfer.Act, error) {
	p, err := r.propose(ctx, c, i, lot, cards)
	if err != nil {
		return transfer.Act{}, err
	}
	if p, err = r.keys.Approve(ctx, r.colleague(c).Person, p.ID); err != nil || p.State != model.ProposalExecuted {
		return transfer.Act{}, fmt.Errorf("proposal %s is %s (%s): %w", p.ID, p.State, p.ErrorCode, err)
	}
	return r.Await(ctx, p.ID)
}

// propose proposes to unfreeze cards.
func (r *rig) propose(ctx context.Context, c transfer.Caller, i transfer.Idem, lot string, cards []transfer.Span) (custody.Proposal, error) {
	if err := r.MayUnfreeze(ctx, c, lot, cards); err != nil {
		return custody.Proposal{}, err
	}
	u := custody.UnfreezeLot{Organisation: c.Participant, Lot: lot}
	for _, s := range cards {
		u.Segments = append(u.Segments, custody.CardRange{Start: s.Start, End: s.End})
	}
	arguments, err := json.Marshal(u)
	if err != nil {
		return custody.Proposal{}, err
	}
	r.console(c)
	r.colleague(c) // who has been there for long
	return r.keys.Propose(ctx, custody.Draft{Person: c.Person, Name: i.Key, Operation: custody.OperationUnfreeze, Arguments: arguments, Reason: "已核实"})
}

// colleague is another person of a caller's organisation.
func (r *rig) colleague(c transfer.Caller) transfer.Caller {
	c.Person, c.Session = c.Person+"-2", ""
	return r.console(c)
}

// lots introduces the use cases to custody.
type lots struct{ *transfer.Service }

func unfreezing(u custody.UnfreezeLot, role request.Role) transfer.Unfreezing {
	out := transfer.Unfreezing{Organisation: u.Organisation, Role: role, Lot: u.Lot}
	for _, s := range u.Segments {
		out.Segments = append(out.Segments, transfer.Span{Start: s.Start, End: s.End})
	}
	return out
}

func (l lots) DescribeUnfreezing(tx *model.Tx, u custody.UnfreezeLot, role request.Role) (string, error) {
	return l.Service.DescribeUnfreezing(tx, unfreezing(u, role))
}

func (l lots) AcceptUnfreezing(tx *model.Tx, act, person string, u custody.UnfreezeLot, role request.Role) (request.Body, int64, error) {
	return l.Service.AcceptUnfreezing(tx, act, person, unfreezing(u, role))
}

func (r *rig) Retire(ctx context.Context, c transfer.Caller, i transfer.Idem, lot string, cards []transfer.Span) (transfer.Act, error) {
	return r.Service.Retire(ctx, r.console(c), i, lot, cards)
}
