package model_test

import (
	"testing"

	"cardflow/model"
)

// TestBacklog: what waits is counted, and what is done is not.
func TestBacklog(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		ask := func() (got [4]int64) {
			write(t, db, func(tx *model.Tx) error {
				n, oldest, err := tx.UnfinishedActs()
				if err != nil {
					return err
				}
				waiting, err := tx.AuditWaitingRows()
				if err != nil {
					return err
				}
				open, err := tx.UndecidedProposals()
				got = [4]int64{n, int64(oldest), waiting, open}
				return err
			})
			return got
		}
		if got := ask(); got != [4]int64{} {
			t.Errorf("%v of nothing", got)
		}
		write(t, db, func(tx *model.Tx) error {
			for i, state := range append([]model.ActState{model.ActCommitted, model.ActFailed}, unfinished...) {
				a := act(numbered("act", i), state)
				a.CreatedAt = model.Millis(100 + i)
				if err := tx.AddAct(a); err != nil {
					return err
				}
			}
			return tx.AddAuditWaiting(model.AuditWaiting{At: now, Act: "custody.seal", Subject: "cardflow", Detail: "{}"})
		})
		if got := ask(); got != [4]int64{int64(len(unfinished)), 102, 1, 0} {
			t.Errorf("%v", got)
		}
	})
}
