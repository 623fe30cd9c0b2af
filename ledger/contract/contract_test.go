package contract_test

import (
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/ledgertest"
)

func TestContracts(t *testing.T) {
	ledgertest.RunContracts(t, func(*testing.T) ledger.Ledger { return newWorld() })
}
