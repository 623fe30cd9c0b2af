package custody

import (
	"context"
	"errors"
	"fmt"

	"cardflow/ledger/request"
	"cardflow/model"
)

// A consumer may have his data deleted. That it is he who asks custody knows by his token, as with all that is done in his
// name: nobody has another one's data deleted by naming him. What goes elsewhere goes in the same transaction, so that a crash
// leaves all of it or nothing.

// functionErase stands for it beside the contract's functions, where the age of a login is judged.
const functionErase = "Erase"

// Erase deletes the data of the consumer whose token it is: rest, which is called in the transaction with his pseudonym, and here
// his sessions and what he has had authorised. His key stops, for ever; the ledger follows by a wish. cards is what he leaves
// behind, for the record. Asked again with the same token within a day it answers the same. Errors: ErrSessionOver; ErrFunction
// for staff; ErrLoginOld; ErrKeyTransition while another key is on its way to him; those of rest.
func (c *Custody) Erase(ctx context.Context, token LoginToken, cards int64, rest func(tx *model.Tx, participant string) error) (model.Erasure, error) {
	id, err := c.wishID()
	if err != nil {
		return model.Erasure{}, err
	}
	var done model.Erasure
	err = c.write(ctx, func(tx *model.Tx) error {
		s, err := c.session(tx, token)
		if errors.Is(err, ErrSessionOver) && token.digest() != "" {
			var before error
			if done, before = tx.ErasureBy(token.digest()); !errors.Is(before, model.ErrNotFound) {
				return before
			}
		}
		if err != nil {
			return err
		}
		if s.Role != string(request.Consumer) {
			return ErrFunction
		}
		if err := c.age(c.ageFor(functionErase), s.Role, s.LoginAt, c.now()); err != nil {
			return err
		}
		if err := rest(tx, s.Participant); err != nil {
			return err
		}
		done = model.Erasure{Participant: s.Participant, Session: s.Digest, Cards: cards, ErasedAt: c.now()}
		return c.erase(ctx, tx, id, done)
	})
	if err != nil {
		err = fmt.Errorf("erase: %w", err)
	}
	return done, err
}

func (c *Custody) erase(ctx context.Context, tx *model.Tx, wish string, e model.Erasure) error {
	key, err := tx.LockNewestCustodyKey(e.Participant, string(Account))
	switch {
	case errors.Is(err, model.ErrNotFound): // the ledger has never known him
	case err != nil:
		return err
	case key.State.Live():
		_, err := tx.KeyWish(key.ID, model.KeySuccessor)
		if err == nil {
			return transition(key, model.CustodyRevoked)
		}
		if !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if _, err := c.orderIn(ctx, tx, wish, key.ID, model.WishRevoke, e.Participant); err != nil {
			return err
		}
	}
	if err := tx.EndCustodySessionsOwnedBy(e.Participant); err != nil {
		return err
	}
	if err := tx.ForgetAuthorisationsOf(e.Participant); err != nil {
		return err
	}
	if err := tx.AddErasure(e); err != nil {
		return err
	}
	return c.record(ctx, tx, entry{e.Participant, actErase, e.Participant, map[string]any{"cards": e.Cards}})
}
