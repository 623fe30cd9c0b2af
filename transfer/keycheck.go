package transfer

import (
	"context"
	"fmt"

	"cardflow/ledger/contract"
	"cardflow/model"
)

// keys holds custody's keys against the ledger's. What custody still wishes of the ledger is on its way, and is no
// difference. Custody follows the ledger before the database does, so a key may be ahead of the checkpoint.
func (c *check) keys(ctx context.Context) error {
	for cursor := ""; ; {
		// The mark first: what custody shows is at least as new.
		if err := c.snapshot(ctx, func(*model.Tx) error { return nil }); err != nil {
			return err
		}
		page, err := c.Signer.Keys(ctx, KeyFilter{}, cursor, fsckPage)
		if err != nil {
			return err
		}
		for _, row := range page.Items {
			c.report.Keys++
			problem, err := verdict(ctx, c.truth, c.truth.keys, row.ID, c.seen, func(k *contract.Key) string { return keyDiffers(row, k) })
			if err != nil {
				return err
			}
			if problem != "" {
				c.report.find(c.mendKey(row, problem))
			}
			if row.Successor == "" {
				continue
			}
			if k := newest(c.truth.keys[row.Successor]); k != nil && c.truth.keys[row.Successor][0].block <= c.seen {
				c.report.find(c.mendKeys(row.ID, "the ledger has its successor, which still waits here", row.ID, row.Successor))
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

// openKeys: each key here can still be opened, by who asks for it to sign.
func (c *check) openKeys(ctx context.Context) (err error) {
	opener, ok := c.Signer.(KeyOpener)
	if ok {
		c.report.KeysOpened, err = opener.VerifyKeys(ctx, func(keyID, problem string) {
			c.report.find(Finding{Kind: "KEY", Subject: keyID, Problem: problem})
		})
	}
	return err
}

// keyDiffers says how a key here is not as the ledger has it. A key that the ledger lacks is one whose owner is being
// registered, or never was: the participants are looked at by themselves.
func keyDiffers(row KeyView, k *contract.Key) string {
	if k == nil || keyAgrees(model.CustodyKeyState(row.State), k.Status) {
		return ""
	}
	for _, w := range row.Wishes {
		if w.What != model.WishReplace {
			return ""
		}
	}
	return fmt.Sprintf("is %s here and %s on the ledger", row.State, k.Status)
}

func keyAgrees(here model.CustodyKeyState, there contract.KeyStatus) bool {
	switch there {
	case contract.KeyActive:
		return here == model.CustodyActive
	case contract.KeySuspended:
		return here == model.CustodySuspended
	case contract.KeyRotated:
		return here == model.CustodyRotated
	case contract.KeyRevoked:
		return here == model.CustodyRevoked || here == model.CustodyDestroyed
	}
	return false
}

// mendKey lets custody follow the ledger where that proves something: that the key is stopped there, or that it was let go
// on after the newest that custody has heard of it. A key that is stopped here and not there, with nobody wishing it, was
// stopped by a hand in the database: a person has to say what shall be.
func (c *check) mendKey(row KeyView, problem string) Finding {
	k := newest(c.truth.keys[row.ID])
	further := row.State == string(model.CustodyRevoked) || row.State == string(model.CustodyDestroyed) || row.State == string(model.CustodyRotated)
	if k == nil || k.Status == contract.KeyActive && k.Version <= max(row.LedgerVersion, 1) || further && k.Status != contract.KeyRevoked {
		return Finding{Kind: "KEY", Subject: row.ID, Problem: problem}
	}
	return c.mendKeys(row.ID, problem, row.ID)
}

func (c *check) mendKeys(subject, problem string, ids ...string) Finding {
	f := Finding{Kind: "KEY", Subject: subject, Problem: problem, Remedy: "follow the ledger"}
	f.fix = func(ctx context.Context) error {
		if err := c.truth.extend(ctx, nil); err != nil {
			return err
		}
		var keys []contract.Key
		for _, id := range ids {
			if k := newest(c.truth.keys[id]); k != nil {
				keys = append(keys, *k)
			}
		}
		return c.Signer.MendKeys(ctx, keys)
	}
	return f
}
