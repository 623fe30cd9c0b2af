// Package fabric is a ledger on a channel of a Hyperledger Fabric network, through fabric-sdk-go. It promises what package
// ledger promises, and is built around one question: what may the caller conclude when something failed?
//
// From the SDK it takes the connection profile, the connections, the messages and their signatures. It does not take its
// clients. Those retry on their own, with a fresh transaction ID; they go on in the background after they have answered
// that the time is up; they learn who can endorse from gossip, which needs half a minute after a start; they lose blocks
// when they reconnect. A caller who has to know whether a transaction may be on its way can't be served like that. So:
//
//   - A transaction is endorsed by peers that are chosen here, from the profile, by the policy that the channel itself
//     holds for the contract. If one fails another takes its place, within the same try, under the same time stamp.
//   - Nothing of a transaction reaches an orderer before its endorsements agree, their signatures are good, the policy is
//     satisfied and the caller's hook has returned. Until then a failure is NotSent (or Refused), afterwards Unknown,
//     unless an orderer said for certain that it hasn't taken it, or a block says what became of it.
//   - Every peer that is an event source is followed all the time, so that it is known what each has committed. Whoever was
//     told of a block by this Ledger (a commit, a height, a block) is never served from before it: peers that lag are
//     waited for, and passed over. Between processes there is no such promise, as there is none in Fabric.
//   - "Not found" is said only when every peer that could be asked has said so.
//
// What it trusts: the peers of the profile, in their order of preference (those of the gateway's own organisation first),
// to report what the channel has committed. That blocks follow on each other and hold what their hashes say is checked.
package fabric

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"cardflow/ledger"
)

// Config says which channel of which network, and as whom.
type Config struct {
	Profile string // file: connection profile of the SDK (YAML). Relative paths in it start from its own folder
	Channel string

	// The gateway's identity. Everyone who submits to this channel on behalf of one platform has the same, because a
	// transaction ID hashes it: a proposal that one process prepared can be submitted by another.
	MSPID       string
	Certificate string // file, PEM
	Key         string // file, PEM: PKCS #8 or EC, P-256 or P-384

	Contracts []string // which Ready finds endorsers for

	EndorseTimeout   time.Duration // for all endorsements of a try together; 10 s if 0
	BroadcastTimeout time.Duration // for each orderer; 3 s if 0
	CommitTimeout    time.Duration // from when an orderer may have it to the block; 5 s if 0
	QueryTimeout     time.Duration // for a query or lookup; 10 s if 0

	Clock  func() time.Time // stamps proposals; time.Now if nil. Peers refuse what is minutes away from their own
	Random io.Reader        // for nonces; crypto/rand if nil
	Logger *slog.Logger     // IDs, addresses, numbers and causes only; nothing is logged if nil

	At func(point string) // called at the points of point.go, for the crash suite; nil outside of it
}

// Ledger is an open ledger. It implements ledger.Ledger.
type Ledger struct {
	config   Config
	log      *slog.Logger
	patience time.Duration // to wait for peers that lack what a caller was told
	slow     time.Duration // after which another peer is asked beside one that has not answered
	quiet    time.Duration // after which a peer that has nothing to say is asked whether it is there
	network  *network
	peers    []*peer    // of the profile, in order of preference
	orderers *orderers  // of the profile
	chain    *chain     // what the peers have committed
	policies *policies  // of the contracts
	members  *members   // of the channel
	random   sync.Mutex // Config.Random need not be safe for concurrent use
	ctx      context.Context
	stop     context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

var _ ledger.Ledger = (*Ledger)(nil)

// Open reads the profile and the identity, and begins to follow the peers. It does not wait for any of them: a server may
// start before its network does, and Ready says what is missing. Errors: everything that is wrong with the configuration,
// all of it at once.
func Open(config Config) (*Ledger, error) {
	l, err := build(config)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.start()
	return l, nil
}

// start begins to follow the peers.
func (l *Ledger) start() {
	for _, p := range l.peers {
		if p.roles.EventSource {
			l.run(func() { l.watch(l.ctx, p) })
		}
	}
	l.log.Info("ledger opened", "channel", l.config.Channel, "peers", len(l.peers), "orderers", len(l.orderers.list))
	if left := time.Until(l.network.identity.until); left < soon {
		l.log.Warn("the gateway's certificate expires soon", "days", int(left.Hours()/24))
	}
}

// soon is how long before its end a certificate is warned of.
const soon = 30 * 24 * time.Hour

// build makes a ledger that follows nobody yet.
func build(config Config) (*Ledger, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	n, err := openNetwork(config)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		config: config, log: config.Logger, patience: time.Second, slow: 2 * time.Second, quiet: 10 * time.Second,
		network: n, peers: n.peers, orderers: n.orderers, chain: newChain(),
	}
	l.policies, l.members = newPolicies(l), newMembers(l)
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l, nil
}

// complete fills in what was left out, and refuses what can't be meant.
func (c *Config) complete() error {
	var faults []error
	for _, each := range []struct{ name, value string }{
		{"profile", c.Profile}, {"channel", c.Channel}, {"MSP ID", c.MSPID}, {"certificate", c.Certificate}, {"key", c.Key},
	} {
		if each.value == "" {
			faults = append(faults, fmt.Errorf("%s is empty", each.name))
		}
	}
	for _, each := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&c.EndorseTimeout, 10 * time.Second}, {&c.BroadcastTimeout, 3 * time.Second},
		{&c.CommitTimeout, 5 * time.Second}, {&c.QueryTimeout, 10 * time.Second},
	} {
		if *each.value < 0 {
			faults = append(faults, errors.New("a timeout is negative"))
		}
		if *each.value == 0 {
			*each.value = each.standard
		}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(faults...)
}

// Channel is the channel's name.
func (l *Ledger) Channel() string { return l.config.Channel }

// Close ends everything that is under way and gives the connections back. What was being submitted gets NotSent or
// Unknown, as it was.
func (l *Ledger) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.running.Wait()
	if !again {
		l.network.close()
		l.log.Info("ledger closed", "channel", l.config.Channel)
	}
	return nil
}

// run does something beside everything else. Close waits for it; after Close it isn't done.
func (l *Ledger) run(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.running.Go(f)
	}
}

// open is nil until Close.
func (l *Ledger) open() error {
	if l.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// within bounds ctx by a duration, and by the ledger's own life.
func (l *Ledger) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
