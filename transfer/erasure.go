package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// A consumer may have his data deleted (个人信息保护法, art. 47). His login, with what leads from WeChat to his pseudonym,
// his registrations of a real name, what he wrote in his own words and what he asked for under which key go in one
// transaction; custody ends his sessions and stops his key in the same one (see custody.Erase). What the ledger has of his
// pseudonym stays, and nothing leads from it to him any more. When he comes again he is somebody else.
//
// Cards that he leaves behind stay with the pseudonym. Nobody can return them then, or show a receipt: so he has to say how
// many he leaves. What is on its way holds him up, because somebody else waits for its end.

// ErasureView is what a consumer hears before he decides: what he would leave behind, and what stands in the way.
type ErasureView struct {
	Cards    int64
	Obstacle string // code; "" if nothing does
}

// Erasure is what was done.
type Erasure struct {
	Participant string // as the ledger knows him for ever
	Cards       int64  // that he left behind
	At          time.Time
}

// ErasureAhead answers what deleting the caller's data would mean now.
func (s *Service) ErasureAhead(ctx context.Context, c Caller) (v ErasureView, err error) {
	if c.Role != request.Consumer {
		return v, fail("FORBIDDEN")
	}
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		v.Cards, err = s.erasable(tx, c.Participant)
		var refusal *Error
		if errors.As(err, &refusal) {
			v.Obstacle, err = refusal.Code, nil
		}
		return err
	})
	return v, err
}

// erasable answers how many cards a consumer would leave behind, or why his data can't be deleted now: ERASURE_FROZEN,
// ERASURE_RETURN_OPEN, ERASURE_BUSY.
func (s *Service) erasable(tx *model.Tx, consumer string) (cards int64, err error) {
	if cards, err = tx.CardsOf(consumer); err != nil {
		return 0, err
	}
	p, err := tx.Participant(consumer)
	if err != nil {
		return 0, err
	}
	_, err = tx.LiveRecovery(consumer)
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		return 0, err
	}
	if err == nil || len(p.Frozen) > 0 {
		return cards, fail("ERASURE_FROZEN") // whose key was stolen, or who is looked into
	}
	open, err := tx.OpenTradesOf(consumer)
	if err != nil {
		return 0, err
	}
	if open > 0 {
		return cards, fail("ERASURE_RETURN_OPEN")
	}
	busy, err := tx.UnfinishedActsBy(consumer)
	if err != nil {
		return 0, err
	}
	rows, err := tx.RealNamesOf(consumer, "", 4*mostRegistrations)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if r.State == model.RealNameApproving { // the ledger is about to say something of him
			busy++
		}
	}
	if busy > 0 || p.State == model.ParticipantRegistering {
		return cards, fail("ERASURE_BUSY")
	}
	return cards, nil
}

// Erase deletes a consumer's data within a transaction of custody's, which has made sure that it is he who asks. cards is
// what he was told that he leaves behind. Errors: those of erasable; ERASURE_CARDS_CHANGED.
func (s *Service) Erase(tx *model.Tx, consumer string, cards int64) error {
	if err := tx.LockParticipant(consumer); err != nil { // whoever begins something of his now waits, and finds him gone
		return err
	}
	left, err := s.erasable(tx, consumer)
	if err == nil && left != cards {
		err = fail("ERASURE_CARDS_CHANGED").With("cards", left)
	}
	if err != nil {
		return err
	}
	return s.forget(tx, consumer)
}

// forget deletes what there is of a consumer here. An approval of a carrier's ends on the ledger when the carrier has signed
// that: until then a row without a name stands for it.
func (s *Service) forget(tx *model.Tx, consumer string) error {
	said, err := tx.ApprovalsOf(consumer)
	if err != nil {
		return err
	}
	rows, err := tx.RealNamesOf(consumer, "", 4*mostRegistrations)
	if err != nil {
		return err
	}
	carriers := map[string]bool{}
	for _, a := range said {
		carriers[a.Carrier] = true
	}
	for _, r := range rows {
		carriers[r.Carrier] = true
	}
	for carrier := range carriers {
		if _, err := s.withdraw(tx, consumer, carrier); err != nil && !errors.Is(err, fail("REAL_NAME_NOTHING")) {
			return err
		}
	}
	for _, drop := range []func(string) error{tx.DropRealNamesOver, tx.DropReasonTexts, tx.ForgetWishes, tx.DropSubscriptionsOf, tx.DropAccountOf} {
		if err := drop(consumer); err != nil {
			return err
		}
	}
	return nil
}

// Erased reports whether a consumer's data were deleted: whatever session of his is still about is nobody's.
func (s *Service) Erased(ctx context.Context, c Caller) (is bool, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		is, err = erased(tx, c.Participant)
		return err
	})
	return is, err
}

func erased(tx *model.Tx, consumer string) (bool, error) {
	_, err := tx.Erasure(consumer)
	if errors.Is(err, model.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// NoteErasure writes into the journal that a consumer's data were deleted: a restore to an older copy, which has them, deletes
// them again. It comes after the commit; a crash before it, or a journal that can't be written, is mended by the next start (see
// recoverErasures).
func (s *Service) NoteErasure(consumer string) {
	if err := s.noteErasure(consumer); err != nil {
		s.Logger.Error("an erasure is not in the journal yet: the next start writes it", "participant", consumer, "error", err)
	}
}

func (s *Service) noteErasure(consumer string) error {
	return s.Journal.Append(Entry{Erased: consumer})
}

// recoverErasures makes database and journal agree on whose data were deleted: noted is what the journal says.
func (s *Service) recoverErasures(ctx context.Context, noted map[string]bool) error {
	for consumer := range noted {
		err := s.DB.Write(ctx, func(tx *model.Tx) error {
			is, err := erased(tx, consumer)
			if is || err != nil {
				return err
			}
			if err := s.forget(tx, consumer); err != nil {
				return err
			}
			if err := errors.Join(tx.EndCustodySessionsOwnedBy(consumer), tx.ForgetAuthorisationsOf(consumer)); err != nil {
				return err
			}
			s.Logger.Warn("the journal has an erasure that the database lacked", "participant", consumer)
			return tx.AddErasure(model.Erasure{Participant: consumer, ErasedAt: s.now()})
		})
		switch {
		case errors.Is(err, fail("REAL_NAME_BUSY")): // the older copy knows of a decision that the ledger has not been asked about yet
			s.Logger.Error("an erasure waits for the next start", "participant", consumer, "error", err)
		case err != nil && !errors.Is(err, model.ErrConflict): // else another server has just done it
			return fmt.Errorf("erasure of %s: %w", consumer, err)
		}
	}
	for after := ""; ; {
		var list []model.Erasure
		err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			list, err = tx.Erasures(after, openingsAtOnce)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range list {
			if after = e.Participant; !noted[e.Participant] {
				if err := s.noteErasure(e.Participant); err != nil {
					return err
				}
			}
		}
		if len(list) < openingsAtOnce {
			return nil
		}
	}
}
