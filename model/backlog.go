package model

import "gorm.io/gorm"

// What waits, in numbers, for whoever watches. Each is asked of an index, and takes as long as there is much of it.

// UnfinishedActs counts the acts that are under way, and says when the oldest of them was made; 0 if there are none.
func (tx *Tx) UnfinishedActs() (n int64, oldest Millis, err error) {
	err = tx.db.Model(&Act{}).Where("state IN ?", unfinished).Select("COUNT(*), COALESCE(MIN(created_at), 0)").Row().Scan(&n, &oldest)
	return n, oldest, err
}

// CustodyKeysOlder counts the keys, also those that wait to take over, that are under an older key-encryption key.
func (tx *Tx) CustodyKeysOlder(version int) (int64, error) {
	return tx.counted(tx.db.Model(&CustodyKey{}).Where("kek_version < ?", version), tx.db.Model(&CustodySuccessor{}).Where("kek_version < ?", version))
}

// AuditWaitingRows counts what the audit gets when custody is opened.
func (tx *Tx) AuditWaitingRows() (int64, error) { return tx.counted(tx.db.Model(&AuditWaiting{})) }

// UndecidedProposals counts the proposals that wait for a second person.
func (tx *Tx) UndecidedProposals() (int64, error) {
	return tx.counted(tx.db.Model(&Proposal{}).Where("state = ?", ProposalProposed))
}

func (tx *Tx) counted(queries ...*gorm.DB) (sum int64, err error) {
	for _, q := range queries {
		var n int64
		if err := q.Count(&n).Error; err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
