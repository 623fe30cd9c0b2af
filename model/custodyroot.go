package model

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"
)

// CustodyRoot is what is known of a root key of the custody. The key itself is never here.
type CustodyRoot struct {
	ID        string `gorm:"primaryKey"`
	Kind      string // file, shamir, pkcs11
	Threshold int    // shares that are needed; 0 unless it is in shares
	Shares    int    // that there are
	CreatedAt Millis
	RetiredAt Millis // when another one took its place; 0: it is in use
}

// TableName places the record.
func (CustodyRoot) TableName() string { return "custody_roots" }

// AuditWaiting is an audit row that waits for custody to be opened.
type AuditWaiting struct {
	ID      int64 `gorm:"primaryKey"`
	At      Millis
	Actor   string
	Act     string
	Subject string
	Detail  string // JSON
}

// TableName places the record.
func (AuditWaiting) TableName() string { return "custody_waiting" }

// CustodyRoot fetches what is known of a root. Errors: ErrNotFound; also for the file of a database that is older than
// this table.
func (tx *Tx) CustodyRoot(id string) (CustodyRoot, error) {
	r, err := one[CustodyRoot](tx.db.Where("id = ?", id))
	return r, named("root", id, err)
}

// AddCustodyRoot notes a root. Errors: ErrConflict.
func (tx *Tx) AddCustodyRoot(r CustodyRoot) error {
	return named("root", r.ID, tx.db.Create(&r).Error)
}

// RetireCustodyRoot notes when a root was given up. One that was never noted is none of its business.
func (tx *Tx) RetireCustodyRoot(id string, at Millis) error {
	return named("root", id, tx.db.Model(&CustodyRoot{}).Where("id = ?", id).Update("retired_at", at).Error)
}

// RewrapCustodyKEK puts a key-encryption key that is under one root under another. Errors: ErrState if it is not under
// that one.
func (tx *Tx) RewrapCustodyKEK(version int, from, to string, wrapped []byte) error {
	return swapped("key-encryption key", strconv.Itoa(version), tx.db.Model(&CustodyKEK{}).
		Where("version = ? AND root_id = ?", version, from).
		Updates(map[string]any{"root_id": to, "wrapped": wrapped}))
}

// CustodyKeysUnder fetches keys that are under a key-encryption key, oldest first. after is the last one seen, zero at the
// start; fewer than limit is the end. Those that were made together lie together: with each batch by ID, a walk over a
// million keys would write a page for each.
func (tx *Tx) CustodyKeysUnder(version int, after CustodyKey, limit int) ([]CustodyKey, error) {
	return many[CustodyKey](tx.under(version, after, limit))
}

func (tx *Tx) under(version int, after CustodyKey, limit int) *gorm.DB {
	return tx.db.Where("kek_version = ? AND created_at >= ? AND (created_at > ? OR id > ?)", version, after.CreatedAt, after.CreatedAt, after.ID).
		Order("kek_version, created_at, id").Limit(limit)
}

// RewrapCustodyKeys puts the envelopes of keys, which were all read under one key-encryption key, under another one. Wrapped
// is what is new; a destroyed key has none, and is only said to be under the other one. A key that was destroyed since it was
// read stays destroyed, one that somebody else has rewrapped stays as he left it, and so does one that the database refuses to
// change: none of them is counted.
func (tx *Tx) RewrapCustodyKeys(keys []CustodyKey, from, to int) (moved int64, err error) {
	var living []CustodyKey
	var destroyed []string
	for _, k := range keys {
		if k.State == CustodyDestroyed {
			destroyed = append(destroyed, k.ID)
		} else {
			living = append(living, k)
		}
	}
	moved, err = tx.rewrap("custody_keys", " AND state <> 'destroyed'", living, from, to)
	if err != nil || len(destroyed) == 0 {
		return moved, err
	}
	result := tx.db.Model(&CustodyKey{}).Where("id IN ? AND +kek_version = ? AND state = ?", destroyed, from, CustodyDestroyed).Update("kek_version", to)
	return moved + result.RowsAffected, result.Error
}

// rewrap puts the envelopes of keys in one of the two tables under another key-encryption key.
func (tx *Tx) rewrap(table, and string, keys []CustodyKey, from, to int) (moved int64, err error) {
	byID := func(a, b CustodyKey) int { return strings.Compare(a.ID, b.ID) }
	if !slices.IsSortedFunc(keys, byID) {
		keys = slices.SortedFunc(slices.Values(keys), byID)
	}
	for some := range slices.Chunk(keys, listChunk) {
		n, err := tx.rewrapSome(table, and, some, from, to)
		if err != nil {
			return moved, err
		}
		moved += n
	}
	return moved, nil
}

// choice is an expression that chooses the envelope of each of some keys, which are in the order of their IDs, and what it
// is of. It halves them: the database would compare a row's ID with half of a long list.
func choice(text *strings.Builder, values []any, keys []CustodyKey) []any {
	if len(keys) > 8 {
		middle := len(keys) / 2
		text.WriteString("CASE WHEN id < ? THEN ")
		values = choice(text, append(values, keys[middle].ID), keys[:middle])
		text.WriteString(" ELSE ")
		values = choice(text, values, keys[middle:])
		text.WriteString(" END")
		return values
	}
	text.WriteString("CASE id")
	for _, k := range keys {
		text.WriteString(" WHEN ? THEN ?")
		values = append(values, k.ID, k.Wrapped)
	}
	text.WriteString(" END")
	return values
}

