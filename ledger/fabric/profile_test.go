package fabric

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/msp"
)

// TestOpenNamesEverythingThatIsWrong: not one fault after the other.
func TestOpenNamesEverythingThatIsWrong(t *testing.T) {
	if _, err := Open(Config{CommitTimeout: -1}); err == nil {
		t.Fatal("an empty configuration was opened")
	} else {
		for _, says := range []string{"profile", "channel", "MSP ID", "certificate", "key", "negative"} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("it does not name %s: %v", says, err)
			}
		}
	}
	edit := func(old, new string) func(*testing.T, *Config) {
		return func(t *testing.T, c *Config) { replaceIn(t, c.Profile, old, new) }
	}
	for name, c := range map[string]struct {
		change func(*testing.T, *Config)
		says   []string
	}{
		"no profile, and no key":  {func(_ *testing.T, c *Config) { c.Profile, c.Key = "none", "none" }, []string{"profile", "key"}},
		"not YAML":                {edit("version:", "\tversion"), []string{"connection.yaml"}},
		"another channel":         {func(_ *testing.T, c *Config) { c.Channel = "other" }, []string{"channels.other"}},
		"no orderers, no peers":   {edit("channels:\n  cardflow:", "channels:\n  cardflow: {}\n  old:"), []string{"channels.cardflow.orderers", "channels.cardflow.peers"}},
		"orderers elsewhere":      {edit("    orderers: [orderer0.example, orderer1.example, orderer2.example]\n", ""), []string{"channels.cardflow.orderers is empty"}},
		"a peer nobody knows":     {edit("peer0.carrier.example: {endorsing", "peer9.carrier.example: {endorsing"), []string{"peer9.carrier.example"}},
		"an orderer nobody knows": {edit("[orderer0.example,", "[orderer9.example,"), []string{"orderer9.example"}},
		"a peer of nobody":        {edit("peers: [peer0.carrier.example]", "peers: []"), []string{"MSP ID"}},
		"an unknown organisation": {func(_ *testing.T, c *Config) { c.MSPID = "OtherMSP" }, []string{"OtherMSP"}},
		"nobody to follow":        {edit("eventSource: true", "eventSource: false"), []string{"eventSource"}},
		"nobody to endorse":       {edit("endorsingPeer: true", "endorsingPeer: false"), []string{"endorsingPeer"}},
		"a CA that isn't there":   {edit("ca.pem", "other.pem"), []string{"other.pem"}},
		"another's key": {func(t *testing.T, c *Config) {
			_, key := makeCertificate(t, time.Hour)
			write(t, c.Key, key)
		}, []string{"is not that of certificate"}},
		"a certificate of yesterday": {func(t *testing.T, c *Config) {
			cert, key := makeCertificate(t, -time.Minute)
			write(t, c.Certificate, cert)
			write(t, c.Key, key)
		}, []string{"is good from"}},
		"no certificate": {func(t *testing.T, c *Config) { write(t, c.Certificate, []byte("x")) }, []string{"is not PEM"}},
		"no key":         {func(t *testing.T, c *Config) { write(t, c.Key, []byte("x")) }, []string{"is not PEM"}},
		"half a key": {func(t *testing.T, c *Config) {
			write(t, c.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))
		}, []string{"neither a PKCS #8 nor an EC"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(t)
			c.change(t, &config)
			l, err := Open(config)
			if err == nil {
				l.Close()
				t.Fatal("it was opened")
			}
			for _, says := range c.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("it does not say %q: %v", says, err)
				}
			}
		})
	}
}

