package adapter_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"cardflow/cmd/chaincode/adapter"
	"cardflow/ledger/contract"
)

// authority issues TLS certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ok(t, err)
	cert, err := x509.ParseCertificate(der)
	ok(t, err)
	a := &authority{cert, key, filepath.Join(dir, name+".pem")}
	ok(t, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return a
}

// issue writes the certificate and key of a host.
func (a *authority) issue(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, private.Public(), a.key)
	ok(t, err)
	bits, err := x509.MarshalPKCS8PrivateKey(private)
	ok(t, err)
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	ok(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ok(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bits}), 0o600))
	return cert, key
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freeAddress is an address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestServe is a peer's view of the program: it connects with its certificate and is told which package this is; others
// are turned away; health says how it is; the end comes when it is asked for.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	org, stranger := newAuthority(t, dir, "org"), newAuthority(t, dir, "stranger")
	cert, key := org.issue(t, dir, "identity.example")
	peerCert, peerKey := org.issue(t, dir, "peer0.example")
	otherCert, otherKey := stranger.issue(t, dir, "peer0.elsewhere")
	at, also := freeAddress(t), freeAddress(t)
	args := []string{
		"--id", "script_1:abc", "--address", at, "--also", "other=other_3:def@" + also, "--grace", "1s",
		"--tls-cert", cert, "--tls-key", key, "--client-ca", org.file,
	}
	if status, said := run(soon(t), append([]string{"health"}, args...)...); status != 1 {
		t.Errorf("health before the start: %d, %s", status, said)
	}
	ctx, stop := context.WithCancel(soon(t))
	ended := make(chan string, 1)
	go func() {
		status, said := run(ctx, args...)
		if status != 0 {
			said = "status " + string(rune('0'+status)) + "\n" + said
		}
		ended <- said
	}()
	for {
		status, said := run(soon(t), append([]string{"health"}, args...)...)
		if status == 0 {
			break
		}
		select {
		case said := <-ended:
			t.Fatalf("it has ended: %s", said)
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(said)
		}
	}

	for address, want := range map[string]string{at: "script_1:abc", also: "other_3:def"} {
		got, err := register(t, address, org, "identity.example", peerCert, peerKey)
		if err != nil || got != want {
			t.Errorf("%s presents itself as %q, %v, want %q", address, got, err, want)
		}
	}
	if _, err := register(t, at, org, "identity.example", otherCert, otherKey); err == nil {
		t.Error("a peer with a stranger's certificate was let in")
	}
	if _, err := register(t, at, org, "identity.example", "", ""); err == nil {
		t.Error("a peer without a certificate was let in")
	}
	if _, err := register(t, at, org, "another.example", peerCert, peerKey); err == nil {
		t.Error("the server passed for another host")
	}

	// It is stopped while a peer is connected, which peers are for ever.
	stream, err := connect(t, at, org, "identity.example", peerCert, peerKey)
	ok(t, err)
	stop()
	if said := <-ended; strings.HasPrefix(said, "status") || !strings.Contains(said, "stopped") {
		t.Errorf("it ended with %s", said)
	}
	for err = nil; err == nil; _, err = stream.Recv() {
	}
	if _, err := net.Dial("tcp", at); err == nil {
		t.Error("it still listens")
	}
}

// run runs a program that serves two scripts.
func run(ctx context.Context, args ...string) (status int, stderr string) {
	var c adapter.Command
	var out, errs bytes.Buffer
	contracts := func() []contract.Contract { return []contract.Contract{script(nil), named{"other"}} }
	status = adapter.Main(ctx, args, &out, &errs, &c, &c, contracts, kong.Name("program"))
	return status, errs.String()
}

type named struct{ name string }

func (n named) Name() string                                           { return n.name }
func (n named) Invoke(contract.Stub, string, [][]byte) ([]byte, error) { return nil, nil }

func connect(t *testing.T, address string, ca *authority, host, cert, key string) (grpc.BidiStreamingClient[peer.ChaincodeMessage, peer.ChaincodeMessage], error) {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: host}
	config.RootCAs.AddCert(ca.cert)
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		ok(t, err)
		// Whatever the server asks for: an honest client would not even offer a stranger's certificate.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	ok(t, err)
	t.Cleanup(func() { conn.Close() })
	return peer.NewChaincodeClient(conn).Connect(soon(t))
}

