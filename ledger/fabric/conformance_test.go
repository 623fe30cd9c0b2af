//go:build stack

package fabric_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/fabric"
	"cardflow/ledger/ledgertest"
)

func TestConformance(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T, _ ...contract.Contract) ledger.Ledger { return open(t, fabric.Config{}) })
}

// open opens a ledger on the network of CARDFLOW_TEST_FABRIC, and closes it when the test ends.
func open(t testing.TB, config fabric.Config) *fabric.Ledger {
	t.Helper()
	dir := os.Getenv("CARDFLOW_TEST_FABRIC")
	if config.MSPID == "" {
		config.MSPID = "PlatformMSP"
	}
	domain := strings.ToLower(strings.TrimSuffix(config.MSPID, "MSP")) + ".cardflow.example"
	user := filepath.Join(dir, "crypto/peerOrganizations", domain, "users/User1@"+domain, "msp")
	config.Profile, config.Channel = filepath.Join(dir, "connection.yaml"), "cardflow"
	config.Certificate, config.Key = one(t, user, "signcerts/*.pem"), one(t, user, "keystore/*_sk")
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
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

func one(t testing.TB, dir, pattern string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(list) != 1 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, list, err)
	}
	return list[0]
}
