package transfer_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/xuri/excelize/v2"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/cardfile"
)

const xlsCommand = "transfer-xls-child"

// TestMain makes the test binary the child process that reads a .xls, as the server binary has a hidden command.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == xlsCommand {
		os.Exit(cardfile.XLSMain(nil, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// xlsChild is that command. The race detector makes every process sleep before it exits, unless it is told not to.
func xlsChild() []string {
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", os.Args[0], xlsCommand}
}

// otherCarrier numbers by Luhn.
var otherCarrier = transfer.Caller{Participant: "cucc", Role: request.Carrier, Person: "person-cucc"}

func luhnID(n int) string {
	return iccid.Luhn.Format(iccid.Card{Head: "898606190001", Width: 7, Tail: uint32(n)})
}

// carriers adds another carrier to the fresh world, with a prefix of its own.
func (r *rig) carriers() {
	r.t.Helper()
	check(r.t, r.AddOrganisation(r.ctx, otherCarrier.Participant, request.Carrier, "中国联通"))
	check(r.t, r.SetIssuer(r.ctx, "898606", otherCarrier.Participant, "LUHN"))
}

// rows makes a .csv of a header and rows.
func rows(lines ...string) []byte {
	return []byte("ICCID,IMSI,MSISDN\n" + strings.Join(lines, "\n") + "\n")
}

// cards makes a .csv of cards a to b, each with an IMSI and a number.
func cards(a, b int) []byte {
	var lines []string
	for n := a; n <= b; n++ {
		lines = append(lines, fmt.Sprintf("%s,%s,%s", id(n), imsi(n), msisdn(n)))
	}
	return rows(lines...)
}

func imsi(n int) string   { return fmt.Sprintf("46004%010d", n) }
func msisdn(n int) string { return fmt.Sprintf("1064%09d", n) }

// book makes an .xlsx.
func book(t *testing.T, fill func(f *excelize.File)) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	fill(f)
	var b bytes.Buffer
	check(t, f.Write(&b))
	return b.Bytes()
}

// column fills the first column of an .xlsx.
func column(t *testing.T, f *excelize.File, values ...any) {
	t.Helper()
	for i, v := range values {
		check(t, f.SetCellValue("Sheet1", fmt.Sprintf("A%d", i+1), v))
	}
}

// imported takes a file in and waits for the end.
func (r *rig) imported(c transfer.Caller, name string, content []byte, in transfer.ImportInput) transfer.ImportView {
	r.t.Helper()
	in.FileName, in.Body = name, bytes.NewReader(content)
	id, err := r.StartImport(r.ctx, c, transfer.Idem{}, in)
	check(r.t, err)
	return r.ended(c, id)
}

func (r *rig) ended(c transfer.Caller, id string) transfer.ImportView {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 50*time.Second)
	defer cancel()
	v, err := r.AwaitImport(ctx, c, id)
	check(r.t, err)
	if !v.Ended() {
		r.t.Fatalf("the import is still %s at %.2f", v.State, v.Progress)
	}
	return v
}

// faults reads errors.csv: line, code and value of each fault.
func (r *rig) faults(c transfer.Caller, id string) []string {
	r.t.Helper()
	var b bytes.Buffer
	check(r.t, r.ImportFaults(r.ctx, c, id, &b))
	text, ok := strings.CutPrefix(b.String(), "\ufeff行号,列,值,原因,代码\r\n")
	if !ok {
		r.t.Fatalf("errors.csv begins with %.60q", b.String())
	}
	records := must2(csv.NewReader(strings.NewReader(text)).ReadAll())(r.t)
	out := []string{}
	for _, f := range records {
		if strings.Trim(f[3], "。") == "" {
			r.t.Errorf("line %s: no reason", f[0])
		}
		out = append(out, fmt.Sprintf("%s %s %s", f[0], f[4], strings.TrimPrefix(f[2], "'")))
	}
	return out
}

// total is how many cards a carrier has.
func (r *rig) total(c transfer.Caller) int64 {
	r.t.Helper()
	return must(r.t, must2(r.Inventory(r.ctx, c))(r.t), nil).Total
}

