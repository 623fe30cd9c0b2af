package model

import (
	"fmt"
	"slices"
)

// DeviceState is how far a terminal is.
type DeviceState string

// The states of a device.
const (
	DeviceTicketed  DeviceState = "ticketed"  // there is a ticket for it, which nobody has shown yet
	DeviceEnrolling DeviceState = "enrolling" // its key is on its way to the ledger
	DeviceActive    DeviceState = "active"
	DeviceSuspended DeviceState = "suspended"
	DeviceLost      DeviceState = "lost" // suspended, and said to be lost
	DeviceRevoked   DeviceState = "revoked"
	DeviceFailed    DeviceState = "failed" // its key never came to the ledger
)

// DeviceMoves: what stops a device is true here before the ledger has it; only the ledger lets one go on. Enrolling that
// has failed may turn up in a block after all.
var DeviceMoves = Machine[DeviceState]{
	{DeviceTicketed, []DeviceState{DeviceEnrolling, DeviceRevoked}},
	{DeviceEnrolling, []DeviceState{DeviceActive, DeviceSuspended, DeviceLost, DeviceRevoked, DeviceFailed}},
	{DeviceActive, []DeviceState{DeviceSuspended, DeviceLost, DeviceRevoked}},
	{DeviceSuspended, []DeviceState{DeviceActive, DeviceLost, DeviceRevoked}},
	{DeviceLost, []DeviceState{DeviceActive, DeviceRevoked}},
	{DeviceRevoked, nil},
	{DeviceFailed, []DeviceState{DeviceActive, DeviceSuspended, DeviceRevoked}},
}

// Device is an organisation's terminal.
type Device struct {
	ID            string `gorm:"primaryKey"`
	Participant   string
	Name          string // what its organisation calls it
	Holder        string `gorm:"serializer:null"` // person who has it
	State         DeviceState
	TicketIndex   string `gorm:"serializer:null"` // keyed hash of its ticket's secret
	TicketUntil   Millis
	Act           string `gorm:"serializer:null"` // that publishes its key
	KeyID         string `gorm:"serializer:null"`
	Public        []byte
	Serial        string
	SerialSalt    string // hex
	SerialHash    string // hex, as on the ledger
	LedgerStatus  string // the ledger's word of its key; "" before it has it
	LedgerVersion int
	TxID          string `gorm:"serializer:null"` // that published its key
	OrderAct      string `gorm:"serializer:null"` // that was last asked to stop it
	ErrorCode     string `gorm:"serializer:null"` // why it has failed
	Replaces      string `gorm:"serializer:null"` // device
	Maker         string `gorm:"serializer:null"` // person who had it made; "" if the ledger knew of it first
	Gateway       string `gorm:"serializer:null"` // newest gateway key that it surely knows: its ticket's, or one by which it has asked
	SeenAt        Millis // when it asked for anything last, to the hour
	CreatedAt     Millis `gorm:"autoCreateTime:milli"`
	EnrolledAt    Millis
	StoppedAt     Millis
	UpdatedAt     Millis `gorm:"autoUpdateTime:milli"`
}

// AddDevice stores a new device. Errors: ErrConflict if its ID, ticket or key is taken.
func (tx *Tx) AddDevice(d Device) error {
	return named("device", d.ID, tx.db.Create(&d).Error)
}

// Device fetches one. Errors: ErrNotFound.
func (tx *Tx) Device(id string) (Device, error) {
	d, err := one[Device](tx.db.Where("id = ?", id))
	return d, named("device", id, err)
}

// LockDevice fetches one that nobody else changes before this transaction ends. Errors: ErrNotFound.
func (tx *Tx) LockDevice(id string) (Device, error) {
	d, err := one[Device](tx.locked().Where("id = ?", id))
	return d, named("device", id, err)
}

// DeviceByTicket finds the device of a ticket. Errors: ErrNotFound.
func (tx *Tx) DeviceByTicket(index string) (Device, error) {
	return one[Device](tx.db.Where("ticket_index = ?", index))
}

// DeviceByKey finds the device that has a key. Errors: ErrNotFound.
func (tx *Tx) DeviceByKey(keyID string) (Device, error) {
	d, err := one[Device](tx.db.Where("key_id = ?", keyID))
	return d, named("device of key", keyID, err)
}

// LockDeviceByKey is DeviceByKey, and nobody else changes it before this transaction ends.
func (tx *Tx) LockDeviceByKey(keyID string) (Device, error) {
	d, err := one[Device](tx.locked().Where("key_id = ?", keyID))
	return d, named("device of key", keyID, err)
}

// DevicesOf lists the devices of an organisation, newest first, in a state or, for "", in any.
func (tx *Tx) DevicesOf(participant string, state DeviceState, cursor string, limit int) (Page[Device], error) {
	query := tx.db.Where("participant = ?", participant)
	if state != "" {
		query = query.Where("state = ?", state)
	}
	return newestFirst(query, "id", cursor, limit, func(d Device) newest { return newest{int64(d.CreatedAt), d.ID} })
}

