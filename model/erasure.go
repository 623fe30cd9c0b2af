package model

// Erasure is a consumer whose data were deleted because he wanted that. The row says so to sessions that are still
// about, and to journals that still know him: it names a pseudonym which nothing leads to any more.
type Erasure struct {
	Participant string `gorm:"primaryKey"`
	Session     string `gorm:"serializer:null"` // digest of the token by which he asked: who shows it hears the same answer again
	Cards       int64  // that he left behind on the ledger
	ErasedAt    Millis
}

// AddErasure notes that a consumer's data are gone. Errors: ErrConflict if that is noted.
func (tx *Tx) AddErasure(e Erasure) error {
	return named("erasure of", e.Participant, tx.db.Create(&e).Error)
}

// Erasure fetches the note about a consumer. Errors: ErrNotFound.
func (tx *Tx) Erasure(participant string) (Erasure, error) {
	e, err := one[Erasure](tx.db.Where("participant = ?", participant))
	return e, named("erasure of", participant, err)
}

// ErasureBy fetches the note about whoever asked with a session, by the digest of its token. Errors: ErrNotFound.
func (tx *Tx) ErasureBy(session string) (Erasure, error) {
	e, err := one[Erasure](tx.db.Where("session = ?", session))
	return e, named("erasure", "", err)
}

// Erasures walks all of them by participant. after is the last one seen, empty at the start.
func (tx *Tx) Erasures(after string, limit int) ([]Erasure, error) {
	return many[Erasure](tx.db.Where("participant > ?", after).Order("participant").Limit(limit))
}

// DropAccountOf deletes the WeChat login of a participant. One that isn't there is no error.
func (tx *Tx) DropAccountOf(participant string) error {
	return named("account of", participant, tx.db.Where("participant_id = ?", participant).Delete(&Account{}).Error)
}

// DropRealNamesOver deletes a consumer's registrations about which nobody has anything left to do.
func (tx *Tx) DropRealNamesOver(consumer string) error {
	return named("real names of", consumer, tx.db.Where("consumer = ? AND state IN ?", consumer, []RealNameState{RealNameRefused, RealNameWithdrawn}).
		Delete(&RealName{}).Error)
}

// DropReasonTexts deletes what was written in people's own words about the trades that a participant gave or got.
func (tx *Tx) DropReasonTexts(participant string) error {
	for _, side := range []string{"seller", "receiver"} {
		err := tx.db.Model(&Trade{}).Where(side+" = ? AND reason_text_sealed IS NOT NULL", participant).Update("reason_text_sealed", nil).Error
		if err != nil {
			return named("reasons of", participant, err)
		}
	}
	return nil
}

// ForgetWishes deletes what an actor asked for under keys of his.
func (tx *Tx) ForgetWishes(actor string) error {
	return named("wishes of", actor, tx.db.Where("actor = ?", actor).Delete(&Idempotency{}).Error)
}

// UnfinishedActsBy counts the acts of an actor that are under way.
func (tx *Tx) UnfinishedActsBy(actor string) (int64, error) {
	return tx.counted(tx.db.Model(&Act{}).Where("actor = ? AND state IN ?", actor, unfinished))
}

// OpenTradesOf counts the offers of a seller that the ledger has not ended.
func (tx *Tx) OpenTradesOf(seller string) (int64, error) {
	return tx.counted(tx.db.Model(&Trade{}).Where("seller = ? AND state IN ?", seller,
		[]TradeState{TradeOffering, TradeOffered, TradeConfirming, TradeDeclining, TradeCancelling, TradeReleasing}))
}

// CardsOf counts the cards that somebody holds, those in a trade included.
func (tx *Tx) CardsOf(owner string) (n int64, err error) {
	err = tx.db.Model(&Lot{}).Where("owner = ? AND status IN ?", owner, []LotStatus{LotOwned, LotInTrade}).
		Select("COALESCE(SUM(card_count), 0)").Row().Scan(&n)
	return n, translate(err)
}

// EndCustodySessionsOwnedBy forgets all logins of a participant.
func (tx *Tx) EndCustodySessionsOwnedBy(participant string) error {
	return named("sessions of", participant, tx.db.Where("participant = ?", participant).Delete(&CustodySession{}).Error)
}

// ForgetAuthorisationsOf deletes what a participant has had authorised.
func (tx *Tx) ForgetAuthorisationsOf(owner string) error {
	return named("authorisations of", owner, tx.db.Where("owner = ?", owner).Delete(&CustodyAuthorisation{}).Error)
}

// ForgetErasureSessions deletes by which sessions was asked before a time.
func (tx *Tx) ForgetErasureSessions(before Millis) error {
	return named("erasures", "", tx.db.Model(&Erasure{}).Where("session IS NOT NULL AND erased_at < ?", before).Update("session", nil).Error)
}
