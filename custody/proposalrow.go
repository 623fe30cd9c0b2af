package custody

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"cardflow/gm"
	"cardflow/model"
)

// The rows of proposals: what only custody can write, and sees that it was.

// leaving are the acts by which a proposal leaves a state.
var leaving = map[model.ProposalState][]string{
	model.ProposalProposed:  {actApprove, actReject, actWithdraw, actExpire},
	model.ProposalApproved:  {actBeginRun, actFailRun},
	model.ProposalExecuting: {actEndRun, actFailRun},
}

// proposal locks a proposal that custody has written, and written last: an older state of a row, which somebody put back,
// has its seal, and the audit says that it is over. Whoever calls has the head of the audit, so nobody moves it meanwhile.
func (c *Custody) proposal(ctx context.Context, tx *model.Tx, id string) (model.Proposal, error) {
	p, err := tx.LockProposal(id)
	if errors.Is(err, model.ErrNotFound) {
		return p, fmt.Errorf("proposal %q: %w", clip(id), ErrProposalNotFound)
	}
	if err != nil {
		return p, err
	}
	if err := c.genuine(ctx, tx, p); err != nil || leaving[p.State] == nil {
		return p, err
	}
	left, err := tx.AuditHas(p.ID, leaving[p.State]...)
	if err == nil && left {
		err = c.forged(p, "an older state was put back")
	}
	return p, err
}

// forged says where someone will see it that a row is not what custody wrote last.
func (c *Custody) forged(p model.Proposal, why string) error {
	c.alarm(ErrProposalForged, "proposal", p.ID, "why", why)
	return fmt.Errorf("proposal %s: %s: %w", p.ID, why, ErrProposalForged)
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

// genuine checks the tag. A false one raises an alarm, whoever comes upon it.
func (c *Custody) genuine(ctx context.Context, tx *model.Tx, p model.Proposal) error {
	err := c.keys.use(ctx, tx, p.KEKVersion, func(kek gm.Secret) error {
		if !hmac.Equal(proposalTag(kek, p), p.Seal) {
			return c.forged(p, "false seal")
		}
		return nil
	})
	if errors.Is(err, model.ErrNotFound) {
		return c.forged(p, "unknown key")
	}
	return err
}

// proposalTag covers all that a row says, but for the lease.
func proposalTag(kek gm.Secret, p model.Proposal) []byte {
	key := gm.Derive(kek, "cardflow/custody/proposal/1", 32)
	defer key.Clear()
	at := func(m model.Millis) string { return strconv.FormatInt(int64(m), 10) }
	fields := []string{p.ID, p.Operation, p.Arguments, p.Description, p.Reason, string(p.State), p.Proposer, string(bind(p.ProposerMarks...)),
		p.Decider, string(bind(p.DeciderMarks...)), p.Decision, p.ErrorCode, at(p.CreatedAt), at(p.ExpiresAt), at(p.DecidedAt), at(p.BegunAt), at(p.EndedAt)}
	if p.Organisation != "" { // rows of before there were any keep their tags
		fields = append(fields, p.Organisation)
	}
	tag := gm.HMAC(key, bind(fields...))
	return tag[:]
}
