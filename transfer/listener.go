package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardflow/ledger"
	"cardflow/model"
)

// checkpoint is the name of the listener's place on the ledger.
const checkpoint = "ledger"

// FollowedLedger is the name of that checkpoint.
const FollowedLedger = checkpoint

// listen follows the ledger and settles every block, in the same database transaction that moves the checkpoint. After
// a crash it goes on with the block after the checkpoint; after a restore of the database to an older copy it replays
// what that copy has not seen. When it has not come on for the time of a lease it ends: perhaps another server can.
func (s *Service) listen(ctx context.Context) {
	for last := time.Now(); ctx.Err() == nil; {
		came, err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if came {
			last = time.Now()
		}
		s.trouble.Store(&err)
		s.Metrics.Alarm("listener")
		s.Logger.Error("listener: will start again", "error", err)
		if time.Since(last) > s.Relay.Lease {
			return
		}
		pause(ctx, time.Second)
	}
}

// follow settles block after block until something goes wrong. came says whether it could follow at all.
func (s *Service) follow(ctx context.Context) (came bool, err error) {
	next, err := s.nextBlock(ctx)
	if err != nil {
		return false, err
	}
	height, err := s.Ledger.Height(ctx)
	if err == nil && next >= height {
		s.trouble.Store(nil) // it has caught up, and no block need come to show it
		came = true
	}
	for b, err := range s.Ledger.Blocks(ctx, next) {
		if err != nil {
			return came, err
		}
		if b.Number != next {
			return came, fmt.Errorf("block %d came where %d was due", b.Number, next)
		}
		s.at(AtBlock)
		if err := s.applyBlock(ctx, b); err != nil {
			if errors.Is(err, model.ErrState) || errors.Is(err, model.ErrConflict) {
				err = fmt.Errorf("another server was faster, or the ledger is another one: %w", err)
			}
			return came, fmt.Errorf("block %d: %w", b.Number, err)
		}
		s.trouble.Store(nil)
		came = true
		if next++; next < height {
			s.at(AtCatchingUp)
		}
	}
	return came, errors.New("the ledger ended the sequence of blocks")
}

// errAnotherLedger: the blocks that the database has followed are not this ledger's, or not all of them.
var errAnotherLedger = errors.New("this is another ledger, or an older copy of it")

// nextBlock is the block after the checkpoint. It makes sure that the ledger is the one the checkpoint was made on.
func (s *Service) nextBlock(ctx context.Context) (uint64, error) {
	var c model.Checkpoint
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		c, err = tx.Checkpoint(checkpoint)
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	b, err := s.Ledger.Block(ctx, uint64(c.Value))
	if errors.Is(err, ledger.ErrNotFound) {
		return 0, fmt.Errorf("the ledger does not have block %d, to which this database has followed it: %w", c.Value, errAnotherLedger)
	}
	if err != nil {
		return 0, fmt.Errorf("block %d, to which this database has followed the ledger: %w", c.Value, err)
	}
	if b.Hash != c.Hash {
		return 0, fmt.Errorf("block %d is not the one that this database has followed: %w", c.Value, errAnotherLedger)
	}
	return uint64(c.Value) + 1, nil
}

func (s *Service) applyBlock(ctx context.Context, b ledger.Block) error {
	if err := s.adopt(ctx, b); err != nil {
		return err
	}
	for _, t := range b.Transactions {
		if err := s.followKeys(ctx, t); err != nil {
			return err
		}
	}
	return s.settling(ctx, func(tx *model.Tx, m *moves) error {
		c, err := tx.LockCheckpoint(checkpoint) // one server's listener applies a block, the others' wait for it here
		switch {
		case errors.Is(err, model.ErrNotFound):
		case err != nil:
			return err
		case c.Value >= int64(b.Number):
			// Another server has applied it. Who watches here learns it from this one all the same.
			for _, t := range b.Transactions {
				if a, err := tx.ActByTx(t.ID); err == nil {
					m.names = append(m.names, a.ID)
				}
			}
			return nil
		case c.Value+1 < int64(b.Number):
			return fmt.Errorf("the database has fallen back to block %d", c.Value) // and is followed up from there
		}
		for _, t := range b.Transactions {
			if err := s.settle(tx, t, m); err != nil {
				return err
			}
		}
		s.at(AtSettling)
		return tx.SetCheckpoint(checkpoint, int64(b.Number), b.Hash)
	})
}

// Start recovers, then runs the relay, imports and jobs, and, as far as no other server does, the listener and the
// sweeper, until ctx ends. Everything that was unfinished is taken up again; what this server itself left when it ended,
// at once. Wait returns when all of it has stopped.
func (s *Service) Start(ctx context.Context) error {
	if err := s.recoverJournal(ctx); err != nil {
		return err
	}
	err := s.DB.Write(ctx, func(tx *model.Tx) error {
		_, err := tx.GiveUpWork(s.Server + "/")
		return err
	})
	if err != nil {
		return err
	}
	for _, run := range []func(context.Context){
		s.live, s.relay, s.runImports, s.runJobs,
		func(ctx context.Context) { s.onDuty(ctx, dutyListen, s.listen) },
		func(ctx context.Context) { s.onDuty(ctx, dutySweep, s.sweep) },
	} {
		s.wg.Go(func() { run(ctx) })
	}
	if s.Audit != nil && s.Anchor.Interval > 0 {
		s.wg.Go(func() { s.onDuty(ctx, dutyAnchor, s.anchor) })
	}
	if s.Messenger != nil {
		s.wg.Go(func() { s.message(ctx) })
	}
	if s.Crier != nil {
		s.wg.Go(func() { s.hear(ctx) })
	}
	return nil
}

// Wait returns when everything that Start began has stopped.
func (s *Service) Wait() { s.wg.Wait() }

// Following reports why the listener can't follow the ledger, nil if it can.
func (s *Service) Following() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// CatchUp waits until the listener has settled every block that the ledger has now, or can't.
func (s *Service) CatchUp(ctx context.Context) error {
	height, err := s.Ledger.Height(ctx)
	if err != nil {
		return err
	}
	for {
		next, err := s.nextBlock(ctx)
		if err != nil || next >= height {
			return err
		}
		if err := s.Following(); err != nil {
			return fmt.Errorf("the listener can't follow the ledger: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
