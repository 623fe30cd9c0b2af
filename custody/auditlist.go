package custody

import (
	"context"

	"cardflow/model"
)

// Audit lists rows of the audit, newest first. What is listed is what the database says; whether that is what was written
// is VerifyAudit's to say. Errors: model.ErrCursor.
func (c *Custody) Audit(ctx context.Context, f model.AuditFilter, cursor string, limit int) (page model.Page[model.AuditRow], err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		page, err = tx.ListAudit(f, cursor, limit)
		return err
	})
	return page, err
}

// RowsBetween answers the numbers of the first and the last row of a time, from inclusive, to exclusive; zero times don't
// bound it. Clocks of several servers differ, so a row in between may have been written by a clock that was off. Errors:
// ErrAuditRows if there are none.
func (c *Custody) RowsBetween(ctx context.Context, from, to model.Millis) (first, last int64, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		first, last, err = tx.AuditBetween(from, to)
		return err
	})
	if err == nil && first > last {
		err = ErrAuditRows
	}
	return first, last, err
}
