package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-sdk-go/pkg/common/logging"
	sdkcontext "github.com/hyperledger/fabric-sdk-go/pkg/common/providers/context"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/core"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
	sdkmsp "github.com/hyperledger/fabric-sdk-go/pkg/common/providers/msp"
	contextimpl "github.com/hyperledger/fabric-sdk-go/pkg/context"
	"github.com/hyperledger/fabric-sdk-go/pkg/core/config"
	"github.com/hyperledger/fabric-sdk-go/pkg/core/cryptosuite/bccsp/sw"
	"github.com/hyperledger/fabric-sdk-go/pkg/fabsdk"
	"github.com/hyperledger/fabric-sdk-go/pkg/fabsdk/provider/fabpvdr"
	"github.com/hyperledger/fabric-sdk-go/pkg/msp"
	"google.golang.org/grpc"
)

// network is the SDK, as far as it is used: its configuration, its connections and the identity that signs.
type network struct {
	sdk      *fabsdk.FabricSDK
	client   sdkcontext.Client
	identity *identity
	peers    []*peer
	orderers *orderers
}

// peer is one of the profile.
type peer struct {
	fab.Peer
	config fab.PeerConfig
	roles  fab.PeerChannelConfig
	msp    string
	name   string // address, for people

	failed atomic.Int64 // when it last failed to answer, or took long, in nanoseconds since 1970
}

// recovery is how long a peer that failed is asked only after others.
const recovery = 5 * time.Second

// note remembers how a peer did.
func (p *peer) note(well bool) {
	var at int64
	if !well {
		at = time.Now().UnixNano()
	}
	p.failed.Store(at)
}

// inTurn are peers in order of preference, those that failed lately last.
func inTurn(peers []*peer) []*peer {
	list := slices.Clone(peers)
	slices.SortStableFunc(list, func(a, b *peer) int { return a.rank() - b.rank() })
	return list
}

func (p *peer) rank() int {
	if time.Since(time.Unix(0, p.failed.Load())) < recovery {
		return 1
	}
	return 0
}

func openNetwork(c Config) (*network, error) {
	p, profileErr := readProfile(c.Profile, c.Channel)
	id, identityErr := readIdentity(c.MSPID, c.Certificate, c.Key, time.Now())
	if err := errors.Join(profileErr, identityErr); err != nil {
		return nil, err
	}
	logging.Initialize(sdkLog.use(c.Logger))
	var extra []grpc.DialOption
	if c.At != nil {
		extra = append(extra, broadcasting(c.At))
	}
	sdk, err := fabsdk.New(config.FromRaw(p.text, "yaml"), fabsdk.WithCorePkg(coreParts{id, extra}), fabsdk.WithMSPPkg(mspParts{}))
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", c.Profile, err)
	}
	n := &network{sdk: sdk, identity: id}
	if n.client, err = sdk.Context(fabsdk.WithIdentity(id))(); err == nil {
		err = errors.Join(n.readPeers(c, p), n.readOrderers(c))
	}
	if err != nil {
		sdk.Close()
		return nil, fmt.Errorf("profile %s: %w", c.Profile, err)
	}
	return n, nil
}

