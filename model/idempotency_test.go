package model_test

import (
	"errors"
	"sync"
	"testing"

	"cardflow/model"
)

// TestRemember: of many that ask for the same at once one is the first, and the others learn what he began.
func TestRemember(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		const racers = 10
		var first [racers]bool
		var told [racers]string
		var all sync.WaitGroup
		for i := range racers {
			all.Go(func() {
				err := db.Write(t.Context(), func(tx *model.Tx) error {
					row, err := tx.Remember("p1", "POST /trades", "key", "digest", numbered("act", i))
					first[i], told[i] = err == nil, row.ActID
					if errors.Is(err, model.ErrConflict) && row.BodyDigest == "digest" {
						return nil
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		winners := 0
		for i := range racers {
			if first[i] {
				winners++
			}
			if told[i] != told[0] {
				t.Errorf("told %v", told)
			}
		}
		if winners != 1 {
			t.Errorf("%d are first", winners)
		}

		write(t, db, func(tx *model.Tx) error { // another route is another thing
			_, err := tx.Remember("p1", "POST /lots", "key", "digest", "")
			return err
		})
		row := read(t, db, func(tx *model.Tx) (model.Idempotency, error) { return tx.Recall("p1", "POST /lots", "key") })
		if row.ActID != "" || row.BodyDigest != "digest" || row.CreatedAt == 0 {
			t.Errorf("recalled %+v", row)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.Recall("p2", "POST /lots", "key"); return err })
	})
}

func TestCheckpoint(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.Checkpoint("blocks"); return err })
		for _, c := range []struct {
			value int64
			hash  string
			want  error
		}{
			{0, "genesis", nil}, {1, "one", nil}, {1, "one", nil}, {5, "five", nil},
			{5, "another", model.ErrState}, {4, "four", model.ErrState}, {6, "six", nil},
		} {
			if err := db.Write(t.Context(), func(tx *model.Tx) error { return tx.SetCheckpoint("blocks", c.value, c.hash) }); !errors.Is(err, c.want) {
				t.Errorf("%d %s: %v, want %v", c.value, c.hash, err, c.want)
			}
		}
		write(t, db, func(tx *model.Tx) error { return tx.SetCheckpoint("other", 1, "") })
		got := read(t, db, func(tx *model.Tx) (model.Checkpoint, error) { return tx.Checkpoint("blocks") })
		if got.Value != 6 || got.Hash != "six" || got.UpdatedAt == 0 {
			t.Errorf("at %+v", got)
		}
	})
}
