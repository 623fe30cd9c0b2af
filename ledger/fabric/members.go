package fabric

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/msp"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/channel/membership"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/chconfig"
)

// members are the channel's organisations and their certificates, by its newest configuration: what an endorsement's
// signature is checked against before it is sent. They are read when they are first needed, and again after a
// configuration block.
type members struct {
	*Ledger
	reading turn // while the configuration is read, so that it is read once
	mu      sync.Mutex
	known   *membersKnown
}

type membersKnown struct {
	root *common.ConfigGroup
	fab.ChannelMembership
	mu     sync.Mutex
	proven map[string]time.Time // serialised identities that were valid, and until when that is believed
}

func newMembers(l *Ledger) *members { return &members{Ledger: l, reading: newTurn()} }

// expire has the configuration read again before it is used.
func (m *members) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = nil
}

// config is the channel's configuration.
func (m *members) config(ctx context.Context) (*common.ConfigGroup, error) {
	known, err := m.get(ctx)
	if err != nil {
		return nil, err
	}
	return known.root, nil
}

func (m *members) get(ctx context.Context) (*membersKnown, error) {
	if known := m.now(); known != nil {
		return known, nil
	}
	if err := m.reading.take(ctx); err != nil {
		return nil, fmt.Errorf("configuration of the channel: %w", err)
	}
	defer m.reading.end()
	if known := m.now(); known != nil {
		return known, nil
	}
	text, err := m.lookUp(ctx, "cscc", "GetConfigBlock", []byte(m.Ledger.config.Channel))
	if err != nil {
		return nil, fmt.Errorf("configuration of the channel: %w", err)
	}
	root, err := readConfigBlock(text)
	if err != nil {
		return nil, fmt.Errorf("configuration of the channel: %w", err)
	}
	msps, err := organisations(root)
	if err != nil {
		return nil, fmt.Errorf("configuration of the channel: %w", err)
	}
	client := m.network.client
	made, err := membership.New(membership.Context{Providers: client, EndpointConfig: client.EndpointConfig()}, configured{chconfig.NewChannelCfg(m.Ledger.config.Channel), msps})
	if err != nil {
		return nil, fmt.Errorf("members of the channel: %w", err)
	}
	known := &membersKnown{root: root, ChannelMembership: made, proven: map[string]time.Time{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = known
	return known, nil
}

func (m *members) now() *membersKnown {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known
}

// configured is a channel of which only the organisations are known: the rest is not asked for.
type configured struct {
	*chconfig.ChannelCfg
	msps []*msp.MSPConfig
}

func (c configured) MSPs() []*msp.MSPConfig { return c.msps }

// readConfigBlock takes the configuration out of a configuration block.
func readConfigBlock(text []byte) (*common.ConfigGroup, error) {
	var block common.Block
	var envelope common.Envelope
	var payload common.Payload
	var config common.ConfigEnvelope
	if err := proto.Unmarshal(text, &block); err != nil {
		return nil, err
	}
	if len(block.GetData().GetData()) != 1 {
		return nil, errors.New("the block holds no configuration")
	}
	for _, each := range []struct {
		text func() []byte
		into proto.Message
	}{
		{func() []byte { return block.Data.Data[0] }, &envelope},
		{func() []byte { return envelope.Payload }, &payload},
		{func() []byte { return payload.Data }, &config},
	} {
		if err := proto.Unmarshal(each.text(), each.into); err != nil {
			return nil, err
		}
	}
	root := config.GetConfig().GetChannelGroup()
	if root == nil {
		return nil, errors.New("the block holds no configuration")
	}
	return root, nil
}

// organisations are the MSPs of those who take part in the channel, with certificates that the SDK can read.
func organisations(root *common.ConfigGroup) ([]*msp.MSPConfig, error) {
	var list []*msp.MSPConfig
	for name, group := range root.GetGroups()["Application"].GetGroups() {
		var config msp.MSPConfig
		if err := proto.Unmarshal(group.GetValues()["MSP"].GetValue(), &config); err != nil {
			return nil, fmt.Errorf("MSP of %s: %w", name, err)
		}
		if err := lowerMSP(&config); err != nil {
			return nil, fmt.Errorf("MSP of %s: %w", name, err)
		}
		list = append(list, &config)
	}
	if len(list) == 0 {
		return nil, errors.New("no organisation takes part in it")
	}
	return list, nil
}

// provenFor is how long an endorser's certificate is believed after its chain has been checked. A certificate that is
// revoked meanwhile satisfies no policy: the peers check for themselves.
const provenFor = time.Minute

// Validate checks an endorser's certificate. Its signatures are checked each time.
func (m *membersKnown) Validate(identity []byte) error {
	m.mu.Lock()
	until := m.proven[string(identity)]
	m.mu.Unlock()
	if time.Now().Before(until) {
		return nil
	}
	if err := m.ChannelMembership.Validate(identity); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proven[string(identity)] = time.Now().Add(provenFor)
	return nil
}
