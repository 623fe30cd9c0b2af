package custody

import (
	"context"
	"encoding/json"

	"cardflow/model"
)

// AuditStream is the name under which the audit's head is anchored on the ledger.
const AuditStream = "custody"

// AuditHead is the end of the audit.
type AuditHead struct {
	Sequence int64 // of the newest row
	Hash     string
	// Moved: something has happened since the row that was asked about, apart from the anchoring of it. Each anchor is
	// signed, and leaves a row: an audit in which nothing else happens must not be anchored for its anchors' sake.
	Moved bool
	// Pressing: what two people want waits for the ledger to vouch for the row that says so. See vouched.
	Pressing bool
}

// mostAnchoring is how many rows an anchor leaves at most, with all that can go wrong; more are something else.
const mostAnchoring = 64

// AuditHead answers the end of the audit, whose seal is good. since is the last row that was anchored, 0 for none.
// Errors: ErrAuditBroken.
func (c *Custody) AuditHead(ctx context.Context, since int64) (head AuditHead, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		h, err := c.head(ctx, tx, tx.AuditHead)
		if err != nil {
			return err
		}
		head = AuditHead{Sequence: h.Seq, Hash: h.Hash}
		if head.Pressing, err = c.pressing(tx); err != nil {
			return err
		}
		if head.Moved = h.Seq-since > mostAnchoring; head.Moved || h.Seq <= since {
			return nil
		}
		rows, err := tx.AuditRows(since, mostAnchoring)
		if err != nil {
			return err
		}
		for _, row := range rows {
			head.Moved = head.Moved || !ofAnchoring(row)
		}
		return nil
	})
	return head, err
}

// ofAnchoring reports whether a row is there because of an anchor and nothing else.
func ofAnchoring(row model.AuditRow) bool {
	switch row.Act {
	case actIntent, actRefuse, actClose, actAdopt:
	default:
		return false
	}
	var d struct {
		Function string `json:"function"`
	}
	return json.Unmarshal([]byte(row.Detail), &d) == nil && d.Function == "Anchor"
}