// details counts the details that are stored of cards a to b.
func (r *rig) details(a, b int) int {
	r.t.Helper()
	run := must2(iccid.Serial.Range(id(a), id(b)))(r.t)
	n := 0
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		found, err := tx.CardsWithin(iccid.Serial, run, b-a+1)
		n = len(found)
		return err
	}))
	return n
}

// leftovers lists the files in the imports' folder.
func (r *rig) leftovers() []string {
	r.t.Helper()
	var names []string
	for _, e := range must2(os.ReadDir(r.path("imports")))(r.t) {
		names = append(names, e.Name())
	}
	return names
}

func TestImport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.carriers()
	golden := func(name string) []byte { return must2(os.ReadFile(filepath.Join("testdata", name)))(t) }
	t.Run("xls", func(t *testing.T) {
		v := r.imported(carrier, "cards.xls", golden("cards.xls"), transfer.ImportInput{Issue: true})
		if v.State != "done" || v.Rows != 3 || v.Accepted != 3 || v.Rejected != 0 || v.Progress != 1 || len(v.Lots) != 1 || v.FileName != "cards.xls" {
			t.Fatalf("%+v %+v", v, v.Error)
		}
		if f := r.faults(carrier, v.ID); len(f) != 0 {
			t.Errorf("errors.csv of a sound file: %v", f)
		}
		if r.total(carrier) != 3 || r.details(1, 3) != 2 { // the third has nothing but its number
			t.Errorf("%d cards, details of %d", r.total(carrier), r.details(1, 3))
		}
	})
	t.Run("csv", func(t *testing.T) {
		v := r.imported(carrier, `C:\卡\cards.csv`, cards(101, 900), transfer.ImportInput{Issue: true, RetailPolicy: "REAL_NAME", Restrictions: []string{"NO_VOICE"}})
		if v.State != "done" || v.Accepted != 800 || len(v.Lots) != 1 || v.FileName != "cards.csv" {
			t.Fatalf("%+v %+v", v, v.Error)
		}
		lots := must2(r.Lots(r.ctx, carrier, "", 10))(t)
		i := slices.IndexFunc(lots.Items, func(l transfer.LotView) bool { return l.Hash == v.Lots[0] })
		if i < 0 || lots.Items[i].Count != 800 || lots.Items[i].RetailPolicy != "REAL_NAME" || !slices.Equal(lots.Items[i].Restrictions, []string{"NO_VOICE"}) {
			t.Errorf("lots %+v", lots.Items)
		}
		if n := r.details(101, 900); n != 800 {
			t.Errorf("details of %d cards", n)
		}
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			d, err := tx.CardDetail(iccid.Serial, must2(iccid.Serial.Parse(id(101)))(t))
			if bytes.Contains(d.IMSISealed, []byte(imsi(101))) || d.ImportID != v.ID || d.OwnerCarrier != carrier.Participant {
				t.Errorf("details %+v", d)
			}
			return err
		}))
	})
	t.Run("xlsx of the other carrier", func(t *testing.T) {
		var b bytes.Buffer
		check(t, cardfile.WriteXLSX(&b, func(yield func(cardfile.Row) bool) {
			for n := range 20 {
				if !yield(cardfile.Row{ICCID: luhnID(n)}) {
					return
				}
			}
		}))
		v := r.imported(otherCarrier, "cards.xlsx", b.Bytes(), transfer.ImportInput{Issue: true})
		if v.State != "done" || r.total(otherCarrier) != 20 {
			t.Fatalf("%+v %+v", v, v.Error)
		}
	})
	t.Run("details first, lots later", func(t *testing.T) {
		v := r.imported(carrier, "cards.csv", cards(5000, 5009), transfer.ImportInput{})
		if v.State != "done" || len(v.Lots) != 0 || r.details(5000, 5009) != 10 {
			t.Fatalf("%+v %+v", v, v.Error)
		}
		v = r.imported(carrier, "cards.csv", cards(5000, 5011), transfer.ImportInput{Issue: true})
		if v.State != "done" || len(v.Lots) != 1 || r.details(5000, 5011) != 12 {
			t.Fatalf("%+v %+v", v, v.Error)
		}
	})
	t.Run("in any order", func(t *testing.T) {
		var lines []string
		for n := range 700 {
			lines = append(lines, id(20_000+(n*3)%700))
		}
		v := r.imported(carrier, "cards.csv", rows(lines...), transfer.ImportInput{Issue: true})
		if v.State != "done" || len(v.Lots) != 1 {
			t.Fatalf("%d lots, %+v", len(v.Lots), v.Error)
		}
	})
	t.Run("scattered", func(t *testing.T) {
		var lines []string
		for n := range 1001 {
			lines = append(lines, id(100_000+2*n))
		}
		v := r.imported(carrier, "cards.csv", rows(lines...), transfer.ImportInput{Issue: true})
		if v.State != "done" || v.Accepted != 1001 || len(v.Lots) != 2 {
			t.Fatalf("%d lots, %+v", len(v.Lots), v.Error)
		}
	})
	page := must2(r.Imports(r.ctx, carrier, "", 2))(t)
	next := must2(r.Imports(r.ctx, carrier, page.Next, 10))(t)
	if len(page.Items) != 2 || len(next.Items) != 4 || page.Items[0].ID == next.Items[0].ID {
		t.Errorf("imports listed: %d, %d", len(page.Items), len(next.Items))
	}
	r.until("the files are gone", func() bool { return len(r.leftovers()) == 0 })
	r.fsck()
}

