package fabric

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardflow/ledger"
)

// Submit endorses a transaction, sends it and waits until it is in a block. See ledger.Ledger.
func (l *Ledger) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	if err := errors.Join(ctx.Err(), l.open()); err != nil {
		return ledger.Commit{}, notSent(err)
	}
	if !l.genuine(p) {
		return ledger.Commit{}, notSent(errForged)
	}
	e, err := l.endorse(ctx, p, transient)
	if err != nil {
		return ledger.Commit{}, err
	}
	envelope, err := l.envelope(e)
	if err != nil {
		return ledger.Commit{}, notSent(err)
	}
	if sending != nil {
		if err := sending(); err != nil {
			return ledger.Commit{}, notSent(fmt.Errorf("before sending: %w", err))
		}
	}
	if err := errors.Join(ctx.Err(), l.open()); err != nil {
		return ledger.Commit{}, notSent(err)
	}
	// Before the first byte goes, or its block could come unheard. After the hook, or a try that was held up in there
	// would take the verdict on an earlier one for its own.
	verdicts, done := l.chain.await(p.TxID)
	defer done()
	known, since, err := l.broadcast(ctx, envelope)
	if known == certainlyNot {
		return ledger.Commit{}, notSent(err)
	}
	l.at(AtAnswered)
	// If an orderer may have it, its block is waited for as well: it says more than the orderer could.
	v, late := l.verdict(ctx, verdicts, since)
	if late != nil {
		return ledger.Commit{}, &ledger.Failure{Class: ledger.Unknown, Err: errors.Join(err, late)}
	}
	l.chain.tell(v.block + 1)
	if name := validation(v.code); name != ledger.Valid {
		f := invalid(name)
		if f.Class == ledger.Invalid {
			l.policies.expire() // what it was endorsed by may be out of date
			l.members.expire()
		}
		return ledger.Commit{}, f
	}
	return ledger.Commit{TxID: p.TxID, BlockNumber: v.block, Result: e.result}, nil
}

// leastWait is how long a block is waited for, however long the orderers took to say nothing certain.
const leastWait = 500 * time.Millisecond

// verdict waits for the block of a transaction that an orderer may have had since some time.
func (l *Ledger) verdict(ctx context.Context, verdicts <-chan verdict, since time.Time) (verdict, error) {
	timer := time.NewTimer(max(time.Until(since.Add(l.config.CommitTimeout)), min(leastWait, l.config.CommitTimeout)))
	defer timer.Stop()
	select {
	case v := <-verdicts:
		return v, nil
	case <-timer.C:
		return verdict{}, fmt.Errorf("no block has come within %s", l.config.CommitTimeout)
	case <-ctx.Done():
		return verdict{}, fmt.Errorf("waiting for the block: %w", ctx.Err())
	case <-l.ctx.Done():
		return verdict{}, fmt.Errorf("waiting for the block: %w", ErrClosed)
	}
}
