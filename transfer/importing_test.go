package transfer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// gate is a ledger that stops at a point until a test opens it, or the server ends.
type gate struct {
	ledger.Ledger
	mu   sync.Mutex
	at   string        // function, or function and first argument
	met  chan struct{} // closed when somebody stands before it
	open chan struct{}
}

func (g *gate) wrap(l ledger.Ledger) ledger.Ledger {
	g.Ledger = l
	return g
}

// close closes the gate at a point.
func (g *gate) close(at string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at, g.met, g.open = at, make(chan struct{}), make(chan struct{})
}

// let opens it.
func (g *gate) let() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at != "" {
		g.at = ""
		close(g.open)
	}
}

// reached waits until somebody stands before the gate.
func (g *gate) reached(t *testing.T) {
	t.Helper()
	select {
	case <-g.met:
	case <-time.After(50 * time.Second):
		t.Fatal("nobody came to the gate")
	}
}

func (g *gate) pass(ctx context.Context, at string) error {
	g.mu.Lock()
	if g.at != at {
		g.mu.Unlock()
		return nil
	}
	select {
	case <-g.met:
	default:
		close(g.met)
	}
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	at := function
	if len(args) > 0 {
		at += " " + string(args[0])
	}
	if err := g.pass(ctx, at); err != nil {
		return nil, err
	}
	return g.Ledger.Query(ctx, contract, function, args...)
}

func (g *gate) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	if err := g.pass(ctx, p.Function); err != nil {
		return ledger.Commit{}, &ledger.Failure{Class: ledger.NotSent, Err: err}
	}
	return g.Ledger.Submit(ctx, p, transient, sending)
}

// second is a card of another prefix of the first carrier's, and secondPrefix how the ledger is asked about it.
const (
	second       = "898602A1900000000001"
	secondPrefix = "GetIssuer 898602A190"
)

// gated is a rig whose ledger has a gate.
func gated(t *testing.T) (*rig, *gate) {
	g := &gate{}
	r := newRigWith(t, g.wrap)
	check(t, r.SetIssuer(r.ctx, "898602", carrier.Participant, "SERIAL"))
	return r, g
}

func (r *rig) begin(c transfer.Caller, content []byte, in transfer.ImportInput) string {
	r.t.Helper()
	in.FileName, in.Body = "cards.csv", strings.NewReader(string(content))
	return must2(r.StartImport(context.Background(), c, transfer.Idem{}, in))(r.t)
}

// TestImportProgress: what people see goes forward only, through every state, to 1.
func TestImportProgress(t *testing.T) {
	t.Parallel()
	r, g := gated(t)
	var lines []string
	for n := range 2100 {
		lines = append(lines, id(n))
	}
	g.close(secondPrefix)
	imp := r.begin(carrier, rows(append(lines, second)...), transfer.ImportInput{Issue: true})
	var seen []transfer.ImportView
	look := func(ok func(transfer.ImportView) bool) transfer.ImportView {
		t.Helper()
		for deadline := time.Now().Add(50 * time.Second); ; runtime.Gosched() {
			v := must2(r.Import(r.ctx, carrier, imp))(t)
			seen = append(seen, v)
			if ok(v) {
				return v
			}
			if time.Now().After(deadline) {
				t.Fatalf("still %+v", v)
			}
		}
	}
	g.reached(t)
	v := look(func(v transfer.ImportView) bool { return v.Progress > 0 && v.Rows == 2000 })
	if v.State != "reading" || v.Progress > 0.9 { // the file is small: it is in the buffer as a whole
		t.Errorf("while it is read: %+v", v)
	}
	g.let()
	g.close("Issue")
	g.reached(t)
	v = look(func(v transfer.ImportView) bool { return v.State == "issuing" })
	if v.Progress < 0.9 || v.Progress >= 1 || v.Rows != 2101 {
		t.Errorf("while it is issued: %+v", v)
	}
	if err := r.ImportFaults(r.ctx, carrier, imp, nil); transfer.CodeOf(err) != "IMPORT_UNFINISHED" {
		t.Errorf("errors.csv before the end: %v", err)
	}
	g.let()
	v = look(transfer.ImportView.Ended)
	if v.State != "done" || v.Progress != 1 {
		t.Errorf("at the end: %+v", v)
	}
	order := []string{"queued", "reading", "issuing", "done"}
	for i := 1; i < len(seen); i++ {
		a, b := seen[i-1], seen[i]
		if b.Progress < a.Progress || b.Rows < a.Rows || slices.Index(order, b.State) < slices.Index(order, a.State) {
			t.Errorf("from %+v back to %+v", a, b)
		}
	}
}

