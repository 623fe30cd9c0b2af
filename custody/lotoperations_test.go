package custody_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// fakeLots knows one kind of lot, and counts, in the database, how often an act was accepted.
type fakeLots struct{}

func (fakeLots) DescribeUnfreezing(_ *model.Tx, u custody.UnfreezeLot, role request.Role) (string, error) {
	if !strings.HasPrefix(u.Lot, "frozen") {
		return "", fmt.Errorf("lot %s: %w", u.Lot, custody.ErrNotFrozen)
	}
	return fmt.Sprintf("解冻 %s，由 %s（%s）", u.Lot, u.Organisation, role), nil
}

func (fakeLots) AcceptUnfreezing(tx *model.Tx, act, _ string, u custody.UnfreezeLot, _ request.Role) (request.Body, int64, error) {
	name := "act:" + act
	q, err := tx.QuotasNamed(name)
	if err != nil {
		return nil, 0, err
	}
	n := int64(1)
	if len(q) > 0 {
		n += q[0].Daily
	}
	return request.Unfreeze{LotAct: request.LotAct{Lot: u.Lot, Version: 1}}, until, tx.SetQuota(model.Quota{Name: name, Daily: n, ChangedBy: "test"})
}

// carriers adds two carriers with a key each and their people, and a shop.
func (r *rig) carriers() {
	r.t.Helper()
	for owner, role := range map[string]request.Role{"cmcc": request.Carrier, "cucc": request.Carrier, "shop": request.Retailer} {
		r.ensure(owner, role, custody.Account)
		r.write(func(tx *model.Tx) error {
			return tx.AddParticipant(model.Participant{ID: owner, Role: string(role), Kind: model.Organisation, State: model.ParticipantRegistered, CreatedAt: 1})
		})
	}
	for id, p := range map[string]struct{ of, role string }{
		"m-1": {"cmcc", "carrier"}, "m-2": {"cmcc", "carrier"}, "m-3": {"cmcc", "carrier"}, "m-look": {"cmcc", "auditor"},
		"u-1": {"cucc", "carrier"}, "u-2": {"cucc", "carrier"}, "s-1": {"shop", "retailer"},
	} {
		r.write(func(tx *model.Tx) error {
			return tx.AddPerson(model.Person{ID: id, ParticipantID: p.of, Username: id, PasswordHash: "x", Roles: []string{p.role},
				State: model.PersonActive, CreatedAt: model.MillisOf(start.Add(-time.Hour))})
		})
	}
}

// thaw proposes to unfreeze a lot.
func (r *rig) thaw(c *custody.Custody, person, organisation, lot string) (custody.Proposal, error) {
	return c.Propose(r.t.Context(), custody.Draft{Person: person, Name: "thaw-" + lot, Operation: custody.OperationUnfreeze,
		Arguments: fmt.Appendf(nil, `{"organisation":%q,"lot":%q,"segments":[{"start":"1"}]}`, organisation, lot), Reason: "已核实"})
}

// thawed is what is signed for a carrier as the act of a proposal.
func thawed(id, lot string) (custody.Ask, request.Body) {
	return custody.Ask{Owner: "cmcc", Slot: custody.Account, Subject: id, Attempt: 1, NotAfter: until, Actor: "relay"},
		request.Unfreeze{LotAct: request.LotAct{Lot: lot, Version: 7}} // which version, depends on when its turn comes
}

