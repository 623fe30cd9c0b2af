//go:build stack

package fabric_test

import (
	"strings"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/fabric"
	"cardflow/ledger/ledgertest"
	"cardflow/ledger/request"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, func(t *testing.T, _ ...contract.Contract) ledger.Ledger {
		return open(t, fabric.StackConfig(t, "", "PlatformMSP"))
	})
}

// TestSkewedClock: the peers turn down what is stamped minutes away from their own clocks, whichever way. Nothing is sent.
func TestSkewedClock(t *testing.T) {
	for _, skew := range []time.Duration{-3 * time.Minute, 3 * time.Minute} {
		config := fabric.StackConfig(t, "", "PlatformMSP")
		config.Clock = func() time.Time { return time.Now().Add(skew) }
		l := open(t, config)
		p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Put("skewed", "1")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Submit(t.Context(), p, nil, func() error { t.Error("it is about to be sent"); return nil })
		if ledger.ClassOf(err) != ledger.NotSent || !strings.Contains(err.Error(), "timestamp") {
			t.Errorf("%s: %v", skew, err)
		}
	}
}

func TestReady(t *testing.T) {
	config := fabric.StackConfig(t, "", "PlatformMSP")
	if err := ready(t, open(t, config)); err != nil {
		t.Errorf("without contracts: %v", err)
	}
	config.Contracts = []string{request.Identity, request.Ownership}
	if err := ready(t, open(t, config)); err != nil {
		t.Errorf("the contracts: %v", err)
	}
	config.Contracts = []string{"no-such-contract"}
	if err := ready(t, open(t, config)); err == nil || !strings.Contains(err.Error(), "LEDGER_ENDORSERS") || !strings.Contains(err.Error(), "no-such-contract") {
		t.Errorf("one that isn't there: %v", err)
	}
}

// ready asks when the ledger has had time to find its peers.
func ready(t *testing.T, l ledger.Ledger) error {
	t.Helper()
	if _, err := l.Height(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l.Ready(t.Context())
}

// open opens a ledger, and closes it when the test ends.
func open(t testing.TB, config fabric.Config) *fabric.Ledger {
	t.Helper()
	l, err := fabric.Open(config)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}
