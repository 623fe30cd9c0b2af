package model

import (
	"fmt"
	"slices"
	"strconv"
)

// The tables of the custody. What is sealed in them is opened by package custody alone; no row is ever deleted, and
// the database refuses to change what a row was made with.

// CustodyKeyState is a point in the life of a custodial key.
type CustodyKeyState string

// The states of a custodial key. An owner has at most one key per slot that is active or suspended: a suspension is
// not got round by making a second key.
const (
	CustodyActive    CustodyKeyState = "active"
	CustodySuspended CustodyKeyState = "suspended"
	CustodyRotated   CustodyKeyState = "rotated" // replaced: verifies, signs no more
	CustodyRevoked   CustodyKeyState = "revoked"
	CustodyDestroyed CustodyKeyState = "destroyed"
)

// CustodyKeyMoves: only a suspension is taken back, and only a key that is revoked is destroyed.
var CustodyKeyMoves = Machine[CustodyKeyState]{
	{CustodyActive, []CustodyKeyState{CustodySuspended, CustodyRotated, CustodyRevoked}},
	{CustodySuspended, []CustodyKeyState{CustodyActive, CustodyRotated, CustodyRevoked}},
	{CustodyRotated, []CustodyKeyState{CustodyRevoked}},
	{CustodyRevoked, []CustodyKeyState{CustodyDestroyed}},
	{CustodyDestroyed, nil},
}

// CustodyKEK is a key-encryption key, sealed under a root key.
type CustodyKEK struct {
	Version   int    `gorm:"primaryKey;autoIncrement:false"`
	RootID    string // which root key opens it
	Wrapped   []byte
	CreatedAt Millis
}

// TableName places the record.
func (CustodyKEK) TableName() string { return "custody_keks" }

// CustodyKey is a key pair whose private half is sealed under a CustodyKEK.
type CustodyKey struct {
	ID         string `gorm:"primaryKey"` // of the public key, as on the ledger
	Owner      string
	Role       string
	Slot       string
	Version    int // of the owner's keys in this slot, from 1
	Kind       string
	Functions  []string `gorm:"serializer:list"`
	Public     []byte   // 65 bytes
	Possession []byte   // the key's signature over its owner and itself
	KEKVersion int      `gorm:"column:kek_version"`
	Wrapped    []byte
	State      CustodyKeyState
	LiveSlot   string `gorm:"serializer:null"` // Slot while the key is active or suspended, unique for an owner; filled in here
	CreatedAt  Millis
}

// Live reports whether a key in this state keeps its owner from having another one in its slot.
func (s CustodyKeyState) Live() bool { return s == CustodyActive || s == CustodySuspended }

// TableName places the record.
func (CustodyKey) TableName() string { return "custody_keys" }

// AttemptEnd is why an attempt at a signed act can never take effect any more.
type AttemptEnd string

// The ends of an attempt.
const (
	AttemptOpen       AttemptEnd = ""                   // it hasn't ended
	NeverBroadcast    AttemptEnd = "never_broadcast"    // no byte of it left the platform
	DefinitelyInvalid AttemptEnd = "definitely_invalid" // it stands in a block and is invalid there
)

// CustodySignature is a line of the sign log: what a key is to sign, and, once it is made, the signature. One for
// each owner, purpose, subject and attempt.
type CustodySignature struct {
	ID        int64 `gorm:"primaryKey"`
	Owner     string
	Purpose   string // contract function
	Subject   string
	Attempt   int
	KeyID     string
	Digest    string // hex SM3 of the signed bytes
	RequestID string
	NotAfter  Millis
	Signature []byte // nil until the first one is stored
	Actor     string
	Closed    AttemptEnd
	CreatedAt Millis
	SignedAt  Millis
	ClosedAt  Millis
}

// TableName places the record.
func (CustodySignature) TableName() string { return "custody_signatures" }

