package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// idle is a custody of which nothing is asked but whether it is there.
type idle struct{ keeper }

func (idle) Ready(context.Context) error { return nil }

// TestHostilePeers: whoever gets to the custodian's door may stall, or say too much, or what is none of its calls. It costs him
// his own connection, and nobody else an answer.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s")
		l, err := listenSocket(path)
		check(t, err)
		hostilePeers(t, l, bySocket(path), bySocket(path), 100)
	})
	t.Run("tls", func(t *testing.T) {
		t.Parallel()
		ours := newAuthority(t)
		l, err := tlsApp(t, ours.issue(CustodyTLSConfig{Peer: serverName, Listen: "127.0.0.1:0"}, custodianName)).listenTLS()
		check(t, err)
		server := tlsApp(t, ours.issue(CustodyTLSConfig{Peer: custodianName, Connect: l.Addr().String()}, serverName))
		hostilePeers(t, l, server.dialTLS, plainTCP(server), 30)
	})
}

// hostilePeers goes at a door through which bare leads a stranger, and dial whoever belongs there.
func hostilePeers(t *testing.T, l net.Listener, dial, bare func(context.Context) (net.Conn, error), many int) {
	stop := serveCustodian(custodianHandler(idle{}, nil, prometheus.NewRegistry(), slog.New(slog.DiscardHandler), usualLimits), slog.New(slog.DiscardHandler), usualLimits, l)
	friend := newRemote(dial)
	ready := func(while string) {
		t.Helper()
		if err := friend.Ready(soon(t)); err != nil {
			t.Errorf("%s: %v", while, err)
		}
	}
	ready("at first")

	// They say half of something, and wait.
	var stalled []net.Conn
	for what, x := range map[string]struct {
		dial func(context.Context) (net.Conn, error)
		says string
	}{
		"a stranger who says nothing": {bare, ""},
		"half a TLS record":           {bare, "\x16\x03\x01\x40\x00\x01"},
		"nothing":                     {dial, ""},
		"half a line":                 {dial, "POST /1/Rea"},
		"half a head":                 {dial, "POST /1/Ready HTTP/1.1\r\nHost: c\r\nContent-Le"},
		"half a body":                 {dial, "POST /1/Ready HTTP/1.1\r\nHost: c\r\nContent-Length: 100\r\n\r\n{"},
		"a body without end":          {dial, "POST /1/Ready HTTP/1.1\r\nHost: c\r\nContent-Length: 9223372036854775807\r\n\r\n{"},
		"a piece without end":         {dial, "POST /1/Ready HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n{"},
	} {
		for range many {
			c, err := x.dial(soon(t))
			if err != nil {
				continue // on a slow machine the door may have given up waiting for him
			}
			stalled = append(stalled, c)
			_, _ = io.WriteString(c, x.says)
		}
		ready("beside many who say " + what)
	}

	// They say too much, or what is no call, and are told so.
	for what, x := range map[string]struct {
		says   string
		status int
	}{
		"a head without end":     {"POST /1/Ready HTTP/1.1\r\nHost: c\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"more than a call has":   {"POST /1/Ready HTTP/1.1\r\nHost: c\r\nContent-Length: 9000000\r\n\r\n" + strings.Repeat(" ", 9_000_000), http.StatusUnprocessableEntity},
		"what nests for ever":    {"POST /1/Keys HTTP/1.1\r\nHost: c\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("[", 1_000_000), http.StatusUnprocessableEntity},
		"no arguments":           {"POST /1/Ready HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\n\r\n", http.StatusUnprocessableEntity},
		"a negative length":      {"POST /1/Ready HTTP/1.1\r\nHost: c\r\nContent-Length: -1\r\n\r\n", http.StatusBadRequest},
		"two lengths":            {"POST /1/Ready HTTP/1.1\r\nHost: c\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", http.StatusBadRequest},
		"no call":                {"POST /1/Scalar HTTP/1.1\r\nHost: c\r\nContent-Length: 2\r\n\r\n{}", http.StatusUnprocessableEntity},
		"a call of no version":   {"POST /2/Ready HTTP/1.1\r\nHost: c\r\nContent-Length: 2\r\n\r\n{}", http.StatusNotFound},
		"a look instead of call": {"GET /1/Ready HTTP/1.1\r\nHost: c\r\n\r\n", http.StatusMethodNotAllowed},
		"no HTTP":                {"hello\r\n\r\n", http.StatusBadRequest},
	} {
		c, err := dial(soon(t))
		check(t, err)
		go func() { _, _ = io.WriteString(c, x.says) }() // it may be cut short
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if r.StatusCode != x.status {
			t.Errorf("%s: status %d, want %d", what, r.StatusCode, x.status)
		}
		_ = c.Close()
		ready("after " + what)
	}

	for _, c := range stalled {
		_ = c.Close()
	}
	friend.http.CloseIdleConnections()
	check(t, stop())
}

// TestSocketIsTakenOverFromTheDead: of a custodian that was killed, and of nobody else.
func TestSocketIsTakenOverFromTheDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }

	first, err := listenSocket(in("s"))
	check(t, err)
	if _, err := listenSocket(in("s")); err == nil || !strings.Contains(err.Error(), "runs there") {
		t.Errorf("where one runs: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as SIGKILL leaves it
	check(t, first.Close())
	second, err := listenSocket(in("s"))
	check(t, err)
	if info, err := os.Stat(in("s")); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("whoever may open it: %v, %v", info.Mode(), err)
	}
	check(t, second.Close())

	check(t, os.WriteFile(in("file"), nil, 0o600))
	if _, err := listenSocket(in("file")); err == nil {
		t.Error("a file that is no socket was removed")
	}
}
