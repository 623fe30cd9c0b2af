package model

import (
	"gorm.io/gorm/clause"

	"cardflow/iccid"
)

// CardDetail is what a carrier's file says of one card beside its number.
type CardDetail struct {
	Head         string     `gorm:"primaryKey"`
	Width        uint8      `gorm:"primaryKey;autoIncrement:false"`
	Tail         uint32     `gorm:"primaryKey;autoIncrement:false"`
	Rule         iccid.Rule `gorm:"primaryKey"`
	ImportID     string     `gorm:"serializer:null"` // empty: entered by hand
	OwnerCarrier string     // participant
	IMSISealed   []byte     `gorm:"column:imsi_sealed"`
	MSISDNSealed []byte     `gorm:"column:msisdn_sealed"`
	CreatedAt    Millis     `gorm:"autoCreateTime:milli"`
}

// Card is the card's number.
func (c CardDetail) Card() iccid.Card { return iccid.Card{Head: c.Head, Width: c.Width, Tail: c.Tail} }

// AddCards stores details, 500 to a statement. Errors: ErrConflict if a card has them already.
func (tx *Tx) AddCards(cards []CardDetail) error {
	if len(cards) == 0 {
		return nil
	}
	return named("cards of import", cards[0].ImportID, tx.db.CreateInBatches(cards, chunk).Error)
}

// PutCards stores details in place of what was there, such as that of an issue that the ledger refused. Only for cards
// that are known not to be issued.
func (tx *Tx) PutCards(cards []CardDetail) error {
	if len(cards) == 0 {
		return nil
	}
	return named("cards", "", tx.db.Clauses(clause.OnConflict{UpdateAll: true}).CreateInBatches(cards, chunk).Error)
}

// CardDetail fetches the details of one card. Errors: ErrNotFound.
func (tx *Tx) CardDetail(rule iccid.Rule, c iccid.Card) (CardDetail, error) {
	d, err := one[CardDetail](tx.db.Where("head = ? AND width = ? AND tail = ? AND rule = ?", c.Head, c.Width, c.Tail, rule))
	return d, named("card", "", err)
}

// CardsWithin lists the details of cards of a run, by number, at most limit: go on with a run that begins after the
// last one.
func (tx *Tx) CardsWithin(rule iccid.Rule, run iccid.Segment, limit int) ([]CardDetail, error) {
	return many[CardDetail](tx.db.Where("head = ? AND width = ? AND tail BETWEEN ? AND ? AND rule = ?", run.Head, run.Width, run.Lo, run.Hi, rule).
		Order("tail").Limit(limit))
}

// DropCards deletes the details that an import brought, at most limit at once, and answers how many: call it until
// none is left. Only for an import that failed.
func (tx *Tx) DropCards(importID string, limit int) (int, error) {
	cards, err := many[CardDetail](tx.db.Select("head", "width", "tail", "rule").Where("import_id = ?", importID).
		Order("head, width, tail, rule").Limit(limit))
	if err != nil {
		return 0, named("cards of import", importID, err)
	}
	// One statement for all that share a head. A tail under two rules may make it one more than limit.
	dropped := 0
	for i := 0; i < len(cards); {
		first, last := cards[i], i
		for last+1 < len(cards) && cards[last+1].Head == first.Head && cards[last+1].Width == first.Width {
			last++
		}
		result := tx.db.Where("import_id = ? AND head = ? AND width = ? AND tail BETWEEN ? AND ?", importID, first.Head, first.Width, first.Tail, cards[last].Tail).
			Delete(&CardDetail{})
		if result.Error != nil {
			return dropped, named("cards of import", importID, result.Error)
		}
		dropped += int(result.RowsAffected)
		i = last + 1
	}
	return dropped, nil
}