// AuditRow is a link of the custody's audit chain.
type AuditRow struct {
	Seq      int64  `gorm:"primaryKey;autoIncrement:false"` // from 1, without gaps
	At       Millis // of whoever wrote it; clocks of several servers differ
	Actor    string
	Act      string
	Subject  string
	Detail   string // JSON
	PrevHash string // hex; of row Seq-1
	Hash     string // hex
}

// TableName places the record.
func (AuditRow) TableName() string { return "custody_audit" }

// AuditHead is the end of the audit chain: the one row that whoever appends has to lock.
type AuditHead struct {
	ID         int    `gorm:"primaryKey;autoIncrement:false"` // always 1
	Seq        int64  // of the newest row, 0 before the first
	Hash       string // its hash
	KEKVersion int    `gorm:"column:kek_version"` // whose key made Seal
	Seal       []byte // keyed tag of Seq, Hash and StoppedAt
	StoppedAt  Millis // since when nothing is signed, because somebody stopped it; 0: nobody did
}

// TableName places the record.
func (AuditHead) TableName() string { return "custody_audit_head" }

// CustodyKEKs lists the key-encryption keys, oldest first.
func (tx *Tx) CustodyKEKs() ([]CustodyKEK, error) {
	return many[CustodyKEK](tx.db.Order("version"))
}

// CustodyKEK fetches one. Errors: ErrNotFound.
func (tx *Tx) CustodyKEK(version int) (CustodyKEK, error) {
	k, err := one[CustodyKEK](tx.db.Where("version = ?", version))
	return k, named("key-encryption key", strconv.Itoa(version), err)
}

// AddCustodyKEK stores a key-encryption key. Errors: ErrConflict if there is one of its version.
func (tx *Tx) AddCustodyKEK(k CustodyKEK) error {
	return named("key-encryption key", strconv.Itoa(k.Version), tx.db.Create(&k).Error)
}

// CustodyKey fetches a key. Errors: ErrNotFound.
func (tx *Tx) CustodyKey(id string) (CustodyKey, error) {
	k, err := one[CustodyKey](tx.db.Where("id = ?", id))
	return k, named("custodial key", id, err)
}

// LockCustodyKey fetches a key and keeps others from changing it until the transaction ends. Errors: ErrNotFound.
func (tx *Tx) LockCustodyKey(id string) (CustodyKey, error) {
	k, err := one[CustodyKey](tx.locked().Where("id = ?", id))
	return k, named("custodial key", id, err)
}

// NewestCustodyKey fetches the key that an owner has, or had last, in a slot. Errors: ErrNotFound.
func (tx *Tx) NewestCustodyKey(owner, slot string) (CustodyKey, error) {
	k, err := one[CustodyKey](tx.db.Where("owner = ? AND slot = ?", owner, slot).Order("version DESC"))
	return k, named("custodial key of", owner, err)
}

// LockNewestCustodyKey does the same, and keeps others from changing the key until the transaction ends.
func (tx *Tx) LockNewestCustodyKey(owner, slot string) (CustodyKey, error) {
	k, err := one[CustodyKey](tx.locked().Where("owner = ? AND slot = ?", owner, slot).Order("version DESC"))
	return k, named("custodial key of", owner, err)
}

// NewestCustodyKeys fetches the keys that some owners have, or had last, in a slot, by owner.
func (tx *Tx) NewestCustodyKeys(owners []string, slot string) (map[string]CustodyKey, error) {
	found := map[string]CustodyKey{}
	for some := range slices.Chunk(owners, listChunk) {
		keys, err := many[CustodyKey](tx.db.Where("owner IN ? AND slot = ?", some, slot).Order("version"))
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			found[k.Owner] = k
		}
	}
	return found, nil
}

// listChunk is how many values of a list are looked up at once in a table that may have millions of rows. Of up to 200 MariaDB
// asks the index how many rows there are (eq_range_index_dive_limit); of more it believes its statistics, and if those are
// from when the table was small, it reads all of the table instead.
const listChunk = 128

