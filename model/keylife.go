package model

import (
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm/clause"
)

// KeyMatter is what a wish about a key is about: a key has at most one wish of each.
type KeyMatter string

// The matters.
const (
	KeyStanding  KeyMatter = "standing"  // whether it signs
	KeySuccessor KeyMatter = "successor" // which key comes after it
)

// The wishes.
const (
	WishSuspend = "suspend"
	WishResume  = "resume"
	WishRevoke  = "revoke"
	WishReplace = "replace"
)

// CustodyWish is what custody wants of the ledger and does not see there yet.
type CustodyWish struct {
	KeyID     string    `gorm:"primaryKey"`
	Matter    KeyMatter `gorm:"primaryKey"`
	Wish      string
	ID        string // new whenever somebody wishes something: the act that carries it is named after it
	Actor     string
	CreatedAt Millis
}

// TableName places the record.
func (CustodyWish) TableName() string { return "custody_wishes" }

// CustodySuccessor is a key that is made and signs nothing yet: an owner has at most one in a slot.
type CustodySuccessor struct {
	ID         string `gorm:"primaryKey"`
	Owner      string
	Role       string
	Slot       string
	Version    int
	Kind       string
	Functions  []string `gorm:"serializer:list"`
	Public     []byte
	Possession []byte
	KEKVersion int `gorm:"column:kek_version"`
	Wrapped    []byte
	CreatedAt  Millis
}

// TableName places the record.
func (CustodySuccessor) TableName() string { return "custody_successors" }

// Key is the successor as a key, in the state in which it takes over.
func (s CustodySuccessor) Key() CustodyKey {
	return CustodyKey{
		ID: s.ID, Owner: s.Owner, Role: s.Role, Slot: s.Slot, Version: s.Version, Kind: s.Kind, Functions: s.Functions, Public: s.Public,
		Possession: s.Possession, KEKVersion: s.KEKVersion, Wrapped: s.Wrapped, State: CustodyActive, CreatedAt: s.CreatedAt,
	}
}

// SuccessorOf is a key before it takes over.
func SuccessorOf(k CustodyKey) CustodySuccessor {
	return CustodySuccessor{
		ID: k.ID, Owner: k.Owner, Role: k.Role, Slot: k.Slot, Version: k.Version, Kind: k.Kind, Functions: k.Functions, Public: k.Public,
		Possession: k.Possession, KEKVersion: k.KEKVersion, Wrapped: k.Wrapped, CreatedAt: k.CreatedAt,
	}
}

// CustodyLedgerKey is the newest that the ledger has said of a key which has moved there.
type CustodyLedgerKey struct {
	KeyID   string `gorm:"primaryKey"`
	Version int    // the ledger's, of the key
	Status  string // the ledger's word
}

// TableName places the record.
func (CustodyLedgerKey) TableName() string { return "custody_ledger_keys" }

// DestroyCustodyKey ends the life of a revoked key: its envelope is emptied, the rest of the row stays. Errors: ErrState.
func (tx *Tx) DestroyCustodyKey(id string) error {
	if !CustodyKeyMoves.Can(CustodyRevoked, CustodyDestroyed) {
		return fmt.Errorf("custodial key %s: %w", id, ErrState)
	}
	return swapped("custodial key", id, tx.db.Model(&CustodyKey{}).Where("id = ? AND state = ?", id, CustodyRevoked).
		Updates(map[string]any{"state": CustodyDestroyed, "wrapped": []byte{}}))
}

// KeyWish fetches what is wished of a key in a matter. Errors: ErrNotFound.
func (tx *Tx) KeyWish(keyID string, matter KeyMatter) (CustodyWish, error) {
	w, err := one[CustodyWish](tx.db.Where("key_id = ? AND matter = ?", keyID, matter))
	return w, named("wish for custodial key", keyID, err)
}

// LockKeyWish does the same, and keeps others from wishing something else until the transaction ends.
func (tx *Tx) LockKeyWish(keyID string, matter KeyMatter) (CustodyWish, error) {
	w, err := one[CustodyWish](tx.locked().Where("key_id = ? AND matter = ?", keyID, matter))
	return w, named("wish for custodial key", keyID, err)
}

// WishesOf lists what is wished of some keys, by key.
func (tx *Tx) WishesOf(keyIDs []string) (map[string][]CustodyWish, error) {
	found := map[string][]CustodyWish{}
	for some := range slices.Chunk(keyIDs, listChunk) {
		list, err := many[CustodyWish](tx.db.Where("key_id IN ?", some).Order("key_id, matter"))
		if err != nil {
			return nil, err
		}
		for _, w := range list {
			found[w.KeyID] = append(found[w.KeyID], w)
		}
	}
	return found, nil
}

