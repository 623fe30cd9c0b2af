package embedded_test

import (
	"path/filepath"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"
)

func TestConformance(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T, contracts ...contract.Contract) ledger.Ledger {
		return open(t, embedded.Config{Contracts: contracts})
	})
}

// open opens a ledger, by default a new one with the probes, and closes it when the test ends.
func open(t testing.TB, config embedded.Config) *embedded.Ledger {
	t.Helper()
	if config.Path == "" {
		config.Path = filepath.Join(t.TempDir(), "ledger.db")
	}
	if config.Contracts == nil {
		config.Contracts = ledgertest.Probes()
	}
	config.Channel, config.Organisation = "cards", "PlatformMSP"
	l, err := embedded.Open(config)
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
