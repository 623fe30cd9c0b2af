package custody

import (
	"context"
	"time"

	"cardflow/model"
)

// pace leaves room for those who sign while a long piece of work goes through many keys, batch by batch. Each batch holds the
// audit's head, where all who sign queue, on all servers. If nobody else has appended to the audit since the batch before, the
// next one comes at once; else there is a rest, in which the others have the head for themselves.
type pace struct {
	last  int64 // the newest row of the audit when our last batch had ended
	since time.Time
	held  time.Duration // by the batch
	busy  bool          // others appended before it
}

// paceRest is how long a rest is, in times of what the batch held the head: one part in seven is ours.
const paceRest = 6

// begin is called in a batch's transaction when it has the head. A transaction may run again. Of the first batch nobody knows
// whether others were there.
func (p *pace) begin(tx *model.Tx) error {
	h, err := tx.LockAuditHead()
	p.since, p.busy = time.Now(), p.last != 0 && h.Seq != p.last
	return err
}

// end is called at the end of the transaction.
func (p *pace) end(tx *model.Tx) error {
	h, err := tx.LockAuditHead()
	p.last, p.held = h.Seq, time.Since(p.since)
	return err
}

// rest rests after a batch, if others are there: as long as the batch has earned them, and not less than a time.
func (p *pace) rest(ctx context.Context, least time.Duration) error {
	if p.busy {
		timer := time.NewTimer(max(paceRest*p.held, least))
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return ctx.Err()
}
