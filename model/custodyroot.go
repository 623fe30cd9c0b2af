package model

import "strconv"

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

// CustodyKeysUnder fetches keys that are under a key-encryption key, by ID. after is the last one seen; fewer than
// limit is the end.
func (tx *Tx) CustodyKeysUnder(version int, after string, limit int) ([]CustodyKey, error) {
	return many[CustodyKey](tx.db.Where("kek_version = ? AND id > ?", version, after).Order("kek_version, id").Limit(limit))
}

// RewrapCustodyKey puts a key's envelope under another key-encryption key, if the key is still in the state in which it
// was read: one that was destroyed meanwhile stays destroyed. Errors: ErrState.
func (tx *Tx) RewrapCustodyKey(k CustodyKey, version int, wrapped []byte) error {
	return swapped("custodial key", k.ID, tx.db.Model(&CustodyKey{}).
		Where("id = ? AND kek_version = ? AND (state <> ? OR ? = ?)", k.ID, k.KEKVersion, CustodyDestroyed, k.State, CustodyDestroyed).
		Updates(map[string]any{"kek_version": version, "wrapped": wrapped}))
}

// SuccessorsUnder fetches the keys that wait to take over and are under a key-encryption key, as CustodyKeysUnder does the
// others.
func (tx *Tx) SuccessorsUnder(version int, after string, limit int) ([]CustodyKey, error) {
	waiting, err := many[CustodySuccessor](tx.db.Where("kek_version = ? AND id > ?", version, after).Order("kek_version, id").Limit(limit))
	keys := make([]CustodyKey, len(waiting))
	for i, s := range waiting {
		keys[i] = s.Key()
	}
	return keys, err
}

// RewrapSuccessor puts the envelope of a key that waits under another key-encryption key. Errors: ErrState if it waits no
// more.
func (tx *Tx) RewrapSuccessor(k CustodyKey, version int, wrapped []byte) error {
	return swapped("successor", k.ID, tx.db.Model(&CustodySuccessor{}).Where("id = ? AND kek_version = ?", k.ID, k.KEKVersion).
		Updates(map[string]any{"kek_version": version, "wrapped": wrapped}))
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
