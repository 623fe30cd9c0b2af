// Probes serves the contracts of the ledgers' conformance suite to Fabric peers. They do whatever they are told, by
// anybody: a network that has them deployed is for tests, and nothing else is.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"cardflow/cmd/chaincode/adapter"
	"cardflow/ledger/ledgertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c adapter.Command
	os.Exit(adapter.Main(ctx, os.Args[1:], os.Stdout, os.Stderr, &c, &c, ledgertest.Probes,
		kong.Name("probes"), kong.Description("The conformance suite's contracts, served to Fabric peers. For tests only.")))
}