func replaceIn(t *testing.T, file, old, new string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s has no %q", file, old)
	}
	write(t, file, bytes.ReplaceAll(text, []byte(old), []byte(new)))
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOpenWithoutANetwork: the network may come later. Nothing is written to disk, and Ready says what is missing.
func TestOpenWithoutANetwork(t *testing.T) {
	config := testConfig(t)
	config.Contracts = []string{"ownership"}
	dir := filepath.Dir(config.Profile)
	before := names(t, dir)
	t.Chdir(t.TempDir()) // where the SDK would begin relative paths
	l, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	if got := []string{l.peers[0].msp, l.peers[1].msp, l.peers[2].msp}; got[0] != "PlatformMSP" || got[1] != "CarrierMSP" || got[2] != "RegulatorMSP" {
		t.Errorf("peers are of %v, want the gateway's own first, then the profile's order", got)
	}
	l.patience = 10 * time.Millisecond
	err = l.Ready(t.Context())
	for _, says := range []string{"LEDGER_ENDORSERS", "127.0.0.1:5 does not answer", "LEDGER_ORDERERS", "127.0.0.1:3"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Ready does not say %q: %v", says, err)
		}
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := l.Ready(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Ready after Close: %v", err)
	}
	if after := names(t, dir); after != before || names(t, ".") != "" {
		t.Errorf("there are %s and %s now", after, names(t, "."))
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// TestSign: what is signed verifies, and its S is low every time.
func TestSign(t *testing.T) {
	c := testConfig(t)
	id, err := readIdentity(c.MSPID, c.Certificate, c.Key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	half := new(big.Int).Rsh(id.key.Params().N, 1)
	for i := range 32 {
		message := []byte{byte(i)}
		sig, err := id.sign(message)
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig, &v); err != nil || v.S.Cmp(half) > 0 {
			t.Errorf("signature %x: %v", sig, err)
		}
		if digest := sha256.Sum256(message); !ecdsa.VerifyASN1(&id.key.PublicKey, digest[:], sig) {
			t.Error("a signature does not verify")
		}
	}
	var creator msp.SerializedIdentity
	cert, err := os.ReadFile(c.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(id.creator, &creator); err != nil || creator.Mspid != "PlatformMSP" || !bytes.Equal(creator.IdBytes, cert) {
		t.Errorf("creator is %v, %v", &creator, err)
	}
}

// TestLowerRoot: a root with a high S comes out with a low one and is the same otherwise; what is low, or no root, or no
// certificate, comes out as it went in.
func TestLowerRoot(t *testing.T) {
	for range 16 {
		text, _ := makeCertificate(t, time.Hour)
		cert := parse(t, text)
		low := parse(t, lowerRoot(text))
		order := cert.PublicKey.(*ecdsa.PublicKey).Params().N
		want, err := lowS(cert.Signature, order)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(low.Signature, want) || !bytes.Equal(low.RawTBSCertificate, cert.RawTBSCertificate) {
			t.Error("it is another certificate")
		}
		if err := low.CheckSignatureFrom(low); err != nil {
			t.Error(err)
		}
		if again := lowerRoot(lowerRoot(text)); !bytes.Equal(again, lowerRoot(text)) {
			t.Error("twice is not once")
		}
	}
	for _, text := range []string{"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if got := lowerRoot([]byte(text)); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestLowerMSP finds every place where a configuration holds a root.
func TestLowerMSP(t *testing.T) {
	high := highRoot(t)
	f := &msp.FabricMSPConfig{
		Name: "CarrierMSP", RootCerts: [][]byte{high}, Admins: [][]byte{[]byte("not a root")},
		OrganizationalUnitIdentifiers: []*msp.FabricOUIdentifier{{Certificate: high}},
		FabricNodeOus:                 &msp.FabricNodeOUs{Enable: true, PeerOuIdentifier: &msp.FabricOUIdentifier{Certificate: high}},
	}
	config := &msp.MSPConfig{Config: marshal(t, f)}
	if err := lowerMSP(config); err != nil {
		t.Fatal(err)
	}
	var got msp.FabricMSPConfig
	if err := proto.Unmarshal(config.Config, &got); err != nil {
		t.Fatal(err)
	}
	for _, each := range [][]byte{got.RootCerts[0], got.OrganizationalUnitIdentifiers[0].Certificate, got.FabricNodeOus.PeerOuIdentifier.Certificate} {
		if !bytes.Equal(each, lowerRoot(high)) || bytes.Equal(each, high) {
			t.Error("a root was passed over")
		}
	}
	if string(got.Admins[0]) != "not a root" || !got.FabricNodeOus.Enable || got.FabricNodeOus.ClientOuIdentifier != nil {
		t.Errorf("something else changed: %v", &got)
	}
	if err := lowerMSP(&msp.MSPConfig{Config: []byte{0xff}}); err == nil {
		t.Error("nonsense was read")
	}
}

// highRoot makes roots until one has a high S: every other has.
func highRoot(t *testing.T) []byte {
	t.Helper()
	for range 100 {
		if text, _ := makeCertificate(t, time.Hour); !bytes.Equal(lowerRoot(text), text) {
			return text
		}
	}
	t.Fatal("no root has a high S")
	return nil
}
