package local_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
)

// half signs with a high or a low S, as it is told; ordinary signers let chance decide.
type half struct {
	*ecdsa.PrivateKey
	high bool
}

func (h half) Sign(random io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	r, s, err := ecdsa.Sign(random, h.PrivateKey, digest)
	if err != nil {
		return nil, err
	}
	n := h.Params().N
	if high := s.Cmp(new(big.Int).Rsh(n, 1)) > 0; high != h.high {
		s.Sub(n, s)
	}
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}

func isHigh(t *testing.T, cert *x509.Certificate) bool {
	t.Helper()
	var s struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(cert.Signature, &s); err != nil {
		t.Fatal(err)
	}
	return s.S.Cmp(new(big.Int).Rsh(cert.PublicKey.(*ecdsa.PublicKey).Params().N, 1)) > 0
}

func readCert(t *testing.T, path string) (*x509.Certificate, []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert, text
}

func TestLowerRoots(t *testing.T) {
	dir := t.TempDir()
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	write := func(name string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		name := curve.Params().Name
		for _, high := range []bool{true, false} {
			der, err := x509.CreateCertificate(rand.Reader, template("root"), template("root"), key.Public(), half{key, high})
			if err != nil {
				t.Fatal(err)
			}
			path := write(name+"/msp/cacerts/ca.pem", der)
			before, text := readCert(t, path)
			if isHigh(t, before) != high {
				t.Fatal("the test's certificate is not what it should be")
			}
			if err := local.LowerRoots(dir); err != nil {
				t.Fatal(err)
			}
			after, rewritten := readCert(t, path)
			if isHigh(t, after) || after.CheckSignatureFrom(after) != nil {
				t.Errorf("%s, high %t: afterwards the S is high %t, or it is not valid", name, high, isHigh(t, after))
			}
			if !bytes.Equal(before.RawTBSCertificate, after.RawTBSCertificate) {
				t.Errorf("%s, high %t: more than the signature has changed", name, high)
			}
			if !high && !bytes.Equal(text, rewritten) {
				t.Errorf("%s: a certificate that was right was touched", name)
			}
		}
		// What another has signed is not ours to change, and Fabric reads it as it is.
		ca, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, template("leaf"), template("root"), key.Public(), half{ca, true})
		if err != nil {
			t.Fatal(err)
		}
		path := write(name+"/msp/signcerts/leaf.pem", der)
		if err := local.LowerRoots(dir); err != nil {
			t.Fatal(err)
		}
		if cert, _ := readCert(t, path); !isHigh(t, cert) {
			t.Errorf("%s: a leaf was rewritten", name)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "odd.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no")}), 0o600); err != nil {
		t.Fatal(err)
	}
	if local.LowerRoots(dir) == nil {
		t.Error("a certificate that can't be read was passed over")
	}
}
