package model

import (
	"errors"
	"fmt"
)

// Checkpoint is how far a reader of the ledger has come.
type Checkpoint struct {
	Name      string `gorm:"primaryKey"`
	Value     int64  // the last block applied
	Hash      string // of that block
	UpdatedAt Millis `gorm:"autoUpdateTime:milli"`
}

// Checkpoint fetches a checkpoint. Errors: ErrNotFound before the first.
func (tx *Tx) Checkpoint(name string) (Checkpoint, error) {
	c, err := one[Checkpoint](tx.db.Where("name = ?", name))
	return c, named("checkpoint", name, err)
}

// LockCheckpoint fetches a checkpoint and keeps other readers from moving it until the transaction ends. Errors:
// ErrNotFound before the first, when there is nothing to lock.
func (tx *Tx) LockCheckpoint(name string) (Checkpoint, error) {
	c, err := one[Checkpoint](tx.locked().Where("name = ?", name))
	return c, named("checkpoint", name, err)
}

// SetCheckpoint moves a checkpoint on, in the transaction that applies what it stands for. Errors: ErrState if it is
// that far already, with another hash or beyond (another reader was faster, or the ledger is another one). Setting
// what is set changes nothing.
func (tx *Tx) SetCheckpoint(name string, value int64, hash string) error {
	next := Checkpoint{Name: name, Value: value, Hash: hash}
	old, err := tx.LockCheckpoint(name)
	if errors.Is(err, ErrNotFound) {
		if err = tx.db.Create(&next).Error; !errors.Is(err, ErrConflict) {
			return named("checkpoint", name, err)
		}
		old, err = tx.LockCheckpoint(name) // two readers at the very start: the slower one finds what the other set
	}
	switch {
	case err != nil:
		return err
	case old.Value == value && old.Hash == hash:
		return nil
	case old.Value >= value:
		return fmt.Errorf("checkpoint %s: %w: at %d, not before %d", name, ErrState, old.Value, value)
	default:
		return swapped("checkpoint", name, tx.db.Model(&next).Where("value = ?", old.Value).Select("*").Updates(&next))
	}
}
