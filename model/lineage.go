package model

import (
	"cmp"
	"slices"

	"gorm.io/gorm/clause"
)

// AddParents notes which lots a lot is made of, where that was not known when it was added: the inputs of an offer are
// chosen when its turn comes. Noting an edge again changes nothing.
func (tx *Tx) AddParents(child string, parents []string) error {
	edges := make([]LotParent, len(parents))
	for i, parent := range parents {
		edges[i] = LotParent{Child: child, Parent: parent}
	}
	if len(edges) == 0 {
		return nil
	}
	return named("parents of lot", child, tx.db.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(edges, chunk).Error)
}

// SetReasonText stores, sealed, what a person wrote as the reason of a return. Errors: ErrNotFound.
func (tx *Tx) SetReasonText(trade string, sealed []byte) error {
	return missing("trade", trade, tx.db.Model(&Trade{}).Where("id = ?", trade).Update("reason_text_sealed", sealed))
}

// ConfirmedTrades lists the trades of these lots that were confirmed, in the order of the blocks that say so.
func (tx *Tx) ConfirmedTrades(lots []string) ([]Trade, error) {
	var out []Trade
	for some := range slices.Chunk(slices.Clone(lots), chunk) {
		found, err := many[Trade](tx.db.Where("lot_hash IN ? AND state = ?", some, TradeConfirmed))
		if err != nil {
			return nil, named("trades of lots", "", err)
		}
		out = append(out, found...)
	}
	slices.SortFunc(out, func(a, b Trade) int { return cmp.Or(cmp.Compare(a.EndBlock, b.EndBlock), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}
