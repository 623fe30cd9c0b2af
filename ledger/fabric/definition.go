package fabric

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/peer/lifecycle"
)

// policies are the endorsement policies of the contracts, as the channel's lifecycle has them.
//
// The SDK asks the discovery service instead. That one answers by what gossip knows: nothing for half a minute after a
// network has started, a dead peer for as long, and addresses which need not be those that a gateway can reach. A
// definition is on the ledger and says the same whoever is alive.
type policies struct {
	*Ledger
	reading turn // while a definition is read that nobody has yet, so that a crowd at the start reads it once
	mu      sync.Mutex
	known   map[string]*definition
	renewed map[string]bool // just now
}

type definition struct {
	rule rule
	at   time.Time // monotonic
}

// definitionAge is how long a definition is used before it is read again, while it goes on to be used. Whoever changes an
// endorsement policy has the server drained for as long; else what it endorsed under the old one is found invalid.
const definitionAge = 5 * time.Second

func newPolicies(l *Ledger) *policies {
	return &policies{Ledger: l, reading: newTurn(), known: map[string]*definition{}, renewed: map[string]bool{}}
}

// expire has all definitions read again before they are used.
func (p *policies) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
}

// of returns the policy of a contract.
func (p *policies) of(ctx context.Context, contract string) (rule, error) {
	if known := p.now(contract); known != nil {
		return known.rule, nil
	}
	if err := p.reading.take(ctx); err != nil {
		return nil, fmt.Errorf("definition of contract %q: %w", contract, err)
	}
	defer p.reading.end()
	if known := p.now(contract); known != nil {
		return known.rule, nil
	}
	return p.read(ctx, contract)
}

// now is a definition that has been read, nil if there is none. An old one is read again in the background.
func (p *policies) now(contract string) *definition {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known[contract]
	if known != nil && time.Since(known.at) > definitionAge && !p.renewed[contract] {
		p.renewed[contract] = true
		p.run(func() { p.renew(contract) })
	}
	return known
}

func (p *policies) renew(contract string) {
	if _, err := p.read(p.ctx, contract); err != nil && p.ctx.Err() == nil {
		p.log.Debug("endorsement policy can't be read again", "contract", contract, "error", err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.renewed, contract)
}

func (p *policies) read(ctx context.Context, contract string) (rule, error) {
	query, err := proto.Marshal(&lifecycle.QueryChaincodeDefinitionArgs{Name: contract})
	if err != nil {
		return nil, err
	}
	answer, err := p.lookUp(ctx, "_lifecycle", "QueryChaincodeDefinition", query)
	if err != nil {
		return nil, fmt.Errorf("definition of contract %q: %w", contract, err)
	}
	var result lifecycle.QueryChaincodeDefinitionResult
	if err := proto.Unmarshal(answer, &result); err != nil {
		return nil, fmt.Errorf("definition of contract %q: %w", contract, err)
	}
	r, err := applicationRule(result.ValidationParameter, func() (*common.ConfigGroup, error) { return p.members.config(ctx) })
	if err != nil {
		return nil, fmt.Errorf("definition of contract %q: %w", contract, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[contract] = &definition{r, time.Now()}
	return r, nil
}

// turn is a lock whose holder may talk to the network: whoever waits for it does so no longer than his context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) end() { <-t }
