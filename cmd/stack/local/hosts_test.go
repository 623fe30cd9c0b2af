//go:build stack

package local_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cardflow/cmd/stack/local"
)

// files are all files under a folder, by their slash path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	fsys := os.DirFS(dir)
	ok(t, fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		all[name] = string(text)
		return err
	}))
	return all
}

// vouched demands that a certificate is good for a host, by an authority, and that the key is its.
func vouched(t *testing.T, host, cert, key, ca string) {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Errorf("%s: %v", host, err)
		return
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		t.Errorf("%s has no authority", host)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
		t.Errorf("%s: %v", host, err)
	}
}

// TestMakeHosts: every host gets what it needs and nothing that is somebody else's.
func TestMakeHosts(t *testing.T) {
	dir, identities := filepath.Join(t.TempDir(), "material"), t.TempDir()
	config := local.HostsConfig{Dir: dir, Identities: identities, Say: t.Logf}
	if err := local.JoinHosts(late(t), config); !errors.Is(err, local.ErrNoNetwork) {
		t.Errorf("joining nothing: %v", err)
	}
	ok(t, local.MakeHosts(late(t), config))
	got := files(t, identities)

	want := []string{"mysql", "redis", "server"}
	for i := range 3 {
		want = append(want, fmt.Sprintf("orderer%d.orderer.cardflow.example", i))
	}
	packageID := regexp.MustCompile(`^(identity|ownership)_1:[0-9a-f]{64}\n$`)
	for _, org := range []string{"carrier", "platform", "regulator"} {
		peer := "peer0." + org + ".cardflow.example"
		want = append(want, peer)
		for _, contract := range []string{"identity", "ownership"} {
			host := contract + "." + org + ".cardflow.example"
			want = append(want, host)
			if id := got[host+"/package.id"]; !packageID.MatchString(id) || !strings.HasPrefix(id, contract+"_") {
				t.Errorf("%s has the package ID %q", host, id)
			}
			vouched(t, host, got[host+"/server.crt"], got[host+"/server.key"], got[peer+"/tls/ca.crt"])
			if got[host+"/client-ca.crt"] != got[peer+"/tls/ca.crt"] {
				t.Errorf("%s would not know its peer", host)
			}
		}
	}
	hosts := map[string]bool{}
	for name := range got {
		host, _, _ := strings.Cut(name, "/")
		hosts[host] = true
	}
	everybody := slices.Sorted(slices.Values(append(want, "custodian")))
	if have := slices.Sorted(maps.Keys(hosts)); !slices.Equal(have, everybody) {
		t.Fatalf("hosts are\n%v, want\n%v", have, everybody)
	}

	keys := map[string]int{}
	for name, text := range got {
		host, rest, _ := strings.Cut(name, "/")
		if strings.Contains(name, "Admin") || strings.Contains(name, "/ca/") || strings.Contains(rest, "/ca/") {
			t.Errorf("%s has left the folder of all keys", name)
		}
		secret := strings.Contains(text, "PRIVATE KEY")
		if secret {
			keys[host]++
		}
		info, err := os.Stat(filepath.Join(identities, name))
		ok(t, err)
		allowed := os.FileMode(0o600)
		if host == "mysql" || host == "redis" {
			allowed = 0o640 // their own users read them by the group
		}
		if mode := info.Mode().Perm(); secret && mode != allowed {
			t.Errorf("%s has mode %s, want %s", name, mode, allowed)
		}
	}
	for _, host := range want {
		n := 1
		if strings.HasPrefix(host, "peer0") || strings.HasPrefix(host, "orderer") {
			n = 2 // it signs with one and speaks TLS with the other
			vouched(t, host, got[host+"/tls/server.crt"], got[host+"/tls/server.key"], got[host+"/tls/ca.crt"])
		}
		if keys[host] != n {
			t.Errorf("%s has %d keys, want %d", host, keys[host], n)
		}
	}
	// The custodian knows MySQL's certificate, and has no key: it has nothing to do with the ledger.
	if keys["custodian"] != 0 || got["custodian/mysql-ca.pem"] != got["server/mysql-ca.pem"] {
		t.Errorf("the custodian has %d keys, and the certificate %q", keys["custodian"], got["custodian/mysql-ca.pem"])
	}
	for _, host := range []string{"mysql", "redis"} {
		vouched(t, host, got[host+"/server.pem"], got[host+"/server.key"], got["server/"+host+"-ca.pem"])
	}
	for _, match := range regexp.MustCompile(`tlsCACerts: \{path: ([^}]+)\}`).FindAllStringSubmatch(got["server/connection.yaml"], -1) {
		if got["server/"+match[1]] == "" {
			t.Errorf("the server's profile leads to %s, which it has not got", match[1])
		}
	}
	if pair, err := tls.X509KeyPair([]byte(got["server/user1-cert.pem"]), []byte(got["server/user1-key.pem"])); err != nil || pair.Leaf.Subject.CommonName != "User1@platform.cardflow.example" {
		t.Errorf("the server's identity is %v, %v", pair.Leaf, err)
	}
	genesis, err := os.ReadFile(filepath.Join(dir, "config", "cardflow.block"))
	ok(t, err)
	for _, host := range want {
		if (strings.HasPrefix(host, "peer0") || strings.HasPrefix(host, "orderer")) && !bytes.Contains(genesis, []byte(host)) {
			t.Errorf("the genesis block does not know %s", host)
		}
	}

	// Again: what was lost comes back, the same as it was; nothing else changes.
	all := files(t, dir)
	lost := filepath.Join(identities, "peer0.carrier.cardflow.example")
	ok(t, os.RemoveAll(lost))
	ok(t, os.WriteFile(filepath.Join(identities, "orderer0.orderer.cardflow.example", "orderer.yaml"), []byte("old"), 0o600))
	ok(t, local.MakeHosts(late(t), config))
	if now := files(t, identities); !maps.Equal(now, got) {
		t.Error("the second time the hosts got something else")
	}
	if now := files(t, dir); !maps.Equal(now, all) {
		t.Error("the second time the network became another")
	}

	// And what can't be meant.
	other := config
	other.Endorsement = local.ThreeOfThree
	if err := local.MakeHosts(late(t), other); err == nil || !strings.Contains(err.Error(), "2-of-3") {
		t.Errorf("another policy: %v", err)
	}
	if _, err := local.StartFabric(late(t), local.FabricConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "hosts of their own") {
		t.Errorf("starting it here: %v", err)
	}
	if _, err := local.OpenFabric(dir); err == nil {
		t.Error("it was opened as a network of this machine")
	}
	ok(t, local.RemoveFabric(late(t), dir))
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a removed network leaves its folder: %v", err)
	}
}

