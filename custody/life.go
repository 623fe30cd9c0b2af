package custody

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"cardflow/gm"
	"cardflow/model"
)

// The life of a key: active ⇄ suspended → revoked → destroyed, and active → rotated where a newer version has taken over.
// What stops a key is true here at once, before the ledger knows; what lets one sign is true when the ledger has said so
// (see follow.go). In between stands a wish: a row that goes when the ledger has followed. Whoever carries wishes to the
// ledger may die at any point, or come twice: the wish is still there, or has come true.

// Wish is what custody wants of the ledger, and does not see there yet.
type Wish struct {
	ID      string // new whenever somebody wishes something
	Key     Key
	What    string // model.WishSuspend and so on
	Actor   string
	Ordered model.Millis
}

// Suspend stops a key for a while: it signs nothing from here on. What was signed before may still reach the ledger, until
// that has followed. Asked twice it answers the same wish, as the others do. Errors: ErrKeyNotFound, ErrKeyTransition.
func (c *Custody) Suspend(ctx context.Context, keyID, actor string) (Wish, error) {
	return c.Order(ctx, keyID, model.WishSuspend, actor)
}

// Resume lets a suspended key sign again, as soon as the ledger does. Errors: ErrKeyNotFound, ErrKeyTransition.
func (c *Custody) Resume(ctx context.Context, keyID, actor string) (Wish, error) {
	return c.Order(ctx, keyID, model.WishResume, actor)
}

// Revoke stops a key for ever. Its owner has no key then until it is replaced. Errors: ErrKeyNotFound, ErrKeyTransition.
func (c *Custody) Revoke(ctx context.Context, keyID, actor string) (Wish, error) {
	return c.Order(ctx, keyID, model.WishRevoke, actor)
}

// Replace asks for the next version of a key. An active key goes on signing until the ledger has the next one, which is
// made by Prepare; one that was revoked leaves its owner without a key until then. Only the newest key of a slot is
// replaced, and not while it is suspended: whoever stopped it has to say first what he thinks now. Errors:
// ErrKeyNotFound, ErrKeyTransition.
func (c *Custody) Replace(ctx context.Context, keyID, actor string) (Wish, error) {
	return c.Order(ctx, keyID, model.WishReplace, actor)
}

// moves are what an order does to a key at once. wished is what was wished of it before, in the same matter.
var moves = map[string]func(tx *model.Tx, row model.CustodyKey, wished string) error{
	model.WishSuspend: func(tx *model.Tx, row model.CustodyKey, wished string) error {
		switch {
		case row.State == model.CustodyActive:
			return tx.MoveCustodyKey(row.ID, row.State, model.CustodySuspended)
		case row.State == model.CustodySuspended && wished == model.WishResume:
			return nil // it signs nothing yet, and shall not
		}
		return transition(row, model.CustodySuspended)
	},
	model.WishResume: func(_ *model.Tx, row model.CustodyKey, _ string) error {
		if row.State != model.CustodySuspended {
			return transition(row, model.CustodyActive)
		}
		return nil
	},
	model.WishRevoke: func(tx *model.Tx, row model.CustodyKey, _ string) error {
		if !model.CustodyKeyMoves.Can(row.State, model.CustodyRevoked) {
			return transition(row, model.CustodyRevoked)
		}
		return tx.MoveCustodyKey(row.ID, row.State, model.CustodyRevoked)
	},
	model.WishReplace: func(tx *model.Tx, row model.CustodyKey, _ string) error {
		newest, err := tx.NewestCustodyKey(row.Owner, row.Slot)
		if err == nil && (newest.ID != row.ID || row.State == model.CustodySuspended) {
			err = transition(row, model.CustodyRotated)
		}
		return err
	},
}

// wipe empties the envelope of a revoked key. The row stays, with public key and fingerprint, so that what the key has
// signed can be checked for ever. It takes two people: see OperationDestroy. Errors: ErrKeyNotFound, ErrKeyTransition.
func wipe(tx *model.Tx, keyID string) (model.CustodyKey, error) {
	row, err := lockKey(tx, keyID)
	if err != nil {
		return row, err
	}
	if row.State != model.CustodyRevoked {
		return row, transition(row, model.CustodyDestroyed)
	}
	return row, tx.DestroyCustodyKey(row.ID)
}

