// Package local runs private servers on this machine's loopback, for whoever tries CardFlow on real engines and for its
// tests: a Fabric network, and what else a test names. No containers, no privileges, nothing shared with servers that
// run here already.
//
// Its promise is about what is left behind. Everything of a set of servers lies under one folder: data, keys, logs, and a
// record of each process. Whoever has the folder can ask, kill and stop them, in whatever process he is; stopping goes by
// the records, so that it also works after the one who started them has died. Nothing listens anywhere but on 127.0.0.1.
package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Wait asks again and again until ready answers nil or ctx ends; then the error is ready's last one.
func Wait(ctx context.Context, ready func() error) error {
	return waitEvery(ctx, 25*time.Millisecond, ready)
}

func waitEvery(ctx context.Context, between time.Duration, ready func() error) error {
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
}

// Listening is nil if something accepts connections at an address.
func Listening(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return fmt.Errorf("nothing listens on %s yet: %w", address, err)
	}
	return conn.Close()
}

// Root is the folder of CardFlow's source, found from the working directory upwards. Definitions of networks are read
// from there and programs are built from there.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module cardflow\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not in CardFlow's source folder: run this from there", start)
		}
	}
}

// tail returns the last lines of a log, for the error of a server that did not come up.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
