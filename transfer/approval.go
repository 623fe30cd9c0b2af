package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer/realname"
)

// The carrier's side of real names: its people look at who wants to register, and sign with the carrier's key what goes on
// the ledger.

// ApprovalView is a registration as the carrier's people see it.
type ApprovalView struct {
	ID             string
	Kind           string // APPROVE; REVOKE of what its owner takes back
	State          string // of model.RealName
	Consumer       string // pseudonym
	Method         string
	Name           string // masked in lists; gone once it is decided
	IDNumber       string
	Accounts       int64 // of the same person, that are approved
	Verifier       string
	Finding        string
	Reason         string
	Text           string
	Decider        string
	ConfirmationID string
	SubmittedAt    time.Time
	DecidedAt      *time.Time
	ValidUntil     *time.Time
}

// approves refuses everybody but carriers.
func approves(c Caller) error {
	if c.Role != request.Carrier {
		return fail("FORBIDDEN")
	}
	return nil
}

// Approvals lists the registrations with the caller's carrier, newest first: those that wait for its people, or all.
func (s *Service) Approvals(ctx context.Context, c Caller, waiting bool, cursor string, limit int) (Page[ApprovalView], error) {
	if err := approves(c); err != nil {
		return Page[ApprovalView]{}, err
	}
	var out Page[ApprovalView]
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.RealNamesWith(c.Participant, waiting, cursor, limit)
		if err != nil {
			return err
		}
		out = Page[ApprovalView]{Next: page.Next}
		for _, r := range page.Items {
			v, err := s.viewApproval(tx, r)
			if err != nil {
				return err
			}
			v.Name, v.IDNumber = realname.MaskName(v.Name), realname.MaskIDNumber(v.IDNumber)
			out.Items = append(out.Items, v)
		}
		return nil
	})
	return out, cursorError(err)
}

// Approval shows one registration with who its owner is, and notes who has looked. Errors: APPROVAL_NOT_FOUND.
func (s *Service) Approval(ctx context.Context, c Caller, id string) (v ApprovalView, err error) {
	if err := approves(c); err != nil {
		return v, err
	}
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		r, err := theirs(c, id, tx.RealName)
		if err != nil {
			return err
		}
		v, err = s.viewApproval(tx, r)
		return err
	})
	if err == nil && v.IDNumber != "" {
		s.Logger.Info("real name: looked at", "registration", id, "carrier", c.Participant, "person", c.Person)
	}
	return v, err
}

// theirs fetches a registration for the carrier that it is with, and for nobody else.
func theirs(c Caller, id string, fetch func(id string) (model.RealName, error)) (model.RealName, error) {
	r, err := fetch(id)
	if errors.Is(err, model.ErrNotFound) || err == nil && r.Carrier != c.Participant {
		err = fail("APPROVAL_NOT_FOUND")
	}
	return r, err
}

func (s *Service) viewApproval(tx *model.Tx, r model.RealName) (ApprovalView, error) {
	v := ApprovalView{
		ID: r.ID, Kind: "APPROVE", State: string(r.State), Consumer: r.Consumer, Method: r.Method, Verifier: r.Verifier, Finding: r.Finding,
		Reason: r.Reason, Decider: r.Decider, ConfirmationID: r.Act, SubmittedAt: r.CreatedAt.Time(), DecidedAt: timeOf(r.DecidedAt), ValidUntil: timeOf(r.ValidUntil),
	}
	switch r.State {
	case model.RealNameWithdrawing, model.RealNameRevoking, model.RealNameWithdrawn:
		v.Kind = "REVOKE"
	}
	if len(r.IdentitySealed) > 0 {
		var who realname.Identity
		if err := s.Vault.openJSON(identityPlace(r), r.IdentitySealed, &who); err != nil {
			return v, err
		}
		v.Name, v.IDNumber = who.Name, who.IDNumber
	}
	if len(r.ReasonTextSealed) > 0 {
		text, err := s.Vault.Open("refusal/"+r.ID, r.ReasonTextSealed)
		if err != nil {
			return v, err
		}
		v.Text = string(text)
	}
	var err error
	if r.Person != "" {
		v.Accounts, err = tx.AccountsOfPerson(r.Person)
	}
	return v, err
}

// approvalPlan is an approval, or its end, before it is known which version of the ledger's record it changes.
type approvalPlan struct {
	Consumer   string
	Commitment string
	ValidUntil int64 // ms
	Revoke     bool
}

func (p approvalPlan) function() string {
	if p.Revoke {
		return "RevokeApproval"
	}
	return "Approve"
}

// body is the request, at a version.
func (p approvalPlan) body(carrier string, version int) request.Body {
	if p.Revoke {
		return request.RevokeApproval{Carrier: carrier, Consumer: p.Consumer, Version: version}
	}
	return request.Approve{Carrier: carrier, Consumer: p.Consumer, Commitment: p.Commitment, ValidUntil: p.ValidUntil, Version: version}
}

