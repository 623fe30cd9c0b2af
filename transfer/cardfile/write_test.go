package cardfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"cardflow/transfer/cardfile"

	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"
)

func writers() map[string]func(*bytes.Buffer, iter.Seq[cardfile.Row]) error {
	return map[string]func(*bytes.Buffer, iter.Seq[cardfile.Row]) error{
		"cards.xlsx": func(b *bytes.Buffer, rows iter.Seq[cardfile.Row]) error { return cardfile.WriteXLSX(b, rows) },
		"cards.csv":  func(b *bytes.Buffer, rows iter.Seq[cardfile.Row]) error { return cardfile.WriteCSV(b, rows) },
	}
}

// TestWriteAndRead: what is written is read back as it was.
func TestWriteAndRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var rows []cardfile.Row
		for i := range rapid.IntRange(1, 40).Draw(rt, "n") {
			card := rapid.SampledFrom([]func(int) string{cmcc, unicom, telecom}).Draw(rt, "carrier")
			row := cardfile.Row{ICCID: card(i)}
			if rapid.Bool().Draw(rt, "imsi") {
				row.IMSI = fmt.Sprintf("46000%010d", i)
			}
			if rapid.Bool().Draw(rt, "msisdn") {
				row.MSISDN = fmt.Sprintf("1064%09d", i)
			}
			rows = append(rows, row)
		}
		for name, write := range writers() {
			var b bytes.Buffer
			if err := write(&b, slices.Values(rows)); err != nil {
				rt.Fatal(err)
			}
			r := read(t, name, b.Bytes(), cardfile.Options{})
			if r.code != "" || len(r.faults) > 0 || len(r.rows) != len(rows) {
				rt.Fatalf("%s: %q %+v %q", name, r.code, r.sum, faultLines(r.faults))
			}
			for i, got := range r.rows {
				if got.ICCID != rows[i].ICCID || got.IMSI != rows[i].IMSI || got.MSISDN != rows[i].MSISDN || got.Line != i+2 {
					rt.Fatalf("%s row %d: %q, want %q", name, i, rowLines(r.rows[i:i+1]), rowLines(rows[i:i+1]))
				}
			}
		}
	})
}

// TestTemplate: it is empty to us, and what a person types into it stays text.
func TestTemplate(t *testing.T) {
	content, err := cardfile.Template()
	if err != nil {
		t.Fatal(err)
	}
	if r := read(t, "template.xlsx", content, cardfile.Options{}); r.code != cardfile.CodeEmpty {
		t.Errorf("%q", r.code)
	}
	f, err := excelize.OpenReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, column := range []string{"A", "B", "C"} {
		id, err := f.GetColStyle(f.GetSheetName(0), column)
		if err != nil {
			t.Fatal(err)
		}
		style, err := f.GetStyle(id)
		if err != nil {
			t.Fatal(err)
		}
		if style.NumFmt != 49 {
			t.Errorf("column %s has format %d, want text", column, style.NumFmt)
		}
	}
}

func TestWriteFails(t *testing.T) {
	rows := slices.Values([]cardfile.Row{{ICCID: cmcc(1)}})
	if err := errors.Join(cardfile.WriteXLSX(brokenWriter{}, rows)); err == nil {
		t.Error("xlsx: nothing was said")
	}
	if err := cardfile.WriteCSV(brokenWriter{}, rows); err == nil {
		t.Error("csv: nothing was said")
	}
}

// BenchmarkRead answers rows per second for each format.
func BenchmarkRead(b *testing.B) {
	const n = 50_000
	rows := func(yield func(cardfile.Row) bool) {
		for i := range n {
			if !yield(cardfile.Row{ICCID: cmcc(i), IMSI: fmt.Sprintf("46000%010d", i), MSISDN: fmt.Sprintf("1064%09d", i)}) {
				return
			}
		}
	}
	files := map[string]string{"shared.xlsx": sharedFile(b, n)}
	for name, write := range writers() {
		var buf bytes.Buffer
		if err := write(&buf, rows); err != nil {
			b.Fatal(err)
		}
		files[name] = put(b, name, buf.Bytes())
	}
	order := rand.New(rand.NewPCG(5, 6)).Perm(n)
	files["random.csv"] = csvFile(b, n, func(i int) string { return cmcc(order[i]) })
	cells := [][]any{{"ICCID", "IMSI", "MSISDN"}}
	for r := range rows {
		cells = append(cells, []any{r.ICCID, r.IMSI, r.MSISDN})
	}
	files["cards.xls"] = put(b, "cards.xls", xls(xlsSheet{name: "卡", rows: cells}))
	for _, name := range []string{"cards.csv", "random.csv", "cards.xlsx", "shared.xlsx", "cards.xls"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := readPath(b, files[name], name, cardfile.Options{}); r.code != "" || r.sum.Good != n {
					b.Fatalf("%q %+v", r.code, r.sum)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
