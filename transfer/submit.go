package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/model"
)

// submitTimeout bounds one try at the ledger; it is well below any lease.
const submitTimeout = 15 * time.Second

// prepare fixes the transaction ID and writes the openings to the journal, before any byte leaves this machine. From
// here on the ledger can be asked about this act, and whatever it commits can be opened again, even if this database is
// lost.
func (s *Service) prepare(ctx context.Context, a model.Act) (model.Act, error) {
	p, err := s.Ledger.Prepare(a.Contract, a.Function, [][]byte{a.Body, a.Proof})
	if err != nil {
		return a, err
	}
	openings, err := s.openings(ctx, a)
	if err != nil {
		return a, err
	}
	if makesLots(a.Function) {
		if err := s.Journal.Append(Entry{Openings: openings}); err != nil {
			return a, err
		}
		s.at(AtJournaled)
	}
	p.Args = nil // they are body and proof, which the act has
	b, err := json.Marshal(p)
	if err != nil {
		return a, err
	}
	var next model.Act
	err = s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		next, err = tx.MoveAct(a.ID, a.State, model.ActPrepared, func(r *model.Act) {
			r.Proposal, r.TxID, r.Sent, r.Tries, r.LeaseUntil = b, p.TxID, false, 0, s.leaseEnd()
		})
		return err
	})
	if err == nil {
		s.at(AtPrepared)
	}
	return either(next, a, err)
}

func makesLots(function string) bool {
	switch function {
	case "Issue", "Offer", "Return", "Merge", "Freeze", "Unfreeze", "Retire":
		return true
	}
	return false
}

func proposal(a model.Act) (ledger.Proposal, error) {
	var p ledger.Proposal
	if err := json.Unmarshal(a.Proposal, &p); err != nil {
		return p, fmt.Errorf("act %s: proposal: %w", a.ID, err)
	}
	p.Args = [][]byte{a.Body, a.Proof}
	return p, nil
}

// submit sends a prepared act. The row says "submitted" before the first byte goes to the orderers, so that a crash
// never leaves a transaction on its way that the row calls unsent.
func (s *Service) submit(ctx context.Context, a model.Act) (model.Act, error) {
	p, err := proposal(a)
	if err != nil {
		return a, err
	}
	openings, err := s.openings(ctx, a)
	if err != nil {
		return a, err
	}
	try, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	_, err = s.Ledger.Submit(try, p, openings.Transient(), func() error {
		s.at(AtEndorsed)
		sent, err := s.sending(try, a)
		if err == nil {
			a = sent
			s.at(AtLeaving)
		}
		return err
	})
	if err == nil {
		s.at(AtHeard)
		return a, errHandedOver
	}
	return s.after(ctx, a, err)
}

// sending records that an act's transaction leaves now. A worker that overslept its lease finds that the act has gone
// on, to another transaction or to its end, and sends nothing.
func (s *Service) sending(ctx context.Context, a model.Act) (next model.Act, err error) {
	err = s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		if next, err = tx.Act(a.ID); err != nil {
			return err
		}
		if next.TxID != a.TxID || next.LeaseOwner != a.LeaseOwner {
			return fmt.Errorf("act %s is in other hands: %w", a.ID, model.ErrState)
		}
		if a.State == model.ActSubmitted && next.State == model.ActSubmitted {
			next.SentAt, next.LeaseUntil = s.now(), s.leaseEnd() // sent before; it goes again under the same ID
			next.NextAt = next.LeaseUntil
			return tx.SaveAct(next)
		}
		next, err = tx.MoveAct(a.ID, model.ActPrepared, model.ActSubmitted, func(r *model.Act) {
			r.Sent, r.SentAt, r.Tries, r.LeaseUntil = true, s.now(), 0, s.leaseEnd()
			r.NextAt = r.LeaseUntil
		})
		return err
	})
	return next, err
}

// after decides what a failed submission means. See the table of failure classes in docs/design/002-relay.md.
func (s *Service) after(ctx context.Context, a model.Act, err error) (model.Act, error) {
	class := ledger.ClassOf(err)
	s.Metrics.LedgerFailure(string(class))
	switch class {
	case ledger.Refused:
		var refusal *contract.Error
		if !errors.As(err, &refusal) {
			return a, err
		}
		return s.refused(ctx, a, refusal)
	case ledger.NotSent:
		return a, err // the same proposal, after a while
	case ledger.Conflict:
		return s.again(ctx, a)
	case ledger.Invalid:
		s.Metrics.Alarm("ledger_invalid")
		s.Logger.Error("relay: the ledger holds an invalid transaction", "act", a.ID, "tx", a.TxID, "error", err)
		return a, &Error{Code: "LEDGER_INVALID", Err: err}
	}
	t, err := s.Ledger.Transaction(ctx, a.TxID) // unknown, duplicate: ask
	if errors.Is(err, ledger.ErrNotFound) {
		return a, &later{err: fmt.Errorf("transaction %s is not on the ledger yet", a.TxID)}
	}
	if err != nil {
		return a, err
	}
	return s.verdict(ctx, a, t)
}

