package model

import (
	"errors"
	"strings"

	"gorm.io/gorm/clause"
)

// Identity is what shows whose an account of a member of staff is: two accounts with one staff number in one
// organisation, or with one mobile number, are one person's. Where nobody has entered any, nothing shows.
type Identity struct {
	PersonID    string `gorm:"primaryKey"`
	StaffNumber string `gorm:"serializer:null"` // as his organisation gave it
	MobileIndex string `gorm:"serializer:null"` // keyed hash of the mobile number, 64 hex characters
	UpdatedAt   Millis `gorm:"autoUpdateTime:milli"`
}

// TableName places the record.
func (Identity) TableName() string { return "identities" }

// Identity fetches what is known of a person's account; nothing is no error.
func (tx *Tx) Identity(person string) (Identity, error) {
	i, err := one[Identity](tx.db.Where("person_id = ?", person))
	if errors.Is(err, ErrNotFound) {
		return Identity{PersonID: person}, nil
	}
	return i, named("identity of", person, err)
}

// SetIdentity stores what is known of a person's account, in the place of what was.
func (tx *Tx) SetIdentity(i Identity) error {
	return named("identity of", i.PersonID, tx.db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&i).Error)
}

// Marks are what two accounts of one person have in common, in words that can be compared.
func (i Identity) Marks(organisation string) []string {
	var marks []string
	if i.StaffNumber != "" {
		marks = append(marks, "staff:"+organisation+"/"+strings.ToLower(i.StaffNumber))
	}
	if i.MobileIndex != "" {
		marks = append(marks, "mobile:"+i.MobileIndex)
	}
	return marks
}
