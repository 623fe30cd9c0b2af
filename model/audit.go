package model

import (
	"cmp"
	"errors"
	"slices"
	"strconv"

	"gorm.io/gorm"
)

// AuditAnchor is what the ledger says of a chain that is kept here: that its row of that number had that hash, when the
// transaction committed. It is written by whoever follows the ledger, and never changes.
type AuditAnchor struct {
	Stream      string `gorm:"primaryKey"`
	Sequence    int64  `gorm:"primaryKey;autoIncrement:false"`
	Digest      string // hex
	TxID        string
	BlockNumber int64
	At          Millis // the transaction's time
}

// TableName places the record.
func (AuditAnchor) TableName() string { return "custody_anchors" }

// AddAuditAnchor notes an anchor. One that is there already stays as it is: a block may be settled twice.
func (tx *Tx) AddAuditAnchor(a AuditAnchor) error {
	_, err := one[AuditAnchor](tx.db.Where("stream = ? AND sequence = ?", a.Stream, a.Sequence))
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return named("anchor", strconv.FormatInt(a.Sequence, 10), tx.db.Create(&a).Error)
}

// AuditAnchors fetches the anchors of a stream after one, in order, up to a limit.
func (tx *Tx) AuditAnchors(stream string, after int64, limit int) ([]AuditAnchor, error) {
	return many[AuditAnchor](tx.db.Where("stream = ? AND sequence > ?", stream, after).Order("sequence").Limit(limit))
}

// NewestAuditAnchor fetches the anchor of a stream with the highest sequence. Errors: ErrNotFound.
func (tx *Tx) NewestAuditAnchor(stream string) (AuditAnchor, error) {
	a, err := one[AuditAnchor](tx.db.Where("stream = ?", stream).Order("sequence DESC"))
	return a, named("anchor of", stream, err)
}

// AuditFilter says which rows ListAudit lists; zero fields don't restrict.
type AuditFilter struct {
	Actor   string
	Act     string
	Subject string
	Key     string // ID of the key that a row is about
	From    Millis
	To      Millis // exclusive
}

// auditSkew is how far the clocks of two servers may be apart, so that rows are listed by time all the same: seconds are
// usual, minutes stop the ledger.
const auditSkew = 5 * 60 * 1000

// ListAudit lists rows of the audit, newest first.
func (tx *Tx) ListAudit(f AuditFilter, cursor string, limit int) (Page[AuditRow], error) {
	query := tx.db
	for _, c := range []struct{ column, value string }{
		{"actor", f.Actor}, {"act", f.Act}, {"key_id", f.Key},
	} {
		if c.value != "" {
			query = query.Where(c.column+" = ?", c.value)
		}
	}
	// Rows are looked up by number, which runs nearly with the time: so a range of numbers is found first, and a list of
	// all of a busy year doesn't have to be sorted to show its end.
	if f.From > 0 {
		first, err := tx.auditSince(f.From - auditSkew)
		if err != nil {
			return Page[AuditRow]{}, err
		}
		query = query.Where("seq >= ? AND at >= ?", first, f.From)
	}
	if f.To > 0 {
		end, err := tx.auditSince(f.To + auditSkew)
		if err != nil {
			return Page[AuditRow]{}, err
		}
		query = query.Where("seq <= ? AND at < ?", end, f.To)
	}
	if cursor != "" {
		var after struct {
			Seq int64 `json:"s"`
		}
		if err := decodeCursor(cursor, &after); err != nil {
			return Page[AuditRow]{}, err
		}
		query = query.Where("seq < ?", after.Seq)
	}
	limit = pageSize(limit)
	newest := func(query *gorm.DB) ([]AuditRow, error) {
		return many[AuditRow](query.Order("seq DESC").Limit(limit + 1))
	}
	var rows []AuditRow
	var err error
	if f.Subject == "" {
		rows, err = newest(query)
	} else {
		// What is about a key is found by it, and the rest by its topic: of one subject there is mostly one of the two. Each row
		// is in one of the lists.
		query = query.Session(&gorm.Session{})
		var keys []AuditRow
		if rows, err = newest(query.Where("topic = ?", f.Subject)); err == nil {
			keys, err = newest(query.Where("key_id = ? AND topic IS NULL", f.Subject))
		}
		rows = append(rows, keys...)
		slices.SortFunc(rows, func(a, b AuditRow) int { return cmp.Compare(b.Seq, a.Seq) })
		rows = rows[:min(len(rows), limit+1)]
	}
	if err != nil {
		return Page[AuditRow]{}, err
	}
	return cut(rows, limit, func(last AuditRow) any { return map[string]int64{"s": last.Seq} })
}

// auditSince is the number of the first row that is not older than a time; one after the last if there is none.
func (tx *Tx) auditSince(at Millis) (int64, error) {
	row, err := one[AuditRow](tx.db.Select("seq").Where("at >= ?", at).Order("at, seq"))
	if !errors.Is(err, ErrNotFound) {
		return row.Seq, err
	}
	row, err = one[AuditRow](tx.db.Select("seq").Where("seq > 0").Order("seq DESC"))
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return row.Seq + 1, err
}

// AuditBetween answers the numbers of the first and the last row whose time is from a time on and before another; a zero
// time doesn't bound it. With no such row the first is greater than the last.
func (tx *Tx) AuditBetween(from, to Millis) (first, last int64, err error) {
	if first, err = tx.auditSince(from); err != nil {
		return 0, 0, err
	}
	if to == 0 {
		last, err = tx.auditSince(1 << 62)
		return first, last - 1, err
	}
	row, err := one[AuditRow](tx.db.Select("seq").Where("at < ?", to).Order("at DESC, seq DESC"))
	if errors.Is(err, ErrNotFound) {
		return first, first - 1, nil
	}
	return first, row.Seq, err
}
