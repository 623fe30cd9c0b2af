package model

import (
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"
)

// Trade is one transfer from a seller's lots to one receiver.
type Trade struct {
	ID               string `gorm:"primaryKey"`
	Batch            string `gorm:"serializer:null"` // the offer act that made it; trades of an each-card offer share it
	Mode             string // NAMED or BEARER
	LotHash          string
	Seller           string // participant
	Receiver         string `gorm:"serializer:null"` // participant; BEARER: whoever confirmed
	State            TradeState
	PendingAct       string `gorm:"serializer:null"` // the act that is to end it
	CodeSealed       []byte // code and trade salt; nil for NAMED
	CodeIndex        string `gorm:"serializer:null"` // keyed hash of the code, for ever
	LiveCode         string `gorm:"serializer:null"` // the same while the code can be used: unique
	Count            int64  // cards
	Reverses         string `gorm:"serializer:null"` // a return: the trade it undoes
	ReasonCode       string `gorm:"serializer:null"` // of a decline or return, on the ledger
	ReasonTextSealed []byte // what the person wrote
	OfferedAt        Millis
	ExpiresAt        Millis
	OfferTx          string `gorm:"serializer:null"`
	OfferBlock       int64
	OfferDevice      string `gorm:"serializer:null"` // or channel
	EndTx            string `gorm:"serializer:null"`
	EndBlock         int64
	EndDevice        string `gorm:"serializer:null"`
	EndedAt          Millis
	ReleaseAfter     Millis // a release has failed: not before
	CreatedAt        Millis `gorm:"autoCreateTime:milli"`
	CreatedBy        string `gorm:"serializer:null"` // person
}

// mirroredTrade are the columns that SaveTradeMirror takes from the ledger.
var mirroredTrade = []string{"Mode", "LotHash", "Seller", "Receiver", "State", "PendingAct", "LiveCode", "Reverses", "ReasonCode",
	"OfferedAt", "ExpiresAt", "OfferTx", "OfferBlock", "OfferDevice", "EndTx", "EndBlock", "EndDevice", "EndedAt"}

// settled is the trade as it may be stored: an ended or failed one has no live code and waits for no act.
func (t Trade) settled() Trade {
	if t.State.Ended() || t.State == TradeFailed {
		t.LiveCode, t.PendingAct = "", ""
	}
	return t
}

// Trade fetches one trade. Errors: ErrNotFound.
func (tx *Tx) Trade(id string) (Trade, error) {
	t, err := one[Trade](tx.db.Where("id = ?", id))
	return t, named("trade", id, err)
}

// LockTrade fetches a trade and keeps others from changing it until the transaction ends: for whoever decides by its
// state. Errors: ErrNotFound.
func (tx *Tx) LockTrade(id string) (Trade, error) {
	t, err := one[Trade](tx.locked().Where("id = ?", id))
	return t, named("trade", id, err)
}

// AddTrade stores a new trade. Errors: ErrConflict if its ID is taken, or its live code: make another code.
func (tx *Tx) AddTrade(t Trade) error {
	t = t.settled()
	return named("trade", t.ID, tx.db.Create(&t).Error)
}

// TradeByLiveCode finds the trade that a usable code leads to. Errors: ErrNotFound.
func (tx *Tx) TradeByLiveCode(index string) (Trade, error) {
	t, err := one[Trade](tx.db.Where("live_code = ?", index))
	return t, named("trade by code", "", err)
}

// TradesByCode lists the trades that ever had a code, newest first: codes come back after years.
func (tx *Tx) TradesByCode(index string) ([]Trade, error) {
	return many[Trade](tx.db.Where("code_index = ?", index).Order("created_at DESC, id DESC"))
}

// TradesOfBatch lists the trades of an offer, by ID.
func (tx *Tx) TradesOfBatch(act string) ([]Trade, error) {
	return many[Trade](tx.db.Where("batch = ?", act).Order("id"))
}

// TradesOfLot lists the trades that a lot went through, oldest first.
func (tx *Tx) TradesOfLot(hash string) ([]Trade, error) {
	return many[Trade](tx.db.Where("lot_hash = ?", hash).Order("created_at, id"))
}

// MoveTrade moves a trade between two states and stores what change makes of it. The live code and the pending act go
// by themselves when it ends or fails. Errors: ErrNotFound; ErrState if it isn't in from (somebody was faster) or the
// table doesn't allow the move.
func (tx *Tx) MoveTrade(id string, from, to TradeState, change func(*Trade)) (Trade, error) {
	t, err := one[Trade](tx.locked().Where("id = ?", id))
	if err != nil {
		return t, named("trade", id, err)
	}
	if t.State != from || !TradeMoves.Can(from, to) {
		return t, fmt.Errorf("trade %s: %w: %s, not %s to %s", id, ErrState, t.State, from, to)
	}
	if change != nil {
		change(&t)
	}
	t.ID, t.State = id, to
	t = t.settled()
	return t, swapped("trade", id, tx.db.Model(&t).Where("state = ?", from).Select("*").Updates(&t))
}