// TestUnfreezeTakesTwo: two people of the organisation that has frozen let cards go, and nobody else, and no one alone.
func TestUnfreezeTakesTwo(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.carriers()
		r.OperateLots(fakeLots{})
		for _, c := range []struct {
			person, organisation, lot string
			want                      error
		}{
			{"m-1", "cmcc", "another", custody.ErrNotFrozen},
			{"m-1", "", "frozen-1", custody.ErrArguments},
			{"u-1", "cmcc", "frozen-1", custody.ErrNotColleague},
			{"m-1", "cucc", "frozen-1", custody.ErrNotColleague},
			{"m-look", "cmcc", "frozen-1", custody.ErrNotColleague},
			{"p-li", "cmcc", "frozen-1", custody.ErrNotColleague},
			{"p-li", "platform", "frozen-1", custody.ErrNotColleague},
			{"s-1", "shop", "frozen-1", custody.ErrNotColleague}, // a shop freezes nothing
			{"m-1", "nobody", "frozen-1", custody.ErrNotColleague},
		} {
			_, err := r.thaw(r.Custody, c.person, c.organisation, c.lot)
			if !errors.Is(err, c.want) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		p, err := r.thaw(r.Custody, "m-1", "cmcc", "frozen-1")
		if err != nil || p.Organisation != "cmcc" || !strings.Contains(p.Description, "解冻 frozen-1，由 cmcc（carrier）") {
			t.Fatalf("%+v, %v", p, err)
		}
		quota := r.raise("wish-1", 20_000_000)

		ask, body := thawed(p.ID, "frozen-1")
		refused := func(what string, ask custody.Ask, body request.Body) {
			t.Helper()
			if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrUnauthorised) {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("nobody has approved it", ask, body)
		s, err := r.LogIn(t.Context(), custody.Login{Participant: "cmcc", Role: request.Carrier, Person: "m-1"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, r.Authorise(t.Context(), s.Token, p.ID, body, until), custody.ErrTwoPeople)
		if !slices.Contains(r.heard(&r.alarms), custody.ErrTwoPeople.Code) {
			t.Error("no alarm")
		}

		_, err = r.Approve(t.Context(), "m-1", p.ID)
		wantErr(t, err, custody.ErrSelfApproval)
		for _, outsider := range []string{"u-1", "p-wang", "m-look", "s-1", "nobody"} {
			_, err = r.Approve(t.Context(), outsider, p.ID)
			wantErr(t, err, custody.ErrNotColleague)
			_, err = r.Reject(t.Context(), outsider, p.ID, "不")
			wantErr(t, err, custody.ErrNotColleague)
		}
		_, err = r.Approve(t.Context(), "m-2", quota.ID)
		wantErr(t, err, custody.ErrNotOperator)
		r.identity("m-1", "1007", "")
		r.identity("m-3", "1007", "")
		_, err = r.Approve(t.Context(), "m-3", p.ID)
		wantErr(t, err, custody.ErrSelfApproval)
		refused("nobody has approved it yet", ask, body)

		for organisation, want := range map[string]string{"cmcc": p.ID, "cucc": "", "": quota.ID} {
			got := ""
			list, _, err := r.Proposals(t.Context(), organisation, model.ProposalProposed, "", 0)
			for _, p := range list {
				got += p.ID
			}
			if err != nil || got != want {
				t.Errorf("of %q: %q, %v", organisation, got, err)
			}
		}

		done, err := r.Approve(t.Context(), "m-2", p.ID)
		if err != nil || done.State != model.ProposalExecuted {
			t.Fatalf("%+v, %v", done, err)
		}
		r.acceptedOnce(p.ID)
		other := request.Unfreeze{LotAct: request.LotAct{Lot: "frozen-2"}}
		refused("another lot", ask, other)
		elsewhere := ask
		elsewhere.Subject = "another-act"
		refused("another act", elsewhere, body)
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("what two people want: %v", err)
		}

		// What one person had asked for, before it took two, is not signed.
		r.exec(`DROP TRIGGER custody_authorisations_fixed`)
		r.exec(`UPDATE custody_authorisations SET session = ?`, strings.Repeat("ab", 32))
		ask.Attempt = 2
		if err := r.CloseAttempt(t.Context(), "cmcc", "Unfreeze", p.ID, 1, model.DefinitelyInvalid, "relay"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Sign(t.Context(), ask, body); err == nil {
			t.Error("signed for one person")
		}
		r.whole()
	})
}

// acceptedOnce wants one act and one authorisation of a proposal.
func (r *rig) acceptedOnce(id string) {
	r.t.Helper()
	if n := r.count(`SELECT COALESCE(SUM(daily), 0) FROM custody_quotas WHERE name = ?`, "act:"+id); n != 1 {
		r.t.Errorf("the act was accepted %d times", n)
	}
	if n := r.count(`SELECT COUNT(*) FROM custody_authorisations WHERE subject = ?`, id); n != 1 {
		r.t.Errorf("%d authorisations", n)
	}
	if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'lot.unfreeze' AND detail LIKE ?`, "%"+id+"%"); n != 1 {
		r.t.Errorf("%d rows of it in the audit", n)
	}
}

// TestUnfreezeApprovedAtOnce: of two colleagues who approve at once, on two servers, one does, and there is one act.
func TestUnfreezeApprovedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.carriers()
		other := r.open()
		r.OperateLots(fakeLots{})
		other.OperateLots(fakeLots{})
		for round := range 3 {
			p, err := r.thaw(r.Custody, "m-1", "cmcc", fmt.Sprint("frozen-", round))
			if err != nil {
				t.Fatal(err)
			}
			errs := make([]error, 2)
			var wg sync.WaitGroup
			for i, c := range []*custody.Custody{r.Custody, other} {
				wg.Go(func() { _, errs[i] = c.Approve(t.Context(), []string{"m-2", "m-3"}[i], p.ID) })
				wg.Go(func() {
					if err := c.Attend(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), custody.ErrProposalDecided) {
				t.Errorf("approved at once: %v", errs)
			}
			r.executed(p.ID)
			r.acceptedOnce(p.ID)
		}
		r.whole()
	})
}

// unfreezing is the chore of approving an unfreezing and carrying it out: whatever is killed, there is one act, and the key signs
// it.
var unfreezing = chore{points: 4,
	rig: func(r *rig) {
		r.carriers()
		r.OperateLots(fakeLots{})
	},
	before: func(r *rig, name string) {
		if _, err := r.thaw(r.Custody, "m-1", "cmcc", "frozen-"+name); err != nil {
			r.t.Fatal(err)
		}
	},
	do: func(r *rig, j job) error {
		r.OperateLots(fakeLots{})
		_, err := r.Approve(r.t.Context(), "m-2", r.thawOf(j.Round))
		return err
	},
	after: func(r *rig, j job) {
		id := r.thawOf(j.Round)
		r.clock.ahead.Add(2 * 60 * second) // the lease of the one that died is over
		if _, err := r.Approve(r.t.Context(), "m-2", id); err != nil {
			r.t.Errorf("%s: %v", j.Round, err)
		}
		r.executed(id)
		r.acceptedOnce(id)
		ask, body := thawed(id, "frozen-"+j.Round)
		if _, _, err := r.Sign(r.t.Context(), ask, body); err != nil {
			r.t.Errorf("%s: %v", j.Round, err)
		}
	},
}

// thawOf finds the proposal of a round.
func (r *rig) thawOf(round string) string {
	r.t.Helper()
	list, _, err := r.Proposals(r.t.Context(), "cmcc", "", "", 200)
	for _, p := range list {
		if strings.Contains(p.Description, "frozen-"+round) {
			return p.ID
		}
	}
	r.t.Fatalf("%s: no proposal, %v", round, err)
	return ""
}
