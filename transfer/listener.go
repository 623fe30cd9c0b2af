package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// checkpoint is the name of the listener's place on the ledger.
const checkpoint = "ledger"

// listen follows the ledger and settles every block, in the same database transaction that moves the checkpoint. After
// a crash it goes on with the block after the checkpoint; after a restore of the database to an older copy it replays
// what that copy has not seen.
func (s *Service) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		s.trouble.Store(&err)
		s.Metrics.Alarm("listener")
		s.Logger.Error("listener: will start again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (s *Service) follow(ctx context.Context) error {
	next, err := s.nextBlock(ctx)
	if err != nil {
		return err
	}
	if height, err := s.Ledger.Height(ctx); err == nil && next >= height {
		s.trouble.Store(nil) // it has caught up, and no block need come to show it
	}
	for b, err := range s.Ledger.Blocks(ctx, next) {
		if err != nil {
			return err
		}
		if b.Number != next {
			return fmt.Errorf("block %d came where %d was due", b.Number, next)
		}
		if err := s.applyBlock(ctx, b); err != nil {
			if errors.Is(err, model.ErrState) || errors.Is(err, model.ErrConflict) {
				return fmt.Errorf("block %d: another server was faster, or the ledger is another one: %w", b.Number, err)
			}
			return fmt.Errorf("block %d: %w", b.Number, err)
		}
		s.trouble.Store(nil)
		next++
	}
	return errors.New("the ledger ended the sequence of blocks")
}

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
	if err != nil {
		return 0, fmt.Errorf("the ledger does not have block %d, to which this database has followed it: %w", c.Value, err)
	}
	if b.Hash != c.Hash {
		return 0, fmt.Errorf("block %d is not the one that this database has followed: this is another ledger", c.Value)
	}
	return uint64(c.Value) + 1, nil
}

func (s *Service) applyBlock(ctx context.Context, b ledger.Block) error {
	var moved []string
	err := s.settling(ctx, func(tx *model.Tx) error {
		moved = moved[:0]
		c, err := tx.LockCheckpoint(checkpoint) // one server's listener applies a block, the others' wait for it here
		switch {
		case errors.Is(err, model.ErrNotFound):
		case err != nil:
			return err
		case c.Value >= int64(b.Number):
			// Another server has applied it. Who watches here learns it from this one all the same.
			for _, t := range b.Transactions {
				if a, err := tx.ActByTx(t.ID); err == nil {
					moved = append(moved, a.ID)
				}
			}
			return nil
		}
		for _, t := range b.Transactions {
			acts, err := s.settle(tx, t)
			if err != nil {
				return err
			}
			moved = append(moved, acts...)
		}
		return tx.SetCheckpoint(checkpoint, int64(b.Number), b.Hash)
	})
	s.hub.tell(moved...)
	return err
}

// recoverOpenings finds openings that the journal has and the database lacks: after a restore to an older copy. The
// listener needs them when it replays the blocks that made those lots and trades.
func (s *Service) recoverOpenings(ctx context.Context) error {
	err := s.Journal.Read(func(o request.Openings) error {
		return s.DB.Read(ctx, func(tx *model.Tx) error {
			for hash, opening := range o.Lots {
				if _, err := tx.Lot(hash); errors.Is(err, model.ErrNotFound) {
					s.lostLots[hash] = opening
				} else if err != nil {
					return err
				}
			}
			for trade, code := range o.Codes {
				if _, err := tx.Trade(trade); errors.Is(err, model.ErrNotFound) {
					s.lostCodes[trade] = code
				} else if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if len(s.lostLots) > 0 {
		s.Logger.Warn("the journal has openings that the database lacks", "lots", len(s.lostLots), "codes", len(s.lostCodes))
	}
	return err
}

// recoverLot makes the row of a lot that the ledger knows and this database does not.
func (s *Service) recoverLot(tx *model.Tx, l contract.Lot) (model.Lot, error) {
	row := model.Lot{Hash: l.Hash, Issuer: l.Issuer, Rule: iccid.Rule(l.Rule), Owner: l.Owner, Status: model.LotPending, RetailPolicy: string(l.RetailPolicy), SaltSealed: []byte{}}
	opening, ok := s.lostLots[l.Hash]
	if !ok {
		// Made without us, or lost together with the journal: known, but closed.
		s.Metrics.Alarm("lot_without_opening")
		s.Logger.Error("settle: a lot on the ledger has no opening here", "lot", l.Hash)
		return row, tx.AddLot(row, nil)
	}
	set, hash, err := opening.Set()
	if err == nil && hash != l.Hash {
		err = errors.New("it opens another lot")
	}
	if err != nil {
		return row, fmt.Errorf("journal: opening of lot %s: %w", l.Hash, err)
	}
	if row.SaltSealed, err = s.Vault.Seal("lot/"+l.Hash, opening.Salt); err != nil {
		return row, err
	}
	return row, tx.AddLot(row, set.Segments())
}

// recoverCode gives a trade that the ledger knows and this database had lost its code again, from the journal.
func (s *Service) recoverCode(t *model.Trade) error {
	code, ok := s.lostCodes[t.ID]
	if !ok {
		return nil
	}
	sealed, err := s.Vault.sealJSON("code/"+t.ID, code)
	if err != nil {
		return err
	}
	t.CodeSealed, t.CodeIndex = sealed, s.Vault.Index("code", code.Code)
	t.LiveCode = t.CodeIndex
	return nil
}

// Start recovers, then runs the relay, the listener, the sweeper, imports and jobs until ctx ends. Everything that was
// unfinished is taken up again. Wait returns when all of it has stopped.
func (s *Service) Start(ctx context.Context) error {
	if err := s.recoverOpenings(ctx); err != nil {
		return err
	}
	for _, run := range []func(context.Context){s.listen, s.relay, s.sweep, s.runImports, s.runJobs} {
		s.wg.Go(func() { run(ctx) })
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
