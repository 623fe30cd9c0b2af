package custody

import (
	"bytes"
	"context"
	"fmt"

	"cardflow/gm"
	"cardflow/model"
)

// kept is a signature that was made and is to be stored.
type kept struct {
	ctx  context.Context
	line model.CustodySignature // whose it is
	made gm.Signature
	keeping
}

// keeping is what has come of it.
type keeping struct {
	bytes gm.Signature // the one that goes out
	err   error
}

func (k *kept) act() model.SignedAct {
	return model.SignedAct{Owner: k.line.Owner, Function: k.line.Purpose, Subject: k.line.Subject}
}

// keep is the second transaction: it stores the signature in the line, unless there is one. SM2 is randomised, so two
// workers make two signatures; the first stored is the one that goes out, from both. Those that come at the same moment are
// stored together. A crash before the commit throws the signature away before anyone has seen it; a crash after it leaves a
// line that Sign answers without signing.
func (c *Custody) keep(ctx context.Context, line model.CustodySignature, made gm.Signature) (gm.Signature, error) {
	k := &kept{ctx: ctx, line: line, made: made, keeping: keeping{err: errUnserved}}
	c.steps.Do(step{kept: k})
	return k.bytes, k.err
}

// store puts signatures into their lines, and answers what is to be said of each. A key that was stopped since the intent has
// signed for nothing.
func (c *Custody) store(tx *model.Tx, some []*kept) ([]keeping, error) {
	if len(some) == 0 {
		return nil, nil
	}
	ids, acts := make([]string, len(some)), make([]model.SignedAct, len(some))
	for n, k := range some {
		ids[n], acts[n] = k.line.KeyID, k.act()
	}
	states, err := tx.LockCustodyKeyStates(ids)
	if err != nil {
		return nil, err
	}
	lines, err := tx.SignaturesOf(acts)
	if err != nil {
		return nil, err
	}
	found := make([]keeping, len(some))
	var first []model.MadeSignature
	stored := map[int64]gm.Signature{}
	for n, k := range some {
		switch state := states[k.line.KeyID]; state {
		case model.CustodyActive:
		case model.CustodyRotated:
			found[n].err = fmt.Errorf("custodial key %s: %w", k.line.KeyID, ErrKeyReplaced)
			continue
		default:
			found[n].err = fmt.Errorf("custodial key %s is %s: %w", k.line.KeyID, state, ErrKeyNotActive)
			continue
		}
		var line model.CustodySignature
		for _, l := range lines[k.act()] {
			if l.Attempt == k.line.Attempt {
				line = l
			}
		}
		switch {
		case line.ID == 0:
			return nil, fmt.Errorf("line of attempt %d: %w", k.line.Attempt, model.ErrNotFound)
		case line.Closed != model.AttemptOpen:
			found[n].err = fmt.Errorf("%s, attempt %d, %s: %w", line.Purpose, line.Attempt, line.Closed, ErrAttemptClosed)
		case line.Signature != nil:
			found[n].bytes = line.Signature
		case stored[line.ID] != nil:
			found[n].bytes = stored[line.ID]
		default:
			found[n].bytes, stored[line.ID] = k.made, k.made
			first = append(first, model.MadeSignature{Line: line.ID, Bytes: k.made})
		}
	}
	return found, tx.StoreSignatures(first, c.now())
}

// own reports whether the signature that is stored is the one that was made here, and was verified when it was made.
func own(made, stored gm.Signature) bool { return made != nil && bytes.Equal(made, stored) }