// Order makes one of the four wishes. It is one transaction: the move, the wish and the record of both. A crash leaves all
// of them or none. What is wished already is answered as it stands. Errors: ErrKeyNotFound, ErrKeyTransition, ErrAsk.
func (c *Custody) Order(ctx context.Context, keyID, what, actor string) (Wish, error) {
	w, err := c.order(ctx, keyID, what, actor)
	return w, c.refuseMove(ctx, err, what, keyID, actor)
}

// Preview answers the state that a key would have at once after an order, and changes nothing. It needs no key: a custody
// that is sealed answers, too. Errors: ErrKeyNotFound, ErrKeyTransition, ErrAsk.
func (c *Custody) Preview(ctx context.Context, keyID, what string) (model.CustodyKeyState, error) {
	if moves[what] == nil {
		return "", fmt.Errorf("%q: %w", what, ErrAsk)
	}
	var w Wish
	err := c.db.Write(ctx, func(tx *model.Tx) (err error) {
		if w, _, err = c.wishIn(tx, "preview", keyID, what, "preview"); err == nil {
			err = errPreview
		}
		return err
	})
	if errors.Is(err, errPreview) {
		err = nil
	}
	return w.Key.State, err
}

// errPreview rolls a preview back.
var errPreview = errors.New("nothing was done")

func (c *Custody) order(ctx context.Context, keyID, what, actor string) (w Wish, err error) {
	if moves[what] == nil || !printable.MatchString(actor) {
		return w, fmt.Errorf("%q by %q: %w", what, actor, ErrAsk)
	}
	id, err := c.wishID()
	if err != nil {
		return w, err
	}
	err = c.write(ctx, func(tx *model.Tx) error {
		w, err = c.orderIn(ctx, tx, id, keyID, what, actor)
		return err
	})
	return w, err
}

// orderIn is an order within a transaction. id names the wish, if it is a new one.
func (c *Custody) orderIn(ctx context.Context, tx *model.Tx, id, keyID, what, actor string) (Wish, error) {
	w, from, err := c.wishIn(tx, id, keyID, what, actor)
	if err != nil || w.ID != id { // it was wished before
		return w, err
	}
	return w, c.record(ctx, tx, entry{actor, "key." + what, keyID, map[string]any{
		"owner": w.Key.Owner, "from": from, "to": w.Key.State, "wish": id,
	}})
}

// wishIn makes the move and the wish, or finds the wish. from is the state that the key was in.
func (c *Custody) wishIn(tx *model.Tx, id, keyID, what, actor string) (w Wish, from model.CustodyKeyState, err error) {
	row, err := lockKey(tx, keyID)
	if err != nil {
		return w, from, err
	}
	matter := matterOf(what)
	before, err := tx.KeyWish(keyID, matter)
	if err = ignored(err, model.ErrNotFound); err != nil {
		return w, from, err
	}
	if before.Wish == what {
		w, err = wishOf(before, row)
		return w, row.State, err
	}
	if err := moves[what](tx, row, before.Wish); err != nil {
		return w, from, err
	}
	wish := model.CustodyWish{KeyID: row.ID, Matter: matter, Wish: what, ID: id, Actor: actor, CreatedAt: c.now()}
	if err := tx.SetKeyWish(wish); err != nil {
		return w, from, err
	}
	after, err := tx.CustodyKey(keyID)
	if err != nil {
		return w, from, err
	}
	w, err = wishOf(wish, after)
	return w, row.State, err
}

// refuseMove records that somebody asked for a move that there isn't.
func (c *Custody) refuseMove(ctx context.Context, cause error, what, keyID, actor string) error {
	if cause == nil {
		return nil
	}
	cause = fmt.Errorf("%s custodial key %s: %w", what, keyID, cause)
	if !errors.Is(cause, ErrKeyTransition) {
		return cause
	}
	err := c.write(context.WithoutCancel(ctx), func(tx *model.Tx) error {
		return c.record(ctx, tx, entry{actor, actRefuseMove, keyID, map[string]any{"code": ErrKeyTransition.Code, "move": what}})
	})
	if err != nil {
		return fmt.Errorf("%w: while refusing: %w", err, cause)
	}
	return cause
}

func transition(row model.CustodyKey, to model.CustodyKeyState) error {
	return fmt.Errorf("custodial key %s: %s to %s: %w", row.ID, row.State, to, ErrKeyTransition)
}

func lockKey(tx *model.Tx, keyID string) (model.CustodyKey, error) {
	row, err := tx.LockCustodyKey(keyID)
	if errors.Is(err, model.ErrNotFound) {
		err = fmt.Errorf("custodial key %q: %w", keyID, ErrKeyNotFound)
	}
	return row, err
}