// TestImportBadRows: each kind of bad row is told, and nothing of its file is imported.
func TestImportBadRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.carriers()
	r.issue(900, 910)
	for _, c := range []struct {
		name    string
		file    string
		content func(t *testing.T) []byte
		faults  []string
	}{
		{"numeric ICCID cells", "cards.xlsx", func(t *testing.T) []byte {
			return book(t, func(f *excelize.File) { column(t, f, "ICCID", id(1), 89860419220000000.0) })
		}, []string{"3 ICCID_NUMERIC_CELL 89860419220000000"}},
		{"scientific ICCIDs", "cards.csv", func(*testing.T) []byte { return rows(id(1), "8.98606E+19") }, []string{"3 ICCID_NUMERIC_CELL 8.98606E+19"}},
		{"hidden rows", "cards.xlsx", func(t *testing.T) []byte {
			return book(t, func(f *excelize.File) {
				column(t, f, "ICCID", id(1), id(2), id(3))
				check(t, f.SetRowVisible("Sheet1", 3, false))
			})
		}, []string{"3 ROW_HIDDEN " + id(2)}},
		{"merged cells", "cards.xlsx", func(t *testing.T) []byte {
			return book(t, func(f *excelize.File) {
				column(t, f, "ICCID", id(1), id(2), id(3))
				check(t, f.MergeCell("Sheet1", "A3", "A4"))
			})
		}, []string{"3 MERGED_CELL " + id(2)}},
		{"rows without a card", "cards.csv", func(*testing.T) []byte { return rows(id(1), ",460001234500001,") }, []string{"3 ICCID_MISSING "}},
		{"duplicates in the file", "cards.csv", func(*testing.T) []byte { return rows(id(1), id(2), id(1)) }, []string{"4 DUPLICATE_IN_FILE " + id(1)}},
		{"duplicates in the database", "cards.csv", func(*testing.T) []byte { return rows(id(899), id(900), id(905), id(911)) },
			[]string{"3 CARDS_ISSUED_BEFORE " + id(900), "4 CARDS_ISSUED_BEFORE " + id(905)}},
		{"mixed carriers", "cards.csv", func(*testing.T) []byte { return rows(id(1), luhnID(1), id(2), luhnID(2)) },
			[]string{"3 CARD_FILE_MIXED " + luhnID(1), "5 CARD_FILE_MIXED " + luhnID(2)}},
		{"a prefix that nobody has on the ledger", "cards.csv", func(*testing.T) []byte { return rows(id(1), strings.Replace(id(1), "898604", "898607", 1)) },
			[]string{"3 ISSUER_UNKNOWN " + strings.Replace(id(1), "898604", "898607", 1)}},
		{"a prefix that nobody knows", "cards.csv", func(*testing.T) []byte { return rows(id(1), "89999900000000000001") }, []string{"3 ICCID_ISSUER_UNKNOWN 89999900000000000001"}},
		{"wrong Luhn", "cards.csv", func(*testing.T) []byte {
			s := []byte(luhnID(1))
			s[19] = '0' + (s[19]-'0'+1)%10
			return rows(id(1), string(s))
		}, []string{"3 ICCID_CHECK_DIGIT " + luhnID(1)[:19] + string('0'+(luhnID(1)[19]-'0'+1)%10)}},
		{"nibble-swapped", "cards.csv", func(*testing.T) []byte { return rows(id(1), swapped(id(2))) }, []string{"3 ICCID_NIBBLE_SWAPPED " + swapped(id(2))}},
		{"IMSI and number", "cards.csv", func(*testing.T) []byte { return rows(id(1)+",4600,10641", id(2)+",,13800138000") },
			[]string{"2 IMSI_FORMAT 4600", "2 MSISDN_FORMAT 10641", "3 MSISDN_FORMAT 13800138000"}},
		{"formulas in place of a card", "cards.csv", func(*testing.T) []byte { return rows(id(1), `"=HYPERLINK(""http://x"")"`) },
			[]string{`3 ICCID_FORMAT =HYPERLINK("http://x")`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := r.total(carrier)
			v := r.imported(carrier, c.file, c.content(t), transfer.ImportInput{Issue: true})
			if v.State != "failed" || v.Error == nil || v.Error.Code != "CARD_FILE_BAD_ROWS" || v.Error.Message == "" || len(v.Lots) != 0 {
				t.Errorf("%+v %+v", v, v.Error)
			}
			if got := r.faults(carrier, v.ID); !slices.Equal(got, c.faults) {
				t.Errorf("errors.csv has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.faults, "\n"))
			}
			if r.total(carrier) != before || r.details(1, 1000) != 0 {
				t.Errorf("%d cards, not %d; details of %d", r.total(carrier), before, r.details(1, 1000))
			}
		})
	}
	t.Run("blank rows are none", func(t *testing.T) {
		v := r.imported(carrier, "cards.csv", rows(id(1), "", ",,", id(2)), transfer.ImportInput{Issue: true})
		if v.State != "done" || v.Rows != 2 {
			t.Errorf("%+v %+v", v, v.Error)
		}
	})
	r.fsck()
}

