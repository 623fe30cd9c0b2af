package pack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"testing"

	"cardflow/cmd/chaincode/pack"
)

func connection() pack.Connection {
	return pack.Connection{Address: "127.0.0.1:9999", Host: "identity.example", RootCA: []byte("root"), ClientCert: []byte("cert"), ClientKey: []byte("key")}
}

// files opens an archive.
func files(t *testing.T, text []byte) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if all[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChaincode(t *testing.T) {
	text, id, err := pack.Chaincode("identity_1", connection())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if id != "identity_1:"+hex.EncodeToString(sum[:]) {
		t.Errorf("ID is %s", id)
	}
	again, same, err := pack.Chaincode("identity_1", connection())
	if err != nil || !bytes.Equal(text, again) || same != id {
		t.Errorf("a second time it is another package: %v", err)
	}
	outer := files(t, text)
	if got := string(outer["metadata.json"]); got != `{"type":"ccaas","label":"identity_1"}` || len(outer) != 2 {
		t.Errorf("metadata is %s, of %d files", got, len(outer))
	}
	inner := files(t, outer["code.tar.gz"])
	var got map[string]any
	if err := json.Unmarshal(inner["connection.json"], &got); err != nil || len(inner) != 1 {
		t.Fatalf("%v, of %d files", err, len(inner))
	}
	for field, want := range map[string]any{
		"address": "127.0.0.1:9999", "domain": "identity.example", "dial_timeout": "10s", "tls_required": true,
		"client_auth_required": true, "root_cert": "root", "client_cert": "cert", "client_key": "key",
	} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}

	plain := pack.Connection{Address: "identity.example:9999", RootCA: []byte("root")}
	if text, _, err = pack.Chaincode("identity_1", plain); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(files(t, files(t, text)["code.tar.gz"])["connection.json"], &got); err != nil {
		t.Fatal(err)
	}
	if got["client_auth_required"] != false || got["domain"] != "identity.example" || got["tls_required"] != true {
		t.Errorf("without a client certificate: %v", got)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		label string
		spoil func(*pack.Connection)
	}{
		"no label":          {"", func(*pack.Connection) {}},
		"label with a path": {"../identity", func(*pack.Connection) {}},
		"label with colon":  {"identity:1", func(*pack.Connection) {}},
		"no port":           {"identity_1", func(c *pack.Connection) { c.Address = "host" }},
		"no root":           {"identity_1", func(c *pack.Connection) { c.RootCA = nil }},
		"cert without key":  {"identity_1", func(c *pack.Connection) { c.ClientKey = nil }},
		"key without cert":  {"identity_1", func(c *pack.Connection) { c.ClientCert = nil }},
	} {
		conn := connection()
		c.spoil(&conn)
		if _, _, err := pack.Chaincode(c.label, conn); err == nil {
			t.Errorf("%s: it was packed", name)
		}
	}
}
