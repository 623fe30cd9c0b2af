package custody

import (
	"context"
	"errors"

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

// Staff answers who of the actors of some rows is a person of the staff, with his user name: the audit has IDs only.
func (c *Custody) Staff(ctx context.Context, rows []model.AuditRow) (names map[string]string, err error) {
	names = map[string]string{}
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		for _, r := range rows {
			if _, known := names[r.Actor]; known || r.Actor == "" {
				continue
			}
			p, err := tx.Person(r.Actor)
			switch {
			case err == nil:
				names[r.Actor] = p.Username
			case !errors.Is(err, model.ErrNotFound):
				return err
			}
		}
		return nil
	})
	return names, err
}

// StaffID answers the ID of the person with a user name, "" if there is none.
func (c *Custody) StaffID(ctx context.Context, username string) (id string, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		p, err := tx.PersonByUsername(username)
		if errors.Is(err, model.ErrNotFound) {
			return nil
		}
		id = p.ID
		return err
	})
	return id, err
}