// swapped writes a card as its chip holds it.
func swapped(s string) string {
	b := []byte(s)
	for i := 0; i+1 < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return string(b)
}

// TestImportBadFiles: a file that can't be used as a whole says so, in the view and in errors.csv.
func TestImportBadFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.carriers()
	bomb := func(t *testing.T) []byte { // 10 GiB, says its directory; what really unpacks is package cardfile's to test
		var b, packed bytes.Buffer
		d := must2(flate.NewWriter(&packed, flate.BestSpeed))(t)
		must2(d.Write(make([]byte, 1<<20)))(t)
		check(t, d.Close())
		w := zip.NewWriter(&b)
		f := must2(w.CreateRaw(&zip.FileHeader{
			Name: "xl/worksheets/sheet1.xml", Method: zip.Deflate, CompressedSize64: uint64(packed.Len()), UncompressedSize64: 10 << 30,
		}))(t)
		must2(f.Write(packed.Bytes()))(t)
		check(t, w.Close())
		return b.Bytes()
	}
	full := must2(os.ReadFile(filepath.Join("testdata", "full.xls")))(t)
	for _, c := range []struct {
		name, file, code string
		content          []byte
	}{
		{"a PDF", "cards.xlsx", "CARD_FILE_UNKNOWN", []byte("%PDF-1.7 and so on")},
		{"a web page", "cards.xls", "CARD_FILE_UNKNOWN", []byte("<html><table><tr><td>ICCID</td></tr></table></html>")},
		{"noise", "cards.bin", "CARD_FILE_UNKNOWN", []byte{0, 1, 2, 3, 4, 5}},
		{"nothing", "cards.csv", "CARD_FILE_EMPTY", nil},
		{"only a header", "cards.csv", "CARD_FILE_EMPTY", rows()[:18]},
		{"no ICCID column", "cards.csv", "CARD_FILE_NO_ICCID_COLUMN", []byte("姓名,电话\n甲,1\n")},
		{"two ICCID columns", "cards.csv", "CARD_FILE_AMBIGUOUS_COLUMN", []byte("ICCID,iccid\n" + id(1) + "," + id(2) + "\n")},
		{"a zip bomb", "cards.xlsx", "CARD_FILE_TOO_LARGE", bomb(t)},
		{"a truncated .xlsx", "cards.xlsx", "CARD_FILE_DAMAGED", book(t, func(f *excelize.File) { column(t, f, "ICCID", id(1)) })[:2000]},
		{"65,536 rows of a .xls", "cards.xls", "CARD_FILE_XLS_FULL", full},
		{"a damaged .xls", "cards.xls", "CARD_FILE_DAMAGED", append(slices.Clone(full[:600]), make([]byte, 3000)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := r.imported(carrier, c.file, c.content, transfer.ImportInput{Issue: true, Partial: true})
			if v.State != "failed" || v.Error == nil || v.Error.Code != c.code || v.Error.Message == "" || len(v.Lots) != 0 {
				t.Fatalf("%+v %+v", v, v.Error)
			}
			if got := r.faults(carrier, v.ID); len(got) == 0 || got[len(got)-1] != "0 "+c.code+" " {
				t.Errorf("errors.csv has %v", got)
			}
		})
	}
	if r.total(carrier) != 0 {
		t.Errorf("%d cards were imported", r.total(carrier))
	}
	t.Run("more rows than allowed", func(t *testing.T) {
		r.config = func(c *transfer.Config) { c.Imports.MaxRows = 2 }
		r.reopen(t)
		v := r.imported(carrier, "cards.csv", cards(1, 3), transfer.ImportInput{Issue: true, Partial: true})
		if v.Error == nil || v.Error.Code != "CARD_FILE_TOO_LARGE" || r.total(carrier) != 0 || r.details(1, 3) != 0 {
			t.Errorf("%+v %+v", v, v.Error)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestStartImport: what is refused before there is an import leaves no file.
func TestStartImport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.carriers()
	start := func(c transfer.Caller, idem transfer.Idem, in transfer.ImportInput) (string, error) {
		return r.StartImport(r.ctx, c, idem, in)
	}
	cut := errors.New("the line was cut")
	for name, c := range map[string]struct {
		caller transfer.Caller
		in     transfer.ImportInput
		code   string
	}{
		"not a carrier":       {distributor, transfer.ImportInput{Body: strings.NewReader("x")}, "FORBIDDEN"},
		"no such restriction": {carrier, transfer.ImportInput{Body: strings.NewReader("x"), Restrictions: []string{"NO_FUN"}}, "RESTRICTION_INVALID"},
		"no such policy":      {carrier, transfer.ImportInput{Body: strings.NewReader("x"), RetailPolicy: "FREE"}, "RETAIL_POLICY_INVALID"},
		"too large":           {carrier, transfer.ImportInput{Body: io.LimitReader(zeros{}, 64<<20+1)}, "CARD_FILE_TOO_LARGE"},
		"cut off":             {carrier, transfer.ImportInput{Body: io.MultiReader(strings.NewReader("ICCID\n"), iotest.ErrReader(cut))}, "INTERNAL"},
	} {
		_, err := start(c.caller, idem("import"), c.in)
		if transfer.CodeOf(err) != c.code || name == "cut off" && !errors.Is(err, cut) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(r.path("imports")); err != nil || len(entries) != 0 {
		t.Errorf("files left: %v %v", entries, err)
	}

	wish := transfer.Idem{Key: "one", Route: "POST /card-imports"}
	first, err := start(carrier, wish, transfer.ImportInput{Body: bytes.NewReader(cards(1, 5)), Issue: true})
	check(t, err)
	again, err := start(carrier, wish, transfer.ImportInput{Body: bytes.NewReader(cards(1, 5)), Issue: true})
	if err != nil || again != first {
		t.Errorf("the same wish is another import: %v", err)
	}
	if _, err := start(carrier, wish, transfer.ImportInput{Body: bytes.NewReader(cards(1, 6)), Issue: true}); transfer.CodeOf(err) != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("another file under the same key: %v", err)
	}
	if _, err := start(carrier, wish, transfer.ImportInput{Body: bytes.NewReader(cards(1, 5))}); transfer.CodeOf(err) != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("something else asked for under the same key: %v", err)
	}
	if v := r.ended(carrier, first); v.State != "done" || r.total(carrier) != 5 {
		t.Errorf("%+v %+v", v, v.Error)
	}
	r.until("the files are gone", func() bool { return len(r.leftovers()) == 0 })
	for _, id := range []string{first, "no-such-import"} {
		if _, err := r.Import(r.ctx, otherCarrier, id); transfer.CodeOf(err) != "IMPORT_NOT_FOUND" {
			t.Errorf("another's import: %v", err)
		}
		if err := r.ImportFaults(r.ctx, otherCarrier, id, io.Discard); transfer.CodeOf(err) != "IMPORT_NOT_FOUND" {
			t.Errorf("another's errors.csv: %v", err)
		}
	}
}

// TestImportPartial: the good rows count, the bad ones are told.
func TestImportPartial(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.carriers()
	r.issue(5, 5)
	v := r.imported(carrier, "cards.csv", rows(id(1), "nonsense", luhnID(1), id(5), id(2), id(2), id(7)+","+imsi(7)), transfer.ImportInput{Issue: true, Partial: true})
	if v.State != "done" || v.Rows != 7 || v.Accepted != 3 || v.Rejected != 4 || len(v.Lots) != 1 {
		t.Fatalf("%+v %+v", v, v.Error)
	}
	want := []string{"3 ICCID_FORMAT nonsense", "4 CARD_FILE_MIXED " + luhnID(1), "5 CARDS_ISSUED_BEFORE " + id(5), "7 DUPLICATE_IN_FILE " + id(2)}
	if got := r.faults(carrier, v.ID); !slices.Equal(got, want) {
		t.Errorf("errors.csv has %v, want %v", got, want)
	}
	if r.total(carrier) != 4 || r.details(1, 10) != 1 {
		t.Errorf("%d cards, details of %d", r.total(carrier), r.details(1, 10))
	}
	v = r.imported(carrier, "cards.csv", rows("nonsense", id(5)), transfer.ImportInput{Issue: true, Partial: true})
	if v.State != "failed" || v.Error.Code != "CARD_FILE_BAD_ROWS" || r.total(carrier) != 4 {
		t.Errorf("nothing good in it: %+v", v)
	}
	t.Run("errors.csv is kept for a while", func(t *testing.T) {
		check(t, r.SweepFiles(r.ctx))
		if len(r.faults(carrier, v.ID)) != 2 {
			t.Error("swept too soon")
		}
		r.clock.forward(61 * time.Minute)
		check(t, r.SweepFiles(r.ctx))
		if err := r.ImportFaults(r.ctx, carrier, v.ID, io.Discard); transfer.CodeOf(err) != "IMPORT_FAULTS_EXPIRED" {
			t.Errorf("after it was swept: %v", err)
		}
	})
	r.fsck()
}

// TestImportDetailsDiffer: what was said of a card before is not changed in silence, and a failed import takes only its
// own details with it.
func TestImportDetailsDiffer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.carriers()
	if v := r.imported(carrier, "cards.csv", cards(1, 3), transfer.ImportInput{}); v.State != "done" {
		t.Fatalf("%+v", v.Error)
	}
	v := r.imported(carrier, "cards.csv", rows(id(1)+","+imsi(1)+","+msisdn(1), id(2)+","+imsi(9)+","+msisdn(2), id(4)+","+imsi(4)), transfer.ImportInput{Issue: true})
	if v.State != "failed" || r.total(carrier) != 0 || r.details(1, 4) != 3 {
		t.Errorf("%+v, details of %d", v, r.details(1, 4))
	}
	if got := r.faults(carrier, v.ID); !slices.Equal(got, []string{"3 CARD_DETAILS_DIFFER " + id(2)}) {
		t.Errorf("errors.csv has %v", got)
	}
}
