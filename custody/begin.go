package custody

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cardflow/gm"
	"cardflow/model"
)

// begin loads the key-encryption keys, and makes the first one, and begins the audit, in an empty database. A crash
// leaves both or neither. Where people have to bring the root first it looks only whether there is one, and stays sealed.
func (c *Custody) begin(ctx context.Context) error {
	if c.provider == nil {
		_, root, err := c.rootNow(ctx)
		if errors.Is(err, model.ErrNotFound) {
			return ErrNoRoot
		}
		if err == nil && root.Kind != string(InShares) {
			err = fmt.Errorf("root %s is kept otherwise (%s): %w", root.ID, root.Kind, ErrRootMismatch)
		}
		return err
	}
	if err := c.keys.open(c.provider); err != nil {
		return err
	}
	empty, err := c.load(ctx)
	if err != nil || !empty {
		return err
	}
	first, err := c.makeKEK(ctx, c.provider, 1)
	if err != nil {
		return fmt.Errorf("make a key-encryption key: %w", err)
	}
	err = c.db.Write(ctx, func(tx *model.Tx) error {
		if err := tx.AddCustodyRoot(rootRow(c.provider, c.now())); err != nil {
			return err
		}
		if err := tx.AddCustodyKEK(first); err != nil {
			return err
		}
		return c.beginAudit(ctx, tx, first)
	})
	// Of several servers that start on one empty database the first one's key stays; the others load it.
	if err != nil && !errors.Is(err, model.ErrConflict) {
		return err
	}
	c.keys.forget(first.Version)
	if empty, err = c.load(ctx); err == nil && empty {
		err = fmt.Errorf("the key-encryption key that was made is not there: %w", ErrKeyUnreadable)
	}
	return err
}

// load takes all key-encryption keys and looks at the head of the audit. Where somebody has stopped signing it seals
// again: a restart must not undo that.
func (c *Custody) load(ctx context.Context) (empty bool, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		keks, err := tx.CustodyKEKs()
		if empty = len(keks) == 0; err != nil || empty {
			return err
		}
		for _, k := range keks {
			if err := c.keys.take(ctx, k); err != nil {
				return err
			}
		}
		h, err := c.head(ctx, tx, tx.AuditHead)
		if c.look && errors.Is(err, ErrAuditBroken) {
			err = nil
		}
		if err == nil && h.StoppedAt != 0 && !c.tool {
			c.keys.seal()
		}
		return err
	})
	return empty, err
}

// makeKEK draws a key-encryption key and seals it under a root.
func (c *Custody) makeKEK(ctx context.Context, root RootKey, version int) (model.CustodyKEK, error) {
	secret := make(gm.Secret, gm.KeySize)
	defer secret.Clear()
	if _, err := io.ReadFull(c.random, secret); err != nil {
		return model.CustodyKEK{}, fmt.Errorf("%w: %w", gm.ErrRandom, err)
	}
	k := model.CustodyKEK{Version: version, RootID: root.ID(), CreatedAt: c.now()}
	var err error
	k.Wrapped, err = root.Wrap(ctx, c.random, secret, kekBinding(k))
	return k, err
}

// rootNow answers the root that the key-encryption keys are under, and the newest of them. Errors: model.ErrNotFound in
// an empty database.
func (c *Custody) rootNow(ctx context.Context) (newest model.CustodyKEK, root model.CustodyRoot, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		keks, err := tx.CustodyKEKs()
		if err == nil && len(keks) == 0 {
			err = model.ErrNotFound
		}
		if err != nil {
			return err
		}
		newest = keks[len(keks)-1]
		root, err = rootNamed(tx, newest.RootID)
		return err
	})
	return newest, root, err
}

// rootNamed is what is noted of a root that is, or was, in use.
func rootNamed(tx *model.Tx, id string) (model.CustodyRoot, error) {
	root, err := tx.CustodyRoot(id)
	if errors.Is(err, model.ErrNotFound) { // older than the table: there were files only
		root, err = model.CustodyRoot{ID: id, Kind: string(InFile)}, nil
	}
	return root, err
}
