package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cardflow/ledger"
	"cardflow/ledger/contract"
)

// faulty is a ledger that a test can make fail in every way that docs/design/002-relay.md names.
type faulty struct {
	ledger.Ledger
	mu     sync.Mutex
	faults []*fault
	sends  map[string]int // submissions by function
	down   error          // if set, queries and look-ups fail with it
}

// fault takes the place of the next submissions of a function.
type fault struct {
	function string
	times    int
	do       func(try) (ledger.Commit, error)
}

// try is one submission: through carries it out.
type try struct {
	ctx       context.Context
	p         ledger.Proposal
	transient map[string][]byte
	sending   func() error
	through   func() (ledger.Commit, error)
	record    func(sending func() error) error // submits with another record
}

func (f *faulty) wrap(l ledger.Ledger) ledger.Ledger {
	f.Ledger, f.sends = l, map[string]int{}
	return f
}

// next makes the next submissions of a function go by do.
func (f *faulty) next(function string, times int, do func(try) (ledger.Commit, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault{function, times, do})
}

func (f *faulty) tries(function string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sends[function]
}

func (f *faulty) setDown(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *faulty) isDown() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

func (f *faulty) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	f.mu.Lock()
	f.sends[p.Function]++
	var hit *fault
	for _, x := range f.faults {
		if x.function == p.Function && x.times > 0 {
			x.times--
			hit = x
			break
		}
	}
	f.mu.Unlock()
	through := func() (ledger.Commit, error) { return f.Ledger.Submit(ctx, p, transient, sending) }
	if hit == nil {
		return through()
	}
	return hit.do(try{ctx, p, transient, sending, through, func(sending func() error) error {
		_, err := f.Ledger.Submit(ctx, p, transient, sending)
		return err
	}})
}

func (f *faulty) Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	if err := f.isDown(); err != nil {
		return nil, &ledger.Failure{Class: ledger.NotSent, Err: err}
	}
	return f.Ledger.Query(ctx, contract, function, args...)
}

func (f *faulty) Transaction(ctx context.Context, id string) (ledger.Transaction, error) {
	if err := f.isDown(); err != nil {
		return ledger.Transaction{}, err
	}
	return f.Ledger.Transaction(ctx, id)
}

var errWire = errors.New("the wire is cut")

func failure(class ledger.Class) error { return &ledger.Failure{Class: class, Err: errWire} }

func refusal(code string) error {
	return &ledger.Failure{Class: ledger.Refused, Refusal: &contract.Error{Code: code, Message: "for a test"}}
}

// The ways in which a submission fails.
var (
	// notSent: the endorsers are down.
	notSent = func(try) (ledger.Commit, error) { return ledger.Commit{}, failure(ledger.NotSent) }
	// notSentAfterAll: endorsed and recorded as sent, and then it could not be handed over.
	notSentAfterAll = func(x try) (ledger.Commit, error) {
		if err := x.sending(); err != nil {
			return ledger.Commit{}, err
		}
		return ledger.Commit{}, failure(ledger.NotSent)
	}
	// lost: it left, and never arrived.
	lost = func(x try) (ledger.Commit, error) {
		if err := x.sending(); err != nil {
			return ledger.Commit{}, err
		}
		return ledger.Commit{}, failure(ledger.Unknown)
	}
	// unheard: it landed, and the answer got lost.
	unheard = func(x try) (ledger.Commit, error) {
		if _, err := x.through(); err != nil {
			return ledger.Commit{}, err
		}
		return ledger.Commit{}, failure(ledger.Unknown)
	}
	// unrecorded: the database does not take that it leaves, so it does not leave.
	unrecorded = func(x try) (ledger.Commit, error) {
		if err := x.record(func() error { return errWire }); ledger.ClassOf(err) != ledger.NotSent {
			return ledger.Commit{}, fmt.Errorf("sent without a record of it: %w", err)
		}
		return ledger.Commit{}, failure(ledger.NotSent)
	}
	// twice: it is sent once more after it landed.
	twice = func(x try) (ledger.Commit, error) {
		if _, err := x.through(); err != nil {
			return ledger.Commit{}, err
		}
		return x.through()
	}
)

func refusing(code string) func(try) (ledger.Commit, error) {
	return func(try) (ledger.Commit, error) { return ledger.Commit{}, refusal(code) }
}
