package fabric

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
)

// connections are the gRPC connections of a network, one to each address, kept until the ledger is closed. The SDK's own
// cache can't be used:
//
//   - One request whose context ends while it waits closes the connection under everybody else. That is how the first
//     transaction of a process fails when two discovery requests meet.
//   - gRPC has come to leave a connection idle when it broke, or after half an hour without use, until someone asks it to
//     connect. The SDK's cache never asks: it waits until its time is up.
//   - It closes what has been idle for 30 s, so that a quiet server pays for the handshakes again and again.
type connections struct {
	extra  []grpc.DialOption
	mu     sync.Mutex
	all    map[string]*grpc.ClientConn
	closed bool
}

func newConnections(extra ...grpc.DialOption) *connections {
	return &connections{extra: extra, all: map[string]*grpc.ClientConn{}}
}

var errNoConnections = errors.New("the connections are closed")

// dialed is a context's key for a *bool, set once a connection was ready: before that nothing can have been sent.
type dialed struct{}

// DialContext returns a connection that is ready, or why there is none, soon: an address where nobody listens is an error
// at once.
func (c *connections) DialContext(ctx context.Context, target string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := c.get(target, opts)
	if err != nil {
		return nil, err
	}
	conn.Connect()
	for {
		switch state := conn.GetState(); state {
		case connectivity.Ready:
			if flag, ok := ctx.Value(dialed{}).(*bool); ok {
				*flag = true
			}
			return conn, nil
		case connectivity.TransientFailure:
			return nil, fmt.Errorf("%s does not answer", target)
		case connectivity.Shutdown:
			return nil, errNoConnections
		default:
			if state == connectivity.Idle {
				conn.Connect()
			}
			if !conn.WaitForStateChange(ctx, state) {
				return nil, fmt.Errorf("connecting to %s: %w", target, ctx.Err())
			}
		}
	}
}

func (c *connections) get(target string, opts []grpc.DialOption) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errNoConnections
	}
	if conn := c.all[target]; conn != nil {
		return conn, nil
	}
	standard := []grpc.DialOption{
		// A peer that comes back is found within a second, not within gRPC's two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Fabric's servers hang up on clients that ping more often than once a minute, and a machine that stalls for some
		// seconds makes two pings come closer together. The profile may say otherwise: the SDK's options come after these.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 90 * time.Second, Timeout: 15 * time.Second}),
		grpc.WithIdleTimeout(0),
	}
	last := []grpc.DialOption{
		// The SDK would have a call wait for a peer that is down, on a stream without a deadline for ever.
		grpc.WithDefaultCallOptions(grpc.WaitForReady(false)),
	}
	conn, err := grpc.NewClient("passthrough:///"+target, slices.Concat(standard, opts, last, c.extra)...)
	if err != nil {
		return nil, fmt.Errorf("connection to %s: %w", target, err)
	}
	c.all[target] = conn
	return conn, nil
}

// drop gives a connection up that is there and doesn't answer: whoever asks next gets a new one. TCP by itself would hold on
// to one whose other end has gone without a word.
func (c *connections) drop(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.all[target]; conn != nil {
		_ = conn.Close()
		delete(c.all, target)
	}
}

// ReleaseConn keeps the connection.
func (c *connections) ReleaseConn(*grpc.ClientConn) {}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, conn := range c.all {
		_ = conn.Close() // it says that it is closed, at worst
	}
	clear(c.all)
}
