//go:build crash

package main

import (
	"net"
	"sync"
	"testing"
)

// cable lies between a server and something that it needs, and can be cut in two ways. Broken, it ends every connection and
// lets none be made. Silent, it says nothing to either side: what was sent waits, as it does in a network that drops
// packets, and arrives if the cable is mended before anyone has given up.
type cable struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu     sync.Mutex
	broken bool
	quiet  chan struct{} // closed when the cable is mended; nil if it isn't silent
	conns  map[net.Conn]bool
}

// newCable lays a cable to an address. It is taken away when the test ends.
func newCable(t testing.TB, to string) *cable {
	t.Helper()
	c := &cable{to: to, conns: map[net.Conn]bool{}}
	var err error
	if c.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	c.all.Go(c.accept)
	t.Cleanup(func() {
		_ = c.listener.Close()
		c.mend()
		c.breaks()
		c.all.Wait()
	})
	return c
}

func (c *cable) addr() string { return c.listener.Addr().String() }

func (c *cable) breaks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = true
	for conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset
		}
		_ = conn.Close()
	}
}

func (c *cable) falls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = false
	if c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
}

func (c *cable) accept() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.all.Go(func() { c.carry(conn) })
	}
}

// keep remembers a connection that breaks has to end, unless the cable is broken.
func (c *cable) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.broken {
		c.conns[conn] = true
	}
	return !c.broken
}

func (c *cable) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	_ = conn.Close()
}

// heard waits as long as the cable is silent.
func (c *cable) heard() {
	c.mu.Lock()
	quiet := c.quiet
	c.mu.Unlock()
	if quiet != nil {
		<-quiet
	}
}

func (c *cable) carry(client net.Conn) {
	defer c.drop(client)
	if !c.keep(client) {
		return
	}
	c.heard()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer c.drop(server)
	if !c.keep(server) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			defer way[0].Close()
			defer way[1].Close()
			buffer := make([]byte, 64<<10)
			for {
				n, err := way[0].Read(buffer)
				c.heard()
				if _, e := way[1].Write(buffer[:n]); err != nil || e != nil {
					return
				}
			}
		})
	}
	both.Wait()
}
