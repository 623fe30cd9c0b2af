package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cardflow/gm"
	"cardflow/model"
)

// Init notes a new root in a database that has none, makes the first key-encryption key under it and begins the audit.
// The root must be in its holders' hands by then. Errors: ErrRootExists.
func Init(ctx context.Context, config Config) (*Custody, error) {
	if config.DB != nil {
		err := config.DB.Read(ctx, func(tx *model.Tx) error {
			keks, err := tx.CustodyKEKs()
			if err == nil && len(keks) > 0 {
				err = ErrRootExists
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("initialise the root: %w", err)
		}
	}
	return Open(ctx, config)
}

// RotateRoot puts every key-encryption key under another root, in one transaction: a crash leaves all of them under the
// old one, or all under the new one. The new root must be in its holders' hands by then. Servers that run go on with what
// they have in memory; they need the new root when they start again, or when somebody makes a key-encryption key.
//
// Errors: ErrRootMoved if somebody else has changed the root, or added a key-encryption key, meanwhile; ErrRootExists if
// the new root is, or was, this database's.
func (c *Custody) RotateRoot(ctx context.Context, next RootKey, actor string) error {
	if !printable.MatchString(actor) {
		return fmt.Errorf("rotate the root: no actor: %w", ErrAsk)
	}
	err := c.rotateRoot(ctx, next, actor)
	if err != nil {
		return fmt.Errorf("rotate the root: %w", err)
	}
	return nil
}

func (c *Custody) rotateRoot(ctx context.Context, next RootKey, actor string) error {
	old, err := c.keys.holder()
	if err != nil {
		return err
	}
	if next.ID() == old.ID() {
		return fmt.Errorf("it is the same one: %w", ErrRootExists)
	}
	var before, after []model.CustodyKEK
	if err := c.db.Read(ctx, func(tx *model.Tx) (err error) { before, err = tx.CustodyKEKs(); return err }); err != nil {
		return err
	}
	// A device may take its time, so this comes before the transaction, which holds up all who sign.
	for _, k := range before {
		if k.RootID != old.ID() {
			return ErrRootMoved
		}
		moved, err := c.moveKEK(ctx, k, old, next)
		if err != nil {
			return fmt.Errorf("key-encryption key %d: %w", k.Version, err)
		}
		after = append(after, moved)
	}
	err = c.write(ctx, func(tx *model.Tx) error {
		now, err := tx.CustodyKEKs()
		if err != nil {
			return err
		}
		if !slices.EqualFunc(now, before, func(a, b model.CustodyKEK) bool { return a.Version == b.Version && a.RootID == b.RootID }) {
			return ErrRootMoved
		}
		versions := []int{}
		for _, k := range after {
			if err := tx.RewrapCustodyKEK(k.Version, old.ID(), next.ID(), k.Wrapped); err != nil {
				return err
			}
			versions = append(versions, k.Version)
		}
		if err := tx.RetireCustodyRoot(old.ID(), c.now()); err != nil {
			return err
		}
		if err := tx.AddCustodyRoot(rootRow(next, c.now())); err != nil {
			return err
		}
		return c.record(ctx, tx, entry{actor, actRoot, next.ID(), map[string]any{
			"from": old.ID(), "fromKind": old.Kind(), "to": next.ID(), "toKind": next.Kind(), "keks": versions,
		}})
	})
	if errors.Is(err, model.ErrConflict) {
		return fmt.Errorf("a root that was given up isn't taken again: %w", ErrRootExists)
	}
	if err == nil {
		err = c.keys.exchange(old, next)
	}
	return err
}

// moveKEK opens a key-encryption key under one root and seals it under another.
func (c *Custody) moveKEK(ctx context.Context, k model.CustodyKEK, from, to RootKey) (model.CustodyKEK, error) {
	secret, err := from.Unwrap(ctx, k.Wrapped, kekBinding(k))
	if errors.Is(err, gm.ErrOpen) {
		return k, fmt.Errorf("%w: %w", ErrKeyUnreadable, err)
	}
	if err != nil {
		return k, err
	}
	defer secret.Clear()
	k.RootID = to.ID()
	if k.Wrapped, err = to.Wrap(ctx, c.random, secret, kekBinding(k)); err != nil {
		return k, err
	}
	// What can't be opened again must not take the place of what can.
	check, err := to.Unwrap(ctx, k.Wrapped, kekBinding(k))
	if err == nil && !slices.Equal(check, secret) {
		err = ErrKeyUnreadable
	}
	check.Clear()
	return k, err
}

// NewKEK makes a key-encryption key, under which keys are sealed from now on, and answers its version. Other servers
// fetch it at their next transaction. Those that were made before stay under theirs until Rewrap. Errors: ErrRootMoved if
// somebody else makes one at this moment.
func (c *Custody) NewKEK(ctx context.Context, actor string) (version int, err error) {
	if !printable.MatchString(actor) {
		return 0, fmt.Errorf("make a key-encryption key: no actor: %w", ErrAsk)
	}
	if version, err = c.newKEK(ctx, actor); err != nil {
		return 0, fmt.Errorf("make a key-encryption key: %w", err)
	}
	return version, nil
}

func (c *Custody) newKEK(ctx context.Context, actor string) (int, error) {
	root, err := c.keys.holder()
	if err != nil {
		return 0, err
	}
	newest, now, err := c.rootNow(ctx)
	if err != nil {
		return 0, err
	}
	if now.ID != root.ID() {
		return 0, fmt.Errorf("the key-encryption keys are under root %s, this is root %s: %w", now.ID, root.ID(), ErrRootMismatch)
	}
	made, err := c.makeKEK(ctx, root, newest.Version+1)
	if err != nil {
		return 0, err
	}
	err = c.write(ctx, func(tx *model.Tx) error {
		// The root may have been rotated since.
		last, err := tx.CustodyKEK(newest.Version)
		if err == nil && last.RootID != root.ID() {
			err = ErrRootMoved
		}
		if err != nil {
			return err
		}
		if err := tx.AddCustodyKEK(made); err != nil {
			return err
		}
		if err := c.record(ctx, tx, entry{actor, actKEK, strconv.Itoa(made.Version), map[string]any{"root": made.RootID}}); err != nil {
			return err
		}
		// From here on the head is sealed with it, which is how other servers hear of it.
		return c.append(ctx, tx, []model.AuditWaiting{{At: c.now(), Actor: actor, Act: actHead, Subject: strconv.Itoa(made.Version), Detail: "{}"}},
			func(h *model.AuditHead) { h.KEKVersion = made.Version })
	})
	if err != nil {
		c.keys.forget(made.Version)
	}
	if errors.Is(err, model.ErrConflict) {
		err = fmt.Errorf("%w: %w", ErrRootMoved, err)
	}
	return made.Version, err
}
