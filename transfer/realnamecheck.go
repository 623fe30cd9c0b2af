package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardflow/model"
	"cardflow/transfer/realname"
)

// How often a verifier that doesn't answer is asked, and how long one worker has a registration meanwhile. After that the
// carrier's approver checks by himself.
const (
	verifyTries = 4
	verifyLease = 20 * time.Second
)

// verify asks the verifier about a registration that is to be checked, if nobody else is asking, and records what it says.
// mine says that it is leased to the caller already, who has just made it.
// A crash before that record leaves a lease that ends; the verifier is asked again, about the same check.
func (s *Service) verify(ctx context.Context, id string, mine bool) error {
	v := s.Config.RealName.Verifier
	if v == nil {
		return nil
	}
	var r model.RealName
	read := func(tx *model.Tx) (err error) {
		r, err = tx.RealName(id)
		return err
	}
	var err error
	if mine {
		err = s.DB.Read(ctx, read)
	} else {
		err = s.DB.Write(ctx, func(tx *model.Tx) error {
			if err := tx.LeaseRealName(id, s.now(), s.now()+model.Millis(verifyLease.Milliseconds())); err != nil {
				return err
			}
			return read(tx)
		})
	}
	if errors.Is(err, model.ErrState) || err == nil && r.State != model.RealNameChecking {
		return nil // it is another's, decided, or taken back
	}
	if err != nil {
		return err
	}
	var who realname.Identity
	if err := s.Vault.openJSON(identityPlace(r), r.IdentitySealed, &who); err != nil {
		return fmt.Errorf("identity of registration %s: %w", id, err)
	}
	s.at(AtVerifying)
	try, cancel := context.WithTimeout(ctx, s.Config.RealName.Patience)
	defer cancel()
	answer, err := v.Verify(try, id, who)
	switch {
	case err != nil && r.Tries < verifyTries:
		return fmt.Errorf("verifier %s: %w", v.Name(), err)
	case err != nil:
		s.Logger.Warn("real name: the verifier does not answer; a person decides", "registration", id, "verifier", v.Name(), "error", err)
		answer = realname.Answer{Outcome: silence}
	}
	return s.found(ctx, r, who, v.Name(), answer, mine)
}

// silence is what a registration says of a verifier that didn't answer.
const silence realname.Outcome = "NO_ANSWER"

// found records what a verifier says: what it denies is refused at once, everything else is the approver's to decide. A consumer
// who is waiting for the answer hears of it by that.
func (s *Service) found(ctx context.Context, r model.RealName, who realname.Identity, verifier string, answer realname.Answer, hears bool) error {
	to := model.RealNameReviewing
	if r.Method == string(realname.ByCredential) {
		// Only the verifier knows whose it is, and nobody can decide, or count his cards, without his number.
		number, err := realname.ParseIDNumber(answer.Identity.IDNumber, s.Clock())
		name, nameErr := realname.ParseName(answer.Identity.Name)
		who = realname.Identity{Name: name, IDNumber: number}
		if answer.Outcome != realname.Denied && errors.Join(err, nameErr) != nil {
			answer.Outcome, answer.Reason = realname.Denied, "CREDENTIAL_BARE"
		}
	}
	if answer.Outcome == realname.Denied {
		to = model.RealNameRefused
		if _, known := realname.Reasons[answer.Reason]; !known {
			answer.Reason = "OTHER"
		}
	}
	sealed, err := s.Vault.sealJSON(identityPlace(r), who)
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		_, err := tx.MoveRealName(r.ID, model.RealNameChecking, to, func(r *model.RealName) {
			r.Verifier, r.Finding, r.IdentitySealed = verifier, string(answer.Outcome), sealed
			if who.IDNumber != "" {
				r.Person = s.person(r.Carrier, who.IDNumber)
			}
			if to == model.RealNameRefused {
				r.Reason, r.DecidedAt = answer.Reason, s.now()
			}
		})
		if err == nil && to == model.RealNameRefused && !hears {
			err = s.happens(tx, r.Consumer, RealNameRefused, r.ID, s.now())
		}
		s.at(AtVerified)
		return err
	})
	if errors.Is(err, model.ErrState) {
		return nil // taken back meanwhile
	}
	if err == nil && to == model.RealNameRefused {
		s.Metrics.RealName("refused")
		s.Logger.Info("real name: refused by the verifier", "registration", r.ID, "reason", answer.Reason)
	}
	return err
}

// SweepRealNames asks the verifier about those that wait for it, and deletes what nobody has decided about in time.
func (s *Service) SweepRealNames(ctx context.Context) error {
	var due, late []model.RealName
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		if due, err = tx.RealNamesDue(s.now(), sweepBatch); err == nil {
			late, err = tx.RealNamesUndecided(s.now()-model.Millis(s.Config.RealName.Keep.Milliseconds()), sweepBatch)
		}
		return err
	})
	if err != nil {
		return err
	}
	var stuck []error
	for _, r := range late {
		err := s.DB.Write(ctx, func(tx *model.Tx) error {
			_, err := tx.MoveRealName(r.ID, r.State, model.RealNameRefused, func(r *model.RealName) { r.Reason, r.DecidedAt = "TOO_LATE", s.now() })
			if err == nil {
				err = s.happens(tx, r.Consumer, RealNameRefused, r.ID, s.now())
			}
			return err
		})
		if err == nil {
			s.Metrics.RealName("expired")
			s.Logger.Warn("real name: nobody has decided in time", "registration", r.ID, "carrier", r.Carrier)
		}
		stuck = append(stuck, ignore(err, model.ErrState))
	}
	for _, r := range due {
		stuck = append(stuck, s.verify(ctx, r.ID, false))
	}
	return errors.Join(stuck...)
}
