package adapter

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Files are the PEM files of a server's TLS.
type Files struct {
	Certificate string
	Key         string
	ClientCAs   string // who may connect: peers with a certificate of these; anybody if ""
}

// Server is the configuration of a listener. Whoever reaches a chaincode server without being asked for a certificate
// can play a peer to it: it learns nothing and changes nothing on the channel, but it costs time.
func (f Files) Server() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate and key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	if f.ClientCAs == "" {
		return config, nil
	}
	if config.ClientCAs, err = pool(f.ClientCAs); err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}

// Client is the configuration of a call to a server with these files: with its own certificate, and of that very server.
func (f Files) Client() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate and key: %w", err)
	}
	own := certificate.Leaf
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       []tls.Certificate{certificate},
		InsecureSkipVerify: true, // replaced by the next: it has to be this one certificate, whoever issued it
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(own) {
				return errors.New("another server answers at this address")
			}
			return nil
		},
	}, nil
}

func pool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificates of clients' CAs: %w", err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("certificates of clients' CAs: %s holds none", file)
	}
	return p, nil
}
