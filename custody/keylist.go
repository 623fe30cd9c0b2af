package custody

import (
	"context"
	"errors"
	"fmt"

	"cardflow/model"
)

// KeyView is a key with all that is known of where it stands: for those who run the custody.
type KeyView struct {
	Key
	KEKVersion int
	Wishes     []model.CustodyWish    // what the ledger has still to follow
	Ledger     model.CustodyLedgerKey // Version 0: it stands there as it was registered, or isn't there
	Successor  string                 // ID of the key that waits to take over, "" if none does
}

// Keys lists keys, newest first. Errors: model.ErrCursor.
func (c *Custody) Keys(ctx context.Context, f model.CustodyKeyFilter, cursor string, limit int) (page model.Page[KeyView], err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		rows, err := tx.ListCustodyKeys(f, cursor, limit)
		page = model.Page[KeyView]{Next: rows.Next}
		for _, row := range rows.Items {
			if err != nil {
				break
			}
			var v KeyView
			v, err = keyView(tx, row)
			page.Items = append(page.Items, v)
		}
		return err
	})
	return page, err
}

// KeyView shows one key. Errors: ErrKeyNotFound.
func (c *Custody) KeyView(ctx context.Context, keyID string) (v KeyView, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		row, err := tx.CustodyKey(keyID)
		if errors.Is(err, model.ErrNotFound) {
			return fmt.Errorf("custodial key %q: %w", keyID, ErrKeyNotFound)
		}
		if err != nil {
			return err
		}
		v, err = keyView(tx, row)
		return err
	})
	return v, err
}

// KeysNamed lists keys whose IDs begin with a prefix, by ID.
func (c *Custody) KeysNamed(ctx context.Context, prefix string, limit int) (list []KeyView, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		list = nil
		rows, err := tx.CustodyKeysNamed(prefix, limit)
		for _, row := range rows {
			v, err := keyView(tx, row)
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return err
	})
	return list, err
}

func keyView(tx *model.Tx, row model.CustodyKey) (v KeyView, err error) {
	if v.Key, err = keyOf(row); err != nil {
		return v, err
	}
	v.KEKVersion = row.KEKVersion
	if v.Wishes, err = tx.KeyWishes(row.ID); err != nil {
		return v, err
	}
	if v.Ledger, err = tx.LedgerKey(row.ID); err != nil {
		return v, err
	}
	newest, err := tx.NewestCustodyKey(row.Owner, row.Slot)
	if err != nil || newest.ID != row.ID {
		return v, err
	}
	next, err := tx.SuccessorIn(row.Owner, row.Slot)
	v.Successor = next.ID
	return v, ignored(err, model.ErrNotFound)
}
