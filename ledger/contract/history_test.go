package contract_test

import (
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/ledgertest"
)

// TestHistories plays many histories on the world: the rules themselves.
func TestHistories(t *testing.T) {
	ledgertest.RunHistories(t, 6, 300, func(*testing.T) ledger.Ledger { return newWorld() })
}

// TestHistoriesOnTwins plays few on the world and the embedded ledger side by side: the same proposals have to leave the
// same state, the same verdicts and the same answers.
func TestHistoriesOnTwins(t *testing.T) {
	ledgertest.RunHistories(t, 2, 300, func(t *testing.T) ledger.Ledger { return newTwins(t, newWorld()) })
}