// AddCustodyKeys stores keys, all or none. Errors: ErrConflict as AddCustodyKey.
func (tx *Tx) AddCustodyKeys(keys []CustodyKey) error {
	err := insertAll(tx, "custody_keys (id, owner, role, slot, version, kind, functions, public, possession, kek_version, wrapped, state, live_slot, created_at)", "",
		keys, func(k CustodyKey) ([]any, error) {
			functions, err := listText(k.Functions)
			var live any // NULL
			if k.State.Live() {
				live = k.Slot
			}
			return []any{k.ID, k.Owner, k.Role, k.Slot, k.Version, k.Kind, functions, k.Public, k.Possession, k.KEKVersion, k.Wrapped, k.State, live, k.CreatedAt}, err
		})
	if len(keys) == 0 {
		return err
	}
	return named("custodial keys from", keys[0].ID, err)
}

// keyChunk is how many keys or audit rows go into one statement.
const keyChunk = 100

// AddCustodyKey stores a key. Errors: ErrConflict if its ID or version exists, or its owner has a live key in the slot.
func (tx *Tx) AddCustodyKey(k CustodyKey) error {
	k.LiveSlot = ""
	if k.State.Live() {
		k.LiveSlot = k.Slot
	}
	return named("custodial key", k.ID, tx.db.Create(&k).Error)
}

// MoveCustodyKey moves a key through its life. Errors: ErrState.
func (tx *Tx) MoveCustodyKey(id string, from, to CustodyKeyState) error {
	if !CustodyKeyMoves.Can(from, to) {
		return fmt.Errorf("custodial key %s: %s to %s: %w", id, from, to, ErrState)
	}
	if to == CustodyDestroyed {
		return tx.DestroyCustodyKey(id)
	}
	change := map[string]any{"state": to}
	if !to.Live() {
		change["live_slot"] = nil
	}
	return swapped("custodial key", id, tx.db.Model(&CustodyKey{}).Where("id = ? AND state = ?", id, from).Updates(change))
}

// Signature fetches a line of the sign log. Errors: ErrNotFound.
func (tx *Tx) Signature(owner, purpose, subject string, attempt int) (CustodySignature, error) {
	s, err := one[CustodySignature](tx.db.Where("owner = ? AND purpose = ? AND subject = ? AND attempt = ?", owner, purpose, subject, attempt))
	return s, named("signature", fmt.Sprintf("%s of %s, attempt %d", purpose, subject, attempt), err)
}

// LastSignature fetches the line with the highest attempt at an act. Errors: ErrNotFound.
func (tx *Tx) LastSignature(owner, purpose, subject string) (CustodySignature, error) {
	s, err := one[CustodySignature](tx.db.Where("owner = ? AND purpose = ? AND subject = ?", owner, purpose, subject).Order("attempt DESC"))
	return s, named("signature", fmt.Sprintf("%s of %s", purpose, subject), err)
}

// SignaturesOfRequest lists the lines in which a key was to sign a request, oldest first.
func (tx *Tx) SignaturesOfRequest(requestID, keyID string) ([]CustodySignature, error) {
	return many[CustodySignature](tx.db.Where("request_id = ? AND key_id = ?", requestID, keyID).Order("id"))
}

// SignaturesAfter walks the sign log, oldest first. after is the last ID seen; fewer than limit lines is the end.
func (tx *Tx) SignaturesAfter(after int64, limit int) ([]CustodySignature, error) {
	return many[CustodySignature](tx.db.Where("id > ?", after).Order("id").Limit(limit))
}

// AddSignature writes the intent to sign. Errors: ErrConflict if there is a line for the attempt.
func (tx *Tx) AddSignature(s CustodySignature) (CustodySignature, error) {
	s.Signature = nil
	err := tx.db.Omit("Signature").Create(&s).Error // left out, because SQLite's driver would store an empty one for nil
	return s, named("signature", fmt.Sprintf("%s of %s, attempt %d", s.Purpose, s.Subject, s.Attempt), err)
}

