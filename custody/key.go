package custody

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Key is the public side of a custodial key.
type Key struct {
	Post
	ID        string // gm.PublicKey.KeyID, as on the ledger
	Version   int    // of the owner's keys in this slot, from 1
	Kind      request.KeyKind
	Functions []string // what it may sign
	Public    gm.PublicKey
	State     model.CustodyKeyState
	CreatedAt time.Time
}

// Ensure answers the key of a post, and makes it if the owner has none there. Asked twice, or by two servers at once,
// it answers the same key. It doesn't make a second key beside a suspended one or after a revoked one
// (ErrKeyNotActive): replacing a key is an act of its own. Errors: ErrPost if there is no such post, or the owner
// holds it in another role. actor is the session or job that asked.
func (c *Custody) Ensure(ctx context.Context, post Post, actor string) (Key, error) {
	duty, err := post.duty()
	if err != nil {
		return Key{}, fmt.Errorf("ensure a key: %w", err)
	}
	if !printable.MatchString(actor) {
		return Key{}, fmt.Errorf("ensure a key: no actor: %w", ErrAsk)
	}
	key, err := c.ActiveKey(ctx, post.Owner, post.Slot)
	if errors.Is(err, ErrKeyNotFound) {
		if err = c.makeKey(ctx, post, duty, actor); err == nil || errors.Is(err, model.ErrConflict) {
			// Whoever stored his key first, his it is.
			key, err = c.ActiveKey(ctx, post.Owner, post.Slot)
		}
	}
	if err == nil && key.Role != post.Role {
		err = fmt.Errorf("%s is a %s: %w", post.Owner, key.Role, ErrPost)
	}
	if err != nil {
		return Key{}, fmt.Errorf("ensure a key: %w", err)
	}
	return key, nil
}

// makeKey makes the first key of a post. A crash before the commit leaves nothing: the key was never known to anyone.
func (c *Custody) makeKey(ctx context.Context, post Post, duty duty, actor string) error {
	if err := c.reconciledYet(ctx); err != nil {
		return err
	}
	made, err := c.newKey(post, duty.kind, duty.functions, 1)
	if err != nil {
		return err
	}
	defer made.scalar.Clear()
	row := made.row
	return c.write(ctx, func(tx *model.Tx) error {
		if err := c.seal(ctx, tx, &row, made.scalar); err != nil {
			return err
		}
		if err := tx.AddCustodyKey(row); err != nil {
			return err
		}
		if err := c.keepSealed(row); err != nil {
			return err
		}
		return c.record(ctx, tx, keyMade(row, actor))
	})
}

// keyMade is what the audit says of a new key.
func keyMade(row model.CustodyKey, actor string) entry {
	return entry{actor, actKey, row.ID, map[string]any{
		"owner": row.Owner, "role": row.Role, "slot": row.Slot, "version": row.Version, "kek": row.KEKVersion,
	}}
}

// drawn is a key that nobody knows yet. Its row is complete but for the envelope; whoever has it seals the scalar and clears
// it.
type drawn struct {
	row    model.CustodyKey
	public gm.PublicKey
	scalar gm.Secret
}

// newKey draws a key and lets it prove its possession while it is at hand.
func (c *Custody) newKey(post Post, kind request.KeyKind, functions []string, version int) (drawn, error) {
	private, err := gm.GenerateKey(c.random)
	if err != nil {
		return drawn{}, err
	}
	defer private.Clear()
	public := private.Public()
	possession, err := private.Sign(c.random, request.PossessionBytes(c.channel, post.Owner, public))
	if err != nil {
		return drawn{}, err
	}
	return drawn{model.CustodyKey{
		ID: public.KeyID(), Owner: post.Owner, Role: string(post.Role), Slot: string(post.Slot), Version: version,
		Kind: string(kind), Functions: functions, Public: public.Bytes(), Possession: possession,
		State: model.CustodyActive, CreatedAt: c.now(),
	}, public, private.Scalar()}, nil
}

// keepSealed makes sealed keys last elsewhere, before their transaction commits.
func (c *Custody) keepSealed(rows ...model.CustodyKey) error {
	if c.keepKey == nil {
		return nil
	}
	if err := c.keepKey(rows...); err != nil {
		return fmt.Errorf("keep a new key: %w", err)
	}
	return nil
}

