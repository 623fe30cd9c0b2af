package local

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
)

// chaincodeCertificate issues the TLS certificate of a chaincode server by its organisation's TLS CA. cryptogen could, too,
// but only as a peer's, and with it comes a peer's identity: whoever has that can endorse.
func chaincodeCertificate(org organisation, crypto, host, dir string) error {
	tlsca := filepath.Join(org.folder(crypto), "tlsca")
	ca, err := tls.LoadX509KeyPair(filepath.Join(tlsca, "tlsca."+org.domain+"-cert.pem"), filepath.Join(tlsca, "priv_sk"))
	if err != nil {
		return fmt.Errorf("TLS CA of %s: %w", org.domain, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: host},
		NotBefore:    ca.Leaf.NotBefore,
		NotAfter:     ca.Leaf.NotAfter,
		DNSNames:     []string{host, "localhost"},
		IPAddresses:  []net.IP{net.ParseIP(Loopback)},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca.Leaf, key.Public(), ca.PrivateKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		writeFile(filepath.Join(dir, "server.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		writeFile(filepath.Join(dir, "server.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	)
}

// clientTLS is how this process talks to a server of the network that wants a certificate: with that server's own.
func clientTLS(folder string) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls", "server.crt"), filepath.Join(folder, "tls", "server.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(folder, "tls", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s: no certificate in tls/ca.crt", folder)
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
