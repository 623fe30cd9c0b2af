package custody

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cardflow/model"
)

// sink is whether the audit can be written, as far as the last transactions of this server know. While it can't, nothing
// is signed: what would be signed has to be written down first. That is so by itself; here it is noticed, told once, and
// told again when it is over.
type sink struct {
	mu     sync.Mutex
	since  time.Time // of the first failure; zero while all is well
	cause  error
	lost   int64     // transactions that failed
	probed time.Time // when it was last tried again
}

// probeEvery is how often an audit that couldn't be written is tried again, at most, however often it is asked about.
const probeEvery = time.Second

// sank reports whether a transaction failed for the database's sake, and not for what it was to do.
func sank(err error) bool {
	var e *Error
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &e):
		return errors.Is(err, ErrAuditUnwritable)
	}
	return model.Broken(err)
}

// note takes in how a transaction ended, and answers it as what it means.
func (c *Custody) note(ctx context.Context, err error) error {
	if !sank(err) {
		if err == nil && c.sink.failing() != nil {
			_ = c.probe(ctx) // what was written need not have been a row of the audit
		}
		return err
	}
	c.sink.mu.Lock()
	first := c.sink.since.IsZero()
	if first {
		c.sink.since = c.clock()
	}
	c.sink.cause = err
	c.sink.lost++
	c.sink.mu.Unlock()
	if first {
		c.writable(false)
		c.alarm(ErrAuditUnwritable, "error", err)
	}
	if errors.Is(err, ErrAuditUnwritable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAuditUnwritable, err)
}

// failing is why the audit can't be written, nil if it can.
func (s *sink) failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return nil
	}
	if errors.Is(s.cause, ErrAuditUnwritable) {
		return s.cause
	}
	return fmt.Errorf("%w: %w", ErrAuditUnwritable, s.cause)
}

// probe tries whether an audit that couldn't be written can be by now, with a row that says since when it could not: who
// reads the audit learns of the gap in what was done. It answers nil once it can.
func (c *Custody) probe(ctx context.Context) error {
	c.sink.mu.Lock()
	since, lost := c.sink.since, c.sink.lost
	due := c.clock().Sub(c.sink.probed) >= probeEvery
	if due {
		c.sink.probed = c.clock()
	}
	c.sink.mu.Unlock()
	if since.IsZero() || !due {
		return c.sink.failing()
	}
	err := c.db.WriteTogether(ctx, func(tx *model.Tx) error {
		return c.record(ctx, tx, entry{"custody", actResume, c.channel, map[string]any{"since": since.UnixMilli(), "lost": lost}})
	})
	if err != nil {
		return c.sink.failing()
	}
	c.sink.mu.Lock()
	c.sink.since, c.sink.cause, c.sink.lost = time.Time{}, nil, 0
	c.sink.mu.Unlock()
	c.writable(true)
	c.logger.Warn("the audit can be written again", "since", since, "lost", lost)
	return nil
}

func (c *Custody) writable(can bool) {
	if c.metrics.Writable != nil {
		c.metrics.Writable(can)
	}
}
