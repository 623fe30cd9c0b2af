package model

import "gorm.io/gorm/clause"

// Quota is how many signatures a day somebody set, in the place of a default.
type Quota struct {
	Name      string `gorm:"primaryKey"`
	Daily     int64
	ChangedBy string // person
	ChangedAt Millis
}

// TableName places the record.
func (Quota) TableName() string { return "custody_quotas" }

// Usage is what an owner's key in a slot has signed: as much as is needed to say whether it may sign once more.
type Usage struct {
	Owner     string `gorm:"primaryKey"`
	Slot      string `gorm:"primaryKey"`
	Day       int64  // whose signatures Used are, counted from 1970
	Used      int64
	Usual     int64  // the busiest day before, less an eighth for each day since
	BusyUntil int64  // µs since 1970: when the key would be idle if each signature took its share of a minute
	StoppedAt Millis // it signed far more than usual, and waits for two people; 0: it didn't
}

// TableName places the record.
func (Usage) TableName() string { return "custody_usage" }

// Quotas lists what was set, by name.
func (tx *Tx) Quotas() ([]Quota, error) { return many[Quota](tx.db.Order("name")) }

// QuotasNamed fetches those of some names that were set.
func (tx *Tx) QuotasNamed(names ...string) ([]Quota, error) {
	return many[Quota](tx.db.Where("name IN ?", names))
}

// SetQuota stores a quota, in the place of the one before.
func (tx *Tx) SetQuota(q Quota) error {
	return named("quota", q.Name, tx.db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&q).Error)
}

// Usage fetches what a key has signed. Errors: ErrNotFound if it never did.
func (tx *Tx) Usage(owner, slot string) (Usage, error) {
	u, err := one[Usage](tx.db.Where("owner = ? AND slot = ?", owner, slot))
	return u, named("usage of", owner, err)
}

// LockUsage does the same, and keeps others from changing it until the transaction ends.
func (tx *Tx) LockUsage(owner, slot string) (Usage, error) {
	u, err := one[Usage](tx.locked().Where("owner = ? AND slot = ?", owner, slot))
	return u, named("usage of", owner, err)
}

// SaveUsage stores what a key has signed; added says that it has a row.
func (tx *Tx) SaveUsage(u Usage, added bool) error {
	if !added {
		return named("usage of", u.Owner, tx.db.Create(&u).Error)
	}
	return named("usage of", u.Owner, tx.db.Model(&u).Select("Day", "Used", "Usual", "BusyUntil", "StoppedAt").Updates(&u).Error)
}
