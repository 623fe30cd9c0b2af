package contract_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/ledgertest"
	"cardflow/ledger/request"
)

// TestContracts plays the whole suite on the world and the embedded ledger side by side, and then asks whether every code of code.go has been provoked. The
// suite fails on any refusal that it does not expect, so a code that was provoked was asserted.
func TestContracts(t *testing.T) {
	provoked := map[string]bool{}
	open := func(organisation string) *world {
		w := newWorld()
		w.organisation, w.refused = organisation, func(code string) { provoked[code] = true }
		return w
	}
	ledgertest.RunContracts(t, func(t *testing.T) ledger.Ledger { return newTwins(t, open(deployer)) })
	t.Run("init by another organisation", func(t *testing.T) { foreignInit(t, open("CarrierMSP")) })
	t.Run("what init refuses", func(t *testing.T) { badInit(t, open(deployer)) })

	for name, code := range ledgertest.Codes(t, "code.go") {
		if !provoked[code] {
			t.Errorf("%s (%s) was provoked by no test", name, code)
		}
	}
}

// foreignInit: an organisation that could call Init could name administrators of its own.
func foreignInit(t *testing.T, w *world) {
	s := ledgertest.NewEmptyStage(w)
	body := request.Init{IssueKeyCommitment: request.IssueKeyCommitment([]byte("mine"))}
	for range 2 {
		body.Administrators = append(body.Administrators, s.Registration(s.Stranger(request.Administrator)))
	}
	s.Refused(t, contract.WrongOrganisation, s.Sign(body))
	w.organisation = deployer
	s.Must(t, s.Sign(body))
}

func badInit(t *testing.T, w *world) {
	s := ledgertest.NewEmptyStage(w)
	admin := func() request.Registration { return s.Registration(s.Stranger(request.Administrator)) }
	a, b, commitment := admin(), admin(), request.IssueKeyCommitment([]byte("key"))
	stolen := b
	stolen.Key = a.Key
	for name, c := range map[string]struct {
		code string
		body request.Init
	}{
		"nobody":            {contract.BadArguments, request.Init{IssueKeyCommitment: commitment}},
		"one administrator": {contract.BadArguments, request.Init{Administrators: []request.Registration{a}, IssueKeyCommitment: commitment}},
		"seventeen":         {contract.BadArguments, request.Init{Administrators: make17(a), IssueKeyCommitment: commitment}},
		"no commitment":     {contract.BadArguments, request.Init{Administrators: []request.Registration{a, b}}},
		"the key itself":    {contract.BadArguments, request.Init{Administrators: []request.Registration{a, b}, IssueKeyCommitment: "secret"}},
		"one of them twice": {contract.ParticipantExists, request.Init{Administrators: []request.Registration{a, a}, IssueKeyCommitment: commitment}},
		"a regulator": {contract.RoleForbidden, request.Init{
			Administrators: []request.Registration{a, s.Registration(s.Stranger(request.Regulator))}, IssueKeyCommitment: commitment,
		}},
		"someone else's key": {contract.PossessionUnproven, request.Init{Administrators: []request.Registration{a, stolen}, IssueKeyCommitment: commitment}},
	} {
		t.Run(name, func(t *testing.T) { s.Refused(t, c.code, s.Sign(c.body)) })
	}
	s.Must(t, s.Sign(request.Init{Administrators: []request.Registration{a, b}, IssueKeyCommitment: commitment}))
}

func make17(r request.Registration) []request.Registration {
	list := make([]request.Registration, 17)
	for i := range list {
		list[i] = r
	}
	return list
}

// TestDocument holds docs/contract.md to the code: every refusal, every function.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range ledgertest.Codes(t, "code.go") {
		if !bytes.Contains(page, []byte("\n| `"+code+"` | ")) {
			t.Errorf("%s is not explained", code)
		}
	}
	for _, file := range []string{"identity.go", "ownership.go"} {
		for _, function := range declaredFunctions(t, file) {
			if !bytes.Contains(page, []byte("`"+function+"`")) {
				t.Errorf("%s is not in the tables", function)
			}
		}
	}
	for name := range request.Policies {
		if !bytes.Contains(page, []byte("\n| `"+name+"` | ")) {
			t.Errorf("%s is not explained", name)
		}
	}
}

// declaredFunctions reads the cases of Invoke.
func declaredFunctions(t *testing.T, name string) (list []string) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Invoke" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CaseClause); ok {
				for _, e := range c.List {
					function, err := strconv.Unquote(e.(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					list = append(list, function)
				}
			}
			return true
		})
	}
	if len(list) < 15 {
		t.Fatalf("only %d functions in %s", len(list), name)
	}
	return list
}
