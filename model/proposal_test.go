package model_test

import (
	"errors"
	"fmt"
	"testing"

	"cardflow/model"
)

func proposal(id string, state model.ProposalState) model.Proposal {
	p := model.Proposal{
		ID: id, Operation: "quota.raise", Arguments: "{}", Description: "会发生什么", Reason: "理由", State: state, Proposer: "li",
		ProposerMarks: []string{"staff:platform/1"}, CreatedAt: now, ExpiresAt: now + 1000, KEKVersion: 1, Seal: []byte("seal"),
	}
	if state != model.ProposalProposed && state != model.ProposalExpired {
		p.Decider, p.DecidedAt = "wang", now+1
	}
	return p
}

// TestProposalMoves asks Go and the database about every pair of states.
func TestProposalMoves(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error {
			for _, from := range model.ProposalMoves.States() {
				for _, to := range model.ProposalMoves.States() {
					can := model.ProposalMoves.Can(from, to)
					raw, moved := fmt.Sprintf("%s-%s-raw", from, to), fmt.Sprintf("%s-%s", from, to)
					if err := errors.Join(tx.AddProposal(proposal(raw, from)), tx.AddProposal(proposal(moved, from))); err != nil {
						return err
					}
					err := tx.Exec("UPDATE custody_proposals SET state = ?, decider = 'wang' WHERE id = ?", to, raw)
					if (err == nil) != (can || from == to) || err != nil && !errors.Is(err, model.ErrState) {
						t.Errorf("the database moves %s to %s: %v; the table says %t", from, to, err, can)
					}
					next := proposal(moved, to)
					next.Decider, next.DecidedAt = proposal(moved, from).Decider, proposal(moved, from).DecidedAt
					if next.Decider == "" && to != model.ProposalExpired {
						next.Decider, next.DecidedAt = "wang", now+1
					}
					if err := tx.MoveProposal(from, next); (err == nil) != can || err != nil && !errors.Is(err, model.ErrState) {
						t.Errorf("Go moves %s to %s: %v; the table says %t", from, to, err, can)
					}
				}
			}
			return nil
		})
	})
}

// TestProposalIsFixed: what a proposal says, who made it and who decided stay as they are, no one is both, and no row goes.
func TestProposalIsFixed(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error { return tx.AddProposal(proposal("a", model.ProposalProposed)) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddProposal(proposal("a", model.ProposalProposed)) })
		for _, change := range []string{
			"operation = 'x'", "arguments = 'x'", "description = 'x'", "reason = 'x'", "proposer = 'x'", "proposer_marks = 'x'", "organisation = 'x'", "created_at = 1", "expires_at = expires_at + 1",
		} {
			refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.Exec("UPDATE custody_proposals SET " + change + " WHERE id = 'a'") })
		}
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.Exec("DELETE FROM custody_proposals") })
		self := proposal("a", model.ProposalApproved)
		self.Decider = "li"
		if err := db.Write(t.Context(), func(tx *model.Tx) error { return tx.MoveProposal(model.ProposalProposed, self) }); err == nil {
			t.Error("one person was two")
		}
		write(t, db, func(tx *model.Tx) error {
			return tx.MoveProposal(model.ProposalProposed, proposal("a", model.ProposalApproved))
		})
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			return tx.Exec("UPDATE custody_proposals SET decider = 'zhao' WHERE id = 'a'")
		})
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			return tx.MoveProposal(model.ProposalProposed, proposal("a", model.ProposalApproved))
		})
	})
}

