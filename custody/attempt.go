package custody

import (
	"context"
	"errors"
	"fmt"

	"cardflow/model"
)

// Attempt is the newest attempt at an act.
type Attempt struct {
	Number    int
	KeyID     string
	RequestID string
	NotAfter  int64 // ms
	Signed    bool
	Closed    model.AttemptEnd
}

// LastAttempt finds the newest attempt at an act. Errors: ErrAttemptUnknown if there is none.
func (c *Custody) LastAttempt(ctx context.Context, owner, function, subject string) (a Attempt, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		line, err := tx.LastSignature(owner, function, subject)
		if errors.Is(err, model.ErrNotFound) {
			return fmt.Errorf("last attempt: %w", ErrAttemptUnknown)
		}
		a = Attempt{line.Attempt, line.KeyID, line.RequestID, int64(line.NotAfter), line.Signature != nil, line.Closed}
		return err
	})
	return a, err
}

// CloseAttempt takes the relay's word that an attempt can't take effect any more: it never left the platform
// (model.NeverBroadcast), or stands in a block as invalid (model.DefinitelyInvalid). From then on its signature isn't
// answered again, and the next attempt may be made. Of an attempt whose fate is unknown neither may be said: its
// signed request could still reach the ledger, beside the next one's. Closing twice is harmless; the first reason
// stays. Errors: ErrAttemptUnknown, ErrAsk for another reason.
func (c *Custody) CloseAttempt(ctx context.Context, owner, function, subject string, attempt int, why model.AttemptEnd, actor string) error {
	if (why != model.NeverBroadcast && why != model.DefinitelyInvalid) || !printable.MatchString(actor) {
		return fmt.Errorf("close attempt %d: %w", attempt, ErrAsk)
	}
	err := c.write(ctx, func(tx *model.Tx) error {
		line, err := tx.Signature(owner, function, subject, attempt)
		if errors.Is(err, model.ErrNotFound) {
			return ErrAttemptUnknown
		}
		if err != nil || line.Closed != model.AttemptOpen {
			return err
		}
		err = tx.CloseSignature(line.ID, why, c.now())
		if errors.Is(err, model.ErrState) {
			return nil // someone else has just closed it
		}
		if err != nil {
			return err
		}
		return c.record(ctx, tx, entry{actor, actClose, subject, map[string]any{
			"owner": owner, "function": function, "attempt": attempt, "why": why, "digest": line.Digest,
		}})
	})
	if err != nil {
		return fmt.Errorf("close attempt %d of %s: %w", attempt, function, err)
	}
	return nil
}
