package transfer

import (
	"context"
	"time"

	"cardflow/model"
)

// Some work is done once, however many servers there are: following the ledger, releasing what has expired. Whoever has
// the lease of such a duty does it; when its server dies, another takes the duty over as soon as the lease has ended. Two
// who do it at once for a moment, because a clock is off or a process stood still, get in each other's way and do no harm:
// rows move by compare-and-swap.

// The duties.
const (
	dutyListen = "listen"
	dutySweep  = "sweep"
)

// serverLease begins the name of the lease by which a server shows that it lives.
const serverLease = "server/"

// onDuty runs a duty while this server has its lease, until ctx ends.
func (s *Service) onDuty(ctx context.Context, name string, run func(context.Context)) {
	for ctx.Err() == nil {
		if s.takeLease(ctx, name) {
			s.Logger.Debug("duty taken", "duty", name)
			if s.whileLeased(ctx, name, run) && ctx.Err() == nil {
				// It can't be done here for now. Perhaps another server can: it gets the time to try.
				s.Logger.Warn("duty given up for a while", "duty", name)
				s.giveUpLease(ctx, name)
				pause(ctx, 2*lookAgain)
			}
			continue
		}
		if name == dutyListen {
			s.trouble.Store(nil) // what follows the ledger is elsewhere, and so is what keeps it from that
		}
		pause(ctx, min(s.Relay.Lease/4, lookAgain))
	}
	s.giveUpLease(ctx, name) // a server that is told to stop lets the next one begin at once
}

func (s *Service) giveUpLease(ctx context.Context, name string) {
	err := s.DB.Write(context.WithoutCancel(ctx), func(tx *model.Tx) error { return tx.GiveUpLease(name, s.Server) })
	if err != nil {
		s.Logger.Error("lease", "name", name, "error", err) // it ends by itself
	}
}

func (s *Service) takeLease(ctx context.Context, name string) (taken bool) {
	err := s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		taken, err = tx.TakeLease(name, s.Server, s.now(), s.leaseEnd())
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.Logger.Error("lease", "name", name, "error", err)
	}
	return taken && err == nil
}

// whileLeased runs a duty and prolongs its lease. It ends the duty when the lease was lost; a database that can't be
// reached for a while ends it only when the lease is over by this server's own clock. It answers whether the duty ended by
// itself, with the lease still here.
func (s *Service) whileLeased(ctx context.Context, name string, run func(context.Context)) (ended bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	s.wg.Go(func() {
		defer close(done)
		run(ctx)
	})
	last := time.Now()
	tick := time.NewTicker(s.Relay.leased() / 3)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return true
		case <-tick.C:
		}
		if s.takeLease(ctx, name) {
			last = time.Now()
		} else if time.Since(last) >= s.Relay.leased() || s.another(ctx, name) {
			cancel()
			<-done
			return false
		}
	}
}

// another reports whether somebody else has a lease now.
func (s *Service) another(ctx context.Context, name string) bool {
	other := false
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		leases, err := tx.Leases(name)
		for _, l := range leases {
			other = other || l.Name == name && l.Owner != s.Server
		}
		return err
	})
	return err == nil && other
}

// live shows that this server lives, until ctx ends.
func (s *Service) live(ctx context.Context) {
	for ctx.Err() == nil {
		s.takeLease(ctx, serverLease+s.Server)
		pause(ctx, s.Relay.leased()/3)
	}
}

// alone reports whether no other server has lived on this database for as long as an import waits for its own.
func (s *Service) alone(tx *model.Tx) (bool, error) {
	leases, err := tx.Leases(serverLease)
	for _, l := range leases {
		if l.Owner != s.Server && l.UntilAt > s.now()-model.Millis(importPatience.Milliseconds()) {
			return false, err
		}
	}
	return true, err
}

// pause waits, and no longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
