package main

import (
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"cardflow/cmd/stack/local"
	"cardflow/configs/docker"
)

// TestCompose: the program knows the commands that the jobs and the health checks of docker-compose.yml give it.
func TestCompose(t *testing.T) {
	variables := docker.Required()
	variables["CARDFLOW_ENDORSEMENT"] = "3-of-3"
	p, err := docker.Load(t.Context(), "../..", variables)
	if err != nil {
		t.Fatal(err)
	}
	text, err := docker.Read("../..", docker.Dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := docker.ParseDockerfile(text)
	if err != nil {
		t.Fatal(err)
	}
	parsed := func(words []string) (string, commands) {
		t.Helper()
		var c commands
		parser, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		k, err := parser.Parse(words[1:])
		if err != nil || words[0] != "/usr/local/bin/stack" {
			t.Fatalf("%v: %v", words, err)
		}
		return k.Command(), c
	}
	for service, want := range map[string]string{"material": "hosts make", "channel": "hosts join"} {
		words, err := docker.Command(p.Services[service], stages)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range p.Services[service].Environment {
			t.Setenv(name, *value)
		}
		command, c := parsed(words)
		if command != want || c.Hosts.Dir != "/material" || c.Hosts.Tools != "/usr/local/bin" || c.Hosts.Definition != "/etc/cardflow/fabric" {
			t.Errorf("%s is %q with %+v", service, command, c.Hosts)
		}
		if service == "material" && (c.Hosts.Make.Identities != "/identities" || c.Hosts.Endorsement != local.ThreeOfThree) {
			t.Errorf("the job makes %+v", c.Hosts)
		}
	}
	nodes := 0
	for name, s := range p.Services {
		url := map[string]string{"orderer": "https://localhost:8443/healthz", "peer": "https://localhost:9443/healthz"}[docker.Ours(s)]
		if url == "" {
			continue
		}
		nodes++
		command, c := parsed(s.HealthCheck.Test[1:])
		if command != "probe <url>" || c.Probe.URL != url || c.Probe.CA != "/etc/hyperledger/fabric/tls/ca.crt" || probePatience >= time.Duration(*s.HealthCheck.Timeout) {
			t.Errorf("the health of %s is asked by %q with %+v", name, command, c.Probe)
		}
	}
	if nodes != 6 {
		t.Errorf("%d services are nodes, not 6", nodes)
	}
}
