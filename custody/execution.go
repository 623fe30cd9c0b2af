package custody

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Execution is a proposal that is being carried out. After a kill there is another one of the same proposal.
type Execution struct {
	ID       string // of the proposal: the same each time
	Proposer string // persons
	Approver string

	custody   *Custody
	operation operation
	lease     string
	begun     int64 // the row of the audit that says so, or a later one
	ended     bool
}

// Timing of executions.
const (
	executionLease = time.Minute      // after a server died, another one carries on
	executionWait  = 10 * time.Second // how long whoever approves waits for the end
	executionAgain = 15 * time.Second // after something went wrong that may be right next time
	executionLook  = 2 * time.Second  // how often to look for what expired, and for what another server left
	executionBatch = 20
)

// Commit runs fn in the transaction that ends the proposal as executed: what fn writes is written once, whatever is
// killed and whoever else carries the proposal out. An *Error of fn ends it as failed. fn may run more than once
// before one run of it counts.
func (x *Execution) Commit(ctx context.Context, fn func(tx *model.Tx) error) error {
	c := x.custody
	err := c.write(ctx, func(tx *model.Tx) error {
		p, err := c.proposal(ctx, tx, x.ID)
		if err != nil {
			return err
		}
		if p.State == model.ProposalExecuted {
			return nil // by who carried it on after this one had lost it
		}
		if p.State != model.ProposalExecuting || p.LeaseOwner != x.lease {
			return errExecutionLost
		}
		if fn != nil {
			if err := fn(tx); err != nil {
				return err
			}
		}
		p.EndedAt, p.LeaseUntil = c.now(), 0
		return c.move(ctx, tx, &p, model.ProposalExecuted, entry{p.Decider, actEndRun, p.ID, evidence(p)})
	})
	x.ended = err == nil
	return err
}

// Record appends to the audit, within a transaction of the operation's own, that a step of it was done.
func (x *Execution) Record(ctx context.Context, tx *model.Tx, act, subject string, detail map[string]any) error {
	detail["proposal"] = x.ID
	return x.custody.record(ctx, tx, entry{x.Approver, act, subject, detail})
}

// Authorise stores, in the transaction of Commit, that two people want a request signed as the act that has this subject, until
// notAfter (ms). It is the only way to a signature under what takes two.
func (x *Execution) Authorise(tx *model.Tx, owner, subject string, body request.Body, notAfter int64) error {
	c := x.custody
	row := model.CustodyAuthorisation{
		Owner: owner, Function: body.Function(), Subject: subject, Digest: c.wanted(body), Session: byTwo + x.ID,
		LoginAt: c.now(), AskedAt: c.now(), NotAfter: model.Millis(notAfter),
	}
	var err error
	if row.Tag, err = c.tag(authorisationFields(row)...); err != nil {
		return err
	}
	return tx.AddCustodyAuthorisation(row)
}

// errExecutionLost: another server carries the proposal out by now.
var errExecutionLost = errors.New("the proposal is another's to carry out by now")

