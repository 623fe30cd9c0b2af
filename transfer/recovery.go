package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Recovery after a theft is one act for those who run it, and several on the ledger: the stolen key is stopped here at once,
// the ledger revokes it and freezes its owner, so that nothing moves to or from him; he gets another key; a person makes
// sure that he is who he says; the ledger lets him go. The row says how far it is; whoever sweeps takes the next step when
// the one before has come true, which is looked up and never remembered. A crash anywhere makes a step be asked for again,
// and each may be asked for any number of times.

// RecoveryView is how far a recovery is.
type RecoveryView struct {
	ID          string
	Participant string
	State       string // stopping, replacing, waiting, releasing, done
	KeyID       string
	NewKeyID    string
	Actor       string
	Releaser    string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Steps       []RecoveryStep
}

// RecoveryStep is one thing that a recovery brings about.
type RecoveryStep struct {
	Name string // stopped, frozen, revoked, replaced, checked, released
	Done bool
	// Not is set for what this recovery doesn't do: a platform freezes the consumers that it registered, nobody else.
	Not bool
}

// StartRecovery begins the recovery of a participant, or finds the one that is under way. His key has stopped when it
// returns. It needs database and custody only: a server that runs does the rest. Errors: CUSTODY_KEY_NOT_FOUND,
// KEY_PROTECTED.
func (s *Service) StartRecovery(ctx context.Context, participant, actor string) (RecoveryView, error) {
	key, err := s.stolenKey(ctx, participant)
	if err != nil {
		return RecoveryView{}, err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		_, err := s.beginRecovery(tx, participant, key, actor)
		return err
	})
	if err = ignore(err, model.ErrConflict); err != nil { // another one has just begun
		return RecoveryView{}, err
	}
	r, err := s.lastRecovery(ctx, participant)
	return s.begun(ctx, r, err)
}

// Recover is the same for an operator who asks over the network, and may ask again for want of an answer: what he asked for
// once begins no second recovery after the first has ended. An error of custody's, such as that it is sealed, says that the
// key has not stopped; the recovery is noted all the same, and whoever sweeps goes on. Errors: those of StartRecovery,
// FORBIDDEN.
func (s *Service) Recover(ctx context.Context, c Caller, idem Idem, participant string) (RecoveryView, error) {
	if err := operates(c); err != nil {
		return RecoveryView{}, err
	}
	if idem.Key == "" {
		return RecoveryView{}, fail("IDEMPOTENCY_KEY_REQUIRED")
	}
	id, err := s.recalled(ctx, c, idem)
	if err == nil && id == "" {
		var key KeyView
		if key, err = s.stolenKey(ctx, participant); err == nil {
			id, err = s.once(ctx, c, idem, func(tx *model.Tx) (string, error) { return s.beginRecovery(tx, participant, key, c.actor()) })
		}
	}
	if err != nil {
		return RecoveryView{}, err
	}
	var r model.Recovery
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		r, err = tx.Recovery(id)
		return err
	})
	return s.begun(ctx, r, err)
}

// RecoveryOf shows an operator the newest recovery of a participant. Errors: FORBIDDEN, NOT_FOUND.
func (s *Service) RecoveryOf(ctx context.Context, c Caller, participant string) (RecoveryView, error) {
	if err := operates(c); err != nil {
		return RecoveryView{}, err
	}
	return s.Recovery(ctx, participant)
}

// Recoveries lists recoveries to an operator, newest first; of all states for "". Those that wait are for a person to make
// sure of the owner. Errors: FORBIDDEN, CURSOR_INVALID.
func (s *Service) Recoveries(ctx context.Context, c Caller, state, cursor string, limit int) (Page[RecoveryView], error) {
	if err := operates(c); err != nil {
		return Page[RecoveryView]{}, err
	}
	return s.ListRecoveries(ctx, state, cursor, limit)
}

// ListRecoveries is the same at the machine itself.
func (s *Service) ListRecoveries(ctx context.Context, state, cursor string, limit int) (Page[RecoveryView], error) {
	var page model.Page[model.Recovery]
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		page, err = tx.ListRecoveries(model.RecoveryState(state), cursor, limit)
		return err
	})
	out := Page[RecoveryView]{Next: page.Next}
	for _, r := range page.Items {
		if err != nil {
			break
		}
		var v RecoveryView
		if v, err = s.viewRecovery(ctx, r); err == nil {
			out.Items = append(out.Items, v)
		}
	}
	return out, cursorError(err)
}

// beginRecovery finds the recovery of a participant that is under way, or begins one.
func (s *Service) beginRecovery(tx *model.Tx, participant string, key KeyView, actor string) (id string, err error) {
	p, err := tx.Participant(participant)
	if err = ignore(err, model.ErrNotFound); err != nil {
		return "", err
	}
	last, err := tx.LastRecovery(participant)
	if err == nil && last.State != model.RecoveryDone {
		return last.ID, nil
	}
	if err = ignore(err, model.ErrNotFound); err != nil {
		return "", err
	}
	id = s.newID()
	return id, tx.AddRecovery(model.Recovery{
		ID: id, Participant: participant, State: model.RecoveryStopping, KeyID: key.ID, Actor: actor, CreatedAt: s.now(),
		Freezes: p.Kind == model.Consumer && !frozenByUs(p), // who is frozen already stays so
	})
}

