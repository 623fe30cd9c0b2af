package fabric

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	ab "github.com/hyperledger/fabric-protos-go/orderer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/status"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
	"github.com/hyperledger/fabric-sdk-go/pkg/core/config/comm"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/txn"
)

// readyTimeout bounds Ready, if the caller doesn't.
const readyTimeout = 5 * time.Second

// Ready reports whether a write could be taken now, and if not, everything that is in its way: peers that don't follow the
// channel, endorsement policies that those who are up can't satisfy, orderers that don't answer or have no leader, a
// certificate that has expired.
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
	if until := l.network.identity.until; time.Now().After(until) {
		all = append(all, fmt.Errorf("LEDGER_CERTIFICATE: 网关身份证书已于 %s 过期；请换发证书后重启服务", until.Format(time.DateOnly)))
	}
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

// readyOrderers looks for an orderer that is in touch with a leader.
func (l *Ledger) readyOrderers(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(l.orderers.list))
	for _, o := range l.orderers.list {
		go func() {
			err := l.askOrderer(ctx, o)
			if err != nil {
				err = fmt.Errorf("orderer %s: %w", o.name, err)
			}
			answers <- err
		}()
	}
	var faults []error
	for range l.orderers.list {
		err := <-answers
		if err == nil {
			return nil
		}
		faults = append(faults, err)
	}
	return fmt.Errorf("LEDGER_ORDERERS: 没有可用的排序节点；请检查排序节点进程与网络，确认多数节点在线: %w", errors.Join(faults...))
}

// askOrderer asks for a block that can't be there: the cheapest question that an orderer answers only if it has a leader.
func (l *Ledger) askOrderer(ctx context.Context, o *orderer) error {
	envelope, err := l.seekNothing()
	if err != nil {
		return err
	}
	connected := false
	request, done := l.call(ctx, o, &connected)
	defer done()
	blocks, errs := o.SendDeliver(request, envelope)
	for blocks != nil {
		select {
		case _, ok := <-blocks:
			if !ok {
				blocks = nil
			}
		case err = <-errs:
		}
	}
	select { // the channel of blocks may have been closed first
	case err = <-errs:
	default:
	}
	if s, ok := statusOf(err); ok && s.Group == status.OrdererServerStatus && common.Status(s.Code) == common.Status_NOT_FOUND {
		return nil
	}
	if err == nil {
		err = errors.New("it answered nothing")
	}
	return err
}

// seekNothing is a signed request for the last block that there could ever be, if it is there.
func (l *Ledger) seekNothing() (*fab.SignedEnvelope, error) {
	client := l.network.client
	h, err := txn.NewHeader(client, l.config.Channel)
	if err != nil {
		return nil, err
	}
	hash, err := comm.TLSCertHash(client.EndpointConfig())
	if err != nil {
		return nil, err
	}
	channel, err := txn.CreateChannelHeader(common.HeaderType_DELIVER_SEEK_INFO, txn.ChannelHeaderOpts{TxnHeader: h, TLSCertHash: hash})
	if err != nil {
		return nil, err
	}
	last := &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: math.MaxUint64}}}
	info, err := proto.Marshal(&ab.SeekInfo{Start: last, Stop: last, Behavior: ab.SeekInfo_FAIL_IF_NOT_READY})
	if err != nil {
		return nil, err
	}
	payload, err := txn.CreatePayload(h, channel, info)
	if err != nil {
		return nil, err
	}
	text, err := proto.Marshal(payload)
	if err != nil {
		return nil, err
	}
	signature, err := l.network.identity.sign(text)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return &fab.SignedEnvelope{Payload: text, Signature: signature}, nil
}