// enquire asks the ledger what became of an act that was sent. Found: its block settles it. Not found: it goes again,
// as often as it takes, under the same ID, so that at most one entry of it ever counts.
func (s *Service) enquire(ctx context.Context, a model.Act) (model.Act, error) {
	t, err := s.Ledger.Transaction(ctx, a.TxID)
	if errors.Is(err, ledger.ErrNotFound) {
		return s.submit(ctx, a)
	}
	if err != nil {
		return a, err
	}
	return s.verdict(ctx, a, t)
}

// verdict applies what a block says of an act's transaction.
func (s *Service) verdict(ctx context.Context, a model.Act, t ledger.Transaction) (model.Act, error) {
	switch t.Validation {
	case ledger.Valid:
		s.at(AtVerdict)
		if err := s.settleOne(ctx, t); err != nil {
			return a, err
		}
		return s.act(ctx, a.ID)
	case ledger.ReadConflict, ledger.PhantomConflict:
		return s.again(ctx, a)
	}
	s.Metrics.Alarm("ledger_invalid")
	return a, &Error{Code: "LEDGER_INVALID", Err: fmt.Errorf("transaction %s is %s", t.ID, t.Validation)}
}

// again sends an act whose transaction is in a block and invalid, because something it read had changed: as a new
// transaction, with the signatures it has. If its inputs are gone the contract says so, and refused starts over.
func (s *Service) again(ctx context.Context, a model.Act) (model.Act, error) {
	var next model.Act
	err := s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		if a.State == model.ActSubmitted {
			if _, err := tx.MoveAct(a.ID, model.ActSubmitted, model.ActPrepared, nil); err != nil {
				return err
			}
		}
		next, err = tx.MoveAct(a.ID, model.ActPrepared, model.ActSigned, func(r *model.Act) { r.Sent = false })
		return err
	})
	return either(next, a, err)
}

// notYet are refusals for something that the endorsing peer may not have seen yet.
var notYet = map[string]bool{
	contract.ParticipantUnknown: true, contract.KeyUnknown: true, contract.TradeUnknown: true, contract.LotUnknown: true,
	contract.NotInitialised: true, contract.RealNameRequired: false,
}

// patience is how often a refusal of notYet is asked again.
const patience = 12

// refused decides on a contract's no. If nothing of this act was ever broadcast, no means no. If an earlier try was, it
// may still land: then only its ID in a block, or another transaction that has consumed what it needs, ends it.
func (s *Service) refused(ctx context.Context, a model.Act, refusal *contract.Error) (model.Act, error) {
	given, err := s.given(a)
	if err != nil {
		return a, err
	}
	if refusal.Code == contract.AlreadyApplied {
		id, _ := refusal.Details["txId"].(string)
		t, err := s.Ledger.Transaction(ctx, id)
		if err != nil {
			return a, &later{err: fmt.Errorf("applied by %s: %w", id, err)}
		}
		if err := s.settleOne(ctx, t); err != nil {
			return a, err
		}
		now, err := s.act(ctx, a.ID)
		if err == nil && !now.State.Finished() {
			err = fail(contract.AlreadyApplied) // by another act that asked for the very same
		}
		return now, err
	}
	if refusal.Code == contract.TradeEnded {
		// Followed first: else the trade would be open again, for whoever looks, until the listener comes by.
		if now, err := s.followEnd(ctx, a, refusal); err != nil || now.State.Finished() {
			return now, err
		}
	}
	if a.Sent {
		t, err := s.Ledger.Transaction(ctx, a.TxID)
		if err == nil {
			return s.verdict(ctx, a, t)
		}
		if !errors.Is(err, ledger.ErrNotFound) {
			return a, err
		}
		switch refusal.Code {
		case contract.TradeEnded, contract.InputSpent, contract.VersionMismatch, contract.TradeExists:
			// What the one in flight has read is there no more, so it can't land.
		case contract.TradeExpired, contract.RequestExpired:
			// A terminal's signature may end before the trade does, which can't be released then.
			if isTrade(a.Function) && a.Function != "Release" && (!given || refusal.Code == contract.TradeExpired) {
				s.release(ctx, a.Subject) // consumes the trade, so that the one in flight can't land
				return a, &later{err: refusal}
			}
			fallthrough
		default:
			// The ledger took this request once and refuses it now. Time has passed, and a new attempt consumes what the
			// one in flight needs; or a record that it has read is another by now (a key was stopped, a lot frozen), and it
			// can't land. Unless the peer that refuses is one that lags: so the one in flight gets its time to turn up.
			a.SentAt = min(a.SentAt, s.now()) // a clock far ahead may have written it
			if s.now() < a.SentAt+model.Millis(s.Relay.Grace.Milliseconds()) {
				return a, &later{err: refusal}
			}
		}
	}
	if notYet[refusal.Code] && a.Tries < patience {
		return a, &later{err: refusal}
	}
	if given {
		return a, &Error{Code: refusal.Code, Err: refusal}
	}
	if refusal.Code == contract.KeyInactive && a.Attempt < maxAttempts {
		another, err := s.replaced(ctx, a)
		if err != nil {
			return a, err
		}
		if another {
			return s.anew(ctx, a, ended(a))
		}
	}
	switch refusal.Code {
	case contract.RequestExpired, contract.InputSpent, contract.VersionMismatch:
		if a.Attempt < maxAttempts && (refusal.Code == contract.RequestExpired || plannedLate(a.Function)) && a.Function != "Confirm" && a.Function != "Decline" {
			return s.anew(ctx, a, ended(a))
		}
	}
	return a, &Error{Code: refusal.Code, Err: refusal}
}

