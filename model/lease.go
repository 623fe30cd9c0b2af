package model

import (
	"errors"
	"strings"

	"gorm.io/gorm"
)

// Lease is a duty that one server has at a time, as long as it comes back before the lease ends.
type Lease struct {
	Name      string `gorm:"primaryKey"`
	Owner     string
	UntilAt   Millis
	UpdatedAt Millis `gorm:"autoUpdateTime:milli"`
}

// farLease is later than any lease of custody's ends. One that ends later still was taken by a clock that had jumped ahead,
// and nobody waits for it: it might be years.
const farLease Millis = 60 * 60 * 1000

// far is the end of a lease from which on it was a wrong clock that took it, to one who now would take it until a time:
// how long the others' leases are, he knows from his own.
func far(now, until Millis) Millis { return now + max(farLease, 2*(until-now)) }

// free restricts to the rows of acts, imports or jobs that nobody has.
func free(query *gorm.DB, now, until Millis) *gorm.DB {
	return query.Where("(lease_until <= ? OR lease_until > ?)", now, far(now, until))
}

// LeaseOver tells whether a lease that ends at until is over.
func LeaseOver(until, now Millis) bool { return until <= now || until > now+farLease }

// TakeLease takes a lease, or prolongs it for the owner who has it; false if somebody else has it. Servers' clocks
// decide when a lease ends, so two may hold one for as long as their clocks differ, and one that was taken by a clock far
// ahead is no lease: a lease saves work, and what must not happen twice is guarded by the rows themselves.
func (tx *Tx) TakeLease(name, owner string, now, until Millis) (bool, error) {
	next := Lease{Name: name, Owner: owner, UntilAt: until, UpdatedAt: now}
	old, err := one[Lease](tx.locked().Where("name = ?", name))
	switch {
	case errors.Is(err, ErrNotFound):
		err := tx.db.Create(&next).Error
		if errors.Is(err, ErrConflict) {
			return false, nil // another server has just taken it
		}
		return err == nil, named("lease", name, err)
	case err != nil:
		return false, named("lease", name, err)
	case old.Owner != owner && old.UntilAt > now && old.UntilAt <= far(now, until):
		return false, nil
	}
	return true, named("lease", name, tx.db.Model(&Lease{}).Where("name = ?", name).
		Updates(map[string]any{"owner": owner, "until_at": until, "updated_at": now}).Error)
}

// GiveUpLease ends a lease that its owner has: another server need not wait for its end.
func (tx *Tx) GiveUpLease(name, owner string) error {
	return named("lease", name, tx.db.Where("name = ? AND owner = ?", name, owner).Delete(&Lease{}).Error)
}

// Leases lists the leases whose names begin with a prefix, by name.
func (tx *Tx) Leases(prefix string) ([]Lease, error) {
	return many[Lease](tx.db.Where("name LIKE ? ESCAPE '!'", likely(prefix)+"%").Order("name"))
}

// GiveUpWork frees every act, import and job that is leased by an owner whose name begins with a prefix: a server that
// starts again takes up what it left at once. An act that was on its way when the server stopped is asked about at
// once, too, not first when its lease would have ended. It answers how many there were.
func (tx *Tx) GiveUpWork(ownerPrefix string) (int, error) {
	n := 0
	for _, work := range []struct {
		table any
		free  map[string]any
	}{
		{&Act{}, map[string]any{"lease_until": 0, "next_at": 0}},
		{&Import{}, map[string]any{"lease_until": 0}},
		{&Job{}, map[string]any{"lease_until": 0}},
	} {
		result := tx.db.Model(work.table).Where("lease_owner LIKE ? ESCAPE '!' AND lease_until > 0", likely(ownerPrefix)+"%").
			UpdateColumns(work.free)
		if result.Error != nil {
			return n, result.Error
		}
		n += int(result.RowsAffected)
	}
	return n, nil
}

// likely escapes what LIKE takes for a wildcard.
func likely(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text)
}