// TestProposalsToDo finds what is to be done, and leases it to one.
func TestProposalsToDo(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error {
			for i, s := range model.ProposalMoves.States() {
				p := proposal(string(s), s)
				p.CreatedAt += model.Millis(i)
				if err := tx.AddProposal(p); err != nil {
					return err
				}
			}
			return nil
		})
		ids := func(list []model.Proposal) (out string) {
			for _, p := range list {
				out += p.ID + " "
			}
			return out
		}
		due := func(at model.Millis) string {
			return ids(read(t, db, func(tx *model.Tx) ([]model.Proposal, error) { return tx.ProposalsToExpire(at, 9) })) + "| " +
				ids(read(t, db, func(tx *model.Tx) ([]model.Proposal, error) { return tx.ProposalsToCarry(at, 9) }))
		}
		if got := due(now); got != "| approved executing " {
			t.Errorf("due %q", got)
		}
		write(t, db, func(tx *model.Tx) error { return tx.LeaseProposal("executing", "", "one", now+500) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.LeaseProposal("executing", "", "two", now+500) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.LeaseProposal("approved", "", "two", now+500) })
		if got := due(now); got != "| approved " {
			t.Errorf("due %q", got)
		}
		if got := due(now + 1000); got != "proposed | approved executing " {
			t.Errorf("due %q", got)
		}
		page := read(t, db, func(tx *model.Tx) (model.Page[model.Proposal], error) { return tx.Proposals("", "", "", 3) })
		rest := read(t, db, func(tx *model.Tx) (model.Page[model.Proposal], error) { return tx.Proposals("", "", page.Next, 9) })
		if got := ids(page.Items) + "| " + ids(rest.Items); got != "expired withdrawn rejected | failed executed executing approved proposed " {
			t.Errorf("pages %q", got)
		}
		one := read(t, db, func(tx *model.Tx) (model.Page[model.Proposal], error) {
			return tx.Proposals("", model.ProposalFailed, "", 9)
		})
		write(t, db, func(tx *model.Tx) error {
			p := proposal("theirs", model.ProposalProposed)
			p.Organisation = "cmcc"
			return tx.AddProposal(p)
		})
		for organisation, want := range map[string]string{"cmcc": "theirs ", "": "proposed ", "cucc": ""} {
			if got := ids(read(t, db, func(tx *model.Tx) (model.Page[model.Proposal], error) {
				return tx.Proposals(organisation, model.ProposalProposed, "", 9)
			}).Items); got != want {
				t.Errorf("proposals of %q: %q", organisation, got)
			}
		}
		if ids(one.Items) != "failed " || one.Items[0].ProposerMarks[0] != "staff:platform/1" {
			t.Errorf("%+v", one.Items)
		}
	})
}

// TestQuotasAndUsage: what was stored last holds, and a row of usage is one key's.
func TestQuotasAndUsage(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		for _, n := range []int64{5, 3} {
			write(t, db, func(tx *model.Tx) error {
				return errors.Join(tx.SetQuota(model.Quota{Name: "platform", Daily: n, ChangedBy: "li", ChangedAt: now}), tx.SetQuota(model.Quota{Name: "role:x", Daily: n + 1}))
			})
		}
		got := read(t, db, func(tx *model.Tx) ([]model.Quota, error) { return tx.QuotasNamed("platform", "other") })
		all := read(t, db, func(tx *model.Tx) ([]model.Quota, error) { return tx.Quotas() })
		if len(got) != 1 || got[0].Daily != 3 || got[0].ChangedBy != "li" || len(all) != 2 {
			t.Errorf("%+v, %+v", got, all)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.Usage("ann", "account"); return err })
		u := model.Usage{Owner: "ann", Slot: "account", Day: 7, Used: 1, Usual: 2, BusyUntil: 3, StoppedAt: 4}
		write(t, db, func(tx *model.Tx) error { return tx.SaveUsage(u, false) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.SaveUsage(u, false) })
		u.Used, u.StoppedAt = 0, 0
		write(t, db, func(tx *model.Tx) error { return tx.SaveUsage(u, true) })
		if got := read(t, db, func(tx *model.Tx) (model.Usage, error) { return tx.Usage("ann", "account") }); got != u {
			t.Errorf("%+v", got)
		}
	})
}
