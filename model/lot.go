package model

import (
	"fmt"
	"slices"

	"gorm.io/gorm"

	"cardflow/iccid"
)

// Lot is a set of cards with one owner, named by its lot hash. What the ledger knows of it is mirrored here; the salt
// that opens the hash, the segments and the hold are ours.
type Lot struct {
	Hash          string `gorm:"primaryKey"` // 64 hex characters
	Issuer        string // participant: the carrier
	Rule          iccid.Rule
	Owner         string // participant; the seller while in a trade
	Status        LotStatus
	Frozen        []string `gorm:"serializer:list"` // roles that froze it
	RetailPolicy  string
	Restrictions  []string `gorm:"serializer:list"`
	CardCount     int64
	SegmentCount  int
	SaltSealed    []byte
	TradeID       string   `gorm:"serializer:null"` // the trade that made it
	MadeByAct     string   `gorm:"serializer:null"` // our act that made it
	MadeTx        string   `gorm:"serializer:null"` // the transaction that made it
	Parents       []string `gorm:"serializer:list"` // lot hashes
	Children      []string `gorm:"serializer:list"` // lot hashes
	Version       int      // of the ledger's record; 0 before it is there
	HeldBy        string   `gorm:"serializer:null"` // unfinished act that uses it as input
	ReversedUntil Millis   // until when the owner may return it
	IssuedTx      string   `gorm:"serializer:null"`
	BlockNumber   int64    // of the last change
	CreatedAt     Millis   `gorm:"autoCreateTime:milli"`
	UpdatedAt     Millis   `gorm:"autoUpdateTime:milli"`
	OwnedSince    Millis   // when the owner got it, by the ledger's time
}

// LotParent is an edge of the lineage of lots.
type LotParent struct {
	Child  string `gorm:"primaryKey"`
	Parent string `gorm:"primaryKey"`
}

// mirrored are the columns that UpdateLot takes from the ledger.
var mirrored = []string{"Owner", "Status", "Frozen", "RetailPolicy", "Restrictions", "TradeID", "MadeTx", "Parents",
	"Children", "Version", "ReversedUntil", "IssuedTx", "BlockNumber", "OwnedSince", "UpdatedAt"}

// Lot fetches one lot. Errors: ErrNotFound.
func (tx *Tx) Lot(hash string) (Lot, error) {
	l, err := one[Lot](tx.db.Where("hash = ?", hash))
	return l, named("lot", hash, err)
}

// Lots fetches several lots, in the order asked for. Errors: ErrNotFound if one is missing.
func (tx *Tx) Lots(hashes []string) ([]Lot, error) { return lots(tx.db, hashes) }

func lots(db *gorm.DB, hashes []string) ([]Lot, error) {
	byHash := make(map[string]Lot, len(hashes))
	// Sorted: two transactions that lock the same rows lock them in one order.
	for some := range slices.Chunk(slices.Sorted(slices.Values(hashes)), chunk) {
		found, err := many[Lot](db.Where("hash IN ?", some).Order("hash"))
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			byHash[l.Hash] = l
		}
	}
	out := make([]Lot, len(hashes))
	for i, hash := range hashes {
		l, ok := byHash[hash]
		if !ok {
			return nil, named("lot", hash, ErrNotFound)
		}
		out[i] = l
	}
	return out, nil
}

// AddLot stores a new lot with its segments and its edges to l.Parents, which must be there. CardCount and
// SegmentCount are counted from the segments. Errors: ErrConflict if the hash is taken.
func (tx *Tx) AddLot(l Lot, segments []iccid.Segment) error {
	l.SegmentCount, l.CardCount = len(segments), 0
	for _, s := range segments {
		l.CardCount += int64(s.Count())
	}
	if err := tx.db.Create(&l).Error; err != nil {
		return named("lot", l.Hash, err)
	}
	edges := make([]LotParent, len(l.Parents))
	for i, parent := range l.Parents {
		edges[i] = LotParent{Child: l.Hash, Parent: parent}
	}
	if len(edges) > 0 {
		if err := tx.db.CreateInBatches(edges, chunk).Error; err != nil {
			return named("parents of lot", l.Hash, err)
		}
	}
	return tx.addSegments(l, segments)
}

