// Package cardflow_test holds the house together: what may stand where, who may
// import whom, what no file may hold. The rules are the tables of
// docs/design/001-house.md; the checks that apply them are in checks_test.go.
// Each check is shown to fail on a small tree that breaks its rule: a check that
// can't fail would let the house rot in silence.
package cardflow_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

const rulesFile = "docs/design/001-house.md"

func TestHouse(t *testing.T) {
	tree, err := readTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			for _, fault := range check(tree) {
				t.Error(fault)
			}
		})
	}
}

// TestHouseIsRead guards against a walk that finds nothing and so faults nothing.
func TestHouseIsRead(t *testing.T) {
	tree, err := readTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"Makefile", ".ci/run", "house_test.go", rulesFile} {
		if _, ok := tree.files[path]; !ok {
			t.Errorf("the walk misses %s", path)
		}
	}
	if tree.module != "cardflow" {
		t.Errorf("module %q, want cardflow", tree.module)
	}
	for _, name := range []string{"iccid", "ledger/contract", "transfer/cardfile", "cmd/*"} {
		if _, ok := tree.rules.mayImport[name]; !ok {
			t.Errorf("%s has no row in %s", name, rulesFile)
		}
	}
}

// small is a tree in which nothing is wrong. The broken trees below are made
// from it by one change each.
func small() fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range map[string]string{
		"go.mod":     "module cardflow\n\ngo 1.26.0\n",
		".gitignore": "/data/\n*.test\n",
		rulesFile: "# 001\n\n## What stands where\n\n| folder | job |\n| --- | --- |\n| `docs`, `iccid`, `gm`, `model`, `custody`, `ledger`, `cmd` | jobs |\n\n" +
			"## Who imports whom\n\n| package | may import of ours |\n| --- | --- |\n| `iccid`, `gm` | nothing |\n| `model` | `iccid` |\n| `custody` | `model`, `gm` |\n" +
			"| `ledger`, `ledger/fabric` | `iccid` |\n| `cmd/*` | everything |\n\n" +
			"## One door for each dangerous library\n\n| module | only in |\n| --- | --- |\n| `example.org/gmsm` | `gm` |\n| `example.org/sdk` | `ledger/fabric`, `cmd/server` |\n\n" +
			"## What never meets in one program\n\n| program | never links |\n| --- | --- |\n| `cmd/chaincode` | `example.org/sdk` |\n",
		"README.md":                             "[why](docs/design/001-house.md#price) [web](https://example.org/x) [here](#top) `[not](a-link)`\n",
		"iccid/iccid.go":                        "// Package iccid is one.\npackage iccid\n",
		"gm/gm.go":                              "// Package gm is guarded.\npackage gm\n\nimport _ \"example.org/gmsm/sm2\"\n",
		"model/model.go":                        "// Package model keeps.\npackage model\n\nimport _ \"cardflow/iccid\"\n",
		"model/migrations/lite/00001_first.sql": "-- +goose Up\n",
		"model/model_test.go":                   "package model_test\n\nimport _ \"cardflow/custody\"\n",
		"custody/internal/seal.go":              "// Package internal seals.\npackage internal\n\nimport _ \"cardflow/gm\"\n",
		"custody/custody.go":                    "// Package custody signs.\npackage custody\n\nimport (\n\t_ \"cardflow/custody/internal\"\n\t_ \"cardflow/model\"\n)\n",
		"ledger/fabric/fabric.go":               "// Package fabric carries.\npackage fabric\n\nimport _ \"example.org/sdk/v2/pkg\"\n",
		"cmd/server/main.go":                    "// Server serves.\npackage main\n\nimport (\n\t_ \"cardflow/custody\"\n\t_ \"cardflow/ledger/fabric\"\n)\n\nfunc main() {}\n",
		"cmd/chaincode/main.go":                 "// Chaincode answers peers.\npackage main\n\nimport _ \"cardflow/iccid\"\n\nfunc main() {}\n",
		"data/leftover.go":                      "not even Go",
		"iccid/testdata/odd.go":                 "not Go either",
	} {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func TestSmallTreeIsSound(t *testing.T) {
	tree, err := readTree(small())
	if err != nil {
		t.Fatal(err)
	}
	for name, check := range checks {
		for _, fault := range check(tree) {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

func TestEachCheckCanFail(t *testing.T) {
	// Spelt in two halves, or this file would break the rules it tests.
	unfinished, home, registry := "TO"+"DO", "/ro"+"ot/", "goproxy"+".cn"
	for name, c := range map[string]struct {
		check, path, text string
		want              string // part of the one fault
	}{
		"folder without a place":         {"folders", "utils/x.txt", "x", "utils"},
		"import against the table":       {"imports", "iccid/deep.go", "package iccid\n\nimport _ \"cardflow/gm\"\n", "iccid imports gm"},
		"import through a child":         {"imports", "model/store/s.go", "// Package store stores.\npackage store\n\nimport _ \"cardflow/custody\"\n", "model/store imports custody"},
		"package without a row":          {"imports", "stray/s.go", "// Package stray strays.\npackage stray\n", "stray has no row"},
		"code at the top":                {"imports", "top.go", "// Package cardflow is no package.\npackage cardflow\n", ". has no row"},
		"GM library elsewhere":           {"doors", "custody/sm.go", "package custody\n\nimport _ \"example.org/gmsm\"\n", "custody/sm.go imports example.org/gmsm"},
		"GM library in a test elsewhere": {"doors", "custody/sm_test.go", "package custody\n\nimport _ \"example.org/gmsm/sm3\"\n", "custody/sm_test.go"},
		"linked from afar":               {"links", "cmd/chaincode/far.go", "package main\n\nimport _ \"cardflow/ledger/fabric\"\n", "cmd/chaincode links example.org/sdk"},
		"no package comment":             {"comments", "ledger/embedded/e.go", "package embedded\n", "ledger/embedded"},
		"a package comment of another":   {"comments", "ledger/embedded/e.go", "// Package fabric is me.\npackage embedded\n", "ledger/embedded"},
		"not gofmt-ed":                   {"gofmt", "iccid/ugly.go", "package iccid\nvar  x = 1\n", "iccid/ugly.go"},
		"not Go":                         {"gofmt", "iccid/broken.go", "package iccid\nfunc {\n", "iccid/broken.go"},
		"unfinished":                     {"unfinished", "model/x.sql", "-- " + unfinished + ": index\n", "model/x.sql:1"},
		"a machine's path":               {"machines", "docs/x.md", "one\nsee " + home + "go/bin\n", "docs/x.md:2"},
		"a registry":                     {"machines", "Makefile", "GOPROXY=https://" + registry + "\n", "Makefile:1"},
		"a gap in the numbers":           {"documents", "docs/design/003-late.md", "# 003\n", "002"},
		"a number twice":                 {"documents", "docs/design/001-twin.md", "# 001\n", "001-twin.md"},
		"a document without a number":    {"documents", "docs/design/idea.md", "# idea\n", "idea.md"},
		"a migration's number twice":     {"migrations", "model/migrations/lite/00001_second.sql", "-- +goose Up\n", "00001_second.sql"},
		"a dead link":                    {"links in documents", "README.zh-CN.md", "# 卡\n\n[说明](docs/none.md)\n", "README.zh-CN.md:3"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := small()
			fsys[c.path] = &fstest.MapFile{Data: []byte(c.text)}
			tree, err := readTree(fsys)
			if err != nil {
				t.Fatal(err)
			}
			check, ok := checks[c.check]
			if !ok {
				t.Fatalf("no check is called %q", c.check)
			}
			if faults := check(tree); len(faults) != 1 || !strings.Contains(faults[0], c.want) {
				t.Errorf("faults %q, want one with %q", faults, c.want)
			}
		})
	}
}

func TestEveryCheckIsShownToFail(t *testing.T) {
	source, err := os.ReadFile("house_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for name := range checks {
		if !strings.Contains(string(source), `{"`+name+`", "`) {
			t.Errorf("no broken tree shows that the check %q can fail", name)
		}
	}
}

// TestRulesAreReadStrictly: a table that the test misreads is worse than none.
func TestRulesAreReadStrictly(t *testing.T) {
	for name, c := range map[string]struct{ old, new string }{
		"a row in plain words":          {"| `model` | `iccid` |", "| `model` | iccid only |"},
		"a name that has no row":        {"| `model` | `iccid` |", "| `model` | `icid` |"},
		"a package in two rows":         {"| `model` | `iccid` |", "| `gm`, `model` | `iccid` |"},
		"a table gone":                  {"## Who imports whom", "## Who imports what"},
		"a door to an unknown package":  {"| `example.org/gmsm` | `gm` |", "| `example.org/gmsm` | `mg` |"},
		"a program without a forbidden": {"| `cmd/chaincode` | `example.org/sdk` |", "| `cmd/chaincode` | the SDK |"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := small()
			text := string(fsys[rulesFile].Data)
			if !strings.Contains(text, c.old) {
				t.Fatalf("the small tree lacks %q", c.old)
			}
			fsys[rulesFile] = &fstest.MapFile{Data: []byte(strings.Replace(text, c.old, c.new, 1))}
			if _, err := readTree(fsys); err == nil {
				t.Error("the rules were read without a fault")
			}
		})
	}
	fsys := small()
	delete(fsys, rulesFile)
	if _, err := readTree(fsys); err == nil {
		t.Error("a tree without rules was read without a fault")
	}
}
