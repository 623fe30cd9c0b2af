package model

import "gorm.io/gorm/clause"

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