// begun stops the key of a recovery that was begun, and shows it.
func (s *Service) begun(ctx context.Context, r model.Recovery, err error) (RecoveryView, error) {
	if err == nil {
		err = s.stopStolen(ctx, r)
	}
	if err != nil {
		return RecoveryView{}, err
	}
	return s.viewRecovery(ctx, r)
}

// CanRecover says why StartRecovery would refuse, and changes nothing.
func (s *Service) CanRecover(ctx context.Context, participant string) error {
	_, err := s.stolenKey(ctx, participant)
	return err
}

// stolenKey is the key that a recovery is about.
func (s *Service) stolenKey(ctx context.Context, participant string) (KeyView, error) {
	key, err := s.accountKey(ctx, participant)
	if err == nil && key.Role == string(request.Administrator) {
		err = fail("KEY_PROTECTED")
	}
	return key, err
}

// Recovery shows the newest recovery of a participant. Errors: NOT_FOUND.
func (s *Service) Recovery(ctx context.Context, participant string) (RecoveryView, error) {
	r, err := s.lastRecovery(ctx, participant)
	if err != nil {
		return RecoveryView{}, err
	}
	return s.viewRecovery(ctx, r)
}

func (s *Service) viewRecovery(ctx context.Context, r model.Recovery) (RecoveryView, error) {
	stolen, err := s.Signer.Key(ctx, r.KeyID)
	if err != nil {
		return RecoveryView{}, err
	}
	var p model.Participant
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		p, err = tx.Participant(r.Participant)
		return ignore(err, model.ErrNotFound)
	})
	past := func(states ...model.RecoveryState) bool { return slices.Contains(states, r.State) }
	frozen := past(model.RecoveryReplacing, model.RecoveryWaiting, model.RecoveryReleasing, model.RecoveryDone) || frozenByUs(p)
	return RecoveryView{
		ID: r.ID, Participant: r.Participant, State: string(r.State), KeyID: r.KeyID, NewKeyID: r.NewKeyID, Actor: r.Actor, Releaser: r.Releaser,
		CreatedAt: r.CreatedAt.Time(), UpdatedAt: r.UpdatedAt.Time(),
		Steps: []RecoveryStep{
			{Name: "stopped", Done: dead(stolen)},
			{Name: "frozen", Done: frozen && r.Freezes, Not: !r.Freezes},
			{Name: "revoked", Done: dead(stolen) && !wished(stolen, model.WishRevoke)},
			{Name: "replaced", Done: r.NewKeyID != ""},
			{Name: "checked", Done: r.Freezes && past(model.RecoveryReleasing, model.RecoveryDone), Not: !r.Freezes},
			{Name: "released", Done: r.Freezes && r.State == model.RecoveryDone, Not: !r.Freezes},
		},
	}, err
}

func (s *Service) lastRecovery(ctx context.Context, participant string) (r model.Recovery, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		r, err = tx.LastRecovery(participant)
		if errors.Is(err, model.ErrNotFound) {
			err = fail("NOT_FOUND")
		}
		return err
	})
	return r, err
}

// accountKey is the newest key of a participant's account.
func (s *Service) accountKey(ctx context.Context, participant string) (KeyView, error) {
	newest := KeyView{}
	for cursor := ""; ; {
		page, err := s.Signer.Keys(ctx, KeyFilter{Owner: participant}, cursor, 0)
		if err != nil {
			return newest, err
		}
		for _, k := range page.Items {
			if k.Slot == SlotAccount && k.Version > newest.Version {
				newest = k
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if newest.ID == "" {
		return newest, failf("CUSTODY_KEY_NOT_FOUND", "%q has no key of an account", participant)
	}
	return newest, nil
}

func dead(k KeyView) bool {
	return k.State == string(model.CustodyRevoked) || k.State == string(model.CustodyDestroyed)
}

func wished(k KeyView, what string) bool {
	return slices.ContainsFunc(k.Wishes, func(w KeyWishView) bool { return w.What == what })
}

func frozenByUs(p model.Participant) bool { return slices.Contains(p.Frozen, string(request.Platform)) }

func (s *Service) stopStolen(ctx context.Context, r model.Recovery) error {
	if r.State != model.RecoveryStopping {
		return nil
	}
	k, err := s.Signer.Key(ctx, r.KeyID)
	if err == nil && !dead(k) {
		_, err = s.Signer.OrderKey(ctx, r.KeyID, model.WishRevoke, r.Actor)
	}
	return err
}

// outrun stops a key that is to sign for somebody who said that it was stolen: that he said so while custody was sealed must
// not let those go first who have waited with what the thief wants signed.
func (s *Service) outrun(ctx context.Context, p party) error {
	if p.Slot != SlotAccount || p.Owner == Admin1 || p.Owner == Admin2 {
		return nil
	}
	var r model.Recovery
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		r, err = tx.LiveRecovery(p.Owner)
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = s.stopStolen(ctx, r)
	}
	return err
}

// SweepRecoveries takes the next step of each recovery that is not done. One that can't go on keeps no other from it.
func (s *Service) SweepRecoveries(ctx context.Context) error {
	var stuck []error
	for after := ""; ; {
		var list []model.Recovery
		err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			list, err = tx.LiveRecoveries(after, sweepBatch)
			return err
		})
		if err != nil {
			return errors.Join(append(stuck, err)...)
		}
		for _, r := range list {
			if err := s.recoverOn(ctx, r); err != nil && !errors.Is(err, model.ErrState) { // else somebody else has just done it
				stuck = append(stuck, fmt.Errorf("recovery of %s: %w", r.Participant, err))
			}
			after = r.Participant
		}
		if len(list) < sweepBatch {
			return errors.Join(stuck...)
		}
	}
}

