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
		if err == nil {
			page.Next = rows.Next
			page.Items, err = keyViews(tx, rows.Items)
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
		views, err := keyViews(tx, []model.CustodyKey{row})
		if err == nil {
			v = views[0]
		}
		return err
	})
	return v, err
}

// KeysNamed lists keys whose IDs begin with a prefix, by ID.
func (c *Custody) KeysNamed(ctx context.Context, prefix string, limit int) (list []KeyView, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		rows, err := tx.CustodyKeysNamed(prefix, limit)
		if err == nil {
			list, err = keyViews(tx, rows)
		}
		return err
	})
	return list, err
}

// keyViews shows keys. It asks for what belongs to them once for all of them.
func keyViews(tx *model.Tx, rows []model.CustodyKey) ([]KeyView, error) {
	views := make([]KeyView, len(rows))
	ids, owners := make([]string, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		var err error
		if views[i].Key, err = keyOf(row); err != nil {
			return nil, err
		}
		ids[i], owners[i], views[i].KEKVersion = row.ID, row.Owner, row.KEKVersion
	}
	wishes, err := tx.WishesOf(ids)
	if err != nil {
		return nil, err
	}
	ledger, err := tx.LedgerKeys(ids)
	if err != nil {
		return nil, err
	}
	waiting, err := tx.SuccessorsOf(owners)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		views[i].Wishes, views[i].Ledger = wishes[row.ID], ledger[row.ID]
		for _, next := range waiting {
			if next.Owner != row.Owner || next.Slot != row.Slot {
				continue
			}
			newest, err := tx.NewestCustodyKey(row.Owner, row.Slot) // which is what it comes after
			if err != nil {
				return nil, err
			}
			if newest.ID == row.ID {
				views[i].Successor = next.ID
			}
		}
	}
	return views, nil
}
