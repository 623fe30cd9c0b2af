package model

// Account is a WeChat login. The openid is personal data: found by a keyed hash, stored sealed.
type Account struct {
	ID            string `gorm:"primaryKey"`
	AppID         string
	OpenIDIndex   string `gorm:"column:openid_index"` // keyed hash, 64 hex characters
	OpenIDSealed  []byte `gorm:"column:openid_sealed"`
	ParticipantID string
	CreatedAt     Millis `gorm:"autoCreateTime:milli"`
	LastLoginAt   Millis
}

// AccountByOpenID finds a WeChat login. Errors: ErrNotFound.
func (tx *Tx) AccountByOpenID(appID, index string) (Account, error) {
	a, err := one[Account](tx.db.Where("app_id = ? AND openid_index = ?", appID, index))
	return a, named("account", "", err)
}

// AddAccount stores a new login. Errors: ErrConflict if the openid or the participant has one already: somebody
// logged in at the same moment, so look again.
func (tx *Tx) AddAccount(a Account) error {
	return named("account", a.ID, tx.db.Create(&a).Error)
}

// NoteAccountLogin stores when a WeChat login was last used. Errors: ErrNotFound.
func (tx *Tx) NoteAccountLogin(id string, at Millis) error {
	return missing("account", id, tx.db.Model(&Account{ID: id}).Update("last_login_at", at))
}