// recoverOn does what comes next in one recovery.
func (s *Service) recoverOn(ctx context.Context, r model.Recovery) error {
	move := func(to model.RecoveryState, change func(*model.Recovery)) error {
		err := s.DB.Write(ctx, func(tx *model.Tx) error {
			_, err := tx.MoveRecovery(r.ID, r.State, to, change)
			return err
		})
		if err == nil {
			s.Logger.Info("recovery", "participant", r.Participant, "state", to)
		}
		return err
	}
	switch r.State {
	case model.RecoveryStopping:
		if err := s.stopStolen(ctx, r); err != nil {
			return err
		}
		frozen, err := s.standing(ctx, r, "FreezeParticipant")
		if err != nil {
			return err
		}
		k, err := s.Signer.Key(ctx, r.KeyID)
		if err != nil || !frozen || wished(k, model.WishRevoke) {
			return err
		}
		return move(model.RecoveryReplacing, nil)
	case model.RecoveryReplacing:
		k, err := s.accountKey(ctx, r.Participant)
		switch {
		case err != nil:
			return err
		case k.ID == r.KeyID && wished(k, model.WishReplace):
			return nil // it is on its way; asked for again it might be there by then, and be refused
		case k.ID == r.KeyID:
			_, err := s.Signer.OrderKey(ctx, r.KeyID, model.WishReplace, r.Actor)
			return err
		}
		to := model.RecoveryWaiting
		if !r.Freezes {
			to = model.RecoveryDone
		}
		return move(to, func(r *model.Recovery) { r.NewKeyID = k.ID })
	case model.RecoveryReleasing:
		free, err := s.standing(ctx, r, "UnfreezeParticipant")
		if err != nil || !free {
			return err
		}
		return move(model.RecoveryDone, nil)
	}
	return nil // a person's turn
}

// standing reports whether a participant is frozen, or free, as he is to be, and sees to it that he will be.
func (s *Service) standing(ctx context.Context, r model.Recovery, function string) (bool, error) {
	if !r.Freezes {
		return true, nil
	}
	there := false
	err := s.DB.Write(ctx, func(tx *model.Tx) error {
		p, err := tx.Participant(r.Participant)
		if err != nil {
			return err
		}
		if there = frozenByUs(p) == (function == "FreezeParticipant"); there {
			return nil
		}
		person := r.Actor
		if function == "UnfreezeParticipant" {
			person = r.Releaser
		}
		_, err = s.carryAgain(tx, "recover-"+r.ID+"-"+map[bool]string{true: "freeze", false: "release"}[function == "FreezeParticipant"], func(id string) draft {
			return draft{
				ID: id, Contract: request.Ownership, Function: function, Actor: PlatformID, Person: person, Subject: r.Participant,
				Fields: fields{Parties: []party{{PlatformID, SlotRegistrar}}, Freeze: &freezePlan{Participant: r.Participant}},
			}
		})
		return err
	})
	if err == nil && !there {
		s.kick()
	}
	return there, ignore(err, model.ErrConflict)
}

// freezePlan is the freeze or release of a participant before it is known at which version of his record.
type freezePlan struct{ Participant string }

// freezeBody finds out what is to be said to the ledger.
func (s *Service) freezeBody(ctx context.Context, a model.Act, p freezePlan) (request.Body, error) {
	f, err := query[contract.Freeze](ctx, s.Ledger, request.Ownership, "GetFreeze", p.Participant)
	if err != nil {
		return nil, waiting(err)
	}
	var row model.Participant
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		row, err = tx.Participant(p.Participant)
		return err
	})
	if err != nil {
		return nil, err
	}
	at := request.ParticipantAct{Participant: p.Participant, Version: f.Version}
	frozen := slices.Contains(f.Frozen, request.Platform)
	switch {
	case frozen == (a.Function == "FreezeParticipant") && frozen != frozenByUs(row):
		return nil, behind("freeze of " + p.Participant) // or we are
	case frozen == (a.Function == "FreezeParticipant"):
		return nil, fail(contract.AlreadyApplied)
	case frozen:
		return request.UnfreezeParticipant{ParticipantAct: at}, nil
	}
	return request.FreezeParticipant{ParticipantAct: at}, nil
}