// followEnd mirrors the transaction that has ended the trade of which the contract says so, and reads the act again: that
// transaction may have been its own. A peer that answers may be behind the one that refused: then it is asked again.
func (s *Service) followEnd(ctx context.Context, a model.Act, refusal *contract.Error) (model.Act, error) {
	id, _ := refusal.Details["txId"].(string)
	if id == "" {
		return a, nil
	}
	t, err := s.Ledger.Transaction(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return a, &later{err: fmt.Errorf("ended by %s: %w", id, err)}
	}
	if err != nil {
		return a, err
	}
	if err := s.settleOne(ctx, t); err != nil {
		return a, err
	}
	return s.act(ctx, a.ID)
}

// ended is how the attempt of an act ended that is planned and signed anew.
func ended(a model.Act) AttemptEnd {
	if a.Sent {
		return DefinitelyInvalid
	}
	return NeverBroadcast
}

// maxAttempts bounds how often an act is planned and signed anew.
const maxAttempts = 5

// plannedLate says which functions have bodies that depend on how the cards, or the keys, stand.
func plannedLate(function string) bool {
	switch function {
	case "Offer", "Return", "Merge", "Freeze", "Unfreeze", "Retire", "SuspendKey", "ResumeKey", "RevokeKey", "RotateKey", "PublishKey",
		"FreezeParticipant", "UnfreezeParticipant", "Approve", "RevokeApproval":
		return true
	}
	return false
}

// anew starts an act over: what was planned is given up, custody is told that the attempt is dead, and the next attempt
// is planned from how things stand then. Custody is told first; a crash before the row moves makes this happen again.
func (s *Service) anew(ctx context.Context, a model.Act, why AttemptEnd) (model.Act, error) {
	f, err := s.fieldsOf(a)
	if err != nil {
		return a, err
	}
	var asks []Ask
	for _, p := range f.Parties {
		asks = append(asks, s.ask(a, p, a.KeyID))
	}
	if f.Ticket != nil {
		ask := s.ask(a, party{PlatformID, SlotTicket}, a.KeyID)
		ask.Purpose = f.Ticket.Function()
		asks = append(asks, ask)
	}
	for _, ask := range asks {
		if err := s.Signer.CloseAttempt(ctx, ask, why); err != nil {
			return a, sealed(err)
		}
	}
	var next model.Act
	fieldsSealed := a.FieldsSealed
	if plannedLate(a.Function) {
		unplanned := a
		unplanned.Body = nil
		if fieldsSealed, err = s.sealFields(unplanned, f); err != nil {
			return a, err
		}
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		if err := s.giveUpPlan(tx, a); err != nil {
			return err
		}
		next, err = tx.MoveAct(a.ID, a.State, model.ActAccepted, func(r *model.Act) {
			r.Attempt++
			r.KeyID, r.TxID, r.Proof, r.Proposal, r.Sent, r.Tries = "", "", nil, nil, false, 0
			if plannedLate(r.Function) {
				r.Body, r.RequestID, r.FieldsSealed = nil, "", fieldsSealed
			}
		})
		return err
	})
	return either(next, a, err)
}