// register connects as a peer does and returns the package ID that the server presents itself by.
func register(t *testing.T, address string, ca *authority, host, cert, key string) (string, error) {
	t.Helper()
	stream, err := connect(t, address, ca, host, cert, key)
	if err != nil {
		return "", err
	}
	m, err := stream.Recv()
	if err != nil {
		return "", err
	}
	if m.GetType() != peer.ChaincodeMessage_REGISTER {
		return "", errors.New("its first message is " + m.GetType().String())
	}
	var id peer.ChaincodeID
	err = proto.Unmarshal(m.GetPayload(), &id)
	return id.GetName(), err
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	cert, key := newAuthority(t, dir, "org").issue(t, dir, "host")
	for name, c := range map[string]struct {
		args   string
		status int
		says   string
	}{
		"nothing":            {"", 2, "CHAINCODE_ID"},
		"no such flag":       {"--port 1", 2, "--port"},
		"no such contract":   {"--id theirs_1:abc --address 127.0.0.1:0", 2, `no contract "theirs" here: there are script, other`},
		"contract by name":   {"--contract theirs --id script_1:abc --address 127.0.0.1:0", 2, "theirs"},
		"ID without a hash":  {"--id script_1 --address 127.0.0.1:0", 2, "label:hash"},
		"no address":         {"--id script_1:abc", 2, "address of script"},
		"also, but how":      {"--also other", 2, "CONTRACT=ID@HOST:PORT"},
		"an ID twice":        {"--id script_1:abc --id-file " + cert + " --address 127.0.0.1:0", 2, "given twice"},
		"ID file is none":    {"--id-file " + dir + "/none --address 127.0.0.1:0", 2, "none"},
		"file without an ID": {"--id-file " + key + " --address 127.0.0.1:0", 2, "label:hash"},
		"no TLS files":       {"--id script_1:abc --address 127.0.0.1:0", 2, "--tls-cert"},
		"files not there":    {"--id script_1:abc --address 127.0.0.1:0 --tls-cert x --tls-key y", 1, "TLS certificate"},
		"CAs not there":      {"--id script_1:abc --address 127.0.0.1:0 --tls-cert " + cert + " --tls-key " + key + " --client-ca x", 1, "CAs"},
		"CAs without any":    {"--id script_1:abc --address 127.0.0.1:0 --tls-cert " + cert + " --tls-key " + key + " --client-ca " + key, 1, "holds none"},
		"address of another": {"--id script_1:abc --address 192.0.2.1:1 --tls-disabled", 1, "contract script"},
	} {
		t.Run(name, func(t *testing.T) {
			status, said := run(soon(t), strings.Fields(c.args)...)
			if status != c.status || !strings.Contains(said, c.says) {
				t.Errorf("status %d and %q, want %d and %q", status, said, c.status, c.says)
			}
		})
	}
}

// TestPackage: what is packed names the program's contract, and the program knows itself by what is printed.
func TestPackage(t *testing.T) {
	dir := t.TempDir()
	org := newAuthority(t, dir, "org")
	cert, key := org.issue(t, dir, "peer0.example")
	out := filepath.Join(dir, "script_1.tgz")
	var c adapter.Command
	var said, errs bytes.Buffer
	args := []string{"package", "--label", "script_1", "--connect", "script.example:9999", "--root-cert", org.file, "--client-cert", cert, "--client-key", key, "--out", out}
	contracts := func() []contract.Contract { return []contract.Contract{script(nil)} }
	if status := adapter.Main(soon(t), args, &said, &errs, &c, &c, contracts, kong.Name("program")); status != 0 {
		t.Fatalf("status %d: %s", status, &errs)
	}
	text, err := os.ReadFile(out)
	ok(t, err)
	sum := sha256.Sum256(text)
	if want := "script_1:" + hex.EncodeToString(sum[:]) + "\n"; said.String() != want {
		t.Errorf("it says %q, want %q", &said, want)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the package, with a key in it, is %v, %v", info.Mode(), err)
	}
	if status, said := run(soon(t), "package", "--label", "x", "--connect", "h:1", "--root-cert", filepath.Join(dir, "none"), "--out", out); status != 1 || !strings.Contains(said, "none") {
		t.Errorf("without a root: status %d, %s", status, said)
	}
	if status, _ := run(soon(t), "package", "--label", "x"); status != 2 {
		t.Errorf("without arguments: status %d", status)
	}
}

// TestVariables: chaincode-as-a-service programs are usually configured by these.
func TestVariables(t *testing.T) {
	t.Setenv("CHAINCODE_ID", "script_7:abc")
	t.Setenv("CHAINCODE_SERVER_ADDRESS", "127.0.0.1:0")
	t.Setenv("CHAINCODE_TLS_DISABLED", "true")
	ctx, stop := context.WithCancel(soon(t))
	stop()
	status, said := run(ctx)
	if status != 0 || !strings.Contains(said, "id=script_7:abc") || !strings.Contains(said, "contract=script") {
		t.Errorf("status %d, %s", status, said)
	}
	// The ID may be known only later than the variables are.
	file := filepath.Join(t.TempDir(), "package.id")
	ok(t, os.WriteFile(file, []byte("other_8:def\n"), 0o600))
	t.Setenv("CHAINCODE_ID", "")
	t.Setenv("CHAINCODE_ID_FILE", file)
	if status, said = run(ctx); status != 0 || !strings.Contains(said, "id=other_8:def") || !strings.Contains(said, "contract=other") {
		t.Errorf("status %d, %s", status, said)
	}
}
