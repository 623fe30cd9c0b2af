package local

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// Loopback is the only address that servers of this package listen on.
const Loopback = "127.0.0.1"

// Address is a port of the loopback.
func Address(port int) string { return net.JoinHostPort(Loopback, strconv.Itoa(port)) }

// FreePorts finds n consecutive free ports and returns the first.
//
// It stays below the range that the kernel takes the ports of outgoing connections from: a server whose port is one of
// those can't come back after a crash while some client happens to sit on it.
func FreePorts(n int) (int, error) {
	const lowest = 10_000
	highest := ephemeral() - n
	if highest <= lowest {
		return 0, fmt.Errorf("no room for %d ports between %d and the kernel's own from %d on", n, lowest, ephemeral())
	}
	for range 200 {
		base := lowest + rand.IntN(highest-lowest)
		if portsFree(base, n) == nil {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d consecutive free ports between %d and %d", n, lowest, highest)
}

// portsFree is nil if nothing holds any of n ports from base on.
func portsFree(base, n int) error {
	for port := base; port < base+n; port++ {
		l, err := net.Listen("tcp", Address(port))
		if err != nil {
			return fmt.Errorf("port %d: %w", port, err)
		}
		l.Close()
	}
	return nil
}

// ephemeral is the lowest port of outgoing connections.
func ephemeral() int {
	var low, high int
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if _, err := fmt.Sscan(string(text), &low, &high); err == nil {
			return low
		}
	}
	return 32_768
}
