package custody

import (
	"context"
	"errors"

	"cardflow/model"
)

// A database that was put back from a bundle doesn't know what was signed since: until the ledger has been followed to
// its end nothing is signed and no key is made, lest a second digest be signed for an attempt that has landed.

// reconciledYet answers ErrUnreconciled until that has happened, if it has to.
func (c *Custody) reconciledYet(ctx context.Context) error {
	if c.reconciled.Load() {
		return nil
	}
	var r model.Restoration
	err := c.db.Read(ctx, func(tx *model.Tx) (err error) {
		r, err = tx.Restoration()
		return err
	})
	switch {
	case err != nil:
		return err
	case r.Stage == model.RestoreLoading, r.Stage == model.RestoreLoaded:
		return ErrUnreconciled
	}
	c.reconciled.Store(true) // what this database becomes later, it becomes without us
	return nil
}

// Reconciled says that the ledger has been followed to its end, and what it has of our signatures taken over. If that was
// waited for, signing begins, and the audit says since when and from which bundle.
func (c *Custody) Reconciled(ctx context.Context, actor string) error {
	if c.reconciled.Load() {
		return nil
	}
	err := c.write(ctx, func(tx *model.Tx) error {
		r, err := tx.Restoration()
		if err != nil || r.Stage != model.RestoreLoaded {
			return err
		}
		if err := tx.Reconcile(r.Bundle); err != nil {
			return err
		}
		return c.record(ctx, tx, entry{actor, actReconcile, r.Bundle, map[string]any{"restoredAt": int64(r.At)}})
	})
	if errors.Is(err, model.ErrState) {
		err = nil // another server has said so
	}
	return err
}
