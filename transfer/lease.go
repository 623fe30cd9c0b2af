package transfer

import (
	"context"
	"errors"
	"sync"
	"time"

	"cardflow/model"
)

// errLeaseLost: this server was too slow, and another one has taken the work over.
var errLeaseLost = errors.New("the lease is another's by now")

// keepEvery is how often work that goes on stores how far it is, and with that prolongs its lease.
const keepEvery = 200 * time.Millisecond

// troubled is how long work rests after something went wrong that may be right next time.
const troubled = 5 * time.Second

// work does one piece of work after another until ctx ends: next takes one and answers whether there was any. Who adds
// some tells the hub its kind; what another server added is seen by looking.
func (s *Service) work(ctx context.Context, kind string, next func(context.Context) (bool, error)) {
	for ctx.Err() == nil {
		told, stop := s.hub.listen(kind)
		did, err := next(ctx)
		if err != nil && ctx.Err() == nil {
			s.Logger.Error("work", "kind", kind, "error", err)
		}
		if !did {
			select {
			case <-told:
			case <-time.After(lookAgain):
			case <-ctx.Done():
			}
		}
		stop()
	}
}

// held is a record whose lease this server has: an import, or a job.
type held[R any] struct {
	*Service
	mu    sync.Mutex // during a save too, so that an older state never follows a newer one
	row   R          // as it is stored, but for progress that the next save brings
	until func(*R) *model.Millis
	put   func(*model.Tx, R) error // model.ErrState if the lease is another's by now
}

// leaseEnd is until when something leased now is this server's.
func (s *Service) leaseEnd() model.Millis {
	return s.now() + model.Millis(s.Relay.leased().Milliseconds())
}

// note changes what the next save stores.
func (h *held[R]) note(change func(*R)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.row)
}

// save stores how far the work is and prolongs its lease. more, if not nil, belongs to the same transaction: it happens
// only if the lease is still this server's. Errors: model.ErrState if it is not.
func (h *held[R]) save(ctx context.Context, more func(*model.Tx) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.DB.Write(ctx, func(tx *model.Tx) error {
		if err := h.prolong(tx); err != nil || more == nil {
			return err
		}
		if err := more(tx); err != nil {
			return err
		}
		return h.prolong(tx) // more may have taken its time, and whoever waits for the database comes next
	})
}

func (h *held[R]) prolong(tx *model.Tx) error {
	*h.until(&h.row) = h.leaseEnd()
	return h.put(tx, h.row)
}

// move stores how far the work is and takes the record to another state.
func (h *held[R]) move(ctx context.Context, to func(*model.Tx) (R, error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var moved R
	err := h.DB.Write(ctx, func(tx *model.Tx) (err error) {
		if err := h.prolong(tx); err != nil {
			return err
		}
		moved, err = to(tx)
		return err
	})
	if err == nil {
		h.row = moved
	}
	return err
}

// carry works on the record while its lease is kept. What was cut short by the end of ctx is anybody's at once; what met
// trouble rests a while.
func (h *held[R]) carry(ctx context.Context, run func(context.Context) error) error {
	kept, stop := h.keep(ctx, func(ctx context.Context) error { return h.save(ctx, nil) })
	err := run(kept)
	lost := errors.Is(context.Cause(kept), errLeaseLost)
	stop()
	if err == nil || lost || errors.Is(err, model.ErrState) {
		return nil // ended here, or goes on elsewhere
	}
	rest := h.now() + model.Millis(troubled.Milliseconds())
	if ctx.Err() != nil {
		rest, err = 0, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.until(&h.row) = rest
	back := h.DB.Write(context.WithoutCancel(ctx), func(tx *model.Tx) error { return h.put(tx, h.row) })
	if !errors.Is(back, model.ErrState) {
		err = errors.Join(err, back)
	}
	return err
}

// keep calls save again and again while work goes on, until its stop is called. The context it answers ends with
// errLeaseLost when save meets model.ErrState: the work is another's, and nothing more of it may be written. Any other
// trouble of save is left to the next time, as the lease has time to spare.
func (s *Service) keep(ctx context.Context, save func(context.Context) error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(keepEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := save(ctx); errors.Is(err, model.ErrState) {
				cancel(errLeaseLost)
			}
		}
	})
	return ctx, func() {
		close(done)
		wg.Wait()
		cancel(nil)
	}
}

// await looks at something until it has ended, an error comes or ctx ends: whenever the hub tells, and now and then.
func await[V any](ctx context.Context, h *hub, id string, look func(context.Context) (V, bool, error)) (V, error) {
	for {
		told, stop := h.listen(id)
		v, ended, err := look(context.WithoutCancel(ctx))
		if err != nil || ended || ctx.Err() != nil {
			stop()
			return v, err
		}
		select {
		case <-told:
		case <-time.After(lookAgain):
		case <-ctx.Done():
		}
		stop()
	}
}
