package model

import "gorm.io/gorm/clause"

// CustodySession is somebody's login, as the custody of keys knows it. The token itself is known to his client alone.
type CustodySession struct {
	Digest      string `gorm:"primaryKey"` // hex SHA-256 of the token
	Participant string
	Role        string
	Person      string `gorm:"serializer:null"` // of staff
	LoginAt     Millis
	ExpiresAt   Millis
	Tag         []byte // keyed hash of the rest
}

// TableName places the record.
func (CustodySession) TableName() string { return "custody_sessions" }

// CustodyAuthorisation is what somebody asked for while he was logged in: by it his key signs, whenever that is. A row
// never changes.
type CustodyAuthorisation struct {
	Owner    string `gorm:"primaryKey"`
	Function string `gorm:"primaryKey"` // of the contract
	Subject  string `gorm:"primaryKey"` // the act
	Digest   string // hex; of what of the request is his to decide
	Session  string // digest of his token
	LoginAt  Millis
	AskedAt  Millis
	NotAfter Millis // nothing is signed by it later
	Tag      []byte // keyed hash of the rest
}

// TableName places the record.
func (CustodyAuthorisation) TableName() string { return "custody_authorisations" }

// AddCustodySession stores a login. Errors: ErrConflict if its token is known.
func (tx *Tx) AddCustodySession(s CustodySession) error {
	return named("session of", s.Participant, tx.db.Create(&s).Error)
}

// CustodySession fetches a login by the digest of its token. Errors: ErrNotFound.
func (tx *Tx) CustodySession(digest string) (CustodySession, error) {
	s, err := one[CustodySession](tx.db.Where("digest = ?", digest))
	return s, named("session", "", err)
}

// EndCustodySession forgets a login. One that isn't there is no error.
func (tx *Tx) EndCustodySession(digest string) error {
	return named("session", "", tx.db.Where("digest = ?", digest).Delete(&CustodySession{}).Error)
}

// EndCustodySessionsOf forgets all logins of a member of staff.
func (tx *Tx) EndCustodySessionsOf(person string) error {
	return named("sessions of", person, tx.db.Where("person = ?", person).Delete(&CustodySession{}).Error)
}

// AddCustodyAuthorisation stores what somebody asked for. Errors: ErrConflict if something is stored for that act.
func (tx *Tx) AddCustodyAuthorisation(a CustodyAuthorisation) error {
	return named("authorisation of act", a.Subject, tx.db.Create(&a).Error)
}

// AddCustodyAuthorisations stores the parts of what somebody asked for. Errors: ErrConflict if something is stored for one
// of these acts.
func (tx *Tx) AddCustodyAuthorisations(list []CustodyAuthorisation) error {
	return named("authorisations from act", list[0].Subject, tx.db.CreateInBatches(&list, keyChunk).Error)
}

// CustodyAuthorisation fetches what somebody asked for. Errors: ErrNotFound.
func (tx *Tx) CustodyAuthorisation(owner, function, subject string) (CustodyAuthorisation, error) {
	a, err := one[CustodyAuthorisation](tx.db.Where("owner = ? AND subject = ?", owner, subject).
		Where(clause.Eq{Column: clause.Column{Name: "function"}, Value: function}))
	return a, named("authorisation of act", subject, err)
}

// ForgetCustodyLogins deletes the logins and authorisations that were over before a time.
func (tx *Tx) ForgetCustodyLogins(before Millis) error {
	if err := tx.db.Where("expires_at < ?", before).Delete(&CustodySession{}).Error; err != nil {
		return named("sessions", "", err)
	}
	return named("authorisations", "", tx.db.Where("not_after < ?", before).Delete(&CustodyAuthorisation{}).Error)
}
