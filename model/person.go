package model

import (
	"fmt"
	"strings"
)

// Person is somebody of the staff of an organisation, who logs in with a password.
type Person struct {
	ID            string   `gorm:"primaryKey"`
	ParticipantID string   // his organisation
	Username      string   // lower case, unique
	PasswordHash  string   // as the login code encodes it: algorithm, parameters, salt, hash
	Roles         []string `gorm:"serializer:list"`
	MustChange    bool     // the password is temporary
	State         PersonState
	CreatedAt     Millis `gorm:"autoCreateTime:milli"`
	LastLoginAt   Millis
	FailedLogins  int // since the last good one
	LockedUntil   Millis
}

// PersonByUsername finds a person, whatever the case. Errors: ErrNotFound.
func (tx *Tx) PersonByUsername(username string) (Person, error) {
	p, err := one[Person](tx.db.Where("username = ?", strings.ToLower(username)))
	return p, named("person", "", err)
}

// Person fetches one person. Errors: ErrNotFound.
func (tx *Tx) Person(id string) (Person, error) {
	p, err := one[Person](tx.db.Where("id = ?", id))
	return p, named("person", id, err)
}

// PersonShown is Person without his password's hash, which not every process may read.
func (tx *Tx) PersonShown(id string) (Person, error) {
	p, err := one[Person](tx.db.Omit("password_hash").Where("id = ?", id))
	return p, named("person", id, err)
}

// PeopleOf lists the people of an organisation by username, of all organisations for "".
func (tx *Tx) PeopleOf(participant string) ([]Person, error) {
	query := tx.db
	if participant != "" {
		query = query.Where("participant_id = ?", participant)
	}
	return many[Person](query.Order("username"))
}

// AddPerson stores a new person; the username becomes lower case. Errors: ErrConflict if it is taken.
func (tx *Tx) AddPerson(p Person) error {
	p.Username = strings.ToLower(p.Username)
	return named("person", p.ID, tx.db.Create(&p).Error)
}

// SetPassword replaces the password and lifts a lock. Errors: ErrNotFound.
func (tx *Tx) SetPassword(id, hash string, mustChange bool) error {
	return missing("person", id, tx.db.Model(&Person{ID: id}).Updates(map[string]any{
		"password_hash": hash, "must_change": mustChange, "failed_logins": 0, "locked_until": 0,
	}))
}

// NoteLogin stores a good login. Errors: ErrNotFound.
func (tx *Tx) NoteLogin(id string, at Millis) error {
	return missing("person", id, tx.db.Model(&Person{ID: id}).Updates(map[string]any{
		"last_login_at": at, "failed_logins": 0, "locked_until": 0,
	}))
}

// NoteFailedLogin counts a failed login and, from the limit-th in a row on, locks the person until then. It answers
// the person as he is now. Errors: ErrNotFound.
func (tx *Tx) NoteFailedLogin(id string, limit int, until Millis) (Person, error) {
	p, err := one[Person](tx.locked().Where("id = ?", id))
	if err != nil {
		return p, named("person", id, err)
	}
	if p.FailedLogins++; p.FailedLogins >= limit {
		p.LockedUntil = until
	}
	return p, missing("person", id, tx.db.Model(&p).Select("FailedLogins", "LockedUntil").Updates(&p))
}

// MovePerson lets a person log in or not. Errors: ErrNotFound; ErrState if he isn't in from.
func (tx *Tx) MovePerson(id string, from, to PersonState) error {
	p, err := one[Person](tx.locked().Where("id = ?", id))
	if err != nil {
		return named("person", id, err)
	}
	if p.State != from || !PersonMoves.Can(from, to) {
		return fmt.Errorf("person %s: %w: %s, not %s to %s", id, ErrState, p.State, from, to)
	}
	return swapped("person", id, tx.db.Model(&p).Where("state = ?", from).Update("state", to))
}