func matterOf(wish string) model.KeyMatter {
	if wish == model.WishReplace {
		return model.KeySuccessor
	}
	return model.KeyStanding
}

func wishOf(row model.CustodyWish, key model.CustodyKey) (Wish, error) {
	k, err := keyOf(key)
	return Wish{ID: row.ID, Key: k, What: row.Wish, Actor: row.Actor, Ordered: row.CreatedAt}, err
}

func (c *Custody) wishID() (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(c.random, b); err != nil {
		return "", fmt.Errorf("%w: %w", gm.ErrRandom, err)
	}
	return hex.EncodeToString(b), nil
}

// Wishes lists what the ledger has still to follow, by ID. after is the last ID seen, empty at the start; fewer than limit
// is the end.
func (c *Custody) Wishes(ctx context.Context, after string, limit int) (list []Wish, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		list = nil
		rows, err := tx.AllKeyWishes(after, limit)
		if err != nil {
			return err
		}
		for _, row := range rows {
			key, err := tx.CustodyKey(row.KeyID)
			if err != nil {
				return err
			}
			w, err := wishOf(row, key)
			if err != nil {
				return err
			}
			list = append(list, w)
		}
		return nil
	})
	return list, err
}

// Prepare makes the key that is to come after another one, if that was asked for and it isn't made yet, and answers it. It
// signs nothing until the ledger has it. Asked twice, or by two servers at once, it answers the same key. Errors:
// ErrKeyNotFound if nobody wishes one.
func (c *Custody) Prepare(ctx context.Context, keyID, actor string) (next Key, err error) {
	find := func() (wanted bool, old model.CustodyKey, err error) {
		err = c.db.Read(ctx, func(tx *model.Tx) error {
			if old, err = tx.CustodyKey(keyID); err != nil {
				return err
			}
			if _, err = tx.KeyWish(keyID, model.KeySuccessor); err != nil {
				return err
			}
			waiting, err := tx.SuccessorIn(old.Owner, old.Slot)
			if wanted = errors.Is(err, model.ErrNotFound); wanted || err != nil {
				return ignored(err, model.ErrNotFound)
			}
			next, err = keyOf(waiting.Key())
			return err
		})
		if errors.Is(err, model.ErrNotFound) {
			err = fmt.Errorf("custodial key %q: nobody wishes another one: %w", keyID, ErrKeyNotFound)
		}
		return wanted, old, err
	}
	wanted, old, err := find()
	if err == nil && wanted {
		err = c.makeSuccessor(ctx, old, actor)
		if err == nil || errors.Is(err, model.ErrConflict) {
			wanted, _, err = find() // whoever stored his first, his it is
		}
		if err == nil && wanted {
			err = fmt.Errorf("the successor that was made is gone: %w", ErrKeyNotFound)
		}
	}
	if err != nil {
		return Key{}, fmt.Errorf("prepare the successor of custodial key %s: %w", keyID, err)
	}
	return next, nil
}

func ignored(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// makeSuccessor makes the next version of a key with what its post may sign now, as far as the old key may: the ledger lets
// a rotated key gain nothing. Like makeKey it leaves nothing behind a crash.
func (c *Custody) makeSuccessor(ctx context.Context, old model.CustodyKey, actor string) error {
	was, err := keyOf(old)
	if err != nil {
		return err
	}
	duty, err := was.Post.duty()
	if err != nil {
		return err
	}
	var functions []string
	for _, f := range old.Functions {
		for _, g := range duty.functions {
			if f == g {
				functions = append(functions, f)
			}
		}
	}
	made, err := c.newKey(was.Post, duty.kind, functions, old.Version+1)
	if err != nil {
		return err
	}
	defer made.scalar.Clear()
	row := made.row
	return c.write(ctx, func(tx *model.Tx) error {
		if _, err := tx.LockCustodyKey(old.ID); err != nil {
			return err
		}
		if err := c.seal(ctx, tx, &row, made.scalar); err != nil {
			return err
		}
		if err := tx.AddSuccessor(model.SuccessorOf(row)); err != nil {
			return err
		}
		if err := c.keepSealed(row); err != nil {
			return err
		}
		return c.record(ctx, tx, entry{actor, actPrepare, row.ID, map[string]any{
			"owner": row.Owner, "role": row.Role, "slot": row.Slot, "version": row.Version, "kek": row.KEKVersion, "after": old.ID,
		}})
	})
}
