// Chaincode serves the identity and ownership contracts to Fabric peers, as chaincode-as-a-service: the peers connect to
// it. It keeps nothing: any number of processes may serve one contract, and each may be stopped at any time.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"cardflow/cmd/chaincode/adapter"
	"cardflow/ledger/contract"
)

// commands is the command line.
type commands struct {
	adapter.Command

	Deployer string `env:"CARDFLOW_DEPLOYER" default:"PlatformMSP" help:"Organisation (MSP ID) that alone may call Init of identity. The same for every endorser, or they disagree." placeholder:"MSP"`
}

// contracts are what this program can serve.
func (c *commands) contracts() []contract.Contract {
	return []contract.Contract{&contract.Identity{Deployer: c.Deployer}, &contract.Ownership{}}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	os.Exit(adapter.Main(ctx, os.Args[1:], os.Stdout, os.Stderr, &c, &c.Command, c.contracts,
		kong.Name("chaincode"), kong.Description("CardFlow's contracts, served to Fabric peers.")))
}