// Restore takes a key back that was made after the copy was taken to which the database was put back: as Keep was given
// it. It must still open, and be the key it says. What is there already stays as it is, also another key that the owner
// has been given in its slot since; a newer version than that one waits until the ledger says that it has taken over.
// Errors: ErrKeyUnreadable.
func (c *Custody) Restore(ctx context.Context, row model.CustodyKey) error {
	err := c.write(ctx, func(tx *model.Tx) error {
		if _, err := tx.CustodyKey(row.ID); !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if _, err := tx.Successor(row.ID); !errors.Is(err, model.ErrNotFound) {
			return err
		}
		private, err := c.open(ctx, row)
		if err != nil {
			return err
		}
		private.Clear()
		add := func() error { return tx.AddCustodyKey(row) }
		switch newest, err := tx.NewestCustodyKey(row.Owner, row.Slot); {
		case err == nil && newest.Version >= row.Version:
			return nil
		case err == nil:
			add = func() error { return tx.AddSuccessor(model.SuccessorOf(row)) }
		case !errors.Is(err, model.ErrNotFound):
			return err
		}
		if err := add(); err != nil {
			return err
		}
		return c.record(ctx, tx, entry{"ledger", actRestore, row.ID, map[string]any{
			"owner": row.Owner, "role": row.Role, "slot": row.Slot, "version": row.Version, "kek": row.KEKVersion,
		}})
	})
	if errors.Is(err, model.ErrConflict) {
		return nil // another server has just done it
	}
	if err != nil {
		return fmt.Errorf("restore custodial key %s: %w", row.ID, err)
	}
	return nil
}

// Possession answers what the ledger wants to know of a new key, also of one that waits to take over: its public half, what
// it may sign, and its proof of possession, the same each time. Errors: ErrKeyNotFound.
func (c *Custody) Possession(ctx context.Context, keyID string) (request.NewKey, error) {
	row, err := c.row(ctx, keyID)
	if errors.Is(err, ErrKeyNotFound) {
		none := err
		err = c.db.Read(ctx, func(tx *model.Tx) error {
			waiting, err := tx.Successor(keyID)
			if errors.Is(err, model.ErrNotFound) {
				return none
			}
			row = waiting.Key()
			return err
		})
	}
	if err != nil {
		return request.NewKey{}, err
	}
	return c.possession(row)
}

func (c *Custody) possession(row model.CustodyKey) (request.NewKey, error) {
	key, err := keyOf(row)
	if err != nil {
		return request.NewKey{}, err
	}
	// The proof came from the database: what a reader of it could have put there doesn't go out.
	if err := gm.Verify(key.Public, request.PossessionBytes(c.channel, key.Owner, key.Public), row.Possession); err != nil {
		return request.NewKey{}, fmt.Errorf("possession of custodial key %s: %w: %w", row.ID, ErrKeyUnreadable, err)
	}
	return request.NewKey{Public: key.Public, Kind: key.Kind, Functions: key.Functions, Possession: row.Possession}, nil
}

// Key finds a key by its ID. Errors: ErrKeyNotFound.
func (c *Custody) Key(ctx context.Context, keyID string) (Key, error) {
	row, err := c.row(ctx, keyID)
	if err != nil {
		return Key{}, err
	}
	return keyOf(row)
}

// ActiveKey finds the key that an owner signs with now. Errors: ErrKeyNotFound if he never had one in the slot,
// ErrKeyNotActive if the one he has, or had last, doesn't sign.
func (c *Custody) ActiveKey(ctx context.Context, owner string, slot Slot) (key Key, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		row, err := tx.NewestCustodyKey(owner, string(slot))
		if row, err = active(row, err, owner, slot); err != nil {
			return err
		}
		key, err = keyOf(row)
		return err
	})
	return key, err
}

// active turns the newest key of an owner into the one he signs with, or says why it isn't.
func active(row model.CustodyKey, err error, owner string, slot Slot) (model.CustodyKey, error) {
	switch {
	case errors.Is(err, model.ErrNotFound):
		return row, fmt.Errorf("%q key of %q: %w", slot, owner, ErrKeyNotFound)
	case err == nil && row.State != model.CustodyActive:
		return row, fmt.Errorf("custodial key %s is %s: %w", row.ID, row.State, ErrKeyNotActive)
	}
	return row, err
}

func (c *Custody) row(ctx context.Context, keyID string) (row model.CustodyKey, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		row, err = tx.CustodyKey(keyID)
		if errors.Is(err, model.ErrNotFound) {
			return fmt.Errorf("custodial key %q: %w", keyID, ErrKeyNotFound)
		}
		return err
	})
	return row, err
}

func keyOf(row model.CustodyKey) (Key, error) {
	public, err := gm.ParsePublicKey(row.Public)
	if err != nil || public.KeyID() != row.ID {
		return Key{}, fmt.Errorf("custodial key %s, public half: %w", row.ID, ErrKeyUnreadable)
	}
	return Key{
		Post: Post{row.Owner, request.Role(row.Role), Slot(row.Slot)},
		ID:   row.ID, Version: row.Version, Kind: request.KeyKind(row.Kind), Functions: row.Functions, Public: public,
		State: row.State, CreatedAt: row.CreatedAt.Time(),
	}, nil
}
