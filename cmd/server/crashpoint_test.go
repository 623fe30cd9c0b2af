//go:build crash

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/ledger/embedded"
	"cardflow/ledger/fabric"
	"cardflow/model"
	"cardflow/transfer"
)

// crashPoint is where a server dies.
type crashPoint struct {
	point string
	rare  bool         // a server comes by now and then only: it dies there the first time
	duty  bool         // only the server comes by that follows the ledger
	first func(*world) // what has to happen before
	env   []string     // brings a server there
	on    string       // full or embedded, if it is on one of them only
}

// crashPoints are all points of a write's way, in the order in which it comes by.
var crashPoints = []crashPoint{
	{point: "transfer: " + transfer.AtAuthorised},
	{point: "transfer: " + transfer.AtAccepting},
	{point: "transfer: " + transfer.AtAccepted},
	{point: "handler: " + handler.AtReply},
	{point: "transfer: " + transfer.AtLeased},
	{point: "transfer: " + transfer.AtIntending},
	{point: "transfer: " + transfer.AtIntended},
	{point: "model: " + model.AtCommitting},
	{point: "model: " + model.AtCommitted},
	{point: "custody: " + custody.AtIntending},
	{point: "custody: " + custody.AtIntended},
	{point: "custody: " + custody.AtSigned},
	{point: "custody: " + custody.AtKept},
	{point: "transfer: " + transfer.AtSigned},
	{point: "transfer: " + transfer.AtStored},
	{point: "transfer: " + transfer.AtJournaled},
	{point: "transfer: " + transfer.AtPrepared},
	{point: "transfer: " + transfer.AtEndorsed},
	{point: "transfer: " + transfer.AtLeaving},
	{point: "ledger: " + fabric.AtSent}, // embedded has one of that name, too
	{point: "ledger: " + fabric.AtSent, env: []string{crashLingerVariable + "=30ms"}, on: "full"},
	{point: "ledger: " + embedded.AtWriting, on: "embedded"},
	{point: "ledger: " + embedded.AtWritten, on: "embedded"},
	{point: "ledger: " + fabric.AtAnswered, on: "full"},
	{point: "transfer: " + transfer.AtHeard},
	{point: "transfer: " + transfer.AtBlock, duty: true},
	{point: "transfer: " + transfer.AtSettling, duty: true},
	{point: "transfer: " + transfer.AtSettled, duty: true},
	{point: "transfer: " + transfer.AtCatchingUp, rare: true, first: (*world).deaf},
	{point: "transfer: " + transfer.AtReleasing, rare: true},
	// Where the relay takes its time, some trades expire that somebody has confirmed.
	{point: "transfer: " + transfer.AtFailing, rare: true, env: []string{crashStallVariable + "=transfer: " + transfer.AtLeased, crashLingerVariable + "=2s"}},
	// The relay asks the ledger itself where the listener doesn't come by in time.
	{point: "transfer: " + transfer.AtVerdict, rare: true, first: (*world).quiet, env: []string{crashStallVariable + "=transfer: " + transfer.AtBlock, crashLingerVariable + "=5s"}},
}

// deaf lets a server live that doesn't hear of any block.
func (w *world) deaf() {
	w.Helper()
	p := w.start(1, nil, crashAtVariable+"=nowhere", crashStallVariable+"=transfer: "+transfer.AtBlock, crashLingerVariable+"=1h")
	w.trade(p, 40)
	w.kill(p)
}

// quiet lets a server live until it has heard of all blocks there are, or nearly.
func (w *world) quiet() {
	w.Helper()
	p := w.start(1, nil)
	w.during([]*process{p}, func() { w.hears(5) })
	w.stop(p)
}

// elsewhere are points to which a scenario of their own leads.
var elsewhere = []string{
	"ledger: " + fabric.AtFetched, // a peer that leaves blocks out
}

// points are those of a world.
func (w *world) points() []crashPoint {
	return slices.DeleteFunc(slices.Clone(crashPoints), func(p crashPoint) bool { return p.on != "" && p.on != w.name })
}

// TestCrashPoints holds the list of points against the code: each point that a package declares is called there, and the
// suite has a server die at it.
func TestCrashPoints(t *testing.T) {
	want := map[string]bool{}
	for _, p := range crashPoints {
		want[p.point] = true
	}
	for _, name := range slices.Concat(elsewhere, realNamePoints, messagePoints) {
		want[name] = true
	}
	for _, p := range terminalPoints {
		want["terminal: "+p.at] = true
	}
	declared := map[string]bool{}
	for dir, prefix := range map[string]string{
		"transfer": "transfer: ", "model": "model: ", "custody": "custody: ", "handler": "handler: ", "ledger/embedded": "ledger: ", "ledger/fabric": "ledger: ", "terminal": "terminal: ",
	} {
		constants, used := pointsOf(t, filepath.Join("..", "..", dir))
		for name, value := range constants {
			declared[prefix+value] = true
			if used[name] == 0 {
				t.Errorf("%s: no code calls %s", dir, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if !want[name] {
			t.Errorf("nothing dies at %q", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !declared[name] {
			t.Errorf("something is to die at %q, which no package declares", name)
		}
	}
	if len(declared) < 30 {
		t.Errorf("%d points only", len(declared))
	}
}

// pointsOf reads the points that a package declares in point.go, and how often its code uses each.
func pointsOf(t *testing.T, dir string) (constants map[string]string, used map[string]int) {
	t.Helper()
	constants, used = map[string]string{}, map[string]int{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	check(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		check(t, err)
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		check(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if !strings.HasPrefix(name.Name, "At") || filepath.Base(file) != "point.go" {
						continue
					}
					value, err := strconv.Unquote(n.Values[i].(*ast.BasicLit).Value)
					check(t, err)
					constants[name.Name] = value
				}
				return false
			case *ast.Ident:
				used[n.Name]++
			}
			return true
		})
	}
	if len(constants) == 0 {
		t.Errorf("%s declares no points", dir)
	}
	return constants, used
}
