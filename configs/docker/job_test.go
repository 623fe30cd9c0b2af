//go:build stack

package docker_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
	"cardflow/configs/docker"
)

// TestHandedOut: the job fills exactly the volumes that the deployment gives it, and in each service's there is every file
// that it is told of.
func TestHandedOut(t *testing.T) {
	material, identities := filepath.Join(t.TempDir(), "material"), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // Fabric may have to be built
	defer cancel()
	if err := local.MakeHosts(ctx, local.HostsConfig{Dir: material, Identities: identities, Say: t.Logf}); err != nil {
		t.Fatal(err)
	}
	p := load(t, docker.Required())
	hosts := map[string]string{} // volume → host
	for _, v := range p.Services["material"].Volumes {
		if host, ok := strings.CutPrefix(v.Target, "/identities/"); ok {
			hosts[v.Source] = host
		}
	}
	entries, err := os.ReadDir(identities)
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, e := range entries {
		made = append(made, e.Name())
	}
	if want := slices.Sorted(maps.Values(hosts)); !slices.Equal(made, want) {
		t.Fatalf("the job makes\n%v, the volumes are\n%v", made, want)
	}

	// Beside what the service itself is told: what its configuration says.
	configs := map[string]string{
		"server": read(t, "configs", "production.yaml"), "mysql": read(t, "configs", "docker", "mysql.cnf"), "redis": read(t, "configs", "docker", "redis.conf"),
	}
	for name, s := range p.Services {
		if name == "material" {
			continue
		}
		for _, v := range s.Volumes {
			host, ok := hosts[v.Source]
			if !ok {
				continue
			}
			told := regexp.MustCompile(regexp.QuoteMeta(v.Target)+`/([\w./-]+\w)`).FindAllStringSubmatch(said(s)+"\n"+configs[name], -1)
			if docker.Ours(s) == "peer" || docker.Ours(s) == "orderer" {
				told = append(told, []string{"", "msp/config.yaml"}, []string{"", "tls/server.key"}, []string{"", map[string]string{"peer": "core.yaml", "orderer": "orderer.yaml"}[docker.Ours(s)]})
			}
			if len(told) == 0 {
				t.Errorf("%s has %s and is told of nothing in it", name, v.Source)
			}
			for _, match := range told {
				if _, err := os.Stat(filepath.Join(identities, host, match[1])); err != nil {
					t.Errorf("%s is told of %s/%s: %v", name, v.Target, match[1], err)
				}
			}
		}
	}

	// Each peer is told to look for its servers of the contracts where they are.
	for _, org := range organisations {
		for _, contract := range []string{"identity", "ownership"} {
			s := p.Services[contract+"-"+org]
			_, port, _ := strings.Cut(*s.Environment["CHAINCODE_SERVER_ADDRESS"], ":")
			file := filepath.Join(material, "chaincode", org+".cardflow.example", contract+"_1.tgz")
			if got, want := address(t, file), s.Networks[org].Aliases[0]+":"+port; got != want {
				t.Errorf("%s's peer looks for %s at %s, and it is at %s", org, contract, got, want)
			}
		}
	}
}

// address is where a chaincode package says that its server is.
func address(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"code.tar.gz", "connection.json"} {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for archive := tar.NewReader(z); ; {
			h, err := archive.Next()
			if err != nil {
				t.Fatalf("%s in %s: %v", name, file, err)
			}
			if h.Name != name {
				continue
			}
			if text, err = io.ReadAll(archive); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	var connection struct{ Address string }
	if err := json.Unmarshal(text, &connection); err != nil {
		t.Fatal(err)
	}
	return connection.Address
}