// DeviceSerials answers the serial numbers of those of the hashes whose devices are known, by hash.
func (tx *Tx) DeviceSerials(hashes []string) (map[string]string, error) {
	serials := map[string]string{}
	for some := range slices.Chunk(slices.Clone(hashes), chunk) {
		found, err := many[Device](tx.db.Select("serial", "serial_hash").Where("serial_hash IN ? AND serial <> ''", some))
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			serials[d.SerialHash] = d.Serial
		}
	}
	return serials, nil
}

// AllDevices walks all devices by ID, for a check against the ledger. after is the last ID seen, empty at the start.
func (tx *Tx) AllDevices(after string, limit int) ([]Device, error) {
	return many[Device](tx.db.Where("id > ?", after).Order("id").Limit(limit))
}

// UpdateDevice stores what change makes of a device, which may move it. Errors: ErrNotFound; ErrState if the table doesn't
// allow the move; ErrConflict if its key is another's.
func (tx *Tx) UpdateDevice(id string, change func(*Device)) (Device, error) {
	d, err := tx.LockDevice(id)
	if err != nil {
		return d, err
	}
	from := d.State
	change(&d)
	if d.State != from && !DeviceMoves.Can(from, d.State) {
		return d, fmt.Errorf("device %s: %w: %s to %s", id, ErrState, from, d.State)
	}
	d.ID = id
	return d, swapped("device", id, tx.db.Model(&d).Where("state = ?", from).Select("*").Updates(&d))
}

// SeeDevice notes that a terminal has asked for something and, unless it is "", by which gateway key.
func (tx *Tx) SeeDevice(id, gateway string, at Millis) error {
	seen := map[string]any{"seen_at": at}
	if gateway != "" {
		seen["gateway"] = gateway
	}
	return named("device", id, tx.db.Model(&Device{}).Where("id = ?", id).UpdateColumns(seen).Error)
}

// DevicesAsking counts the terminals that work, or have a ticket that somebody may still show, by the gateway key that they surely
// know; "" for those that nobody has seen.
func (tx *Tx) DevicesAsking(now Millis) (map[string]int, error) {
	var rows []struct {
		Gateway *string
		N       int
	}
	err := tx.db.Model(&Device{}).Select("gateway, COUNT(*) AS n").
		Where("state IN ? OR state = ? AND ticket_until > ?", []DeviceState{DeviceEnrolling, DeviceActive}, DeviceTicketed, now).
		Group("gateway").Scan(&rows).Error
	asking := map[string]int{}
	for _, row := range rows {
		key := ""
		if row.Gateway != nil {
			key = *row.Gateway
		}
		asking[key] = row.N
	}
	return asking, named("devices", "", err)
}

// GatewayKey is a key by which the gateway's answers to terminals are signed, sealed.
type GatewayKey struct {
	ID            string `gorm:"primaryKey"` // key ID
	Number        int    // from 1, in order of making; unique, so that two servers which start make one
	Public        []byte
	Sealed        []byte
	Retired       bool // signs no more; the ledger is to hear of it
	LedgerStatus  string
	LedgerVersion int
	TxID          string `gorm:"serializer:null"` // that published it
	CreatedAt     Millis `gorm:"autoCreateTime:milli"`
}

// Signs reports whether answers may be signed with it: the ledger has it, and nobody has retired it.
func (k GatewayKey) Signs() bool { return k.LedgerStatus == "ACTIVE" && !k.Retired }

// GatewayKeys lists all of them, oldest first.
func (tx *Tx) GatewayKeys() ([]GatewayKey, error) {
	return many[GatewayKey](tx.db.Order("number"))
}

// AddGatewayKey stores a new one. Errors: ErrConflict if another has its number.
func (tx *Tx) AddGatewayKey(k GatewayKey) error {
	return named("gateway key", k.ID, tx.db.Create(&k).Error)
}

// RetireGatewayKey marks one that is to sign no more. Errors: ErrNotFound.
func (tx *Tx) RetireGatewayKey(id string) error {
	var k GatewayKey
	if err := tx.locked().Where("id = ?", id).Take(&k).Error; err != nil {
		return named("gateway key", id, err)
	}
	return named("gateway key", id, tx.db.Model(&GatewayKey{}).Where("id = ?", id).Update("retired", true).Error)
}

// MirrorGatewayKey takes over what the ledger says of one; older news than what is known, and keys that are not kept here,
// change nothing.
func (tx *Tx) MirrorGatewayKey(id, status string, version int, txID string) error {
	return named("gateway key", id, tx.db.Model(&GatewayKey{}).Where("id = ? AND ledger_version < ?", id, version).
		Updates(map[string]any{"ledger_status": status, "ledger_version": version, "tx_id": txID}).Error)
}
