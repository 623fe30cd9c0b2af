package custody

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"cardflow/model"
)

// FindingKind is what is wrong with the audit.
type FindingKind string

// The kinds of findings. docs/custody.md says what each means and what to do.
const (
	Edited     FindingKind = "EDITED"      // contents, link or hash of rows are not what was written
	Deleted    FindingKind = "DELETED"     // rows are gone
	Reordered  FindingKind = "REORDERED"   // rows stand where others stood
	Inserted   FindingKind = "INSERTED"    // rows are there that nobody appended
	Cut        FindingKind = "CUT"         // the newest rows are gone
	FalseHead  FindingKind = "FALSE_HEAD"  // the head is not the one that custody wrote last
	RolledBack FindingKind = "ROLLED_BACK" // head and rows are whole, and older than what the ledger has anchored
	Forked     FindingKind = "FORKED"      // the ledger has anchored other rows than these: another copy went on
	// The anchors as the database has them, beside the ledger.
	AnchorEdited  FindingKind = "ANCHOR_EDITED"  // the ledger says otherwise
	AnchorMissing FindingKind = "ANCHOR_MISSING" // the ledger has it, and the database, or the export, does not
	AnchorUnknown FindingKind = "ANCHOR_UNKNOWN" // the ledger does not have it
)

// Finding is something that is wrong with the audit.
type Finding struct {
	Kind FindingKind `json:"kind"`
	From int64       `json:"from"` // the rows that it is about
	To   int64       `json:"to"`
	Text string      `json:"text"`
}

// String names kind, rows and what is wrong.
func (f Finding) String() string {
	if f.From == f.To {
		return fmt.Sprintf("%s row %d: %s", f.Kind, f.From, f.Text)
	}
	return fmt.Sprintf("%s rows %d to %d: %s", f.Kind, f.From, f.To, f.Text)
}

// AuditReport is what a walk along the audit found.
type AuditReport struct {
	First    int64     `json:"first"` // the rows that were walked
	Last     int64     `json:"last"`
	Rows     int64     `json:"rows"` // how many there are
	Hash     string    `json:"hash"` // of the last one
	Anchors  int64     `json:"anchors"`
	Anchored int64     `json:"anchored"` // the newest row that an anchor vouches for
	Findings []Finding `json:"findings"` // by row; at most mostFindings
	Declared []Finding `json:"declared"` // what a restore has left, and somebody has said so in the audit: see DeclareRestore
}

// Err is nil for an audit that is whole, else an ErrAuditBroken that names the first finding.
func (r AuditReport) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s (%d findings)", ErrAuditBroken, r.Findings[0], len(r.Findings))
}

// VerifyOptions say what an audit is held against.
type VerifyOptions struct {
	// Anchors are those of the ledger, by sequence. Without them a database that was put back as a whole to an older
	// state can't be told from the newest one.
	Anchors iter.Seq2[model.AuditAnchor, error]
	// Actor is who wants to know, for the audit; "": nobody who has to be named.
	Actor string
	// Progress is told how many rows have been walked, of how many.
	Progress func(done, total int64)
}

// VerifyAudit walks the audit from its first row to its head, and answers all that is wrong with it. An error is only
// that it could not be looked at. It reads page by page, so its memory does not grow with the audit, and others may
// append meanwhile.
func (c *Custody) VerifyAudit(ctx context.Context, o VerifyOptions) (AuditReport, error) {
	w := newAuditWalk(1, noHash, o.Anchors)
	defer w.close()
	total := int64(0)
	page := func(tx *model.Tx) (more bool, err error) {
		rows, err := tx.AuditRows(w.read, auditPage)
		for _, row := range rows {
			if err == nil {
				err = w.row(row)
			}
		}
		if o.Progress != nil {
			o.Progress(w.read, max(total, w.read))
		}
		return len(rows) == auditPage, err
	}
	for more := true; more; {
		err := c.db.Read(ctx, func(tx *model.Tx) error {
			if h, err := tx.AuditHead(); err == nil {
				total = h.Seq
			}
			var err error
			if more, err = page(tx); err != nil || more {
				return err
			}
			// The end: what others have appended meanwhile is seen in the same snapshot as the head.
			h, err := c.head(ctx, tx, tx.AuditHead)
			if err != nil && !errors.Is(err, ErrAuditBroken) {
				return err
			}
			return w.end(h, err)
		})
		if err != nil {
			return w.report, fmt.Errorf("verify the audit: %w", err)
		}
	}
	if err := w.report.Err(); err != nil {
		c.alarm(ErrAuditBroken, "error", err)
	}
	if o.Actor == "" {
		return w.report, nil
	}
	return w.report, c.verified(ctx, o.Actor, w.report)
}

// verified writes down that somebody has had the audit verified, and what he was told. Where something was found it waits: a row
// that comes after rows that are gone would make another finding of it.
func (c *Custody) verified(ctx context.Context, actor string, r AuditReport) error {
	e := entry{actor, actVerify, c.channel, map[string]any{
		"first": r.First, "last": r.Last, "rows": r.Rows, "hash": r.Hash, "anchors": r.Anchors, "anchored": r.Anchored, "findings": len(r.Findings), "declared": len(r.Declared),
	}}
	if len(r.Findings) > 0 {
		return c.wait(ctx, e)
	}
	return c.write(ctx, func(tx *model.Tx) error { return c.record(ctx, tx, e) })
}
