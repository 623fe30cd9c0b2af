package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/transfer"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	check(t, err)
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	file := filepath.Join(a.dir, name)
	check(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// issue writes a certificate for a name, for both directions unless something else is said, and fills in who shows it.
func (a *authority) issue(c CustodyTLSConfig, name string, change ...func(*x509.Certificate)) CustodyTLSConfig {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, f := range change {
		f(cert)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), a.key)
	check(a.t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	check(a.t, err)
	unique := rand.Text()
	c.CAFile, c.CertFile, c.KeyFile = a.file, a.write(unique+".pem", "CERTIFICATE", der), a.write(unique+".key", "PRIVATE KEY", pkcs8)
	return c
}

const (
	serverName    = "server.cards.example"
	custodianName = "custodian.cards.example"
)

// tlsApp is what either side needs to be of its configuration.
func tlsApp(t *testing.T, c CustodyTLSConfig) *App {
	config := DefaultConfig()
	config.DataDir, config.Custody.TLS = t.TempDir(), c
	check(t, config.Validate())
	return &App{Config: config, Logger: slog.New(slog.DiscardHandler)}
}

// TestMutualTLS: custodian and server speak to each other and to nobody else, whatever the other one shows.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	early := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }
	only := func(usage x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} }
	}
	pattern := func(c *x509.Certificate) { c.DNSNames = []string{"*.cards.example"} }
	server, custodian := CustodyTLSConfig{Peer: custodianName}, CustodyTLSConfig{Peer: serverName, Listen: "127.0.0.1:0"}
	good, kept := ours.issue(server, serverName), ours.issue(custodian, custodianName)

	// asked is what a server that shows something gets from a custodian that shows something.
	asked := func(s, c CustodyTLSConfig, dial func(*App) func(context.Context) (net.Conn, error)) (int, error) {
		t.Helper()
		app := tlsApp(t, c)
		l, err := app.listenTLS()
		check(t, err)
		calls := 0
		stop := serveCustodian(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			_, _ = io.WriteString(w, "{}")
		}), app.Logger, usualLimits, l)
		s.Connect = l.Addr().String()
		side := tlsApp(t, s)
		r := newRemote(dial(side))
		err = tell(soon(t), r, "Ready", none{})
		r.http.CloseIdleConnections()
		check(t, stop())
		return calls, err
	}
	usual := func(a *App) func(context.Context) (net.Conn, error) { return a.dialTLS }
	if calls, err := asked(good, kept, usual); calls != 1 || err != nil {
		t.Fatalf("those two don't speak to each other: %v", err)
	}
	bare := func(change func(*tls.Config)) func(*App) func(context.Context) (net.Conn, error) {
		return func(a *App) func(context.Context) (net.Conn, error) {
			return func(ctx context.Context) (net.Conn, error) {
				id, err := a.custodyIdentity()
				check(t, err)
				c := &tls.Config{ServerName: custodianName, RootCAs: id.authorities, Certificates: []tls.Certificate{*id.certificate}}
				change(c)
				return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", a.Config.Custody.TLS.Connect)
			}
		}
	}
	foreign := others.issue(server, serverName)
	foreign.CAFile = ours.file // it knows whom to believe, and isn't believed
	for name, x := range map[string]struct {
		server, custodian CustodyTLSConfig
		dial              func(*App) func(context.Context) (net.Conn, error)
		says              string
	}{
		"a server of another authority":            {foreign, kept, usual, "unknown certificate authority|bad certificate|certificate"},
		"a server whose certificate has expired":   {ours.issue(server, serverName, expired), kept, usual, "expired"},
		"a server whose certificate is too early":  {ours.issue(server, serverName, early), kept, usual, "expired|certificate"},
		"a server of another name":                 {ours.issue(server, "other.cards.example"), kept, usual, "certificate"},
		"a server of many names":                   {ours.issue(server, serverName, pattern), kept, usual, "certificate"},
		"the custodian itself as server":           {ours.issue(server, custodianName), kept, usual, "certificate"},
		"a server that may only accept":            {ours.issue(server, serverName, only(x509.ExtKeyUsageServerAuth)), kept, usual, "certificate"},
		"a server that shows nothing":              {good, kept, bare(func(c *tls.Config) { c.Certificates = nil }), "certificate required"},
		"a server that speaks TLS 1.2":             {good, kept, bare(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), "protocol version"},
		"a server without TLS":                     {good, kept, plainTCP, ""},
		"a custodian of another authority":         {good, others.issue(custodian, custodianName), usual, "unknown authority"},
		"a custodian whose certificate is over":    {good, ours.issue(custodian, custodianName, expired), usual, "expired"},
		"a custodian of another name":              {good, ours.issue(custodian, "other.cards.example"), usual, custodianName},
		"a custodian of many names":                {good, ours.issue(custodian, custodianName, pattern), usual, custodianName},
		"a custodian that may only be a client":    {good, ours.issue(custodian, custodianName, only(x509.ExtKeyUsageClientAuth)), usual, "key usage"},
		"a custodian that believes others":         {good, withCA(kept, others.file), usual, "certificate"},
		"a server that believes another authority": {withCA(good, others.file), kept, usual, "unknown authority"},
	} {
		calls, err := asked(x.server, x.custodian, x.dial)
		if calls != 0 || err == nil {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		} else if said := strings.Split(x.says, "|"); !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(err.Error(), s) }) {
			t.Errorf("%s: says %v, want %s", name, err, x.says)
		} else if x.says != "" && !errors.Is(err, transfer.ErrCustodyAway) {
			t.Errorf("%s: for the server custody isn't away: %v", name, err)
		}
	}
}

func withCA(c CustodyTLSConfig, file string) CustodyTLSConfig {
	c.CAFile = file
	return c
}

func plainTCP(a *App) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", a.Config.Custody.TLS.Connect)
	}
}

// TestMutualTLSRenewal: a certificate that was renewed is shown, and asked for, without a restart; a key that others may read
// is not used.
func TestMutualTLSRenewal(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	custodian := tlsApp(t, ours.issue(CustodyTLSConfig{Peer: serverName, Listen: "127.0.0.1:0"}, custodianName))
	l, err := custodian.listenTLS()
	check(t, err)
	stop := serveCustodian(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "{}") }), custodian.Logger, usualLimits, l)
	late := ours.issue(CustodyTLSConfig{Peer: custodianName, Connect: l.Addr().String()}, serverName, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	server := tlsApp(t, late)
	r, err := server.reach()
	check(t, err)
	if err := tell(soon(t), r, "Ready", none{}); !errors.Is(err, transfer.ErrCustodyAway) {
		t.Errorf("with a certificate that is over: %v", err)
	}
	fresh := ours.issue(late, serverName)
	check(t, errors.Join(os.Rename(fresh.CertFile, late.CertFile), os.Rename(fresh.KeyFile, late.KeyFile)))
	if err := tell(soon(t), r, "Ready", none{}); err != nil {
		t.Errorf("with a new one: %v", err)
	}
	r.http.CloseIdleConnections()
	check(t, stop())

	check(t, os.Chmod(late.KeyFile, 0o644))
	if _, err := server.reach(); err == nil || !strings.Contains(err.Error(), "custody.tls.key_file") {
		t.Errorf("a key that everybody may read: %v", err)
	}
	check(t, os.Remove(late.KeyFile))
	if _, err := server.reach(); err == nil || !strings.Contains(err.Error(), "custody.tls") {
		t.Errorf("no key: %v", err)
	}
}
