package fabric

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-sdk-go/pkg/fab/resource"
)

// readyTimeout bounds Ready, if the caller doesn't.
const readyTimeout = 5 * time.Second

// Ready reports whether a write could be taken now, and if not, everything that is in its way: peers that don't follow the
// channel, endorsement policies that those who are up can't satisfy, orderers that don't answer or have no leader.
func (l *Ledger) Ready(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), l.open()); err != nil {
		return err
	}
	ctx, cancel := l.within(ctx, readyTimeout)
	defer cancel()
	faults := make(chan error)
	checks := []func(context.Context) error{l.readyOrderers}
	for _, contract := range l.config.Contracts {
		checks = append(checks, func(ctx context.Context) error { return l.readyContract(ctx, contract) })
	}
	if len(l.config.Contracts) == 0 {
		checks = append(checks, l.readyPeers)
	}
	for _, check := range checks {
		go func() { faults <- check(ctx) }()
	}
	var all []error
	for range checks {
		all = append(all, <-faults)
	}
	return errors.Join(all...)
}

func (l *Ledger) readyPeers(ctx context.Context) error {
	if _, err := l.lookUp(ctx, "qscc", "GetChainInfo", []byte(l.config.Channel)); err != nil {
		return fmt.Errorf("LEDGER_PEERS: 没有可用的 Fabric 节点；请检查节点进程与网络: %w", err)
	}
	return nil
}

// readyContract looks for peers that could endorse, without asking them to.
func (l *Ledger) readyContract(ctx context.Context, contract string) error {
	e := endorsement{Ledger: l, rules: map[string]rule{}}
	err := e.want(ctx, contract)
	if err == nil {
		_, err = e.choose(ctx)
	}
	if err != nil {
		return fmt.Errorf("LEDGER_ENDORSERS: 合约 %s 无法取得足够的背书；请检查各机构的节点与链码服务: %w", contract, err)
	}
	return nil
}

// readyOrderers asks for the newest block, which an orderer gives only if it is in touch with a leader.
func (l *Ledger) readyOrderers(ctx context.Context) error {
	var faults []error
	for _, o := range l.orderers.inTurn() {
		err := l.askOrderer(ctx, o)
		if err == nil {
			return nil
		}
		faults = append(faults, fmt.Errorf("orderer %s: %w", o.name, err))
	}
	return fmt.Errorf("LEDGER_ORDERERS: 没有可用的排序节点；请检查排序节点进程与网络，确认多数节点在线: %w", errors.Join(faults...))
}

func (l *Ledger) askOrderer(ctx context.Context, o *orderer) error {
	ctx, cancel := l.within(ctx, l.config.BroadcastTimeout)
	defer cancel()
	ctx, done := l.network.request(ctx)
	defer done()
	_, err := resource.LastConfigFromOrderer(ctx, l.config.Channel, o)
	return err
}
