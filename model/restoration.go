package model

import (
	"errors"
	"fmt"
)

// RestoreStage is how far a database has come that was put back from a bundle.
type RestoreStage int64

// The stages. A database that was never put back has none.
const (
	RestoreNone       RestoreStage = 0
	RestoreLoading    RestoreStage = 1 // rows are missing: no server may start
	RestoreLoaded     RestoreStage = 2 // all of it is there, and what the ledger says since is not known yet: nothing may be signed
	RestoreReconciled RestoreStage = 3
)

// Restoration is what a database remembers of its last restore.
type Restoration struct {
	Bundle string
	Stage  RestoreStage
	At     Millis // of the stage
}

// restoration names its checkpoint.
const restoration = "restore"

// Restoration answers what the last restore was, and how far it has come.
func (tx *Tx) Restoration() (Restoration, error) {
	c, err := tx.Checkpoint(restoration)
	if errors.Is(err, ErrNotFound) {
		return Restoration{}, nil
	}
	return Restoration{c.Hash, RestoreStage(c.Value), c.UpdatedAt}, err
}

// BeginRestore marks an empty database as one that a bundle is loaded into. Errors: ErrConflict if it is marked.
func (tx *Tx) BeginRestore(bundle string) error {
	return named("checkpoint", restoration, tx.db.Create(&Checkpoint{Name: restoration, Value: int64(RestoreLoading), Hash: bundle}).Error)
}

// GiveUpRestore takes the mark away again. Errors: ErrState if it is not, or no longer, that of a bundle being loaded.
func (tx *Tx) GiveUpRestore(bundle string) error {
	result := tx.db.Where("name = ? AND value = ? AND hash = ?", restoration, RestoreLoading, bundle).Delete(&Checkpoint{})
	return swapped("checkpoint", restoration, result)
}

// EndRestore says that everything is there. Errors: ErrState.
func (tx *Tx) EndRestore(bundle string) error {
	return tx.moveRestore(bundle, RestoreLoading, RestoreLoaded)
}

// Reconcile says that a restored database has followed the ledger to its end. Errors: ErrState if that has been said, or
// was not to be.
func (tx *Tx) Reconcile(bundle string) error {
	return tx.moveRestore(bundle, RestoreLoaded, RestoreReconciled)
}

func (tx *Tx) moveRestore(bundle string, from, to RestoreStage) error {
	result := tx.db.Model(&Checkpoint{}).Where("name = ? AND value = ? AND hash = ?", restoration, from, bundle).Update("value", int64(to))
	if err := swapped("checkpoint", restoration, result); err != nil {
		return fmt.Errorf("restore of %s: %w", bundle, err)
	}
	return nil
}
