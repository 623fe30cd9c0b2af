//go:build stack

package fabric_test

import (
	"path/filepath"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/fabric"
	"cardflow/ledger/ledgertest"
	"cardflow/ledger/request"
)

// TestContracts plays the whole suite of the real contracts on Fabric and the embedded ledger side by side, then random
// histories: every answer, every verdict and every write has to be the same. Every refusal that there is has to have been
// heard.
func TestContracts(t *testing.T) {
	dir := fabric.PrivateNetwork(t).Dir()
	t.Parallel()
	clock := ledgertest.NewClock()
	provoked := map[string]bool{}
	heard := func(code string) { provoked[code] = true }
	gateway := func(t *testing.T, msp string) *fabric.Ledger {
		config := fabric.StackConfig(t, dir, msp)
		config.Clock = clock.Now
		return open(t, config)
	}
	foreignInit(t, ledgertest.Listener{Ledger: gateway(t, "CarrierMSP"), Refused: heard})
	stage := ledgertest.RunContracts(t, func(t *testing.T) ledger.Ledger {
		l := gateway(t, "PlatformMSP")
		pair := ledgertest.NewTwins(t, l, twinOf(t, l, clock))
		return ledgertest.WithClock(ledgertest.Listener{Ledger: pair, Refused: heard}, clock)
	})
	t.Run("histories", func(t *testing.T) { ledgertest.PlayHistories(t, 2, 100, stage) })
	for name, code := range ledgertest.Codes(t, "../contract/code.go") {
		if !provoked[code] {
			t.Errorf("%s (%s) was provoked by no test", name, code)
		}
	}
}

// foreignInit: only the deployer's gateway may initialise the identity contract.
func foreignInit(t *testing.T, l ledger.Ledger) {
	s := ledgertest.NewEmptyStage(l)
	body := request.Init{IssueKeyCommitment: request.IssueKeyCommitment([]byte("mine"))}
	for range 2 {
		body.Administrators = append(body.Administrators, s.Registration(s.Stranger(request.Administrator)))
	}
	s.Refused(t, contract.WrongOrganisation, s.Sign(body))
}

// twinOf is an embedded ledger that takes a Fabric ledger's proposals: their creator is the whole identity to it, and so is
// the deployer.
func twinOf(t *testing.T, l *fabric.Ledger, clock *ledgertest.Clock) ledger.Ledger {
	t.Helper()
	p, err := l.Prepare("any", "any", nil)
	if err != nil {
		t.Fatal(err)
	}
	creator := string(p.Creator)
	twin, err := embedded.Open(embedded.Config{
		Path: filepath.Join(t.TempDir(), "ledger.db"), Channel: l.Channel(), Organisation: creator, Clock: clock.Now,
		Contracts: []contract.Contract{&contract.Identity{Deployer: creator}, &contract.Ownership{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := twin.Close(); err != nil {
			t.Error(err)
		}
	})
	return twin
}
