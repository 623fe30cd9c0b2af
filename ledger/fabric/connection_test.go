package fabric

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// TestConnections: what the SDK's own cache gets wrong.
func TestConnections(t *testing.T) {
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := listener.Addr().String()
	serve := func(l net.Listener) *grpc.Server {
		s := grpc.NewServer()
		go s.Serve(l)
		return s
	}
	server := serve(listener)
	c := newConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	// One connection for everybody, whoever asks first, and whoever leaves.
	var all sync.WaitGroup
	conns := make([]*grpc.ClientConn, 16)
	for i := range conns {
		all.Go(func() {
			ctx, cancel := context.WithCancel(ctx)
			if i%2 == 1 {
				cancel() // before there is a connection: it must not take it from the others
			}
			defer cancel()
			conns[i], _ = c.DialContext(ctx, target, plain)
		})
	}
	all.Wait()
	connected := false
	conn, err := c.DialContext(context.WithValue(ctx, dialed{}, &connected), target, plain)
	if err != nil || !connected {
		t.Fatalf("connected %t, %v", connected, err)
	}
	for i, each := range conns {
		if each != nil && each != conn || i%2 == 0 && each == nil {
			t.Errorf("caller %d has another connection, or none", i)
		}
	}
	c.ReleaseConn(conn)
	if conn.GetState() != connectivity.Ready {
		t.Error("it was closed when it was released")
	}

	// The server goes away: an error, soon. It comes back: the same connection, soon.
	server.Stop()
	for conn.GetState() == connectivity.Ready && conn.WaitForStateChange(ctx, connectivity.Ready) {
	}
	connected = false
	if _, err := c.DialContext(context.WithValue(ctx, dialed{}, &connected), target, plain); err == nil || errors.Is(err, context.DeadlineExceeded) || connected {
		t.Errorf("nobody is there: connected %t, %v", connected, err)
	}
	if listener, err = net.Listen("tcp", target); err != nil {
		t.Fatal(err)
	}
	defer serve(listener).Stop()
	for {
		again, err := c.DialContext(ctx, target, plain)
		if err == nil && again == conn {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("it does not come back: %v", err)
		}
	}

	// One that was given up is replaced.
	c.drop(target)
	if again, err := c.DialContext(ctx, target, plain); err != nil || again == conn {
		t.Errorf("after it was given up: %v", err)
	}
	c.drop("nowhere:1")

	// One who accepts and never says a word holds nobody longer than his context.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.DialContext(short, mute.Addr().String(), plain); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that says nothing: %v", err)
	}
	c.close()
	if _, err := c.DialContext(ctx, target, plain); err == nil {
		t.Error("there are connections after the end")
	}
}
