package custody

import (
	"context"
	"errors"
	"time"

	"cardflow/model"
)

// What two people want is carried out when the ledger vouches for the row that says that it begins: a record of the gravest
// acts can't be cut off by who has database and keys, not even in the minutes between two anchors. The servers write the
// anchor; custody looks at their copy of it. While the ledger can't be reached such an act waits, and whoever dies meanwhile
// leaves it to the next one.

// vouchedAgain is how often an execution looks for the anchor that it waits for.
const vouchedAgain = 50 * time.Millisecond

// slack is by how much the clocks of a server and of the ledger may differ.
const slack = model.Millis(time.Minute / time.Millisecond)

// vouched waits until the ledger has an anchor of the row that begins an execution, or of a later one.
func (c *Custody) vouched(ctx context.Context, x *Execution) error {
	if !c.anchored {
		return nil
	}
	for {
		newest, err := c.newestAnchor(ctx)
		if err != nil {
			return err
		}
		if newest.Sequence >= x.begun {
			return nil
		}
		head, err := c.AuditHead(ctx, newest.Sequence)
		if err != nil {
			return err
		}
		if !head.Moved { // taken over from a server that died: its row is anchored, and nothing has come since but anchors
			return nil
		}
		timer := time.NewTimer(vouchedAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// newestAnchor is the newest anchor that the servers have copied; the zero one if there is none.
func (c *Custody) newestAnchor(ctx context.Context) (newest model.AuditAnchor, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		newest, err = anchorOf(tx)
		return err
	})
	return newest, err
}

func anchorOf(tx *model.Tx) (model.AuditAnchor, error) {
	newest, err := tx.NewestAuditAnchor(AuditStream)
	if errors.Is(err, model.ErrNotFound) {
		return model.AuditAnchor{}, nil
	}
	return newest, err
}

// pressing reports whether an execution has begun that the newest anchor may be too old for.
func (c *Custody) pressing(tx *model.Tx) (bool, error) {
	if !c.anchored {
		return false, nil
	}
	newest, err := anchorOf(tx)
	if err != nil {
		return false, err
	}
	return tx.ProposalsBegun(max(0, newest.At-slack))
}
