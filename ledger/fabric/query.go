package fabric

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
)

// Query runs a function on one peer, the first in order of preference that has committed whatever this Ledger's callers
// have been told of. A refusal is an answer; only a peer that fails, or doesn't answer, or lags, is passed over.
//
// So a query sees what was committed through this Ledger before it, and never less than a query before it saw.
func (l *Ledger) Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	if err := errors.Join(ctx.Err(), l.open()); err != nil {
		return nil, notSent(err)
	}
	ctx, cancel := l.within(ctx, l.config.QueryTimeout)
	defer cancel()
	ask := func(ctx context.Context, p *peer) ([]byte, error) {
		return l.evaluate(ctx, p, contract, function, args)
	}
	answer, err := first(ctx, l, func(p *peer) bool { return p.roles.ChaincodeQuery }, ask, func(err error) bool { return refusalIn(err) != nil })
	switch refusal := refusalIn(err); {
	case refusal != nil:
		return nil, refused(refusal)
	case err != nil:
		return nil, notSent(err)
	}
	return answer, nil
}

// lookUp asks a contract that belongs to the peers themselves.
func (l *Ledger) lookUp(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	ctx, cancel := l.within(ctx, l.config.QueryTimeout)
	defer cancel()
	return first(ctx, l, func(p *peer) bool { return p.roles.LedgerQuery },
		func(ctx context.Context, p *peer) ([]byte, error) {
			return l.evaluate(ctx, p, contract, function, args)
		},
		func(error) bool { return false })
}

// evaluate runs a function on a peer and commits nothing. The transaction ID is one that nobody prepared.
func (l *Ledger) evaluate(ctx context.Context, p *peer, contract, function string, args [][]byte) ([]byte, error) {
	prepared, err := l.Prepare(contract, function, args)
	if err != nil {
		return nil, err
	}
	made, err := l.propose(prepared, nil)
	if err != nil {
		return nil, err
	}
	response, err := l.process(ctx, p, made)
	if err != nil {
		return nil, err
	}
	return response.ProposalResponse.GetResponse().GetPayload(), nil
}

// process sends a proposal to one peer.
func (l *Ledger) process(ctx context.Context, p *peer, made *proposed) (*fab.TransactionProposalResponse, error) {
	ctx, cancel := l.network.request(ctx)
	defer cancel()
	return p.ProcessTransactionProposal(ctx, fab.ProcessProposalRequest{SignedProposal: made.signed})
}

// first asks peers, one after another, and returns the first answer. Only those are asked that have what callers were told
// of, up to now: a reader must not be taken back in time. One that lags is waited for, not long. A peer that takes long is
// not given up, but the next is asked beside it. final says which errors are answers.
func first[A any](ctx context.Context, l *Ledger, may func(*peer) bool, ask func(context.Context, *peer) (A, error), final func(error) bool) (answer A, err error) {
	type result struct {
		peer   *peer
		answer A
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start, _ := l.chain.now()
	asked, silent, pending := map[*peer]bool{}, map[*peer]bool{}, 0
	peers := inTurn(l.peers)
	// next is whom to ask now; more says that there may be someone soon.
	next := func(s state) (p *peer, more bool) {
		more = len(asked) == 0
		for _, p := range peers {
			h := s.heights[p]
			if !may(p) || asked[p] || h == 0 {
				continue
			}
			if h >= start.told {
				return p, true
			}
			more = true
		}
		return nil, more
	}
	results := make(chan result, len(l.peers))
	waiting, done := context.WithTimeout(ctx, l.patience)
	defer done()
	hurry := time.NewTicker(l.slow)
	defer hurry.Stop()
	var faults []error
	for {
		s, _ := l.chain.now()
		p, more := next(s)
		if p == nil && pending == 0 && more {
			l.chain.until(waiting, func(s state) bool {
				p, more = next(s)
				return p != nil || !more
			})
		}
		if p != nil {
			asked[p], silent[p] = true, true
			pending++
			go func() {
				answer, err := ask(ctx, p)
				results <- result{p, answer, err}
			}()
		}
		if pending == 0 {
			if len(asked) == 0 {
				faults = append(faults, l.nobody(start.told))
			}
			return answer, errors.Join(faults...)
		}
		select {
		case r := <-results:
			pending--
			delete(silent, r.peer)
			well := r.err == nil || final(r.err)
			if well || ctx.Err() == nil { // else it is the caller who has had enough
				r.peer.note(well)
			}
			if well {
				return r.answer, r.err
			}
			faults = append(faults, r.err)
		case <-hurry.C:
			for p := range silent {
				p.note(false)
			}
		case <-ctx.Done():
			return answer, errors.Join(append(faults, ctx.Err())...)
		}
	}
}

// nobody says which peers there are, when none can be asked.
func (l *Ledger) nobody(told uint64) error {
	s, _ := l.chain.now()
	var text []string
	for _, p := range l.peers {
		how := "does not answer"
		if h := s.heights[p]; h > 0 {
			how = fmt.Sprintf("has %d blocks", h)
		}
		text = append(text, p.name+" "+how)
	}
	return fmt.Errorf("there is no peer to ask at height %d: %s", told, strings.Join(text, ", "))
}
