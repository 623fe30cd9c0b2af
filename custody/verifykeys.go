package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cardflow/model"
)

// verifyPage is how many keys are read in one transaction. They are opened after it.
const verifyPage = 250

// VerifyKeys opens every private key that there is, also those that wait to take over, and clears each at once: a row that
// was cut or exchanged, and one whose key-encryption key is gone, would else be seen when its owner wants to sign. It calls
// find for each that doesn't open, and answers how many do. Others may go on meanwhile. While custody is sealed it is ErrSealed.
//
// It takes as long as a rewrap.
func (c *Custody) VerifyKeys(ctx context.Context, find func(keyID, problem string)) (opened int64, err error) {
	// Keys move to newer key-encryption keys only, and from those that wait to the others: in this order none is missed.
	for after := 0; ; {
		version, some, err := c.versionAfter(ctx, after)
		if err != nil || !some {
			return opened, err
		}
		for _, s := range shelves {
			n, err := c.verifyShelf(ctx, s, version, find)
			if opened += n; err != nil {
				return opened, fmt.Errorf("verify keys: %w", err)
			}
		}
		after = version
	}
}

// versionAfter is the next key-encryption key that has keys under it, or had: what the rows say, whether it is there or not.
func (c *Custody) versionAfter(ctx context.Context, after int) (next int, some bool, err error) {
	var counts map[int]int64
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		counts, err = tx.CustodyKeyCounts()
		return err
	})
	var later []int
	for version := range counts {
		if version > after {
			later = append(later, version)
		}
	}
	if err != nil || len(later) == 0 {
		return 0, false, err
	}
	return slices.Min(later), true, nil
}

func (c *Custody) verifyShelf(ctx context.Context, s shelf, version int, find func(keyID, problem string)) (opened int64, err error) {
	for after, more := (model.CustodyKey{}), true; more; {
		var keys []model.CustodyKey
		err := c.db.Read(ctx, func(tx *model.Tx) error {
			keys, err = s.under(tx, version, after, verifyPage)
			return err
		})
		if err != nil {
			return opened, err
		}
		for _, k := range keys {
			problem, err := c.verifyKey(ctx, k)
			switch {
			case err != nil:
				return opened, err
			case problem != "":
				find(k.ID, problem)
			case k.State != model.CustodyDestroyed:
				opened++
			}
			after = k
		}
		more = len(keys) == verifyPage
	}
	return opened, nil
}

// verifyKey says what keeps a key from being opened, "" if nothing does.
func (c *Custody) verifyKey(ctx context.Context, row model.CustodyKey) (problem string, err error) {
	if row.State == model.CustodyDestroyed {
		if len(row.Wrapped) > 0 {
			return "is destroyed, and its envelope is there", nil
		}
		return "", ctx.Err()
	}
	key, err := c.open(ctx, row)
	switch {
	case err == nil:
		key.Clear()
		return "", ctx.Err()
	case errors.Is(err, model.ErrNotFound):
		return fmt.Sprintf("does not open: there is no key-encryption key %d", row.KEKVersion), nil
	case errors.Is(err, ErrKeyUnreadable):
		return fmt.Sprintf("does not open under key-encryption key %d: not the row that was sealed", row.KEKVersion), nil
	}
	return "", err
}
