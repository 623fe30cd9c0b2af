package model

import "fmt"

// RecoveryState is how far a recovery after a theft is.
type RecoveryState string

// The states of a recovery.
const (
	RecoveryStopping  RecoveryState = "stopping"  // the stolen key is stopped here; the ledger revokes it and freezes its owner
	RecoveryReplacing RecoveryState = "replacing" // the owner gets another key
	RecoveryWaiting   RecoveryState = "waiting"   // a person makes sure that the owner is who he says
	RecoveryReleasing RecoveryState = "releasing" // the ledger lets him trade again
	RecoveryDone      RecoveryState = "done"
)

// RecoveryMoves: only forward. Nobody is frozen whom the platform may not freeze; then there is nothing to wait for.
var RecoveryMoves = Machine[RecoveryState]{
	{RecoveryStopping, []RecoveryState{RecoveryReplacing}},
	{RecoveryReplacing, []RecoveryState{RecoveryWaiting, RecoveryDone}},
	{RecoveryWaiting, []RecoveryState{RecoveryReleasing}},
	{RecoveryReleasing, []RecoveryState{RecoveryDone}},
	{RecoveryDone, nil},
}

// Recovery is what is done for somebody whose key was stolen. A participant has one that is not done.
type Recovery struct {
	ID          string `gorm:"primaryKey"`
	Participant string
	Live        string `gorm:"serializer:null"` // Participant until it is done; filled in here
	State       RecoveryState
	KeyID       string // the stolen one
	NewKeyID    string `gorm:"serializer:null"`
	Freezes     bool   // the owner is frozen by it, and let go at its end
	Actor       string // who began it
	Releaser    string `gorm:"serializer:null"` // who made sure of the owner
	CreatedAt   Millis `gorm:"autoCreateTime:milli"`
	UpdatedAt   Millis `gorm:"autoUpdateTime:milli"`
}

// TableName places the record.
func (Recovery) TableName() string { return "recoveries" }

// AddRecovery begins a recovery. Errors: ErrConflict if the participant has one that is not done.
func (tx *Tx) AddRecovery(r Recovery) error {
	r.Live = ""
	if r.State != RecoveryDone {
		r.Live = r.Participant
	}
	return named("recovery of", r.Participant, tx.db.Create(&r).Error)
}

// Recovery fetches one by its ID. Errors: ErrNotFound.
func (tx *Tx) Recovery(id string) (Recovery, error) {
	r, err := one[Recovery](tx.db.Where("id = ?", id))
	return r, named("recovery", id, err)
}

// LastRecovery fetches the newest recovery of a participant. Errors: ErrNotFound.
func (tx *Tx) LastRecovery(participant string) (Recovery, error) {
	r, err := one[Recovery](tx.db.Where("participant = ?", participant).Order("created_at DESC, id DESC").Limit(1))
	return r, named("recovery of", participant, err)
}

// LiveRecovery fetches the recovery of a participant that is not done. Errors: ErrNotFound.
func (tx *Tx) LiveRecovery(participant string) (Recovery, error) {
	r, err := one[Recovery](tx.db.Where("live = ?", participant))
	return r, named("recovery of", participant, err)
}

// LiveRecoveries lists the recoveries that are not done, by participant. after is the last participant seen.
func (tx *Tx) LiveRecoveries(after string, limit int) ([]Recovery, error) {
	return many[Recovery](tx.db.Where("live > ?", after).Order("live").Limit(limit))
}

// ListRecoveries lists recoveries, newest first; of all states for "".
func (tx *Tx) ListRecoveries(state RecoveryState, cursor string, limit int) (Page[Recovery], error) {
	query := tx.db
	if state != "" {
		query = query.Where("state = ?", state)
	}
	return newestFirst(query, "id", cursor, limit, func(r Recovery) newest { return newest{int64(r.CreatedAt), r.ID} })
}

// MoveRecovery moves a recovery between two states and stores what change makes of it. Errors: ErrNotFound; ErrState.
func (tx *Tx) MoveRecovery(id string, from, to RecoveryState, change func(*Recovery)) (Recovery, error) {
	r, err := one[Recovery](tx.locked().Where("id = ?", id))
	if err != nil {
		return r, named("recovery", id, err)
	}
	if r.State != from || !RecoveryMoves.Can(from, to) {
		return r, fmt.Errorf("recovery %s: %w: %s, not %s to %s", id, ErrState, r.State, from, to)
	}
	if change != nil {
		change(&r)
	}
	r.ID, r.State = id, to
	if to == RecoveryDone {
		r.Live = ""
	}
	return r, swapped("recovery", id, tx.db.Model(&r).Where("state = ?", from).Select("*").Updates(&r))
}
