package model

import "errors"

// Idempotency is a write that a client asked for under a key of his, so that asking again is harmless.
type Idempotency struct {
	Actor      string `gorm:"primaryKey"`
	Route      string `gorm:"primaryKey"`
	Key        string `gorm:"primaryKey;column:idempotency_key"`
	BodyDigest string
	ActID      string `gorm:"serializer:null"` // the act, job or recovery that carries it out
	Status     int    // HTTP status of the stored answer; 0: none yet
	Response   []byte
	CreatedAt  Millis `gorm:"autoCreateTime:milli"`
}

// TableName implements gorm's Tabler.
func (Idempotency) TableName() string { return "idempotency" }

// Remember stores that a write was asked for. If it was asked for before, the earlier row comes back with
// ErrConflict: compare its BodyDigest, and answer as it says or go on with its act. On MySQL it waits for a
// transaction that is remembering the same.
func (tx *Tx) Remember(actor, route, key, digest, actID string) (Idempotency, error) {
	row := Idempotency{Actor: actor, Route: route, Key: key, BodyDigest: digest, ActID: actID}
	err := tx.db.Create(&row).Error
	if errors.Is(err, ErrConflict) {
		earlier, recallErr := tx.Recall(actor, route, key)
		if recallErr != nil {
			return earlier, recallErr
		}
		return earlier, named("idempotency key", "", ErrConflict)
	}
	return row, err
}

// Recall fetches what Remember stored. Errors: ErrNotFound.
func (tx *Tx) Recall(actor, route, key string) (Idempotency, error) {
	row, err := one[Idempotency](tx.db.Where("actor = ? AND route = ? AND idempotency_key = ?", actor, route, key))
	return row, named("idempotency key", "", err)
}
