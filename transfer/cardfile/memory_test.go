package cardfile_test

import (
	"archive/zip"
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"cardflow/transfer/cardfile"
)

// peakHeap is by how many bytes the heap is larger after do than before it, garbage included.
func peakHeap(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.HeapSys - min(after.HeapSys, before.HeapSys)
}

// live reads a file and answers the most live bytes it was seen to hold over those before, looking often.
func live(t *testing.T, path string, wantRows int64) uint64 {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, peak, n := m.HeapAlloc, uint64(0), 0
	look := func(int64, int64) {
		if n++; n%2 == 1 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc-min(m.HeapAlloc, before))
		}
	}
	sum, err := cardfile.Read(context.Background(), path, filepath.Base(path), cardfile.Options{OnProgress: look, TempDir: t.TempDir()},
		func(cardfile.Row) error { return nil },
		func(f cardfile.Fault) error { return fmt.Errorf("line %d: %s", f.Line, f.Code) })
	if err != nil || sum.Good != wantRows {
		t.Fatalf("%+v %v", sum, err)
	}
	return peak
}

// sharedFile writes a sheet of n rows in the way of Excel: every text in the shared strings.
func sharedFile(t testing.TB, n int) string {
	t.Helper()
	path := put(t, "shared.xlsx", nil)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for _, p := range workbookParts("-", tab{}) {
		part, err := w.Create(p.name)
		if err != nil {
			t.Fatal(err)
		}
		out := bufio.NewWriter(part)
		switch p.name {
		case "xl/sharedStrings.xml":
			fmt.Fprintf(out, `<sst %s><si><t>ICCID</t></si>`, nsMain)
			for i := range n {
				fmt.Fprintf(out, `<si><t>%s</t></si><si><r><t>46000</t></r><r><t>%010d</t></r></si>`, cmcc(i), i)
			}
			fmt.Fprint(out, `</sst>`)
		case "xl/worksheets/sheet1.xml":
			fmt.Fprintf(out, `<worksheet %s><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>IMSI</t></is></c></row>`, nsMain)
			for i := range n {
				fmt.Fprintf(out, `<row r="%d" spans="1:2"><c r="A%d" s="1" t="s"><v>%d</v></c><c r="B%d" s="1" t="s"><v>%d</v></c></row>`, i+2, i+2, 2*i+1, i+2, 2*i+2)
			}
			fmt.Fprint(out, `</sheetData></worksheet>`)
		default:
			_, _ = io.WriteString(out, p.text)
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// csvFile writes the cards that number answers for 0 to n-1.
func csvFile(t testing.TB, n int, number func(i int) string) string {
	t.Helper()
	path := put(t, "cards.csv", nil)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	fmt.Fprintln(out, "ICCID")
	for i := range n {
		fmt.Fprintln(out, number(i))
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	return path
}

// constant is what the live heap may differ by between a file and one ten times as long.
const constant = 6 << 20

func TestMemoryIsFlat(t *testing.T) {
	const short, long = 3_000, 30_000
	t.Run("xlsx", func(t *testing.T) {
		few := live(t, sharedFile(t, short), short)
		many := live(t, sharedFile(t, long), long)
		if many > few+constant {
			t.Errorf("%d rows: %d KB, %d rows: %d KB", short, few>>10, long, many>>10)
		}
	})
	t.Run("csv", func(t *testing.T) {
		few := live(t, csvFile(t, short, cmcc), short)
		many := live(t, csvFile(t, long, cmcc), long)
		if many > few+constant {
			t.Errorf("%d rows: %d KB, %d rows: %d KB", short, few>>10, long, many>>10)
		}
	})
}

// TestMemoryOfRandomCards: no two follow one another, the worst that a file can do to the search for duplicates. It
// stays below 64 bytes a card, 64 MB for a million.
func TestMemoryOfRandomCards(t *testing.T) {
	const n = 200_000
	order := rand.New(rand.NewPCG(3, 4)).Perm(n)
	path := csvFile(t, n, func(i int) string { return fmt.Sprintf("898604B7%012d", int64(order[i])*999_983) })
	if peak := live(t, path, n); peak > 64*n {
		t.Errorf("%d KB for %d cards", peak>>10, n)
	}
}