// approvalPlan is what approving a registration puts on the ledger. Whose it is is read from what is sealed, and not from
// the row beside it, which whoever writes to the database could make another's.
func (s *Service) approvalPlan(r model.RealName) (p approvalPlan, err error) {
	p = approvalPlan{Consumer: r.Consumer, Revoke: r.State == model.RealNameWithdrawing}
	if p.Revoke {
		return p, nil
	}
	var who realname.Identity
	if err := s.Vault.openJSON(identityPlace(r), r.IdentitySealed, &who); err != nil {
		return p, err
	}
	p.Commitment = s.person(r.Carrier, who.IDNumber)
	p.ValidUntil = s.Clock().Add(s.Config.RealName.Validity).UnixMilli()
	return p, nil
}

// ApproveRealName has the carrier's key sign what a registration waits for: the approval of a consumer, or its end where he
// takes it back. Errors: APPROVAL_NOT_FOUND; APPROVAL_DECIDED.
func (s *Service) ApproveRealName(ctx context.Context, c Caller, idem Idem, id string) (Act, error) {
	if err := approves(c); err != nil {
		return Act{}, err
	}
	act := s.newID()
	var p approvalPlan
	err := s.authorised(ctx, c, idem, func(tx *model.Tx) ([]wish, error) {
		r, err := undecided(c, id, tx.RealName)
		if err == nil {
			p, err = s.approvalPlan(r)
		}
		return []wish{s.asks(act, p.body(c.Participant, 0))}, err
	})
	if err != nil {
		return Act{}, err
	}
	done, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) { return s.acceptApproval(tx, c, act, id, p) })
	if err != nil {
		return Act{}, err
	}
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
	defer cancel()
	return s.Await(wait, done)
}

// undecided fetches one that waits for the carrier's people.
func undecided(c Caller, id string, fetch func(id string) (model.RealName, error)) (model.RealName, error) {
	r, err := theirs(c, id, fetch)
	if err == nil && !r.State.Waits() {
		err = fail("APPROVAL_DECIDED").With("state", string(r.State))
	}
	return r, err
}

// acceptApproval moves a registration and accepts the act that carries its approval, or its end. Of two people who decide
// at once the second finds it decided.
func (s *Service) acceptApproval(tx *model.Tx, c Caller, act, id string, p approvalPlan) (string, error) {
	r, err := undecided(c, id, tx.LockRealName)
	if err != nil {
		return "", err
	}
	if p.Revoke != (r.State == model.RealNameWithdrawing) {
		return "", fail("APPROVAL_DECIDED").With("state", string(r.State)) // taken back since it was looked at
	}
	to := model.RealNameApproving
	if p.Revoke {
		to = model.RealNameRevoking
	}
	if _, err := tx.MoveRealName(id, r.State, to, func(r *model.RealName) {
		r.Act, r.Decider = act, c.Person
		if !p.Revoke {
			r.ValidUntil = model.Millis(p.ValidUntil)
		}
	}); err != nil {
		return "", err
	}
	a, err := s.accept(tx, draft{
		ID: act, Contract: request.Ownership, Function: p.function(), Person: c.Person, Subject: id, Deadline: s.patience(),
		Fields: fields{Parties: []party{{c.Participant, SlotAccount}}, Approval: &p},
	})
	return a.ID, err
}

// RefuseRealName refuses a registration, and deletes what its owner gave. reason is one that he can read; text is the
// approver's own, for him alone. Errors: REFUSAL_INVALID; APPROVAL_NOT_FOUND; APPROVAL_DECIDED; WITHDRAWAL_BINDING.
func (s *Service) RefuseRealName(ctx context.Context, c Caller, idem Idem, id, reason, text string) (ApprovalView, error) {
	if err := approves(c); err != nil {
		return ApprovalView{}, err
	}
	if !slices.Contains(Refusals, reason) || len(text) > 2000 {
		return ApprovalView{}, fail("REFUSAL_INVALID")
	}
	counted := ""
	id, err := s.once(ctx, c, s.hidden(idem), func(tx *model.Tx) (string, error) {
		r, err := undecided(c, id, tx.LockRealName)
		if err != nil {
			return "", err
		}
		if r.State == model.RealNameWithdrawing {
			return "", fail("WITHDRAWAL_BINDING")
		}
		var sealed []byte
		if text != "" {
			if sealed, err = s.Vault.Seal("refusal/"+r.ID, []byte(text)); err != nil {
				return "", err
			}
		}
		_, err = tx.MoveRealName(id, r.State, model.RealNameRefused, func(r *model.RealName) {
			r.Reason, r.ReasonTextSealed, r.Decider, r.DecidedAt = reason, sealed, c.Person, s.now()
		})
		if err == nil {
			err = s.happens(tx, r.Consumer, RealNameRefused, r.ID, s.now())
		}
		counted = "refused"
		return id, err
	})
	if err != nil {
		return ApprovalView{}, err
	}
	s.countRealName(counted)
	var v ApprovalView
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		r, err := tx.RealName(id)
		if err != nil {
			return err
		}
		v, err = s.viewApproval(tx, r)
		return err
	})
	return v, err
}

