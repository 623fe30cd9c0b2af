package ledgertest

import (
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// scene is one part of the conformance suite. All scenes play on one ledger, each with a cast of its own.
type scene struct {
	name string
	days bool // needs a clock that can be moved
	play func(*testing.T, *Stage)
}

// RunContracts holds the real contracts on an engine to the whole of docs/contract.md: what each function does, and
// every refusal it can give. The ledger that open returns is fresh; if it is Timed, the parts that need days to pass are
// played as well.
func RunContracts(t *testing.T, open func(*testing.T) ledger.Ledger) {
	l := open(t)
	NewEmptyStage(l).QueryRefused(t, contract.NotInitialised, request.Identity, "GetGenesis")
	s := NewStage(t, l)
	_, canWait := l.(Timed)
	for _, group := range [][]scene{signatureScenes, identityScenes, lotScenes, tradeScenes, retailScenes, controlScenes} {
		for _, each := range group {
			if each.days && !canWait {
				continue
			}
			t.Run(each.name, func(t *testing.T) { each.play(t, s) })
		}
	}
}
