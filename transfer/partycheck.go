package transfer

import (
	"context"
	"fmt"
	"slices"

	"cardflow/ledger/contract"
	"cardflow/model"
)

func (c *check) participants(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllParticipants, func(p model.Participant) string { return p.ID }, func(_ *model.Tx, row model.Participant) error {
		seen[row.ID] = true
		problem, err := verdict(ctx, c.truth, c.truth.people, row.ID, c.seen, func(p *contract.Participant) string { return participantDiffers(row, p) })
		if err == nil && problem != "" {
			c.report.find(c.mendParticipant(row.ID, problem))
		}
		return err
	})
	for _, id := range missed(c, c.truth.people, seen) {
		c.report.find(c.mendParticipant(id, "is on the ledger and not in the database"))
	}
	return err
}

func participantDiffers(row model.Participant, p *contract.Participant) string {
	switch {
	case p == nil && row.State == model.ParticipantRegistered:
		return "is registered here and not on the ledger"
	case p == nil:
	case row.State != model.ParticipantRegistered:
		return fmt.Sprintf("is %s here and registered on the ledger", row.State)
	case row.Role != string(p.Role):
		return fmt.Sprintf("is a %s here and a %s on the ledger", row.Role, p.Role)
	case !slices.Contains(p.Keys, row.KeyID):
		return fmt.Sprintf("has key %s here, and not on the ledger", row.KeyID)
	}
	return ""
}

// approvals: what carriers have said of consumers' real names is here what it is on the ledger.
func (c *check) approvals(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllApprovals, model.Approval.Key, func(_ *model.Tx, row model.Approval) error {
		name := row.Carrier + "/" + row.Consumer
		seen[name] = true
		problem, err := verdict(ctx, c.truth, c.truth.names, name, c.seen, func(a *contract.Approval) string { return approvalDiffers(row, a) })
		if err == nil && problem != "" {
			c.report.find(c.mendApproval(name, problem))
		}
		return err
	})
	for _, name := range missed(c, c.truth.names, seen) {
		c.report.find(c.mendApproval(name, "is on the ledger and not in the database"))
	}
	return err
}

func approvalDiffers(row model.Approval, a *contract.Approval) string {
	switch {
	case a == nil:
		return "is here and not on the ledger"
	case row.Version != a.Version:
		return fmt.Sprintf("has version %d here and %d on the ledger", row.Version, a.Version)
	case row.Commitment != a.Commitment || int64(row.ValidUntil) != a.ValidUntil || row.Revoked != a.Revoked:
		return "person, validity or revocation differ"
	}
	return ""
}
