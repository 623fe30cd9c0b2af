package model_test

import (
	"testing"

	"cardflow/model"
)

// TestOneRecoveryAtATime: a participant has one that is not done, and another one after it.
func TestOneRecoveryAtATime(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		add := func(id string) func(*model.Tx) error {
			return func(tx *model.Tx) error {
				return tx.AddRecovery(model.Recovery{ID: id, Participant: "ann", KeyID: "k", Freezes: true, Actor: "ops", State: model.RecoveryReplacing, CreatedAt: now})
			}
		}
		write(t, db, add("r1"))
		refused(t, db, model.ErrConflict, add("r2"))
		if list := read(t, db, func(tx *model.Tx) ([]model.Recovery, error) { return tx.LiveRecoveries("", 10) }); len(list) != 1 || list[0].ID != "r1" || !list[0].Freezes {
			t.Errorf("%+v", list)
		}
		write(t, db, func(tx *model.Tx) error {
			_, err := tx.MoveRecovery("r1", model.RecoveryReplacing, model.RecoveryDone, func(r *model.Recovery) { r.NewKeyID = "k2" })
			return err
		})
		if list := read(t, db, func(tx *model.Tx) ([]model.Recovery, error) { return tx.LiveRecoveries("", 10) }); len(list) != 0 {
			t.Errorf("%+v", list)
		}
		write(t, db, add("r3"))
		if last := read(t, db, func(tx *model.Tx) (model.Recovery, error) { return tx.LastRecovery("ann") }); last.ID != "r3" {
			t.Errorf("%+v", last)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.LastRecovery("bob"); return err })
	})
}