// TestJoinHosts: whoever joins a network may be stopped after any step. The next try goes on from there, and one too many
// changes nothing.
func TestJoinHosts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "network")
	t.Cleanup(func() {
		if err := local.StopTree(dir, 0); err != nil {
			t.Error(err)
		}
	})
	f, err := local.Unjoined(late(t), dir, t.Logf)
	if err != nil {
		t.Fatalf("%v; logs: %s", err, logs(dir))
	}
	done := func() string {
		text, _ := os.ReadFile(filepath.Join(dir, "log", "commands.log"))
		return string(text)
	}
	for _, step := range []string{"osnadmin channel join", "peer channel join", "lifecycle chaincode install", "lifecycle chaincode approveformyorg"} {
		ctx, cancel := context.WithCancelCause(late(t))
		stopped := errors.New("stopped after " + step)
		go func() {
			if local.Wait(ctx, func() error {
				if !strings.Contains(done(), step) {
					return errors.New("not yet")
				}
				return nil
			}) == nil {
				cancel(stopped)
			}
		}()
		err := f.Join(ctx, t.Logf)
		if err == nil {
			t.Fatalf("it was not %v", stopped)
		}
		cancel(nil)
	}
	if err := f.Join(late(t), t.Logf); err != nil {
		t.Fatalf("%v; logs: %s", err, logs(dir))
	}
	heights := func() (all []uint64) {
		for _, peer := range []string{carrierPeer, platformPeer, regulatorPeer} {
			n, err := f.Height(late(t), peer)
			ok(t, err)
			all = append(all, n)
		}
		return all
	}
	before, said := heights(), len(done())
	ok(t, f.Join(late(t), t.Logf))
	if after := heights(); !slices.Equal(after, before) || slices.Max(before) != slices.Min(before) {
		t.Errorf("the peers had %v blocks and have %v", before, after)
	}
	for _, step := range []string{"osnadmin channel join", "peer channel join", "chaincode install", "approveformyorg", "chaincode commit"} {
		if strings.Contains(done()[said:], step) {
			t.Errorf("%s was done again", step)
		}
	}
}
