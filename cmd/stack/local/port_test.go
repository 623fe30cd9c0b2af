package local_test

import (
	"net"
	"testing"

	"cardflow/cmd/stack/local"
)

func TestFreePorts(t *testing.T) {
	base, err := local.FreePorts(30)
	if err != nil {
		t.Fatal(err)
	}
	for port := base; port < base+30; port++ {
		l, err := net.Listen("tcp", local.Address(port))
		if err != nil {
			t.Fatalf("port %d: %v", port, err)
		}
		defer l.Close()
	}
	// What the kernel gives an outgoing connection must lie beyond: ask it for one.
	l, err := net.Listen("tcp", local.Address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if given := l.Addr().(*net.TCPAddr).Port; base+30 > given && given > base {
		t.Errorf("ports from %d are among those of outgoing connections (%d)", base, given)
	}
	if _, err := local.FreePorts(60_000); err == nil {
		t.Error("60,000 free ports were found")
	}
}
