package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"time"
)

// A custodian on another machine is reached by mutual TLS: both show a certificate of one authority, which vouches for
// nobody else, and each lets only the other's name in. Nothing below TLS 1.3 is spoken, and no session is resumed, so that every
// connection shows its certificate anew. Files are read for each connection: who renews them restarts nothing.

// CustodyTLSConfig says how custodian and server reach each other by a network.
type CustodyTLSConfig struct {
	Listen   string `yaml:"listen"`  // the custodian
	Connect  string `yaml:"connect"` // the server
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	Peer     string `yaml:"peer"` // name of the other one
}

func (c CustodyTLSConfig) check(v *checker) {
	host, _, _ := net.SplitHostPort(c.Connect)
	listens, connects := hostPort(c.Listen), hostPort(c.Connect) && host != ""
	v.must(c.Listen == "" || listens, "custody.tls.listen", "must be host:port, or empty")
	v.must(c.Connect == "" || connects, "custody.tls.connect", "must be host:port, or empty")
	used := listens || connects
	for _, f := range []struct{ key, name, what string }{
		{"custody.tls.ca_file", c.CAFile, "the certificate (PEM) of the authority that vouches for server and custodian"},
		{"custody.tls.cert_file", c.CertFile, "this process's certificate (PEM)"},
		{"custody.tls.key_file", c.KeyFile, "its private key (PEM)"},
	} {
		if f.name != "" {
			v.file(f.key, f.name)
		} else {
			v.must(!used, f.key, "must name "+f.what+" while listen or connect is set")
		}
	}
	v.must(!used && c.Peer == "" || peerName.MatchString(c.Peer), "custody.tls.peer", "must be the DNS name in the other one's certificate while listen or connect is set")
}

// custodyIdentity is who this process is to the other one. Its files are as they are now.
type custodyIdentity struct {
	authorities *x509.CertPool
	certificate *tls.Certificate
}

func (a *App) custodyIdentity() (id custodyIdentity, err error) {
	c := a.Config.Custody.TLS
	if id.authorities, err = a.authority("custody.tls.ca_file", c.CAFile); err != nil {
		return id, err
	}
	if info, err := os.Stat(a.Config.Path(c.KeyFile)); err == nil && info.Mode().Perm()&0o077 != 0 {
		return id, fmt.Errorf("custody.tls.key_file: others may read %s, want mode 0600", c.KeyFile)
	}
	pair, err := tls.LoadX509KeyPair(a.Config.Path(c.CertFile), a.Config.Path(c.KeyFile))
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path // which names the file
	}
	if err != nil {
		return id, fmt.Errorf("custody.tls.cert_file, key_file: %w", err)
	}
	id.certificate = &pair
	return id, nil
}

// strangers are turned away by who accepts connections as by who makes them: the certificate has to be the peer's by name,
// and by no pattern.
func strangers(peer string) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 || !slices.Contains(s.PeerCertificates[0].DNSNames, peer) {
			return fmt.Errorf("the certificate is not that of %s", peer)
		}
		return nil
	}
}

// accepting is the custodian's side.
func (a *App) accepting() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			id, err := a.custodyIdentity()
			if err != nil {
				a.Logger.Error("custodian: can't show who it is", "error", err)
				return nil, err
			}
			return &tls.Config{
				MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
				ClientCAs: id.authorities, Certificates: []tls.Certificate{*id.certificate}, VerifyConnection: strangers(a.Config.Custody.TLS.Peer),
			}, nil
		},
	}
}

// listenTLS opens the custodian's port.
func (a *App) listenTLS() (net.Listener, error) {
	if _, err := a.custodyIdentity(); err != nil { // better now than at the first connection
		return nil, err
	}
	l, err := net.Listen("tcp", a.Config.Custody.TLS.Listen)
	if err != nil {
		return nil, fmt.Errorf("custody.tls.listen: %w", err)
	}
	return tls.NewListener(l, a.accepting()), nil
}

// dialTLS is the server's side: it connects to the custodian, and says nothing before that has shown who it is.
func (a *App) dialTLS(ctx context.Context) (net.Conn, error) {
	id, err := a.custodyIdentity()
	if err != nil {
		return nil, err
	}
	c := a.Config.Custody.TLS
	return (&tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 2 * time.Second},
		Config: &tls.Config{
			MinVersion: tls.VersionTLS13, ServerName: c.Peer, RootCAs: id.authorities, Certificates: []tls.Certificate{*id.certificate},
			VerifyConnection: strangers(c.Peer),
		},
	}).DialContext(ctx, "tcp", c.Connect)
}

// reach is the way to the custodian: by the network, if the configuration says so, else by the socket.
func (a *App) reach() (remote, error) {
	if a.Config.Custody.TLS.Connect == "" {
		return newRemote(bySocket(a.Config.Path(a.Config.Custody.Socket))), nil
	}
	_, err := a.custodyIdentity() // what is wrong with it is better said now
	return newRemote(a.dialTLS), err
}
