package model

import "slices"

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

// AccountOf fetches the WeChat login of a participant. Errors: ErrNotFound.
func (tx *Tx) AccountOf(participant string) (Account, error) {
	a, err := one[Account](tx.db.Where("participant_id = ?", participant))
	return a, named("account of", participant, err)
}

// AccountsByOpenID finds some WeChat logins, by index, without the openids.
func (tx *Tx) AccountsByOpenID(appID string, indexes []string) (map[string]Account, error) {
	found := map[string]Account{}
	for some := range slices.Chunk(indexes, chunk) {
		accounts, err := many[Account](tx.db.Omit("openid_sealed").Where("app_id = ? AND openid_index IN ?", appID, some))
		if err != nil {
			return nil, err
		}
		for _, a := range accounts {
			found[a.OpenIDIndex] = a
		}
	}
	return found, nil
}

// AddAccounts stores new logins, all or none. Errors: ErrConflict as AddAccount.
func (tx *Tx) AddAccounts(accounts []Account) error {
	if len(accounts) == 0 {
		return nil
	}
	return named("accounts from", accounts[0].ID, tx.db.CreateInBatches(&accounts, chunk).Error)
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