// carryAndWait carries a proposal out and waits a little for the end. Whoever hangs up stops nothing.
func (c *Custody) carryAndWait(ctx context.Context, id string) {
	done := make(chan struct{})
	c.running.Go(func() {
		defer close(done)
		c.carry(c.run, id)
	})
	timer := time.NewTimer(executionWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// carry carries a proposal out as far as it goes. Nothing is lost if it is stopped, at any point: the row says that it
// was approved, or begun, and whoever looks next goes on.
func (c *Custody) carry(ctx context.Context, id string) {
	x, arguments, err := c.beginExecution(ctx, id)
	if err == nil && x == nil {
		return
	}
	if err == nil {
		err = c.execute(ctx, x, arguments)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, errExecutionLost) && !errors.Is(err, model.ErrState) {
		c.logger.Error("custody: a proposal could not be carried out, and will be tried again", "proposal", id, "error", err)
	}
}

// beginExecution records that a proposal begins, before anything of it is done, or takes over one that nobody carries
// on. nil without an error: there is nothing to do here.
func (c *Custody) beginExecution(ctx context.Context, id string) (x *Execution, arguments []byte, err error) {
	lease := c.token()
	err = c.write(ctx, func(tx *model.Tx) error {
		x = nil
		p, err := c.proposal(ctx, tx, id)
		if err != nil {
			return err
		}
		until := c.now() + model.Millis(executionLease.Milliseconds())
		switch {
		case p.State == model.ProposalApproved:
			err := c.same(ctx, tx, p)
			if errors.Is(err, ErrProposalChanged) {
				return c.failExecution(ctx, tx, p, ErrProposalChanged)
			}
			if err != nil {
				return err // an operation that this server doesn't know is for another one
			}
			p.BegunAt, p.LeaseOwner, p.LeaseUntil = c.now(), lease, until
			if err := c.move(ctx, tx, &p, model.ProposalExecuting, entry{p.Decider, actBeginRun, p.ID, evidence(p)}); err != nil {
				return err
			}
		case p.State == model.ProposalExecuting && model.LeaseOver(p.LeaseUntil, c.now()):
			if _, err := c.Dangerous.find(p.Operation); err != nil {
				return err
			}
			if err := tx.LeaseProposal(p.ID, p.LeaseOwner, lease, until); err != nil {
				return err
			}
		default:
			return nil
		}
		op, err := c.Dangerous.find(p.Operation)
		if err != nil {
			return err
		}
		h, err := tx.AuditHead()
		x = &Execution{ID: p.ID, Proposer: p.Proposer, Approver: p.Decider, custody: c, operation: op, lease: lease, begun: h.Seq}
		arguments = []byte(p.Arguments)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("begin: %w", err)
	}
	return x, arguments, nil
}

// execute does it, and says how it ended.
func (c *Custody) execute(ctx context.Context, x *Execution, arguments []byte) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	kept := make(chan struct{})
	go func() { defer close(kept); c.keepLease(ctx, stop, x) }()
	err := c.vouched(ctx, x)
	if err == nil {
		err = x.do(ctx, arguments)
	}
	stop()
	<-kept
	// What is recorded now is recorded also if the server is stopping.
	ctx = context.WithoutCancel(ctx)
	if err == nil && !x.ended {
		err = x.Commit(ctx, nil)
	}
	e, definite := codeOf(err)
	if definite && !unable(e) {
		return errors.Join(err, c.write(ctx, func(tx *model.Tx) error {
			p, err := c.proposal(ctx, tx, x.ID)
			if err != nil {
				return err
			}
			if p.State != model.ProposalExecuting || p.LeaseOwner != x.lease {
				return errExecutionLost
			}
			return c.failExecution(ctx, tx, p, e)
		}))
	}
	if err != nil && !errors.Is(err, errExecutionLost) {
		return errors.Join(err, c.db.Write(ctx, func(tx *model.Tx) error {
			return tx.LeaseProposal(x.ID, x.lease, x.lease, c.now()+model.Millis(executionAgain.Milliseconds()))
		}))
	}
	return err
}

// do runs the operation. One that panics is tried again like one that failed: it must not take the server down, again
// at each start.
func (x *Execution) do(ctx context.Context, arguments []byte) (err error) {
	defer func() {
		if died := recover(); died != nil {
			err = fmt.Errorf("operation panicked: %v\n%s", died, debug.Stack())
		}
	}()
	return x.operation.execute(ctx, x, arguments)
}

// keepLease prolongs the lease while the operation runs, and stops the operation when the lease is another's.
func (c *Custody) keepLease(ctx context.Context, stop func(), x *Execution) {
	tick := time.NewTicker(executionLease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := c.db.Write(ctx, func(tx *model.Tx) error {
			return tx.LeaseProposal(x.ID, x.lease, x.lease, c.now()+model.Millis(executionLease.Milliseconds()))
		})
		if errors.Is(err, model.ErrState) {
			stop()
			return
		}
	}
}

// failExecution ends a proposal that can't be done.
func (c *Custody) failExecution(ctx context.Context, tx *model.Tx, p model.Proposal, e *Error) error {
	p.ErrorCode, p.EndedAt, p.LeaseUntil = e.Code, c.now(), 0
	return c.move(ctx, tx, &p, model.ProposalFailed, entry{p.Decider, actFailRun, p.ID, evidence(p)})
}

// Attend appends what has waited for the audit, ends what nobody decided in time, and carries on what two people want and
// a server has left: once, and waits for it. A new root that two people let wait for too long is forgotten.
func (c *Custody) Attend(ctx context.Context) error { return c.attendBy(ctx, func(f func()) { f() }) }

func (c *Custody) attendBy(ctx context.Context, start func(func())) error {
	if err := c.appendWaiting(ctx); err != nil {
		return fmt.Errorf("append what waits: %w", err)
	}
	var late, left []model.Proposal
	err := c.db.Read(ctx, func(tx *model.Tx) (err error) {
		if late, err = tx.ProposalsToExpire(c.now(), executionBatch); err != nil {
			return err
		}
		left, err = tx.ProposalsToCarry(c.now(), executionBatch)
		return err
	})
	if err != nil {
		return err
	}
	errs := []error{c.dropOldRoot(ctx)}
	for _, p := range late {
		err := c.write(ctx, func(tx *model.Tx) error { return c.expire(ctx, tx, p.ID) })
		if err != nil && !errors.Is(err, model.ErrState) {
			errs = append(errs, fmt.Errorf("expire proposal %s: %w", p.ID, err))
		}
	}
	for _, p := range left {
		start(func() { c.carry(ctx, p.ID) })
	}
	return errors.Join(errs...)
}

// attend does so until ctx ends, and lets what takes long run beside.
func (c *Custody) attend(ctx context.Context) {
	var forgot time.Time
	for {
		timer := time.NewTimer(executionLook)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := c.attendBy(ctx, c.running.Go); err != nil && ctx.Err() == nil {
			c.logger.Error("custody: in the background", "error", err)
		}
		if now := c.clock(); now.Sub(forgot) > time.Hour {
			forgot = now
			if err := c.forgetLogins(ctx); err != nil && ctx.Err() == nil {
				c.logger.Error("custody: logins that are over", "error", err)
			}
		}
	}
}
