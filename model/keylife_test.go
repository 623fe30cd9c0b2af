package model_test

import (
	"errors"
	"slices"
	"testing"

	"cardflow/model"
)

func TestKeyWishes(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		wish := model.CustodyWish{KeyID: "k1", Matter: model.KeyStanding, Wish: model.WishSuspend, ID: "w1", Actor: "ops", CreatedAt: now}
		write(t, db, func(tx *model.Tx) error { return tx.AddCustodyKey(custodyKey("k1", "ann", 1, model.CustodyActive)) })
		write(t, db, func(tx *model.Tx) error { return tx.SetKeyWish(wish) })
		next := wish
		next.Wish, next.ID = model.WishRevoke, "w2"
		other := wish
		other.Matter, other.Wish, other.ID = model.KeySuccessor, model.WishReplace, "w3"
		write(t, db, func(tx *model.Tx) error { return errors.Join(tx.SetKeyWish(next), tx.SetKeyWish(other)) })
		if list := read(t, db, func(tx *model.Tx) ([]model.CustodyWish, error) { return tx.AllKeyWishes("", 10) }); !slices.Equal(list, []model.CustodyWish{next, other}) {
			t.Errorf("wishes %+v", list)
		}
		if list := read(t, db, func(tx *model.Tx) ([]model.CustodyWish, error) {
			w, err := tx.WishesOf([]string{"k0", "k1"})
			return w["k1"], err
		}); !slices.Equal(list, []model.CustodyWish{other, next}) && !slices.Equal(list, []model.CustodyWish{next, other}) {
			t.Errorf("wishes of the key %+v", list)
		}
		write(t, db, func(tx *model.Tx) error { return tx.DropKeyWish("k1", model.KeyStanding) })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.KeyWish("k1", model.KeyStanding); return err })
	})
}

func TestSuccessors(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		key := custodyKey("k2", "ann", 2, model.CustodyActive)
		write(t, db, func(tx *model.Tx) error { return tx.AddSuccessor(model.SuccessorOf(key)) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error {
			return tx.AddSuccessor(model.SuccessorOf(custodyKey("k3", "ann", 3, model.CustodyActive)))
		})
		got := read(t, db, func(tx *model.Tx) (model.CustodySuccessor, error) { return tx.SuccessorIn("ann", "account") }).Key()
		if got.ID != key.ID || got.Version != 2 || string(got.Wrapped) != "wrapped" || got.State != model.CustodyActive || !slices.Equal(got.Functions, key.Functions) {
			t.Errorf("successor %+v", got)
		}
		write(t, db, func(tx *model.Tx) error { return tx.DropSuccessor("k2") })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.Successor("k2"); return err })
	})
}

func TestLedgerKeys(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		look := func(tx *model.Tx) (model.CustodyLedgerKey, error) { return tx.LedgerKey("k1") }
		if k := read(t, db, look); k != (model.CustodyLedgerKey{KeyID: "k1"}) {
			t.Errorf("before: %+v", k)
		}
		for version := 2; version < 4; version++ {
			write(t, db, func(tx *model.Tx) error {
				return tx.SetLedgerKey(model.CustodyLedgerKey{KeyID: "k1", Version: version, Status: "SUSPENDED"})
			})
			if k := read(t, db, look); k.Version != version {
				t.Errorf("%+v", k)
			}
		}
	})
}

// TestListCustodyKeys walks lists of every kind page by page.
func TestListCustodyKeys(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addKEK(t, db)
		states := []model.CustodyKeyState{model.CustodyActive, model.CustodySuspended, model.CustodyRevoked}
		write(t, db, func(tx *model.Tx) error {
			for i, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
				k := custodyKey(id, "owner-"+id, 1, states[i%3])
				k.CreatedAt = now + model.Millis(i/2) // some are as old as others
				if err := tx.AddCustodyKey(k); err != nil {
					return err
				}
			}
			return nil
		})
		for name, c := range map[string]struct {
			filter model.CustodyKeyFilter
			want   []string
		}{
			"all":      {model.CustodyKeyFilter{}, []string{"g", "f", "e", "d", "c", "b", "a"}},
			"by owner": {model.CustodyKeyFilter{Owner: "owner-c"}, []string{"c"}},
			"by state": {model.CustodyKeyFilter{State: model.CustodyActive}, []string{"g", "d", "a"}},
			"by age":   {model.CustodyKeyFilter{From: now + 1, To: now + 3}, []string{"f", "e", "d", "c"}},
			"by both":  {model.CustodyKeyFilter{State: model.CustodySuspended, From: now + 1}, []string{"e"}},
			"none":     {model.CustodyKeyFilter{State: model.CustodyDestroyed}, nil},
		} {
			var got []string
			for cursor := ""; ; {
				page := read(t, db, func(tx *model.Tx) (model.Page[model.CustodyKey], error) {
					return tx.ListCustodyKeys(c.filter, cursor, 2)
				})
				for _, k := range page.Items {
					got = append(got, k.ID)
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		refused(t, db, model.ErrCursor, func(tx *model.Tx) error {
			_, err := tx.ListCustodyKeys(model.CustodyKeyFilter{}, "!", 2)
			return err
		})
	})
}
