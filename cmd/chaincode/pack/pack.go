// Package pack makes the packages by which peers come to know chaincode that runs as a service. There is no code in one: it
// says where the organisation's server is, and by which certificates peer and server know each other.
//
// The same input always makes the same bytes, because a package's ID is a hash of them. The packages of organisations
// differ, and may: what they agree upon is name, version, sequence and policy.
package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
)

// Connection is how a peer reaches the server.
type Connection struct {
	Address string // host:port
	Host    string // the name in the server's certificate; the address' host if ""
	RootCA  []byte // PEM: who vouches for the server's certificate

	// The peer's own certificate and key, PEM, for servers that ask for one. The package is a secret then.
	ClientCert, ClientKey []byte
}

// label is what peers accept.
var label = regexp.MustCompile(`^[[:alnum:]][[:alnum:]_.+-]*$`)

// Chaincode makes a package and its ID, by which the server has to present itself to the peer. The label names it for
// people, and cmd/chaincode takes its part before the first underscore for the contract's name.
func Chaincode(name string, c Connection) (text []byte, id string, err error) {
	if !label.MatchString(name) {
		return nil, "", fmt.Errorf("label %q: letters, digits and _ . + - only", name)
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, "", fmt.Errorf("address: %w", err)
	}
	if c.Host != "" {
		host = c.Host
	}
	if len(c.RootCA) == 0 || (len(c.ClientCert) == 0) != (len(c.ClientKey) == 0) {
		return nil, "", errors.New("a package needs the certificate of the server's CA; client certificate and key come together")
	}
	connection, err := json.MarshalIndent(struct {
		Address     string `json:"address"`
		Domain      string `json:"domain"`
		DialTimeout string `json:"dial_timeout"`
		TLS         bool   `json:"tls_required"`
		ClientAuth  bool   `json:"client_auth_required"`
		ClientKey   string `json:"client_key"`
		ClientCert  string `json:"client_cert"`
		RootCert    string `json:"root_cert"`
	}{c.Address, host, "10s", true, len(c.ClientCert) > 0, string(c.ClientKey), string(c.ClientCert), string(c.RootCA)}, "", "  ")
	if err != nil {
		return nil, "", err
	}
	metadata, err := json.Marshal(struct {
		Type  string `json:"type"`
		Label string `json:"label"`
	}{"ccaas", name})
	if err != nil {
		return nil, "", err
	}
	code, err := archive(file{"connection.json", connection})
	if err != nil {
		return nil, "", err
	}
	if text, err = archive(file{"metadata.json", metadata}, file{"code.tar.gz", code}); err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(text)
	return text, name + ":" + hex.EncodeToString(sum[:]), nil
}

type file struct {
	name string
	text []byte
}

// archive is a .tar.gz without times and owners.
func archive(files ...file) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for _, f := range files {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
