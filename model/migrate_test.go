package model_test

import (
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
)

func TestMigrateTwice(t *testing.T) {
	modeltest.Each(t, func(t *testing.T, db *model.DB) {
		n, err := db.Migrate(t.Context())
		if err != nil || n != 0 {
			t.Errorf("second Migrate applied %d, %v", n, err)
		}
	})
}