// TestImportResumes ends the server in each state of an import. The next one takes it to the same end.
func TestImportResumes(t *testing.T) {
	content := func() []byte {
		var lines []string
		for n := 1; n <= 600; n++ {
			lines = append(lines, id(n)+","+imsi(n))
		}
		return rows(append(lines, second)...)
	}()
	for name, until := range map[string]func(r *rig, g *gate) string{
		"queued": func(r *rig, g *gate) string {
			r.stop()
			r.Wait()
			return r.begin(carrier, content, transfer.ImportInput{Issue: true})
		},
		"reading": func(r *rig, g *gate) string {
			g.close(secondPrefix)
			imp := r.begin(carrier, content, transfer.ImportInput{Issue: true})
			g.reached(r.t)
			if n := r.details(1, 600); n != 500 {
				r.t.Errorf("details of %d cards are stored, not 500", n)
			}
			return imp
		},
		"issuing": func(r *rig, g *gate) string {
			g.close("Issue")
			imp := r.begin(carrier, content, transfer.ImportInput{Issue: true})
			g.reached(r.t)
			check(r.t, os.Remove(r.path("imports/"+imp))) // it isn't needed any more
			return imp
		},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", name, killed), func(t *testing.T) {
				t.Parallel()
				r, g := gated(t)
				r.t = t
				imp := until(r, g)
				r.stop()
				r.Wait()
				if got := must2(r.Import(context.Background(), carrier, imp))(t).State; got != name {
					t.Fatalf("it was %s", got)
				}
				if killed { // then its lease was not given back
					check(t, r.db.Write(context.Background(), func(tx *model.Tx) error {
						now := model.MillisOf(r.clock.now())
						_, err := tx.LeaseImport("dead", now, now+60_000, func(model.Import) bool { return true })
						return err
					}))
					r.clock.forward(61 * time.Second)
				}
				g.let()
				r.reopen(t)
				v := r.ended(carrier, imp)
				if v.State != "done" || v.Rows != 601 || v.Accepted != 601 || len(v.Lots) != 1 {
					t.Errorf("%+v %+v", v, v.Error)
				}
				if r.total(carrier) != 601 || r.details(1, 600) != 600 {
					t.Errorf("%d cards, details of %d", r.total(carrier), r.details(1, 600))
				}
				r.until("the files are gone", func() bool { return len(r.leftovers()) == 0 })
				r.fsck()
			})
		}
	}
}

// TestImportRefusedByLedger: an import whose cards the ledger does not take leaves nothing.
func TestImportRefusedByLedger(t *testing.T) {
	t.Parallel()
	r, g := gated(t)
	g.close("Issue")
	imp := r.begin(carrier, rows(id(1)+","+imsi(1)), transfer.ImportInput{Issue: true})
	g.reached(t)
	// Before the import gets there, the prefix becomes another's.
	check(t, r.AddOrganisation(r.ctx, otherCarrier.Participant, request.Carrier, "中国联通"))
	check(t, r.SetIssuer(r.ctx, prefix, otherCarrier.Participant, "SERIAL"))
	g.let()
	v := r.ended(carrier, imp)
	if v.State != "failed" || v.Error.Code != "ROLE_FORBIDDEN" || len(v.Lots) != 0 || r.details(1, 1) != 0 {
		t.Errorf("%+v %+v, details of %d", v, v.Error, r.details(1, 1))
	}
	r.fsck()
}

