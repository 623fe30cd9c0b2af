package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/transfer"
)

// slow is a custody that answers much, or late.
type slow struct {
	keeper
	inside, most atomic.Int64  // calls of Ready: now, and at once at most
	hold         time.Duration // that each of them takes
	ended        chan error    // why they ended early
}

func (s *slow) Ready(ctx context.Context) error {
	defer s.inside.Add(-1)
	for n := s.inside.Add(1); ; {
		if most := s.most.Load(); n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	select {
	case <-time.After(s.hold):
		return nil
	case <-ctx.Done():
		if s.ended != nil {
			s.ended <- ctx.Err()
		}
		return ctx.Err()
	}
}

// Key answers more than a connection holds that nobody reads.
func (*slow) Key(context.Context, string) (transfer.KeyView, error) {
	return transfer.KeyView{ID: strings.Repeat("k", 16<<20)}, nil
}

func (*slow) VerifyAudit(_ context.Context, o custody.VerifyOptions) (r custody.AuditReport, err error) {
	for _, err := range o.Anchors {
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// atDoors runs a test at either door of a custodian: bare leads a stranger there, dial whoever belongs there.
func atDoors(t *testing.T, do func(t *testing.T, l net.Listener, dial, bare func(context.Context) (net.Conn, error))) {
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s")
		l, err := listenSocket(path)
		check(t, err)
		do(t, l, bySocket(path), bySocket(path))
	})
	t.Run("tls", func(t *testing.T) {
		t.Parallel()
		ours := newAuthority(t)
		l, err := tlsApp(t, ours.issue(CustodyTLSConfig{Peer: serverName, Listen: "127.0.0.1:0"}, custodianName)).listenTLS()
		check(t, err)
		server := tlsApp(t, ours.issue(CustodyTLSConfig{Peer: custodianName, Connect: l.Addr().String()}, serverName))
		do(t, l, server.dialTLS, plainTCP(server))
	})
}

func limited(k keeper, limits doorLimits, l net.Listener) (stop func() error) {
	logger := slog.New(slog.DiscardHandler)
	return serveCustodian(custodianHandler(k, nil, prometheus.NewRegistry(), logger, limits), logger, limits, l)
}

// TestStallers: who has a connection and does nothing with it, or next to nothing, loses it, at each point of a call. There is
// one connection here, so whoever comes after him gets in only when he is out.
func TestStallers(t *testing.T) {
	t.Parallel()
	limits := usualLimits
	limits.head, limits.body, limits.line, limits.answer, limits.idle, limits.most = time.Second, time.Second, time.Second, time.Second, time.Second, 1
	const asks = "POST /1/Ready HTTP/1.1\r\nHost: c\r\n"
	const verifies = "POST /1/" + verifyCallName + " HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n"
	for what, x := range map[string]struct {
		stranger bool
		says     string
		drips    string // again and again, until he is out
	}{
		"a stranger says nothing":          {true, "", ""},
		"a stranger says it bit by bit":    {true, "", "\x16"},
		"nothing":                          {false, "", ""},
		"a head bit by bit":                {false, "POST /1/Ready HTTP/1.1\r\n", "X: x\r\n"},
		"half a body":                      {false, asks + "Content-Length: 100\r\n\r\n{", ""},
		"a body bit by bit":                {false, asks + "Content-Length: 100000000\r\n\r\n", " "},
		"a call, and no other":             {false, asks + "Content-Length: 2\r\n\r\n{}", ""},
		"it reads no answer":               {false, "POST /1/Key HTTP/1.1\r\nHost: c\r\nContent-Length: 2\r\n\r\n{}", ""},
		"half of what is to be verified":   {false, verifies, ""},
		"no end to what is to be verified": {false, verifies + "f\r\n{\"Given\":true}\n\r\n", ""},
		"a line bit by bit":                {false, verifies + "f\r\n{\"Given\":true}\n\r\n", "1\r\n \r\n"},
		"what isn't looked at bit by bit":  {false, verifies + "10\r\n{\"Given\":false}\n\r\n", "1\r\n \r\n"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			atDoors(t, func(t *testing.T, l net.Listener, dial, bare func(context.Context) (net.Conn, error)) {
				stop := limited(&slow{}, limits, l)
				first := dial
				if x.stranger {
					first = bare
				}
				late := soon(t)
				c, err := first(late)
				for err != nil && late.Err() == nil { // on a slow machine the door may have given up waiting for him
					c, err = first(late)
				}
				check(t, err)
				defer c.Close()
				_, _ = io.WriteString(c, x.says)
				dripped := make(chan struct{})
				go func() {
					defer close(dripped)
					pace := time.NewTicker(10 * time.Millisecond)
					defer pace.Stop()
					for err := error(nil); err == nil && x.drips != ""; _, err = io.WriteString(c, x.drips) {
						<-pace.C
					}
				}()
				friend, ctx := newRemote(dial), soon(t)
				for err = friend.Ready(ctx); err != nil && ctx.Err() == nil; {
					err = friend.Ready(ctx)
				}
				check(t, err)
				<-dripped
				friend.http.CloseIdleConnections()
				check(t, stop())
			})
		})
	}
}

// TestConnectionsAreLimited: so many at a door and no more. Whoever comes then waits, and has his turn.
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	atDoors(t, func(t *testing.T, l net.Listener, dial, _ func(context.Context) (net.Conn, error)) {
		limits, k := usualLimits, &slow{hold: 50 * time.Millisecond}
		limits.most = 3
		stop := limited(k, limits, l)
		done := make(chan error)
		const many = 12
		for range many {
			go func() {
				friend, ctx := newRemote(dial), soon(t)
				err := friend.Ready(ctx)
				for err != nil && ctx.Err() == nil { // it is told that the custodian is away when its turn doesn't come at once
					err = friend.Ready(ctx)
				}
				friend.http.CloseIdleConnections()
				done <- err
			}()
		}
		for range many {
			check(t, <-done)
		}
		if most := k.most.Load(); most > int64(limits.most) {
			t.Errorf("%d calls at once by %d connections", most, limits.most)
		}
		check(t, stop())
	})
}

// TestCallOutlastsItsRequest: how long a request may take to come doesn't bound how long it takes to be answered, and to stop
// a custodian isn't bounded by either: a call that doesn't end in time is cut off.
func TestCallOutlastsItsRequest(t *testing.T) {
	t.Parallel()
	atDoors(t, func(t *testing.T, l net.Listener, dial, _ func(context.Context) (net.Conn, error)) {
		limits, k := usualLimits, &slow{hold: 6 * time.Second, ended: make(chan error, 1)}
		limits.body, limits.answer, limits.stop = 5*time.Second, 5*time.Second, 10*time.Millisecond
		stop := limited(k, limits, l)
		friend := newRemote(dial)
		check(t, friend.Ready(soon(t)))

		k.hold = 2 * patience
		answered := make(chan error, 1)
		go func() { answered <- friend.Ready(soon(t)) }()
		until(t, "the call", func() bool { return k.inside.Load() == 1 })
		if err := stop(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped: %v", err)
		}
		select {
		case err := <-k.ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the call ended: %v", err)
			}
		case <-soon(t).Done():
			t.Error("the call goes on")
		}
		if err := <-answered; !errors.Is(err, transfer.ErrCustodyAway) {
			t.Errorf("whoever asked was told: %v", err)
		}
	})
}
