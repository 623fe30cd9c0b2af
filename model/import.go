package model

import (
	"fmt"

	"gorm.io/gorm"
)

// Import is a carrier's card file on its way in.
type Import struct {
	ID            string `gorm:"primaryKey"`
	ParticipantID string // the carrier
	Person        string `gorm:"serializer:null"`
	FileName      string // as uploaded
	Size          int64  // bytes
	State         ImportState
	Partial       bool // good rows count even if others are bad
	Issue         bool // issue lots at once
	RetailPolicy  string
	Restrictions  []string `gorm:"serializer:list"`
	Rows          int64    `gorm:"column:row_count"`
	Accepted      int64    // rows
	Rejected      int64    // rows
	BytesDone     int64
	BytesTotal    int64
	Lots          []string `gorm:"serializer:list"` // hashes
	ErrorCode     string   `gorm:"serializer:null"`
	ErrorText     string   `gorm:"serializer:null"`
	LeaseOwner    string   `gorm:"serializer:null"`
	LeaseUntil    Millis
	CreatedAt     Millis `gorm:"autoCreateTime:milli"`
	UpdatedAt     Millis `gorm:"autoUpdateTime:milli"`
}

// Import fetches one import. Errors: ErrNotFound.
func (tx *Tx) Import(id string) (Import, error) {
	i, err := one[Import](tx.db.Where("id = ?", id))
	return i, named("import", id, err)
}

// ImportsOf lists the imports of a carrier, newest first.
func (tx *Tx) ImportsOf(participant, cursor string, limit int) (Page[Import], error) {
	return newestFirst(tx.db.Where("participant_id = ?", participant), "id", cursor, limit,
		func(i Import) newest { return newest{int64(i.CreatedAt), i.ID} })
}

// AddImport stores a new import.
func (tx *Tx) AddImport(i Import) error { return named("import", i.ID, tx.db.Create(&i).Error) }

// MoveImport moves an import between two states and stores what change makes of it; a finished one has no lease.
// Errors: ErrNotFound; ErrState if it isn't in from or the table doesn't allow the move.
func (tx *Tx) MoveImport(id string, from, to ImportState, change func(*Import)) (Import, error) {
	i, err := one[Import](tx.locked().Where("id = ?", id))
	if err != nil {
		return i, named("import", id, err)
	}
	if i.State != from || !ImportMoves.Can(from, to) {
		return i, fmt.Errorf("import %s: %w: %s, not %s to %s", id, ErrState, i.State, from, to)
	}
	if change != nil {
		change(&i)
	}
	i.ID, i.State = id, to
	if to == ImportDone || to == ImportFailed {
		i.LeaseOwner, i.LeaseUntil = "", 0
	}
	return i, swapped("import", id, tx.db.Model(&i).Where("state = ?", from).Select("*").Updates(&i))
}

// SaveImport stores progress, for the worker that leases the import. Errors: ErrState if lease or state is somebody
// else's by now.
func (tx *Tx) SaveImport(i Import) error {
	return swapped("import", i.ID, tx.db.Model(&i).Where("state = ? AND lease_owner = ?", i.State, i.LeaseOwner).Select("*").Updates(&i))
}

// LeaseImport takes the oldest unfinished import that nobody has and that can be carried here, as far as fits says.
// Errors: ErrNotFound if there is none.
func (tx *Tx) LeaseImport(owner string, now, until Millis, fits func(Import) bool) (Import, error) {
	unended := []ImportState{ImportQueued, ImportReading, ImportIssuing}
	waiting, err := many[Import](free(tx.skipLocked().Where("state IN ?", unended), now, until).
		Order("created_at, id").Limit(importsAtOnce))
	if err != nil {
		return Import{}, named("import", "", err)
	}
	for _, i := range waiting {
		if fits(i) {
			i.LeaseOwner, i.LeaseUntil = owner, until
			return i, lease(tx.db.Model(&Import{}), "import", i.ID, owner, until)
		}
	}
	return Import{}, named("import", "", ErrNotFound)
}

// importsAtOnce is how many waiting imports are looked at for one that fits.
const importsAtOnce = 100

func lease(table *gorm.DB, what, id, owner string, until Millis) error {
	return swapped(what, id, table.Where("id = ?", id).UpdateColumns(map[string]any{"lease_owner": owner, "lease_until": until}))
}
