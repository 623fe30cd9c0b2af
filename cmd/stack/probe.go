package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// probeCommand asks a node of Fabric whether it is well: for an image that holds no other program that could.
type probeCommand struct {
	URL string `arg:"" help:"What to ask for, such as https://localhost:9443/healthz."`
	CA  string `name:"ca" required:"" help:"Certificate (PEM) of the authority that vouches for the server." placeholder:"FILE"`
}

// probePatience is how long an answer may take.
const probePatience = 5 * time.Second

func (c *probeCommand) Run(env *environment) error {
	text, err := os.ReadFile(c.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no certificate", c.CA)
	}
	ctx, cancel := context.WithTimeout(env.ctx, probePatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return err
	}
	// Not the default transport: a proxy that the environment names is not meant for this.
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(said)))
	}
	return nil
}
