package model

import (
	"fmt"
	"slices"
)

// ParticipantKind says what stands behind a participant.
type ParticipantKind string

// The kinds of participant.
const (
	Organisation ParticipantKind = "organisation"
	Consumer     ParticipantKind = "consumer"
	System       ParticipantKind = "system" // the platform itself
)

// Participant is a pseudonymous identity on the ledger.
type Participant struct {
	ID           string           `gorm:"primaryKey" json:"id"`
	Role         string           `json:"role"` // the contract's word: carrier, distributor, retailer, consumer, platform, …
	Kind         ParticipantKind  `json:"kind"`
	Name         string           `gorm:"serializer:null" json:"name,omitempty"` // organisations only: the ledger and we know consumers by ID
	State        ParticipantState `json:"state"`
	RegisterAct  string           `gorm:"serializer:null" json:"registerAct,omitempty"` // the act that registers him
	KeyID        string           `gorm:"serializer:null" json:"keyId,omitempty"`       // his account key
	TxID         string           `gorm:"serializer:null" json:"txId,omitempty"`        // that registered him
	Frozen       []string         `gorm:"serializer:list" json:"frozen,omitempty"`      // roles that froze him
	CreatedAt    Millis           `gorm:"autoCreateTime:milli" json:"createdAt"`
	RegisteredAt Millis           `json:"registeredAt"`
}

// Participant fetches one participant. Errors: ErrNotFound.
func (tx *Tx) Participant(id string) (Participant, error) {
	p, err := one[Participant](tx.db.Where("id = ?", id))
	return p, named("participant", id, err)
}

// Participants lists the organisations and system participants of a role by ID, of all roles for "". Consumers are
// many: they are not listed.
func (tx *Tx) Participants(role string) ([]Participant, error) {
	query := tx.db.Where("kind <> ?", Consumer)
	if role != "" {
		query = query.Where("role = ?", role)
	}
	return many[Participant](query.Order("id"))
}

// ParticipantNames answers the names of those of the IDs that have one.
func (tx *Tx) ParticipantNames(ids []string) (map[string]string, error) {
	names := make(map[string]string, len(ids))
	for some := range slices.Chunk(ids, chunk) {
		found, err := many[Participant](tx.db.Select("id", "name").Where("id IN ? AND name IS NOT NULL", some))
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			names[p.ID] = p.Name
		}
	}
	return names, nil
}

// AddParticipant stores a new participant. Errors: ErrConflict if the ID is taken.
func (tx *Tx) AddParticipant(p Participant) error {
	return named("participant", p.ID, tx.db.Create(&p).Error)
}

// AddParticipants stores new participants, all or none. Errors: ErrConflict if an ID is taken.
func (tx *Tx) AddParticipants(participants []Participant) error {
	if len(participants) == 0 {
		return nil
	}
	return named("participants from", participants[0].ID, tx.db.CreateInBatches(&participants, chunk).Error)
}

// ParticipantStates answers how those of the IDs stand that there are.
func (tx *Tx) ParticipantStates(ids []string) (map[string]ParticipantState, error) {
	states := make(map[string]ParticipantState, len(ids))
	for some := range slices.Chunk(ids, chunk) {
		found, err := many[Participant](tx.db.Select("id", "state").Where("id IN ?", some))
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			states[p.ID] = p.State
		}
	}
	return states, nil
}

// MoveParticipants moves those of the IDs that are in a state to another one, where an act registers them, and answers
// which they were, sorted.
func (tx *Tx) MoveParticipants(ids []string, from, to ParticipantState, act string) (moved []string, err error) {
	if !ParticipantMoves.Can(from, to) {
		return nil, fmt.Errorf("participants: %w: %s to %s", ErrState, from, to)
	}
	for some := range slices.Chunk(ids, chunk) {
		found, err := many[Participant](tx.locked().Select("id").Where("id IN ? AND state = ?", some, from).Order("id"))
		if err != nil {
			return nil, err
		}
		here := make([]string, 0, len(found))
		for _, p := range found {
			here = append(here, p.ID)
		}
		if len(here) == 0 {
			continue
		}
		if err := tx.db.Model(&Participant{}).Where("id IN ?", here).Select("State", "RegisterAct").Updates(&Participant{State: to, RegisterAct: act}).Error; err != nil {
			return nil, err
		}
		moved = append(moved, here...)
	}
	return moved, nil
}

// MoveParticipant moves a participant between two states and stores what change makes of him. Errors: ErrNotFound;
// ErrState if he isn't in from or the table doesn't allow the move.
func (tx *Tx) MoveParticipant(id string, from, to ParticipantState, change func(*Participant)) (Participant, error) {
	p, err := one[Participant](tx.locked().Where("id = ?", id))
	if err != nil {
		return p, named("participant", id, err)
	}
	if p.State != from || !ParticipantMoves.Can(from, to) {
		return p, fmt.Errorf("participant %s: %w: %s, not %s to %s", id, ErrState, p.State, from, to)
	}
	if change != nil {
		change(&p)
	}
	p.ID, p.State = id, to
	return p, swapped("participant", id, tx.db.Model(&p).Where("state = ?", from).Select("*").Updates(&p))
}

// MarkRegistered notes that the ledger has the participant and his key, from whatever state. Once it is noted,
// noting it again changes nothing. Errors: ErrNotFound.
func (tx *Tx) MarkRegistered(id, keyID, txID string, at Millis) error {
	p, err := one[Participant](tx.locked().Where("id = ?", id))
	if err != nil || p.State == ParticipantRegistered {
		return named("participant", id, err)
	}
	_, err = tx.MoveParticipant(id, p.State, ParticipantRegistered, func(p *Participant) {
		p.KeyID, p.TxID, p.RegisteredAt = keyID, txID, at
	})
	return err
}

// SetFrozen mirrors from the ledger which roles have frozen a participant. Errors: ErrNotFound.
func (tx *Tx) SetFrozen(id string, roles []string) error {
	return missing("participant", id, tx.db.Model(&Participant{ID: id}).Select("Frozen").Updates(&Participant{Frozen: roles}))
}

// SetKey mirrors from the ledger the account key of a participant after a rotation. Errors: ErrNotFound.
func (tx *Tx) SetKey(id, keyID string) error {
	return missing("participant", id, tx.db.Model(&Participant{ID: id}).Select("KeyID").Updates(&Participant{KeyID: keyID}))
}

// LockParticipant makes other transactions that lock the same participant wait for this one. Take it before rows of
// his lots and trades, so that all writers lock in one order. Errors: ErrNotFound.
func (tx *Tx) LockParticipant(id string) error {
	_, err := one[Participant](tx.locked().Select("id").Where("id = ?", id))
	return named("participant", id, err)
}

// AllParticipants walks all participants by ID: for a check of the database against the ledger. after is the last ID
// seen, empty at the start; fewer than limit participants is the end.
func (tx *Tx) AllParticipants(after string, limit int) ([]Participant, error) {
	return many[Participant](tx.db.Where("id > ?", after).Order("id").Limit(limit))
}