// UpdateLot mirrors a lot from the ledger: all that the ledger knows, nothing that is ours (salt, hold, what made
// it). A version older than the stored one changes nothing, so events may be applied in any order and again.
// Errors: ErrNotFound; ErrState if LotMoves doesn't allow it.
func (tx *Tx) UpdateLot(l Lot) error {
	old, err := one[Lot](tx.locked().Where("hash = ?", l.Hash))
	switch {
	case err != nil:
		return named("lot", l.Hash, err)
	case l.Version < old.Version:
		return nil
	case old.Status != l.Status && !LotMoves.Can(old.Status, l.Status):
		return fmt.Errorf("lot %s: %w: %s to %s", l.Hash, ErrState, old.Status, l.Status)
	}
	result := tx.db.Model(&l).Where("status = ?", old.Status).Select(mirrored).Updates(&l)
	if err := swapped("lot", l.Hash, result); err != nil {
		return err
	}
	if old.Status.Live() == l.Status.Live() && old.Owner == l.Owner {
		return nil
	}
	return named("segments of lot", l.Hash, tx.db.Model(&Segment{}).Where("lot_hash = ?", l.Hash).
		Updates(map[string]any{"live": l.Status.Live(), "owner": l.Owner}).Error)
}

// LotsOwnedBy lists what a participant has, newest first: lots OWNED, IN_TRADE and RETIRED.
func (tx *Tx) LotsOwnedBy(owner, cursor string, limit int) (Page[Lot], error) {
	query := tx.db.Where("owner = ? AND status IN ?", owner, []LotStatus{LotOwned, LotInTrade, LotRetired})
	return newestFirst(query, "hash", cursor, limit, func(l Lot) newest { return newest{int64(l.CreatedAt), l.Hash} })
}

// KnownLots answers which of these lots there are.
func (tx *Tx) KnownLots(hashes []string) (map[string]bool, error) {
	return known(tx.db.Model(&Lot{}), "hash", hashes)
}

// AllLots walks all lots by hash: for a check of the database against the ledger. after is the last hash seen, empty
// at the start; fewer than limit lots is the end.
func (tx *Tx) AllLots(after string, limit int) ([]Lot, error) {
	return many[Lot](tx.db.Where("hash > ?", after).Order("hash").Limit(limit))
}

// HeldError tells which act holds a lot. It is an ErrConflict.
type HeldError struct{ Lot, Act string }

func (e *HeldError) Error() string {
	return fmt.Sprintf("lot %s: %v: held by act %s", e.Lot, ErrConflict, e.Act)
}

// Unwrap is ErrConflict.
func (e *HeldError) Unwrap() error { return ErrConflict }

// HoldLots sets lots aside as inputs of an act: all of them, or none and a [*HeldError] if another act holds one.
// Holding again by the same act is fine. Errors: also ErrNotFound.
func (tx *Tx) HoldLots(hashes []string, act string) error {
	found, err := lots(tx.locked(), hashes)
	if err != nil {
		return err
	}
	for _, l := range found {
		if l.HeldBy != "" && l.HeldBy != act {
			return &HeldError{Lot: l.Hash, Act: l.HeldBy}
		}
	}
	for some := range slices.Chunk(slices.Clone(hashes), chunk) {
		result := tx.db.Model(&Lot{}).Where("hash IN ? AND (held_by IS NULL OR held_by = ?)", some, act).Update("held_by", act)
		if result.Error != nil {
			return result.Error
		}
	}
	return nil
}

// ReleaseHold lets go of all lots that an act holds.
func (tx *Tx) ReleaseHold(act string) error {
	return tx.db.Model(&Lot{}).Where("held_by = ?", act).Update("held_by", gorm.Expr("NULL")).Error
}

// Parents lists the lots that a lot was made of, by hash.
func (tx *Tx) Parents(hash string) ([]Lot, error) {
	return many[Lot](tx.db.Where("hash IN (?)", tx.db.Model(&LotParent{}).Select("parent").Where("child = ?", hash)).Order("hash"))
}

// Children lists the lots that were made of a lot, by hash, PENDING and ABANDONED ones included.
func (tx *Tx) Children(hash string) ([]Lot, error) {
	return many[Lot](tx.db.Where("hash IN (?)", tx.db.Model(&LotParent{}).Select("child").Where("parent = ?", hash)).Order("hash"))
}

// Stock is a line of an inventory.
type Stock struct {
	Issuer string
	Rule   iccid.Rule
	Status LotStatus
	Lots   int64
	Cards  int64
}

// Inventory totals the lots of an owner by issuer and status, of everybody for "".
func (tx *Tx) Inventory(owner string) ([]Stock, error) {
	query := tx.db.Model(&Lot{})
	if owner != "" {
		query = query.Where("owner = ?", owner)
	}
	return many[Stock](query.Select("issuer, rule, status, COUNT(*) AS lots, SUM(card_count) AS cards").
		Group("issuer, rule, status").Order("issuer, rule, status"))
}