// Refusals are the reasons for which an approver may refuse.
var Refusals = []string{"MISMATCH", "NOT_FOUND", "DOCUMENT_INVALID", "OVER_LIMIT", "OTHER"}

// approvalBody finds out which version of the ledger's record an approval changes.
func (s *Service) approvalBody(ctx context.Context, a model.Act, p approvalPlan) (request.Body, error) {
	now, err := query[contract.Approval](ctx, s.Ledger, request.Ownership, "GetApproval", a.Actor, p.Consumer)
	if err != nil {
		return nil, waiting(err)
	}
	var known model.Approval
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		known, err = tx.Approval(a.Actor, p.Consumer)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case now.Version != known.Version:
		return nil, behind("approval of " + p.Consumer) // or we are: then what has happened settles this
	case p.Revoke && (now.Version == 0 || now.Revoked):
		return nil, fail(contract.AlreadyApplied)
	}
	return p.body(a.Actor, now.Version), nil
}

// mirrorApproval takes over what the ledger says of a consumer's real name. A registration that waits for just that is
// decided by it, whoever has signed, and what its owner gave is deleted.
func (s *Service) mirrorApproval(tx *model.Tx, t ledger.Transaction, w ledger.Write) error {
	var a contract.Approval
	if err := json.Unmarshal(w.Value, &a); err != nil {
		return err
	}
	before, err := tx.Approval(a.Carrier, a.Consumer)
	if err != nil || before.Version >= a.Version {
		return err
	}
	if err := tx.SetApproval(approvalAs(t, a, s.now())); err != nil {
		return err
	}
	rows, err := tx.RealNamesOf(a.Consumer, a.Carrier, mostRegistrations)
	if err != nil {
		return err
	}
	for _, r := range rows {
		to := model.RealNameState("")
		switch {
		case a.Revoked && (r.State == model.RealNameApproved || r.State == model.RealNameWithdrawing || r.State == model.RealNameRevoking):
			to = model.RealNameWithdrawn
		case !a.Revoked && r.State.Asked() && (r.State == model.RealNameApproving || r.Person == "" || r.Person == a.Commitment):
			to = model.RealNameApproved
		default:
			continue
		}
		if _, err := tx.MoveRealName(r.ID, r.State, to, func(r *model.RealName) {
			r.DecidedAt = model.MillisOf(t.Time)
			if to == model.RealNameApproved {
				r.ValidUntil = model.Millis(a.ValidUntil)
			}
		}); err != nil {
			return err
		}
		if to == model.RealNameApproved {
			if err := s.happens(tx, r.Consumer, RealNameApproved, r.ID, model.MillisOf(t.Time)); err != nil {
				return err
			}
		}
	}
	return nil
}

// approvalAs is an approval's row as the ledger has it after a transaction.
func approvalAs(t ledger.Transaction, a contract.Approval, now model.Millis) model.Approval {
	return model.Approval{
		Carrier: a.Carrier, Consumer: a.Consumer, Commitment: a.Commitment, ValidUntil: model.Millis(a.ValidUntil), Revoked: a.Revoked,
		Version: a.Version, TxID: a.TxID, BlockNumber: int64(t.BlockNumber), UpdatedAt: now,
	}
}

// reopen gives a registration back to those who decide, when the act that carried their decision has failed.
func (s *Service) reopen(tx *model.Tx, a model.Act) error {
	r, err := tx.LockRealName(a.Subject)
	if err != nil || r.Act != a.ID {
		return present(err)
	}
	back := map[model.RealNameState]model.RealNameState{
		model.RealNameApproving: model.RealNameReviewing, model.RealNameRevoking: model.RealNameWithdrawing,
	}[r.State]
	if back == "" {
		return nil
	}
	_, err = tx.MoveRealName(r.ID, r.State, back, func(r *model.RealName) {
		r.Act = ""
		if back == model.RealNameReviewing {
			r.ValidUntil = 0
		}
	})
	return err
}

// approvalActOf finds the act that carries an approval, or its end, by the registration that it is about.
func (s *Service) approvalActOf(tx *model.Tx, consumer, carrier string, state model.RealNameState) (model.Act, error) {
	rows, err := tx.RealNamesOf(consumer, carrier, mostRegistrations)
	if err != nil {
		return model.Act{}, err
	}
	for _, r := range rows {
		if r.State == state && r.Act != "" {
			return tx.LockAct(r.Act)
		}
	}
	return model.Act{}, model.ErrNotFound
}

// RealNameBacklog is what waits for carriers' people.
type RealNameBacklog struct {
	Waiting int64
	Oldest  time.Duration
}

// RealNameBacklog answers how many registrations wait for a decision, and for how long.
func (s *Service) RealNameBacklog(ctx context.Context) (b RealNameBacklog, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		n, oldest, err := tx.RealNamesWaiting()
		b = RealNameBacklog{Waiting: n}
		if n > 0 {
			b.Oldest = max(0, s.Clock().Sub(oldest.Time()))
		}
		return err
	})
	return b, err
}
