//go:build stack

package fabric

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// StackConfig is the configuration of an organisation's gateway on the network in a folder; of CARDFLOW_TEST_FABRIC if
// that is "".
func StackConfig(t testing.TB, dir, msp string) Config {
	t.Helper()
	if dir == "" {
		if dir = os.Getenv("CARDFLOW_TEST_FABRIC"); dir == "" {
			t.Fatal("CARDFLOW_TEST_FABRIC names no network: run this with bin/stack run")
		}
	}
	domain := strings.ToLower(strings.TrimSuffix(msp, "MSP")) + ".cardflow.example"
	user := filepath.Join(dir, "crypto-config/peerOrganizations", domain, "users/User1@"+domain, "msp")
	return Config{
		Profile: filepath.Join(dir, "connection.yaml"), Channel: "cardflow", MSPID: msp,
		Certificate: theFile(t, user, "signcerts/*.pem"), Key: theFile(t, user, "keystore/*_sk"),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func theFile(t testing.TB, dir, pattern string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(list) != 1 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, list, err)
	}
	return list[0]
}
