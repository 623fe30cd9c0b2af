package transfer

import (
	"context"
	"errors"
	"fmt"

	"cardflow/ledger/contract"
	"cardflow/model"
)

// acts: an act is committed exactly if the ledger applied its request, and by that transaction.
func (c *check) acts(ctx context.Context) error {
	for cursor := ""; ; {
		var page model.Page[model.Act]
		err := c.snapshot(ctx, func(tx *model.Tx) (err error) {
			if page, err = tx.ListActs(model.ActFilter{}, cursor, fsckPage); err != nil {
				return err
			}
			for _, a := range page.Items {
				if err := c.act(ctx, tx, a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

func (c *check) act(ctx context.Context, tx *model.Tx, a model.Act) error {
	c.report.Acts++
	if !a.State.Finished() {
		c.report.Unfinished++
	}
	problem, err := c.actDiffers(tx, a)
	if problem == "" || err != nil {
		return err
	}
	if err := c.truth.extend(ctx, nil); err != nil {
		return err
	}
	if problem, err = c.actDiffers(tx, a); problem != "" && err == nil {
		c.report.find(c.mendAct(a.ID, problem))
	}
	return err
}

func (c *check) actDiffers(tx *model.Tx, a model.Act) (string, error) {
	if a.Function == "Init" { // the one request that is not marked as applied: a second one is refused by what it has made
		if a.State == model.ActCommitted && c.truth.valid[a.TxID] != 1 {
			return fmt.Sprintf("transaction %s counts %d times", a.TxID, c.truth.valid[a.TxID]), nil
		}
		return "", nil
	}
	by, applied := c.truth.applied[a.RequestID]
	if applied && by.tx != a.TxID {
		// Somebody else may have asked for the very same, by an act of his own: this one failed, and that one did it.
		if other, err := tx.ActByTx(by.tx); err == nil && other.ID != a.ID && other.State == model.ActCommitted && a.State == model.ActFailed {
			return "", nil
		} else if err != nil && !errors.Is(err, model.ErrNotFound) {
			return "", err
		}
	}
	switch {
	case a.State == model.ActCommitted && !applied && c.truth.valid[a.TxID] == 1:
		return "has another request here than its transaction on the ledger", nil
	case a.State == model.ActCommitted && (!applied || by.tx != a.TxID):
		return "is committed here; the ledger does not have its transaction " + a.TxID, nil
	case a.State == model.ActCommitted && c.truth.valid[a.TxID] != 1:
		return fmt.Sprintf("transaction %s counts %d times", a.TxID, c.truth.valid[a.TxID]), nil
	case a.State == model.ActFailed && applied && by.block <= c.seen && a.ErrorCode != contract.AlreadyApplied:
		return "failed here; the ledger applied it in " + by.tx, nil
	case !a.State.Finished() && applied && by.block <= c.seen && by.tx == a.TxID:
		return fmt.Sprintf("is %s here; the ledger applied it in %s", a.State, by.tx), nil
	}
	return "", nil
}

// holds: what an act has set aside is free once the act has ended.
func (c *check) holds(ctx context.Context) error {
	ended := func(tx *model.Tx, act string) (bool, error) {
		a, err := tx.Act(act)
		return errors.Is(err, model.ErrNotFound) || err == nil && a.State.Finished(), ignore(err, model.ErrNotFound)
	}
	err := pages(ctx, c, (*model.Tx).HeldLots, func(l model.Lot) string { return l.Hash }, func(tx *model.Tx, row model.Lot) error {
		over, err := ended(tx, row.HeldBy)
		if over && err == nil {
			c.report.find(c.mendHold("LOT", row.Hash, row.HeldBy, "is held by act "+row.HeldBy+", which has ended"))
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.snapshot(ctx, func(tx *model.Tx) error {
		acts, err := tx.ReservingActs()
		for _, act := range acts {
			over, err := ended(tx, act)
			if err != nil {
				return err
			}
			if over {
				c.report.find(c.mendHold("ACT", act, act, "has ended, and still has cards set aside"))
			}
		}
		return err
	})
}
