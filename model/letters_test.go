package model_test

import (
	"errors"
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// TestAskedForInOtherLetters: an ID with letters that no ID has is not found, on either engine, and no list has rows of it.
func TestAskedForInOtherLetters(t *testing.T) {
	modeltest.Each(t, func(t *testing.T, db *model.DB) {
		for _, name := range []string{"李", "é", "😀", "\xff"} {
			lists := map[string]func(tx *model.Tx) (int, error){
				"audit": func(tx *model.Tx) (int, error) {
					page, err := tx.ListAudit(model.AuditFilter{Actor: name, Act: name, Subject: name, Key: name}, "", 10)
					return len(page.Items), err
				},
				"keys": func(tx *model.Tx) (int, error) {
					page, err := tx.ListCustodyKeys(model.CustodyKeyFilter{Owner: name}, "", 10)
					return len(page.Items), err
				},
				"acts": func(tx *model.Tx) (int, error) {
					page, err := tx.ListActs(model.ActFilter{Actor: name}, "", 10)
					return len(page.Items), err
				},
			}
			for what, list := range lists {
				err := db.Read(t.Context(), func(tx *model.Tx) error {
					n, err := list(tx)
					if n != 0 {
						t.Errorf("%s of %q: %d", what, name, n)
					}
					return err
				})
				if err != nil {
					t.Errorf("%s of %q: %v", what, name, err)
				}
			}
			err := db.Read(t.Context(), func(tx *model.Tx) error { _, err := tx.CustodyKey(name); return err })
			if !errors.Is(err, model.ErrNotFound) {
				t.Errorf("key %q: %v", name, err)
			}
			write(t, db, func(tx *model.Tx) error {
				_, lock := tx.LockCustodyKey(name)
				move := tx.MoveCustodyKey(name, model.CustodyActive, model.CustodyRevoked)
				for what, err := range map[string]error{"lock": lock, "move": move} {
					if !errors.Is(err, model.ErrNotFound) && !errors.Is(err, model.ErrState) || model.Broken(err) {
						t.Errorf("%s key %q: %v", what, name, err)
					}
				}
				set, err := tx.QuotasNamed(name)
				if len(set) != 0 {
					t.Errorf("quotas of %q: %v", name, set)
				}
				return err
			})
		}
	})
}
