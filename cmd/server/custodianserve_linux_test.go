package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSocketOfABusyCustodian: one lives, and so many have come that the next ones aren't even queued. Nobody takes his place.
func TestSocketOfABusyCustodian(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "busy")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	check(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	check(t, errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)))
	for {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	if _, err := listenSocket(path); err == nil {
		t.Error("the socket of one who is busy was taken from him")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}
