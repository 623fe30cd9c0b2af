package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"cardflow/gm"
	"cardflow/model"
)

// kept is a signature that was made and is to be stored.
type kept struct {
	ctx   context.Context
	line  model.CustodySignature // whose it is
	made  gm.Signature
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
	k := &kept{ctx: ctx, line: line, made: made, err: errUnserved}
	c.made.Do(k)
	return k.bytes, k.err
}

func (c *Custody) keepAll(some []*kept) {
	err := c.write(context.WithoutCancel(some[0].ctx), func(tx *model.Tx) error { return c.store(tx, some) })
	if _, said := codeOf(err); len(some) > 1 && err != nil && !said && !errors.Is(err, model.ErrUnknown) {
		for _, k := range some {
			c.keepAll([]*kept{k})
		}
		return
	}
	for _, k := range some {
		if err != nil { // then nothing of what was found holds
			k.bytes, k.err = nil, err
		}
	}
}

// store puts signatures into their lines. A key that was stopped since the intent has signed for nothing.
func (c *Custody) store(tx *model.Tx, some []*kept) error {
	ids, acts := make([]string, len(some)), make([]model.SignedAct, len(some))
	for n, k := range some {
		ids[n], acts[n] = k.line.KeyID, k.act()
	}
	states, err := tx.LockCustodyKeyStates(ids)
	if err != nil {
		return err
	}
	lines, err := tx.SignaturesOf(acts)
	if err != nil {
		return err
	}
	var first []model.MadeSignature
	stored := map[int64]gm.Signature{}
	for _, k := range some {
		k.bytes, k.err = nil, nil
		switch state := states[k.line.KeyID]; state {
		case model.CustodyActive:
		case model.CustodyRotated:
			k.err = fmt.Errorf("custodial key %s: %w", k.line.KeyID, ErrKeyReplaced)
			continue
		default:
			k.err = fmt.Errorf("custodial key %s is %s: %w", k.line.KeyID, state, ErrKeyNotActive)
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
			return fmt.Errorf("line of attempt %d: %w", k.line.Attempt, model.ErrNotFound)
		case line.Closed != model.AttemptOpen:
			k.err = fmt.Errorf("%s, attempt %d, %s: %w", line.Purpose, line.Attempt, line.Closed, ErrAttemptClosed)
		case line.Signature != nil:
			k.bytes = line.Signature
		case stored[line.ID] != nil:
			k.bytes = stored[line.ID]
		default:
			k.bytes, stored[line.ID] = k.made, k.made
			first = append(first, model.MadeSignature{Line: line.ID, Bytes: k.made})
		}
	}
	return tx.StoreSignatures(first, c.now())
}

// own reports whether the signature that is stored is the one that was made here, and was verified when it was made.
func own(made, stored gm.Signature) bool { return made != nil && bytes.Equal(made, stored) }