// CloseSignature ends an attempt that is open. Errors: ErrState.
func (tx *Tx) CloseSignature(id int64, why AttemptEnd, at Millis) error {
	return swapped("signature", strconv.FormatInt(id, 10), tx.db.Model(&CustodySignature{}).
		Where("id = ? AND closed = ?", id, AttemptOpen).
		Updates(map[string]any{"closed": why, "closed_at": at}))
}

// AuditHead fetches the head of the audit chain. Errors: ErrNotFound.
func (tx *Tx) AuditHead() (AuditHead, error) {
	h, err := one[AuditHead](tx.db.Where("id = 1"))
	return h, named("head of", "the audit", err)
}

// LockAuditHead fetches the head and keeps others from appending until the transaction ends: all of custody's transactions
// lock it first, and queue there. Errors: ErrNotFound.
func (tx *Tx) LockAuditHead() (AuditHead, error) {
	if tx.head != nil { // which nobody else can have changed since
		return *tx.head, nil
	}
	h, err := one[AuditHead](tx.locked().Where("id = 1"))
	if err == nil {
		tx.head = &h
	}
	return h, named("head of", "the audit", err)
}

// AddAuditHead begins the audit. Errors: ErrConflict if it has begun.
func (tx *Tx) AddAuditHead(h AuditHead) error {
	h.ID = 1
	return named("head of", "the audit", tx.db.Create(&h).Error)
}

// AppendAudit adds rows, of which there is at least one, to the audit and moves the head from the row before them to the
// last one, of which head is. Errors: ErrState if that is not where the head stood.
func (tx *Tx) AppendAudit(rows []AuditRow, head AuditHead) error {
	tx.head = nil
	err := insertAll(tx, "custody_audit (seq, `at`, actor, act, subject, detail, prev_hash, hash)", "", rows, func(r AuditRow) ([]any, error) {
		return []any{r.Seq, r.At, r.Actor, r.Act, r.Subject, r.Detail, r.PrevHash, r.Hash}, nil
	})
	if err != nil {
		return named("audit row", "from "+strconv.FormatInt(rows[0].Seq, 10), err)
	}
	first, last := rows[0], rows[len(rows)-1]
	err = swapped("head of", "the audit", tx.db.Exec(
		"UPDATE custody_audit_head SET seq = ?, hash = ?, kek_version = ?, seal = ?, stopped_at = ? WHERE id = 1 AND seq = ? AND hash = ?",
		last.Seq, last.Hash, head.KEKVersion, head.Seal, head.StoppedAt, first.Seq-1, first.PrevHash))
	if err != nil {
		return err
	}
	head.ID, head.Seq, head.Hash = 1, last.Seq, last.Hash
	tx.head = &head
	return nil
}

// AuditRows fetches the rows after one, in order, up to a limit.
func (tx *Tx) AuditRows(after int64, limit int) ([]AuditRow, error) {
	return many[AuditRow](tx.db.Where("seq > ?", after).Order("seq").Limit(limit))
}

// AuditHas reports whether the audit has one of some acts on a subject that is no key.
func (tx *Tx) AuditHas(subject string, acts ...string) (bool, error) {
	rows, err := many[AuditRow](tx.db.Select("seq").Where("topic = ? AND act IN ?", subject, acts).Limit(1))
	return len(rows) > 0, err
}

// AuditSays reports whether the audit has an act on a subject that is no key, whose detail has a text in it.
func (tx *Tx) AuditSays(subject, act, text string) (bool, error) {
	rows, err := many[AuditRow](tx.db.Select("seq").Where("topic = ? AND act = ? AND detail LIKE ? ESCAPE '!'", subject, act, "%"+likely(text)+"%").Limit(1))
	return len(rows) > 0, err
}
