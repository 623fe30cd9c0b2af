package ledgertest

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
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
// played as well. The stage is returned for whoever wants to go on playing on it.
func RunContracts(t *testing.T, open func(*testing.T) ledger.Ledger) *Stage {
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
	return s
}

// Codes reads the refusals that the contracts declare, by the names of their constants: a code that someone adds is missed
// by the suites until it is provoked. The suites fail on any refusal that they do not expect, so a code that was provoked
// was asserted.
func Codes(t *testing.T, file string) map[string]string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			literal, ok := spec.Values[i].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is no literal", name.Name)
			}
			if codes[name.Name], err = strconv.Unquote(literal.Value); err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
	if len(codes) < 50 {
		t.Fatalf("only %d codes found in %s", len(codes), file)
	}
	return codes
}

// Listener is a ledger that hears of every refusal.
type Listener struct {
	ledger.Ledger
	Refused func(code string)
}

// Submit is the ledger's, overheard.
func (l Listener) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	commit, err := l.Ledger.Submit(ctx, p, transient, sending)
	l.hear(err)
	return commit, err
}

// Query is the ledger's, overheard.
func (l Listener) Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	answer, err := l.Ledger.Query(ctx, contract, function, args...)
	l.hear(err)
	return answer, err
}

func (l Listener) hear(err error) {
	if code := contract.CodeOf(err); code != "" {
		l.Refused(code)
	}
}
