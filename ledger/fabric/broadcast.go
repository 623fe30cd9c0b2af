package fabric

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/txn"
)

// orderer is one of the profile.
type orderer struct {
	fab.Orderer
	name   string // address, for people
	failed time.Time
}

// orderers are those of the channel.
type orderers struct {
	list []*orderer
	mu   sync.Mutex
	next int
}

// restAfterFailure is how long an orderer that failed is asked last.
const restAfterFailure = 5 * time.Second

// inTurn are the orderers as the next transaction tries them: one after another comes first, those that failed lately come
// last.
func (o *orderers) inTurn() []*orderer {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next++
	list := slices.Concat(o.list[o.next%len(o.list):], o.list[:o.next%len(o.list)])
	slices.SortStableFunc(list, func(a, b *orderer) int { return rank(a) - rank(b) })
	return list
}

func rank(o *orderer) int {
	if time.Since(o.failed) < restAfterFailure {
		return 1
	}
	return 0
}

func (o *orderers) note(each *orderer, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	each.failed = time.Time{}
	if err != nil {
		each.failed = time.Now()
	}
}

// envelope makes and signs what goes to an orderer.
func (l *Ledger) envelope(e *endorsed) (*fab.SignedEnvelope, error) {
	made, err := txn.New(fab.TransactionRequest{Proposal: e.TransactionProposal, ProposalResponses: e.responses})
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(made.Transaction)
	if err != nil {
		return nil, err
	}
	var h common.Header
	if err := proto.Unmarshal(e.Proposal.Header, &h); err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(&common.Payload{Header: &h, Data: data})
	if err != nil {
		return nil, err
	}
	signature, err := l.network.identity.sign(payload)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return &fab.SignedEnvelope{Payload: payload, Signature: signature}, nil
}

// broadcast gives an envelope to an orderer, and to another one if that one hasn't taken it, or may not have. An envelope
// that comes twice is harmless: the ID is the same, and its second entry in a block counts for nothing. What is known in
// the end is the most that any of them left possible, and since when.
func (l *Ledger) broadcast(ctx context.Context, e *fab.SignedEnvelope) (best taken, since time.Time, err error) {
	var faults []error
	for _, o := range l.orderers.inTurn() {
		if best == certainlyNot && ctx.Err() != nil {
			return best, since, errors.Join(append(faults, ctx.Err())...)
		}
		begun := time.Now()
		connected, err := l.send(ctx, o, e)
		l.orderers.note(o, err)
		switch takenBy(err, connected) {
		case certainly:
			return certainly, time.Now(), nil
		case maybe:
			if best == certainlyNot {
				best, since = maybe, begun
			}
		}
		faults = append(faults, fmt.Errorf("orderer %s: %w", o.name, err))
	}
	return best, since, errors.Join(faults...)
}

func (l *Ledger) send(ctx context.Context, o *orderer, e *fab.SignedEnvelope) (connected bool, err error) {
	request, done := l.call(ctx, o, &connected)
	defer done()
	_, err = o.SendBroadcast(request, e)
	return connected, err
}

// call makes a context for one exchange with an orderer, and notes whether there was a connection. If it is not over in
// time, that connection is given up for the next: whether the orderer waits for a leader or has gone without a word can't
// be told apart.
func (l *Ledger) call(ctx context.Context, o *orderer, connected *bool) (context.Context, func()) {
	bounded, cancel := l.within(context.WithValue(ctx, dialed{}, connected), l.config.BroadcastTimeout)
	request, done := l.network.request(bounded)
	return request, func() {
		if *connected && bounded.Err() != nil && ctx.Err() == nil {
			l.network.drop(o.name)
		}
		done()
		cancel()
	}
}
