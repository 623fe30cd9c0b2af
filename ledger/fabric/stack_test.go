//go:build stack

package fabric

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
)

// TestMain bounds the random histories, each of whose transactions takes a block, and removes the private network.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set(f.Name, "3"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := removePrivate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// StackConfig is the configuration of an organisation's gateway on the network in a folder; on that of
// CARDFLOW_TEST_FABRIC if it is "".
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

// private is a network that nobody else uses.
var private struct {
	sync.Mutex
	dir     string
	network *local.Fabric
}

// PrivateNetwork is a network of these tests alone, for those that kill its servers, need contracts that nobody has
// initialised, or move clocks: its blocks come fast, and its peers believe almost any time. It is started once.
func PrivateNetwork(t testing.TB) *local.Fabric {
	t.Helper()
	private.Lock()
	defer private.Unlock()
	if private.network != nil {
		return private.network
	}
	var err error
	if private.dir == "" {
		if private.dir, err = os.MkdirTemp("", "cardflow-fabric-"); err != nil {
			t.Fatal(err)
		}
	}
	private.network, err = local.StartFabric(context.Background(), local.FabricConfig{
		Dir: filepath.Join(private.dir, "network"), BatchTimeout: 20 * time.Millisecond, TimeWindow: 20 * 365 * 24 * time.Hour, Probes: true, Tied: true,
		Say: func(format string, args ...any) { t.Logf(format, args...) },
	})
	if err != nil {
		private.network = nil
		t.Fatal(err)
	}
	return private.network
}

func removePrivate() error {
	if private.dir == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if private.network != nil {
		if err := local.RemoveFabric(ctx, private.network.Dir()); err != nil {
			return err
		}
	}
	return os.RemoveAll(private.dir)
}