// readPeers makes the peers of the channel: those of the gateway's own organisation first, then in the profile's order.
func (n *network) readPeers(c Config, p *profile) error {
	var faults []error
	place := map[string]int{} // by URL: the SDK keeps no order, and no names
	for i, name := range p.peers {
		known, ok := n.client.EndpointConfig().PeerConfig(strings.ToLower(name))
		if !ok {
			faults = append(faults, fmt.Errorf("peer %s of channels.%s.peers does not stand under peers", name, c.Channel))
			continue
		}
		place[known.URL] = i
	}
	for _, each := range n.client.EndpointConfig().ChannelPeers(c.Channel) {
		made, err := n.client.InfraProvider().CreatePeerFromConfig(&each.NetworkPeer)
		if err != nil {
			faults = append(faults, fmt.Errorf("peer %s: %w", each.URL, err))
			continue
		}
		n.peers = append(n.peers, &peer{Peer: made, config: each.PeerConfig, roles: each.PeerChannelConfig, msp: each.MSPID, name: address(each.URL)})
		if each.MSPID == c.MSPID {
			place[each.URL] -= len(p.peers)
		}
	}
	slices.SortFunc(n.peers, func(a, b *peer) int { return cmp.Compare(place[a.config.URL], place[b.config.URL]) })
	follows := slices.ContainsFunc(n.peers, func(p *peer) bool { return p.roles.EventSource })
	endorses := slices.ContainsFunc(n.peers, func(p *peer) bool { return p.roles.EndorsingPeer })
	if !follows || !endorses {
		faults = append(faults, fmt.Errorf("channels.%s.peers needs one with eventSource and one with endorsingPeer, at least", c.Channel))
	}
	if !slices.Contains(p.msps, c.MSPID) {
		faults = append(faults, fmt.Errorf("none of the organizations has the mspid %s", c.MSPID))
	}
	return errors.Join(faults...)
}

func (n *network) readOrderers(c Config) error {
	var faults []error
	n.orderers = &orderers{}
	for _, each := range n.client.EndpointConfig().ChannelOrderers(c.Channel) {
		made, err := n.client.InfraProvider().CreateOrdererFromConfig(&each)
		if err != nil {
			faults = append(faults, fmt.Errorf("orderer %s: %w", each.URL, err))
			continue
		}
		n.orderers.list = append(n.orderers.list, &orderer{Orderer: made, name: address(each.URL)})
	}
	if len(n.orderers.list) == 0 && len(faults) == 0 {
		faults = append(faults, fmt.Errorf("none of the orderers of channels.%s.orderers stands under orderers", c.Channel))
	}
	return errors.Join(faults...)
}

// address is a URL of the profile without its scheme.
func address(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	return rest
}

// request makes a context as the SDK's calls want it: the connections and the identity travel in it.
func (n *network) request(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		panic("a call to the network without a deadline") // each caller has a time of its own
	}
	return contextimpl.NewRequest(n.client, contextimpl.WithTimeout(until(deadline)), contextimpl.WithParent(ctx))
}

// drop gives up the connection to an address.
func (n *network) drop(address string) {
	n.client.InfraProvider().CommManager().(*connections).drop(address)
}

func (n *network) close() { n.sdk.Close() }

// coreParts are what the SDK is given in place of its own: keys in memory only, our signer, our connections.
type coreParts struct {
	*identity
	dial []grpc.DialOption
}

func (coreParts) CreateCryptoSuiteProvider(core.CryptoSuiteConfig) (core.CryptoSuite, error) {
	return sw.GetSuiteWithDefaultEphemeral()
}
func (p coreParts) CreateSigningManager(core.CryptoSuite) (core.SigningManager, error) {
	return signer{p.identity}, nil
}
func (p coreParts) CreateInfraProvider(c fab.EndpointConfig) (fab.InfraProvider, error) {
	return &infrastructure{fabpvdr.New(c), newConnections(p.dial...)}, nil
}

type infrastructure struct {
	*fabpvdr.InfraProvider
	connections *connections
}

func (i *infrastructure) CommManager() fab.CommManager { return i.connections }
func (i *infrastructure) Close() {
	i.connections.close()
	i.InfraProvider.Close()
}

// mspParts keep no users: there is one identity, and it is made here.
type mspParts struct{}

func (mspParts) CreateUserStore(sdkmsp.IdentityConfig) (sdkmsp.UserStore, error) {
	return msp.NewMemoryUserStore(), nil
}
func (m mspParts) CreateIdentityManagerProvider(fab.EndpointConfig, core.CryptoSuite, sdkmsp.UserStore) (sdkmsp.IdentityManagerProvider, error) {
	return m, nil
}
func (mspParts) IdentityManager(string) (sdkmsp.IdentityManager, bool) { return nil, false }

func until(deadline time.Time) time.Duration { return max(time.Until(deadline), time.Millisecond) }