// TestImportsOfTheSameCards: of two that run at once, one brings the cards.
func TestImportsOfTheSameCards(t *testing.T) {
	t.Parallel()
	r, g := gated(t)
	r.carriers()
	g.close(secondPrefix)
	first := r.begin(carrier, append(cards(1, 600), second...), transfer.ImportInput{Issue: true})
	g.reached(t)
	v := r.imported(carrier, "cards.csv", cards(500, 501), transfer.ImportInput{Issue: true})
	if v.State != "failed" || v.Error.Code != "CARD_FILE_BAD_ROWS" {
		t.Fatalf("%+v %+v", v, v.Error)
	}
	if got := r.faults(carrier, v.ID); !slices.Equal(got, []string{"2 CARD_IN_IMPORT " + id(500)}) {
		t.Errorf("errors.csv has %v", got)
	}
	g.let()
	if v := r.ended(carrier, first); v.State != "done" || r.total(carrier) != 601 {
		t.Errorf("%+v %+v, %d cards", v, v.Error, r.total(carrier))
	}
	r.fsck()
}

// TestSweepFiles: files that no import needs go, and no others.
func TestSweepFiles(t *testing.T) {
	t.Parallel()
	r, g := gated(t)
	g.close("Issue")
	busy := r.begin(carrier, rows(id(1)), transfer.ImportInput{Issue: true})
	g.reached(t)
	put := func(name string, age time.Duration) {
		check(t, os.WriteFile(r.path("imports/"+name), nil, 0o600))
		at := r.clock.now().Add(-age)
		check(t, os.Chtimes(r.path("imports/"+name), at, at))
	}
	put("orphan", 2*time.Hour)       // a crash came before its row
	put("orphan.issue", 2*time.Hour) //
	put("coming", time.Minute)       // its row may come yet
	check(t, r.SweepFiles(r.ctx))
	if got := r.leftovers(); !slices.Equal(got, slices.Sorted(slices.Values([]string{"coming", busy, busy + ".issue"}))) {
		t.Errorf("left: %v", got)
	}
	g.let()
	r.ended(carrier, busy)
	put(busy, 0) // a crash came before it was removed
	put(busy+".errors.csv.part", 0)
	check(t, r.SweepFiles(r.ctx))
	if got := r.leftovers(); !slices.Equal(got, []string{"coming"}) {
		t.Errorf("left: %v", got)
	}
}

// TestImportMemory: what an import holds does not grow with its file.
func TestImportMemory(t *testing.T) {
	r := newRig(t)
	peak := func(n int) uint64 {
		body, file := io.Pipe() // made as it is read: the test itself holds no file
		go func() {
			w := bufio.NewWriter(file)
			fmt.Fprintln(w, "ICCID")
			for i := range n {
				fmt.Fprintln(w, id(i))
			}
			file.CloseWithError(w.Flush())
		}()
		imp := must2(r.StartImport(r.ctx, carrier, transfer.Idem{}, transfer.ImportInput{FileName: "cards.csv", Body: body}))(t)
		var most uint64
		for looked := int64(-1); ; runtime.Gosched() {
			v := must2(r.Import(r.ctx, carrier, imp))(t)
			if v.Rows-looked > int64(n/8) || v.Ended() {
				looked = v.Rows
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
			if v.Ended() {
				if v.State != "done" || v.Accepted != int64(n) {
					t.Fatalf("%+v %+v", v, v.Error)
				}
				return most
			}
		}
	}
	few, many := peak(20_000), peak(200_000)
	if many > few+4<<20 {
		t.Errorf("20,000 rows: %d KB, 200,000 rows: %d KB", few>>10, many>>10)
	}
}
