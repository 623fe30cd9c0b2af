package custody

import (
	"context"

	"cardflow/model"
)

// Backlog is what custody has before it, in numbers, for whoever watches. No key is needed to know it: a sealed custody has it.
type Backlog struct {
	Signed    int64 // signatures of all keys today, or taken by servers to be made
	Quota     int64 // how many there may be
	Rewrap    int64 // keys under an older key-encryption key than the newest
	Waiting   int64 // rows that the audit gets when custody is opened
	Undecided int64 // proposals that wait for a second person
}

// Backlog answers what custody has before it, of all servers.
func (c *Custody) Backlog(ctx context.Context) (b Backlog, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		q, err := c.quotaShown(tx, everybodyQuota)
		if err != nil {
			return err
		}
		kek, err := newestKEK(tx)
		if err != nil {
			return err
		}
		b = Backlog{Signed: q.Used, Quota: q.Daily}
		if b.Rewrap, err = tx.CustodyKeysOlder(kek); err != nil {
			return err
		}
		if b.Waiting, err = tx.AuditWaitingRows(); err != nil {
			return err
		}
		b.Undecided, err = tx.UndecidedProposals()
		return err
	})
	return b, err
}
