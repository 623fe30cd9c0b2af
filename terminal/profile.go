package terminal

import (
	"go.etcd.io/bbolt"

	"cardflow/terminal/protocol"
)

// Profile is who a terminal is, and to whom it speaks.
type Profile struct {
	Server     string          `json:"server"` // where the gateway is
	Channel    string          `json:"channel"`
	SerialSalt string          `json:"serialSalt"`       // hex; drawn once, before the ticket is shown
	Device     protocol.Device `json:"device,omitzero"`  // as the platform last told
	StockAt    int64           `json:"stockAt,omitzero"` // ms: when the stock was last told
}

// Enrolled tells whether the platform has taken the terminal's key.
func (p Profile) Enrolled() bool { return p.Device.KeyID != "" }

var profileKey = []byte("profile")

// Profile reads it; the zero one before the terminal was enrolled.
func (s *State) Profile() (p Profile, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		_, err := get(tx.Bucket(bucketProfile), profileKey, &p)
		return err
	})
	return p, err
}

// SetProfile stores it.
func (s *State) SetProfile(p Profile) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return put(tx.Bucket(bucketProfile), profileKey, p) })
}
