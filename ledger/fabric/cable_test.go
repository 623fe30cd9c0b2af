//go:build stack

package fabric

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
	"cardflow/ledger"
	"cardflow/ledger/ledgertest"
)

// cable is what a server is reached through. It can be cut, or let one direction through only, without either end hearing
// of it.
type cable struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	state wire
	conns []*strand
	all   sync.WaitGroup
}

// wire says what a cable does with what is sent.
type wire int

const (
	intact   wire = iota
	cut           // nothing arrives
	deafened      // what the server answers does not arrive
)

// strand is a connection through a cable. One that has been cut stays dead, though nobody hangs up.
type strand struct {
	client, server net.Conn
	dead           bool
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", local.Address(0))
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: listener, to: to}
	c.all.Go(c.accept)
	t.Cleanup(func() {
		listener.Close()
		c.mu.Lock()
		for _, conn := range c.conns {
			conn.client.Close()
			conn.server.Close()
		}
		c.mu.Unlock()
		c.all.Wait()
	})
	return c
}

func (c *cable) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.to)
		if err != nil {
			client.Close()
			continue
		}
		c.mu.Lock()
		conn := &strand{client, server, c.state == cut}
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
		c.all.Go(func() { c.carry(conn, client, server, false) })
		c.all.Go(func() { c.carry(conn, server, client, true) })
	}
}

// carry copies one direction.
func (c *cable) carry(conn *strand, from, to net.Conn, answers bool) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		c.mu.Lock()
		lost := conn.dead || answers && c.state == deafened
		conn.dead = conn.dead || lost // half a record lost, and TLS makes no sense of the rest
		c.mu.Unlock()
		if lost {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}

// set makes a cable do something from now on.
func (c *cable) set(state wire) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
	if state == cut {
		for _, conn := range c.conns {
			conn.dead = true
		}
	}
}

// cables are those of a ledger.
type cables struct{ peers, orderers []*cable }

func (c cables) set(state wire, of ...[]*cable) {
	for _, list := range of {
		for _, each := range list {
			each.set(state)
		}
	}
}

// newCabled opens a ledger that reaches the private network through cables.
func newCabled(t *testing.T, set func(*Ledger)) (*outage, cables) {
	t.Helper()
	network := PrivateNetwork(t)
	text, err := os.ReadFile(network.Profile())
	if err != nil {
		t.Fatal(err)
	}
	profile := string(text)
	var c cables
	for _, s := range network.Servers() {
		if s.Kind == local.KindChaincode {
			continue
		}
		each := newCable(t, local.Address(s.Port))
		if !strings.Contains(profile, each.to) {
			t.Fatalf("%s is not in the profile", each.to)
		}
		profile = strings.ReplaceAll(profile, each.to, each.listener.Addr().String())
		if s.Kind == local.KindPeer {
			c.peers = append(c.peers, each)
		} else {
			c.orderers = append(c.orderers, each)
		}
	}
	// Its paths are relative to where it stood.
	profile = strings.ReplaceAll(profile, "path: crypto-config/", "path: "+network.Dir()+"/crypto-config/")
	file := filepath.Join(t.TempDir(), "connection.yaml")
	write(t, file, []byte(profile))
	return outageOn(t, file, set), c
}

// TestNetworkCut: everything is gone, and nobody hangs up. Nothing is sent; and when there is a way again, it is found, though
// the connections that there were stay dead for ever.
func TestNetworkCut(t *testing.T) {
	o, c := newCabled(t, func(l *Ledger) {
		l.config.EndorseTimeout, l.config.QueryTimeout, l.config.BroadcastTimeout = 2*time.Second, 2*time.Second, time.Second
		l.quiet = 200 * time.Millisecond
	})
	f := o.follow(0)
	p := o.write(o.key("k"))
	c.set(cut, c.peers, c.orderers)
	if _, sent, err := o.submit(p); sent || ledger.ClassOf(err) != ledger.NotSent {
		t.Errorf("a write: %t, %v", sent, err)
	}
	if _, err := o.Query(t.Context(), ledgertest.Outer, ledgertest.Script); ledger.ClassOf(err) != ledger.NotSent {
		t.Errorf("a query: %v", err)
	}
	if err := o.Ready(t.Context()); err == nil {
		t.Error("it is ready")
	}
	c.set(intact, c.peers, c.orderers)
	o.eventually("ready again", func() error { return o.Ready(t.Context()) })
	tx, err := o.insist(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	o.caughtUp(f, tx.BlockNumber)
}

// TestOrderersSilent: they are connected and say nothing. Whether they have it nobody knows; the same proposal, sent again
// when they answer, is valid once.
func TestOrderersSilent(t *testing.T) {
	o, c := newCabled(t, func(l *Ledger) {
		l.config.BroadcastTimeout, l.config.CommitTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	f := o.follow(0)
	if _, err := o.insist(t.Context(), o.write(o.key("before"))); err != nil { // so that there are connections
		t.Fatal(err)
	}
	c.set(cut, c.orderers)
	p := o.write(o.key("k"))
	_, sent, err := o.submit(p)
	if class := ledger.ClassOf(err); !sent || class != ledger.Unknown && class != ledger.NotSent {
		t.Fatalf("%t, %v", sent, err)
	}
	if _, err := o.Transaction(t.Context(), p.TxID); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("what no orderer has: %v", err)
	}
	c.set(intact, c.orderers)
	tx, err := o.insist(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	o.caughtUp(f, tx.BlockNumber)
	if n := f.seen[p.TxID]; n != 1 {
		t.Errorf("it is valid %d times", n)
	}
}

// TestAnswersLost: the orderers have it, and their answers get lost. The block says what they could not.
func TestAnswersLost(t *testing.T) {
	o, c := newCabled(t, func(l *Ledger) { l.config.BroadcastTimeout = 300 * time.Millisecond })
	f := o.follow(0)
	for i := range c.orderers { // a connection to each
		if _, err := o.insist(t.Context(), o.write(o.key(fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	p := o.write(o.key("k"))
	commit, err := o.Submit(t.Context(), p, nil, func() error { c.set(deafened, c.orderers); return nil })
	if err != nil {
		t.Fatalf("its block came, and yet: %v", err)
	}
	c.set(intact, c.orderers)
	o.caughtUp(f, commit.BlockNumber)
	tx, err := o.insist(t.Context(), o.write(o.key("after")))
	if err != nil {
		t.Fatal(err)
	}
	o.caughtUp(f, tx.BlockNumber)
	if n := f.seen[p.TxID]; n != 1 {
		t.Errorf("it is valid %d times", n)
	}
}

// TestBlocksUnheard: the orderers have it and say so, and no peer's word comes through. It is unknown until one does.
func TestBlocksUnheard(t *testing.T) {
	o, c := newCabled(t, func(l *Ledger) {
		l.config.CommitTimeout, l.config.QueryTimeout, l.quiet = 500*time.Millisecond, time.Second, 200*time.Millisecond
	})
	p := o.write(o.key("k"))
	_, err := o.Submit(t.Context(), p, nil, func() error { c.set(cut, c.peers); return nil })
	if ledger.ClassOf(err) != ledger.Unknown {
		t.Fatalf("nobody could tell: %v", err)
	}
	c.set(intact, c.peers)
	o.eventually("it is found", func() error {
		tx, err := o.Transaction(t.Context(), p.TxID)
		if err == nil && tx.Validation != ledger.Valid {
			t.Errorf("it is %s", tx.Validation)
		}
		return err
	})
}
