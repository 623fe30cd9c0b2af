package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
)

const nonceSize = 24 // bytes, as on Fabric

// envelope is an endorsed transaction on its way to a block.
type envelope struct {
	id      hash
	at      time.Time // the proposal's
	call    []byte    // first part of the entry
	effects []byte    // second part, if it is valid
	reads   readSet
	writes  []ledger.Write
	result  []byte
	verdict chan verdict // gets exactly one
}

// verdict is where a transaction came to stand, or why it did not.
type verdict struct {
	block      uint64
	validation ledger.Validation
	failure    *ledger.Failure
}

// now is the clock's time as an entry keeps it.
func (l *Ledger) now() time.Time { return l.config.Clock().UTC().Round(0) }

// Prepare draws a nonce, which fixes the ID.
func (l *Ledger) Prepare(contract, function string, args [][]byte) (ledger.Proposal, error) {
	nonce := make([]byte, nonceSize)
	l.random.Lock()
	_, err := io.ReadFull(l.config.Random, nonce)
	l.random.Unlock()
	if err != nil {
		return ledger.Proposal{}, fmt.Errorf("prepare: nonce: %w", err)
	}
	p := ledger.Proposal{
		Nonce:    nonce,
		Creator:  []byte(l.config.Organisation),
		Contract: contract,
		Function: function,
		Args:     args,
	}
	p.TxID = txID(p).String()
	return p, nil
}

// Submit endorses a transaction and waits until it is in a block. See ledger.Ledger.
func (l *Ledger) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	if err := l.Ready(ctx); err != nil {
		return ledger.Commit{}, notSent(err)
	}
	e, err := l.endorse(p, transient)
	if err != nil {
		return ledger.Commit{}, err
	}
	if sending != nil {
		if err := sending(); err != nil {
			return ledger.Commit{}, notSent(fmt.Errorf("before sending: %w", err))
		}
	}
	if err := ctx.Err(); err != nil {
		return ledger.Commit{}, notSent(err)
	}
	return l.order(ctx, p.TxID, e)
}

// endorse checks a proposal and simulates it. Errors are a *ledger.Failure.
func (l *Ledger) endorse(p ledger.Proposal, transient map[string][]byte) (*envelope, error) {
	e := &envelope{id: txID(p), at: l.now(), verdict: make(chan verdict, 1)}
	if e.id.String() != p.TxID || len(p.Nonce) == 0 || !bytes.Equal(p.Creator, []byte(l.config.Organisation)) {
		return nil, notSent(errForged)
	}
	// Before the contract sees the arguments: the entry has what was proposed, whatever he does to them.
	e.call = appendCall(nil, e.id, e.at, l.config.Organisation, p)
	var known bool
	err := l.view(func(t trees) error {
		var err error
		if _, known, err = t.first(e.id[:]); known || err != nil {
			return err
		}
		s := l.simulate(t, p.TxID, e.at, transient)
		if e.result, err = s.run(p.Contract, p.Function, p.Args); err != nil {
			return err
		}
		e.reads, e.writes = s.reads, s.sortedWrites()
		e.effects = appendEffects(nil, e.writes, s.event)
		return nil
	})
	switch {
	case err != nil:
		return nil, failed(err)
	case known:
		return nil, &ledger.Failure{Class: ledger.Duplicate, Validation: ledger.DuplicateID}
	case !l.inTime(e.at):
		return nil, notSent(errLate)
	}
	return e, nil
}

func (l *Ledger) simulate(t trees, id string, at time.Time, transient map[string][]byte) *simulation {
	return &simulation{
		ledger: l, trees: t, id: id, at: at, transient: transient,
		reads: readSet{}, writes: map[string]ledger.Write{},
	}
}

// inTime reports whether a proposal's time is within the window around the clock.
func (l *Ledger) inTime(at time.Time) bool { return l.now().Sub(at).Abs() <= l.config.TimeWindow }

// order hands a transaction to the committer and waits for its verdict. Until it is handed over it certainly isn't sent;
// from then on nobody can take it back.
func (l *Ledger) order(ctx context.Context, id string, e *envelope) (ledger.Commit, error) {
	select {
	case l.queue <- e:
	case <-ctx.Done():
		return ledger.Commit{}, notSent(ctx.Err())
	case <-l.quit:
		return ledger.Commit{}, notSent(ErrClosed)
	}
	l.at(AtSent)
	select {
	case v := <-e.verdict:
		return v.commit(id, e.result)
	case <-ctx.Done():
		return ledger.Commit{}, &ledger.Failure{Class: ledger.Unknown, Err: fmt.Errorf("waiting for the block: %w", ctx.Err())}
	}
}

func (v verdict) commit(id string, result []byte) (ledger.Commit, error) {
	if v.failure != nil {
		return ledger.Commit{}, v.failure
	}
	switch v.validation {
	case ledger.Valid:
		return ledger.Commit{TxID: id, BlockNumber: v.block, Result: result}, nil
	case ledger.DuplicateID:
		return ledger.Commit{}, &ledger.Failure{Class: ledger.Duplicate, Validation: v.validation}
	default: // the other two that a block of this ledger can hold
		return ledger.Commit{}, &ledger.Failure{Class: ledger.Conflict, Validation: v.validation}
	}
}

// Query runs a function on the newest state. What it would write, and its event, are dropped.
func (l *Ledger) Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, notSent(err)
	}
	p, err := l.Prepare(contract, function, args)
	if err != nil {
		return nil, notSent(err)
	}
	var result []byte
	err = l.view(func(t trees) error {
		var err error
		result, err = l.simulate(t, p.TxID, l.now(), nil).run(contract, function, args)
		return err
	})
	if err != nil {
		return nil, failed(err)
	}
	return result, nil
}

func notSent(err error) *ledger.Failure {
	return &ledger.Failure{Class: ledger.NotSent, Err: err}
}

// failed sorts what ended a simulation: a refusal, or a fault.
func failed(err error) *ledger.Failure {
	var refusal *contract.Error
	if errors.As(err, &refusal) {
		return &ledger.Failure{Class: ledger.Refused, Refusal: refusal}
	}
	return notSent(err)
}
