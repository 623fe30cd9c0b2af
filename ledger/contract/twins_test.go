package contract_test

import (
	"path/filepath"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"
)

// newTwins holds the world against the embedded ledger.
func newTwins(t *testing.T, w *world) ledgertest.Timed {
	return ledgertest.WithClock(ledgertest.NewTwins(t, w, openEmbedded(t, w.Clock)), w.Clock)
}

func openEmbedded(t *testing.T, clock *ledgertest.Clock) ledger.Ledger {
	t.Helper()
	l, err := embedded.Open(embedded.Config{
		Path: filepath.Join(t.TempDir(), "ledger.db"), Channel: channel, Organisation: deployer, Clock: clock.Now,
		Contracts: []contract.Contract{&contract.Identity{Deployer: deployer}, &contract.Ownership{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
