//go:build stack

package fabric_test

import (
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/fabric"
	"cardflow/ledger/ledgertest"
)

func TestConformance(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T, _ ...contract.Contract) ledger.Ledger { return open(t, nil) })
}

// open opens a gateway's ledger, the platform's by default, and closes it when the test ends.
func open(t testing.TB, change func(*fabric.Config)) *fabric.Ledger {
	t.Helper()
	config := fabric.StackConfig(t, "", "PlatformMSP")
	if change != nil {
		change(&config)
	}
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
