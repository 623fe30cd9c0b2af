package transfer

import (
	"context"
	"errors"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// sweep releases trades whose time is over: their cards go back to the seller. The platform's release key signs; the
// ledger checks the time. It ends when custody, as this server reaches it, keeps it from something.
func (s *Service) sweep(ctx context.Context) {
	interval := s.Trade.SweepInterval
	if interval <= 0 {
		interval = 5 * time.Second
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := s.SweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("sweep", "error", err)
		}
		if err := s.SweepKeys(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("sweep keys", "error", err)
		}
		if err := s.SweepGateway(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("sweep gateway keys", "error", err)
		}
		if err := s.SweepRecoveries(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("sweep recoveries", "error", err)
			if errors.Is(err, ErrSealed) || errors.Is(err, ErrCustodyAway) {
				return // a server whose custody is open is to go on with them
			}
		}
		if err := s.SweepRealNames(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("sweep real names", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// releasePause is how long a trade rests whose release has failed: its cause is likely one that a person has to mend.
const releasePause = 10 * time.Minute

// sweepBatch bounds the trades released in one database transaction.
const sweepBatch = 200

// SweepOnce accepts a release for every trade that has expired.
func (s *Service) SweepOnce(ctx context.Context) error {
	for ctx.Err() == nil {
		n := 0
		err := s.DB.Write(ctx, func(tx *model.Tx) error {
			list, err := tx.ExpiredTrades(s.now(), sweepBatch)
			if err != nil {
				return err
			}
			n = len(list)
			for _, t := range list {
				d := s.releaseDraft(t.ID)
				if _, err := tx.MoveTrade(t.ID, model.TradeOffered, model.TradeReleasing, func(r *model.Trade) { r.PendingAct = d.ID }); err != nil {
					if errors.Is(err, model.ErrState) {
						continue // somebody ends it at this very moment
					}
					return err
				}
				if _, err := s.accept(tx, d); err != nil {
					return err
				}
			}
			if n > 0 {
				s.at(AtReleasing)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n > 0 {
			s.kick()
		}
		if n < sweepBatch {
			return nil
		}
	}
	return ctx.Err()
}

func (s *Service) releaseDraft(trade string) draft {
	return draft{
		ID: s.newID(), Body: request.Release{Trade: trade}, Subject: trade,
		Fields: fields{Parties: []party{{PlatformID, SlotRelease}}},
	}
}

// release asks for a release of a trade whose row is held by an act that was sent and may still land: the ledger then
// picks one of the two, and the other can't land any more.
func (s *Service) release(ctx context.Context, trade string) {
	err := s.DB.Write(ctx, func(tx *model.Tx) error {
		releases, err := tx.ListActs(model.ActFilter{Function: "Release", Subject: trade, From: s.now() - model.Millis(releasePause.Milliseconds())}, "", 1)
		if err != nil || len(releases.Items) > 0 {
			return err // one is under way, or has just failed
		}
		open, err := tx.UnfinishedActsOn(trade)
		if err != nil {
			return err
		}
		for _, a := range open {
			if a.Function == "Release" {
				return nil
			}
		}
		_, err = s.accept(tx, s.releaseDraft(trade))
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.Logger.Error("release", "trade", trade, "error", err)
	}
	s.kick()
}
