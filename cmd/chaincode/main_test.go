package main

import (
	"testing"

	"github.com/alecthomas/kong"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// TestDeployer: who may call Init is pinned when the program starts, not when somebody calls.
func TestDeployer(t *testing.T) {
	for name, c := range map[string]struct {
		variable string
		args     []string
		want     string
	}{
		"default":  {"", nil, "PlatformMSP"},
		"variable": {"OtherMSP", nil, "OtherMSP"},
		"flag":     {"OtherMSP", []string{"--deployer", "ThirdMSP"}, "ThirdMSP"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv("CARDFLOW_DEPLOYER", c.variable)
			}
			var cmd commands
			parser, err := kong.New(&cmd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			list := cmd.contracts()
			if len(list) != 2 || list[0].Name() != request.Identity || list[1].Name() != request.Ownership {
				t.Fatalf("contracts are %v", list)
			}
			if got := list[0].(*contract.Identity).Deployer; got != c.want {
				t.Errorf("deployer is %q, want %q", got, c.want)
			}
		})
	}
}