func (tx *Tx) rewrapSome(table, and string, keys []CustodyKey, from, to int) (int64, error) {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	var text strings.Builder
	fmt.Fprintf(&text, "UPDATE %s SET kek_version = ?, wrapped = ", table)
	values := choice(&text, []any{to}, keys)
	text.WriteString(" WHERE id IN ? AND +kek_version = ?" + and) // the plus keeps SQLite from looking at all keys of that version
	result := tx.db.Exec(text.String(), append(values, ids, from)...)
	if !errors.Is(result.Error, ErrState) {
		return result.RowsAffected, result.Error
	}
	// A trigger has refused one of them, and with it the statement: the others are no worse for it.
	if len(keys) == 1 {
		return 0, nil
	}
	first, err := tx.rewrapSome(table, and, keys[:len(keys)/2], from, to)
	if err != nil {
		return first, err
	}
	rest, err := tx.rewrapSome(table, and, keys[len(keys)/2:], from, to)
	return first + rest, err
}

// SuccessorsUnder fetches the keys that wait to take over and are under a key-encryption key, as CustodyKeysUnder does the
// others.
func (tx *Tx) SuccessorsUnder(version int, after CustodyKey, limit int) ([]CustodyKey, error) {
	waiting, err := many[CustodySuccessor](tx.under(version, after, limit))
	keys := make([]CustodyKey, len(waiting))
	for i, s := range waiting {
		keys[i] = s.Key()
	}
	return keys, err
}

// RewrapSuccessors does for keys that wait what RewrapCustodyKeys does for the others. One that waits no more isn't counted.
func (tx *Tx) RewrapSuccessors(keys []CustodyKey, from, to int) (moved int64, err error) {
	return tx.rewrap("custody_successors", "", keys, from, to)
}

// CustodyKeyCounts counts the keys under each key-encryption key, also those that wait to take over.
func (tx *Tx) CustodyKeyCounts() (map[int]int64, error) {
	counts := map[int]int64{}
	for _, table := range []any{&CustodyKey{}, &CustodySuccessor{}} {
		var rows []struct {
			Version int `gorm:"column:kek_version"`
			N       int64
		}
		if err := tx.db.Model(table).Select("kek_version, COUNT(*) AS n").Group("kek_version").Find(&rows).Error; err != nil {
			return nil, err
		}
		for _, r := range rows {
			counts[r.Version] += r.N
		}
	}
	return counts, nil
}

// AddAuditWaiting notes an act while the audit can't be appended to.
func (tx *Tx) AddAuditWaiting(w AuditWaiting) error {
	return named("audit row that waits", w.Act, tx.db.Create(&w).Error)
}

// TakeAuditWaiting answers the acts that wait, oldest first, and removes them: whoever calls appends them in the same
// transaction.
func (tx *Tx) TakeAuditWaiting(limit int) ([]AuditWaiting, error) {
	rows, err := many[AuditWaiting](tx.locked().Order("id").Limit(limit))
	if err != nil || len(rows) == 0 {
		return rows, err
	}
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return rows, tx.db.Where("id IN ?", ids).Delete(&AuditWaiting{}).Error
}

// AuditWaits tells whether an act waits.
func (tx *Tx) AuditWaits() (bool, error) {
	some, err := many[AuditWaiting](tx.db.Select("id").Limit(1))
	return len(some) > 0, err
}

// CustodyKeysBefore tells whether a key, or one that waits to take over, is under an older key-encryption key.
func (tx *Tx) CustodyKeysBefore(version int) (bool, error) {
	keys, err := many[CustodyKey](tx.db.Select("id").Where("kek_version < ?", version).Limit(1))
	if err != nil || len(keys) > 0 {
		return err == nil, err
	}
	waiting, err := many[CustodySuccessor](tx.db.Select("id").Where("kek_version < ?", version).Limit(1))
	return len(waiting) > 0, err
}

// NextRoot is a root that its holders have, and that waits for two people to put it in the place of the one in use. The
// root itself is never here.
type NextRoot struct {
	ID         string `gorm:"primaryKey"`
	Kind       string // file, shamir, pkcs11
	Threshold  int    // shares that are needed; 0 unless it is in shares
	Shares     int    // that there are
	MadeBy     string
	MadeAt     Millis
	BeforeID   string // the root that was in use then
	KEKs       string `gorm:"column:keks"`        // JSON: every key-encryption key as it will be under this root
	KEKVersion int    `gorm:"column:kek_version"` // whose key made Seal
	Seal       []byte // keyed tag of everything above
}

// TableName places the record.
func (NextRoot) TableName() string { return "custody_next_root" }

// NextRoot fetches the root that waits. Errors: ErrNotFound.
func (tx *Tx) NextRoot() (NextRoot, error) {
	r, err := one[NextRoot](tx.db.Where("1 = 1"))
	return r, named("root", "that waits", err)
}

// SetNextRoot stores the root that waits, in the place of any other.
func (tx *Tx) SetNextRoot(r NextRoot) error {
	if err := tx.DropNextRoot(); err != nil {
		return err
	}
	return named("root", r.ID, tx.db.Create(&r).Error)
}

// DropNextRoot forgets it.
func (tx *Tx) DropNextRoot() error {
	return named("root", "that waits", tx.db.Where("1 = 1").Delete(&NextRoot{}).Error)
}