// SaveTradeMirror stores a trade as the ledger has it. A trade that isn't there yet (a terminal made it) is added
// whole; of one that is there, only what the ledger knows is taken: batch, code, count, reason text and creator stay. The
// code of an offer that had failed, and that the ledger has as open, can be used again.
// Errors: ErrState if the table doesn't allow the state.
func (tx *Tx) SaveTradeMirror(t Trade) error {
	stored, err := many[Trade](tx.locked().Where("id = ?", t.ID))
	if err != nil {
		return named("trade", t.ID, err)
	}
	if len(stored) == 0 {
		return tx.AddTrade(t)
	}
	old := stored[0]
	if old.State != t.State && !TradeMoves.Can(old.State, t.State) {
		return fmt.Errorf("trade %s: %w: %s to %s", t.ID, ErrState, old.State, t.State)
	}
	t.LiveCode, t.PendingAct = old.LiveCode, old.PendingAct
	if old.State == TradeFailed {
		t.LiveCode = old.CodeIndex
	}
	t = t.settled()
	return swapped("trade", t.ID, tx.db.Model(&t).Where("state = ?", old.State).Select(mirroredTrade).Updates(&t))
}

// Side is a participant's part in a trade.
type Side string

// The sides.
const (
	Seller   Side = "seller"
	Receiver Side = "receiver"
)

// TradeFilter says which trades ListTrades lists; zero fields don't restrict.
type TradeFilter struct {
	Participant string
	Side        Side // of Participant; "" either
	States      []TradeState
	Mode        string
	Lot         string   // hash
	From        Millis   // of creation
	To          Millis   // exclusive
	Q           string   // the beginning of a trade ID or lot hash; or a whole participant, batch or transaction ID
	IDs         []string // one of these; an empty list that isn't nil is no trade at all
	// End is the end of a card's number: trades that have a card with it, and some under whose rule the last character is a
	// check digit and may be another. Whoever wants to know looks at the cards.
	End string
}

func (f TradeFilter) on(query *gorm.DB) *gorm.DB {
	switch {
	case f.Participant == "":
	case f.Side == Seller:
		query = query.Where("seller = ?", f.Participant)
	case f.Side == Receiver:
		query = query.Where("receiver = ?", f.Participant)
	default:
		query = query.Where("(seller = ? OR receiver = ?)", f.Participant, f.Participant)
	}
	if len(f.States) > 0 {
		query = query.Where("state IN ?", f.States)
	}
	if f.Mode != "" {
		query = query.Where("mode = ?", f.Mode)
	}
	if f.Lot != "" {
		query = query.Where("lot_hash = ?", f.Lot)
	}
	if f.From > 0 {
		query = query.Where("created_at >= ?", f.From)
	}
	if f.To > 0 {
		query = query.Where("created_at < ?", f.To)
	}
	if f.IDs != nil {
		query = query.Where("id IN ?", f.IDs)
	}
	if f.End != "" {
		ending, args := endingIn(f.End)
		query = query.Where("EXISTS (SELECT 1 FROM segments AS s WHERE s.lot_hash = trades.lot_hash AND ("+ending+"))", args...)
	}
	if q := strings.TrimSpace(f.Q); q != "" {
		// Ranges instead of LIKE: they use the index, and % is no wildcard.
		query = query.Where("((id >= ? AND id < ?) OR (lot_hash >= ? AND lot_hash < ?) OR seller = ? OR receiver = ? OR batch = ? OR offer_tx = ? OR end_tx = ?)",
			q, q+"~", q, q+"~", q, q, q, q, q)
	}
	return query
}

// ListTrades lists trades, newest first.
func (tx *Tx) ListTrades(f TradeFilter, cursor string, limit int) (Page[Trade], error) {
	return newestFirst(f.on(tx.db), "id", cursor, limit, func(t Trade) newest { return newest{int64(t.CreatedAt), t.ID} })
}

// TradesAmong answers the IDs of the trades of these lots that a participant is a side of.
func (tx *Tx) TradesAmong(lots []string, participant string) ([]string, error) {
	ids := []string{}
	for some := range slices.Chunk(slices.Clone(lots), chunk) {
		var found []string
		if err := tx.db.Model(&Trade{}).Where("lot_hash IN ? AND (seller = ? OR receiver = ?)", some, participant, participant).Pluck("id", &found).Error; err != nil {
			return nil, named("trades of lots", "", err)
		}
		ids = append(ids, found...)
	}
	return ids, nil
}

// ExpiredTrades lists offered trades whose time is over, longest over first.
func (tx *Tx) ExpiredTrades(now Millis, limit int) ([]Trade, error) {
	return many[Trade](tx.db.Where("state = ? AND expires_at < ? AND release_after <= ?", TradeOffered, now, now).Order("expires_at, id").Limit(limit))
}

// KnownTrades answers which of these trades there are.
func (tx *Tx) KnownTrades(ids []string) (map[string]bool, error) {
	return known(tx.db.Model(&Trade{}), "id", ids)
}

// AllTrades walks all trades by ID: for a check of the database against the ledger. after is the last ID seen, empty
// at the start; fewer than limit trades is the end.
func (tx *Tx) AllTrades(after string, limit int) ([]Trade, error) {
	return many[Trade](tx.db.Where("id > ?", after).Order("id").Limit(limit))
}

// LiveCodes answers which of these keyed hashes lead to a trade at present.
func (tx *Tx) LiveCodes(indexes []string) (map[string]bool, error) {
	taken := map[string]bool{}
	for some := range slices.Chunk(slices.Clone(indexes), chunk) {
		var found []string
		if err := tx.db.Model(&Trade{}).Where("live_code IN ?", some).Pluck("live_code", &found).Error; err != nil {
			return nil, err
		}
		for _, index := range found {
			taken[index] = true
		}
	}
	return taken, nil
}
