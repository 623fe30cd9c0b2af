package model

import (
	"cardflow/iccid"
)

// Repair is a record that the ledger contradicted, put right. It is kept for ever.
type Repair struct {
	ID      int64 `gorm:"primaryKey"`
	At      Millis
	Kind    string // LOT, TRADE, ACT, …
	Subject string // the record's key
	Problem string
	Remedy  string
	Open    bool // under way, in this transaction
}

// Mend notes a repair and runs it. Until fix returns, the record that r names may make moves that its transition table
// forbids; nobody else sees that, and a crash leaves neither the repair nor its note.
func (tx *Tx) Mend(r Repair, fix func() error) error {
	r.Open = true
	if err := tx.db.Create(&r).Error; err != nil {
		return named("repair of", r.Subject, err)
	}
	if err := fix(); err != nil {
		return err
	}
	return swapped("repair of", r.Subject, tx.db.Model(&Repair{}).Where("id = ? AND open = ?", r.ID, true).UpdateColumn("open", false))
}

// Repairs lists what was put right, newest first.
func (tx *Tx) Repairs(limit int) ([]Repair, error) {
	return many[Repair](tx.db.Order("id DESC").Limit(limit))
}

// ForceParticipant stores the role and the key of a participant as the ledger has them. Errors: ErrNotFound.
func (tx *Tx) ForceParticipant(id, role, keyID string) error {
	p := Participant{ID: id, Role: role, KeyID: keyID}
	return missing("participant", id, tx.db.Model(&p).Select("Role", "KeyID").Updates(&p))
}

// ForceLot stores a lot as the ledger has it, whatever the row says, with its cards. Inside Mend only: the database
// refuses it elsewhere. Errors: ErrNotFound.
func (tx *Tx) ForceLot(l Lot) error {
	result := tx.db.Model(&l).Select(append([]string{"Issuer", "Rule", "SaltSealed"}, mirrored...)).Updates(&l)
	if err := missing("lot", l.Hash, result); err != nil {
		return err
	}
	return named("segments of lot", l.Hash, tx.db.Model(&Segment{}).Where("lot_hash = ?", l.Hash).
		Updates(map[string]any{"live": l.Status.Live(), "owner": l.Owner}).Error)
}

// ReplaceSegments gives a lot other cards: those that open its hash.
func (tx *Tx) ReplaceSegments(l Lot, segments []iccid.Segment) error {
	if err := tx.db.Where("lot_hash = ?", l.Hash).Delete(&Segment{}).Error; err != nil {
		return named("segments of lot", l.Hash, err)
	}
	var count int64
	for _, s := range segments {
		count += int64(s.Count())
	}
	err := missing("lot", l.Hash, tx.db.Model(&Lot{}).Where("hash = ?", l.Hash).Updates(map[string]any{"card_count": count, "segment_count": len(segments)}))
	if err != nil {
		return err
	}
	return tx.addSegments(l, segments)
}

// ForceTrade stores a trade as the ledger has it, whatever the row says. Inside Mend only. Errors: ErrNotFound.
func (tx *Tx) ForceTrade(t Trade) error {
	t = t.settled()
	return missing("trade", t.ID, tx.db.Model(&t).Select(mirroredTrade).Updates(&t))
}

// ForceAct moves an act to a state, whatever state it is in. Inside Mend only. Errors: ErrNotFound.
func (tx *Tx) ForceAct(id string, to ActState, change func(*Act)) error {
	a, err := tx.LockAct(id)
	if err != nil {
		return err
	}
	change(&a)
	a.ID, a.State, a.LeaseOwner, a.LeaseUntil = id, to, "", 0
	return missing("act", id, tx.db.Model(&a).Select("*").Updates(&a))
}

// ForceDevice stores what the ledger says of a device's key, and the state that follows from it, whatever the row says. Inside
// Mend only. Errors: ErrNotFound.
func (tx *Tx) ForceDevice(d Device) error {
	columns := []string{"Participant", "Public", "SerialHash", "LedgerStatus", "LedgerVersion", "State"}
	return missing("device", d.ID, tx.db.Model(&d).Select(columns).Updates(&d))
}

// ForceGatewayKey stores what the ledger says of a gateway key, whatever the row says. Errors: ErrNotFound.
func (tx *Tx) ForceGatewayKey(id, status string, version int, txID string) error {
	return missing("gateway key", id, tx.db.Model(&GatewayKey{}).Where("id = ?", id).
		Updates(map[string]any{"ledger_status": status, "ledger_version": version, "tx_id": txID}))
}

// HeldLots walks all lots that some act holds, by hash, as AllLots does.
func (tx *Tx) HeldLots(after string, limit int) ([]Lot, error) {
	return many[Lot](tx.db.Where("held_by IS NOT NULL AND hash > ?", after).Order("hash").Limit(limit))
}

// ReservingActs lists the acts that have cards set aside, by ID.
func (tx *Tx) ReservingActs() ([]string, error) {
	var ids []string
	err := tx.db.Model(&Reservation{}).Distinct("act_id").Order("act_id").Pluck("act_id", &ids).Error
	return ids, err
}

// LockLot is Lot, and keeps others from changing it until the transaction ends.
func (tx *Tx) LockLot(hash string) (Lot, error) {
	l, err := one[Lot](tx.locked().Where("hash = ?", hash))
	return l, named("lot", hash, err)
}
