package local_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardflow/cmd/stack/local"
)

// configs is the folder of the network's definition.
func configs(t *testing.T) string {
	t.Helper()
	root, err := local.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "configs", "fabric")
}

// TestFilesOfANetwork: what operators get in configs/fabric is what runs here, with other addresses.
func TestFilesOfANetwork(t *testing.T) {
	dir, source := t.TempDir(), configs(t)
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := local.WriteFiles(dir, 12_000, filepath.Join(source, "configtx.yaml"), filepath.Join(source, "connection.yaml")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ has, hasNot []string }{
		"config/configtx.yaml": {
			[]string{"BatchTimeout: 123ms", "- 127.0.0.1:12000", "- 127.0.0.1:12020", "Port: 12030", "Port: 12050", "MSPDir: " + dir + "/crypto-config/"},
			[]string{"7050", "7051", "MSPDir: crypto", "200ms"},
		},
		"connection.yaml": {
			[]string{"url: 127.0.0.1:12000", "url: 127.0.0.1:12020", "url: 127.0.0.1:12040", "path: crypto-config/peerOrganizations/carrier"},
			[]string{"7050", "7051", dir},
		},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.has {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		for _, odd := range c.hasNot {
			if strings.Contains(string(text), odd) {
				t.Errorf("%s has %q", name, odd)
			}
		}
	}

	// A definition that has lost a node would start, and fail much later.
	for _, name := range []string{"configtx.yaml", "connection.yaml"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{"configtx.yaml": filepath.Join(source, "configtx.yaml"), "connection.yaml": filepath.Join(source, "connection.yaml")}
		files[name] = filepath.Join(dir, name)
		spoilt := bytes.ReplaceAll(text, []byte("peer0.regulator.cardflow.example"), []byte("peer1.regulator.cardflow.example"))
		if err := os.WriteFile(files[name], spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := local.WriteFiles(dir, 12_000, files["configtx.yaml"], files["connection.yaml"]); err == nil {
			t.Errorf("%s without a peer was taken", name)
		}
	}
}

func TestEndorsement(t *testing.T) {
	for e, want := range map[local.Endorsement]string{
		local.TwoOfThree:   "AND('CarrierMSP.peer', OR('PlatformMSP.peer','RegulatorMSP.peer'))",
		local.ThreeOfThree: "AND('CarrierMSP.peer','PlatformMSP.peer','RegulatorMSP.peer')",
	} {
		if got, err := e.Policy(); err != nil || got != want {
			t.Errorf("%s is %s, %v", e, got, err)
		}
	}
	if _, err := local.Endorsement("1-of-3").Policy(); err == nil {
		t.Error("1-of-3 is a policy")
	}
}

func TestFindMetric(t *testing.T) {
	text := "# HELP x y\nheight{channel=\"other\"} 3\nheight{channel=\"cardflow\"} 1.2e+01\nheight_all 9\n"
	for begin, want := range map[string]float64{`height{channel="cardflow"} `: 12, `height{channel="other"} `: 3, "none ": 0} {
		if got, err := local.FindMetric(strings.NewReader(text), begin); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", begin, got, err, want)
		}
	}
	if _, err := local.FindMetric(strings.NewReader("height much\n"), "height "); err == nil {
		t.Error("a number that is none was read")
	}
}

// TestClaim: the folder of a network is emptied when the network goes, so it has to be a network's.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // an empty one, and then one that is a network's
		if err := local.Claim(dir); err != nil {
			t.Fatal(err)
		}
	}
	home := t.TempDir()
	thesis := filepath.Join(home, "bin", "thesis")
	if err := os.MkdirAll(filepath.Dir(thesis), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(thesis, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := local.Claim(home); err == nil {
		t.Error("somebody's home became a network's folder")
	}
	if err := local.RemoveFabric(t.Context(), home); err == nil {
		t.Error("somebody's home was removed as a network")
	}
	if err := local.StopFabric(t.Context(), home); err == nil {
		t.Error("somebody's home was stopped as a network")
	}
	if entries, err := os.ReadDir(home); err != nil || len(entries) != 1 {
		t.Errorf("in the home are %v, %v", entries, err)
	}
	if _, err := os.Stat(thesis); err != nil {
		t.Error(err)
	}
	if _, err := local.StartFabric(t.Context(), local.FabricConfig{Dir: home}); err == nil {
		t.Error("a network started in somebody's home")
	}
}
