package transfer

import (
	"context"
	"errors"
	"time"

	"cardflow/model"
)

// Backlog is what the relay has before it.
type Backlog struct {
	Acts   int64         // under way
	Oldest time.Duration // since the oldest of them was accepted; 0 if there is none
}

// Backlog answers what the relay has before it, of all servers.
func (s *Service) Backlog(ctx context.Context) (b Backlog, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		n, oldest, err := tx.UnfinishedActs()
		b = Backlog{Acts: n}
		if n > 0 {
			b.Oldest = max(0, s.Clock().Sub(oldest.Time()))
		}
		return err
	})
	return b, err
}

// Followed is how far the database has followed the ledger: how many blocks there are, and how many it knows.
func (s *Service) Followed(ctx context.Context) (blocks, known uint64, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		c, err := tx.Checkpoint(checkpoint)
		if errors.Is(err, model.ErrNotFound) {
			return nil
		}
		known = uint64(c.Value) + 1
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	blocks, err = s.Ledger.Height(ctx)
	return blocks, known, err
}
