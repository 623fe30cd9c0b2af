package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"cardflow/configs/docker"
	"cardflow/ledger/contract"
)

// TestCompose: the program knows the commands and variables that docker-compose.yml gives it, and each service serves the
// contract of its name.
func TestCompose(t *testing.T) {
	p, err := docker.Load(t.Context(), "../..", docker.Required())
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
	found := 0
	for name, s := range p.Services {
		if docker.Ours(s) != "chaincode" {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) {
			serve, err := docker.Command(s, stages)
			if err != nil {
				t.Fatal(err)
			}
			for command, words := range map[string][]string{"serve": serve, "health": s.HealthCheck.Test[1:]} {
				for _, pair := range docker.Environment(s) {
					name, value, _ := strings.Cut(pair, "=")
					t.Setenv(name, value)
				}
				var c commands
				parser, err := kong.New(&c)
				if err != nil {
					t.Fatal(err)
				}
				k, err := parser.Parse(words[1:])
				if err != nil || k.Command() != command || words[0] != "/usr/local/bin/chaincode" {
					t.Fatalf("%v is %q, %v", words, k.Command(), err)
				}
				want, _, _ := strings.Cut(name, "-")
				known := slices.ContainsFunc(c.contracts(), func(each contract.Contract) bool { return each.Name() == want })
				if !known || c.Contract != want || c.Deployer != "PlatformMSP" || c.TLSDisabled || len(c.Also) > 0 {
					t.Errorf("it serves %q (known: %t) for %s, without TLS: %t", c.Contract, known, c.Deployer, c.TLSDisabled)
				}
				mounted := s.Volumes[0].Target + "/"
				for _, file := range []string{c.IDFile, c.TLSCert, c.TLSKey, c.ClientCA} {
					if !strings.HasPrefix(file, mounted) {
						t.Errorf("it is told of %q, and has %s", file, mounted)
					}
				}
				if s.StopGracePeriod == nil || c.Grace.String() == "" || int64(*s.StopGracePeriod) <= int64(c.Grace) {
					t.Errorf("it is killed after %v, and lets calls end for %s", s.StopGracePeriod, c.Grace)
				}
			}
		})
	}
	if found != 6 {
		t.Errorf("%d services are servers of contracts, not 6", found)
	}
}