// LedgerKeys fetches the newest that the ledger has said of some keys, by key; none of those that have not moved there.
func (tx *Tx) LedgerKeys(keyIDs []string) (map[string]CustodyLedgerKey, error) {
	found := map[string]CustodyLedgerKey{}
	for some := range slices.Chunk(keyIDs, listChunk) {
		list, err := many[CustodyLedgerKey](tx.db.Where("key_id IN ?", some))
		if err != nil {
			return nil, err
		}
		for _, k := range list {
			found[k.KeyID] = k
		}
	}
	return found, nil
}

// SuccessorsOf lists the keys that wait to take over from those of some owners.
func (tx *Tx) SuccessorsOf(owners []string) (list []CustodySuccessor, err error) {
	for some := range slices.Chunk(owners, listChunk) {
		found, err := many[CustodySuccessor](tx.db.Where("owner IN ?", some))
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// AllKeyWishes walks all wishes by ID. after is the last ID seen, empty at the start; fewer than limit is the end.
func (tx *Tx) AllKeyWishes(after string, limit int) ([]CustodyWish, error) {
	return many[CustodyWish](tx.db.Where("id > ?", after).Order("id").Limit(limit))
}

// SetKeyWish stores a wish in the place of the one that there may be in its matter.
func (tx *Tx) SetKeyWish(w CustodyWish) error {
	return named("wish for custodial key", w.KeyID, tx.db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&w).Error)
}

// DropKeyWish removes a wish that has come true, or that nothing comes of.
func (tx *Tx) DropKeyWish(keyID string, matter KeyMatter) error {
	return named("wish for custodial key", keyID, tx.db.Where("key_id = ? AND matter = ?", keyID, matter).Delete(&CustodyWish{}).Error)
}

// AddSuccessor stores a key that waits. Errors: ErrConflict if one waits in its owner's slot, or there is its ID.
func (tx *Tx) AddSuccessor(s CustodySuccessor) error {
	return named("successor", s.ID, tx.db.Create(&s).Error)
}

// Successor fetches a key that waits. Errors: ErrNotFound.
func (tx *Tx) Successor(id string) (CustodySuccessor, error) {
	s, err := one[CustodySuccessor](tx.db.Where("id = ?", id))
	return s, named("successor", id, err)
}

// SuccessorIn fetches the key that waits in an owner's slot. Errors: ErrNotFound.
func (tx *Tx) SuccessorIn(owner, slot string) (CustodySuccessor, error) {
	s, err := one[CustodySuccessor](tx.db.Where("owner = ? AND slot = ?", owner, slot))
	return s, named("successor of", owner, err)
}

// DropSuccessor removes a key that waits: it has become a key, or never will.
func (tx *Tx) DropSuccessor(id string) error {
	return named("successor", id, tx.db.Where("id = ?", id).Delete(&CustodySuccessor{}).Error)
}

// LedgerKey fetches the newest that the ledger has said of a key; Version 0 if it has not moved there.
func (tx *Tx) LedgerKey(keyID string) (CustodyLedgerKey, error) {
	k, err := one[CustodyLedgerKey](tx.db.Where("key_id = ?", keyID))
	if errors.Is(err, ErrNotFound) {
		return CustodyLedgerKey{KeyID: keyID}, nil
	}
	return k, named("custodial key on the ledger", keyID, err)
}

// SetLedgerKey stores what the ledger says of a key.
func (tx *Tx) SetLedgerKey(k CustodyLedgerKey) error {
	return named("custodial key on the ledger", k.KeyID, tx.db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&k).Error)
}

// CustodyKeyFilter says which keys ListCustodyKeys lists; zero fields don't restrict.
type CustodyKeyFilter struct {
	Owner string
	State CustodyKeyState
	From  Millis // of creation
	To    Millis // exclusive
}

// ListCustodyKeys lists keys, newest first.
func (tx *Tx) ListCustodyKeys(f CustodyKeyFilter, cursor string, limit int) (Page[CustodyKey], error) {
	query := tx.db
	if f.Owner != "" {
		query = query.Where("owner = ?", f.Owner)
	}
	if f.State != "" {
		query = query.Where("state = ?", f.State)
	}
	if f.From > 0 {
		query = query.Where("created_at >= ?", f.From)
	}
	if f.To > 0 {
		query = query.Where("created_at < ?", f.To)
	}
	return newestFirst(query, "id", cursor, limit, func(k CustodyKey) newest { return newest{int64(k.CreatedAt), k.ID} })
}

// CustodyKeysNamed lists keys whose IDs begin with a prefix, by ID: people copy the beginning.
func (tx *Tx) CustodyKeysNamed(prefix string, limit int) ([]CustodyKey, error) {
	return many[CustodyKey](tx.db.Where("id >= ? AND id < ?", prefix, prefix+"~").Order("id").Limit(limit))
}
