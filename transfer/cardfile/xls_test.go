package cardfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/transfer/cardfile"

	xlsreader "github.com/shakinm/xlsReader/xls"
)

// TestXLSWriterAgainstAnotherReader shows that the files below are .xls files and not only what our reader takes for
// one: a reader that shares no code with ours finds the same texts and numbers, those behind a CONTINUE included.
func TestXLSWriterAgainstAnotherReader(t *testing.T) {
	rows := [][]any{{"ICCID", "备注", "IMSI"}}
	for i := range 600 {
		rows = append(rows, []any{cmcc(i), fmt.Sprintf("第 %d 张卡", i), float64(460001234500000 + i)})
	}
	book, err := xlsreader.OpenReader(bytes.NewReader(xls(xlsSheet{name: "卡清单", rows: rows})))
	if err != nil {
		t.Fatal(err)
	}
	sheet, err := book.GetSheet(0)
	if err != nil {
		t.Fatal(err)
	}
	if sheet.GetName() != "卡清单" || sheet.GetNumberRows() != len(rows) {
		t.Fatalf("sheet %q of %d rows", sheet.GetName(), sheet.GetNumberRows())
	}
	for i, want := range rows {
		got, err := sheet.GetRow(i)
		if err != nil {
			t.Fatal(err)
		}
		for c, w := range want {
			cell, err := got.GetCol(c)
			if err != nil {
				t.Fatal(err)
			}
			if f, isNumber := w.(float64); isNumber {
				w = fmt.Sprintf("%.0f", f)
			}
			if cell.GetString() != w {
				t.Fatalf("row %d column %d: %q, want %q", i, c, cell.GetString(), w)
			}
		}
	}
}

func TestXLSCells(t *testing.T) {
	content := xls(
		xlsSheet{name: "隐藏", state: 1, rows: [][]any{{"ICCID"}, {cmcc(90)}}},
		xlsSheet{name: "说明", rows: [][]any{{"请看第三张表"}}},
		xlsSheet{name: "卡", rows: [][]any{
			{"中国移动物联网卡清单"},
			{"备注", "MSISDN", "集成电路卡识别码", "IMSI"},
			{"甲", 1064812345670.0, cmcc(0), 460001234500000.0},
			{"乙", nil, labelText(cmcc(1))},
			{"丙", nil, formulaText(cmcc(2))},
			{"丁", nil, 8.98604e19},
			{"戊", nil, rkNumber(5<<2 | 2)},
			{"己", nil, formulaNumber(8.98604e19)},
			{"庚", nil, true},
			{"辛", nil, errorValue(0x2a)},
			{"壬"},
			{nil, nil, nil},
			{"癸", "1064812345671", cmcc(3), 4600012345.5},
			{"子", nil, cmcc(4)},
			{"丑", nil, cmcc(5)},
			{"寅", nil, cmcc(6)},
			{"卯", nil, cmcc(0)},
		}, hidden: []int{13}, merged: [][4]uint16{{0, 0, 0, 3}, {14, 15, 2, 2}}},
	)
	r := read(t, "cards.xls", content, cardfile.Options{})
	if r.code != "" {
		t.Fatal(r.code)
	}
	want := []string{
		"6 ICCID_NUMERIC_CELL 8.98604E+19", "7 ICCID_NUMERIC_CELL 5", "8 ICCID_NUMERIC_CELL 8.98604E+19",
		"9 ICCID_NOT_TEXT TRUE", "10 ICCID_NOT_TEXT #N/A", "11 ICCID_MISSING ",
		"13 IMSI_NUMERIC_CELL 4600012345.5", "14 ROW_HIDDEN " + cmcc(4),
		"15 MERGED_CELL " + cmcc(5), "16 MERGED_CELL " + cmcc(6), "17 DUPLICATE_IN_FILE " + cmcc(0),
	}
	if got := faultLines(r.faults); !slices.Equal(got, want) {
		t.Errorf("faults\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := rowLines(r.rows), []string{
		"3 " + cmcc(0) + " 460001234500000 1064812345670", "4 " + cmcc(1) + "  ", "5 " + cmcc(2) + "  ",
	}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if r.faults[0].Column != "集成电路卡识别码" {
		t.Errorf("column %q", r.faults[0].Column)
	}
}

// TestXLSStringsAcrossRecords cuts the shared strings at every possible place.
func TestXLSStringsAcrossRecords(t *testing.T) {
	rows := [][]any{{"ICCID", "备注"}}
	for i := range 5 {
		rows = append(rows, []any{cmcc(i), "备注 " + strings.Repeat("卡", i)})
	}
	for limit := 24; limit < 90; limit += 3 {
		r := read(t, "cut.xls", compound("Workbook", xlsStream([]xlsSheet{{name: "卡", rows: rows}}, limit)), cardfile.Options{})
		if r.code != "" || r.sum.Good != 5 {
			t.Fatalf("records of %d bytes: %s %+v %v", limit, r.code, r.sum, faultLines(r.faults))
		}
	}
}

// TestXLSFull: the last row of the format in use says that more may have been cut off behind it.
func TestXLSFull(t *testing.T) {
	rows := make([][]any, 1<<16)
	rows[0] = []any{"ICCID"}
	for i := range 20_000 {
		rows[i+1] = []any{cmcc(i)}
	}
	progress := 0
	r := read(t, "sound.xls", xls(xlsSheet{name: "卡", rows: rows}), cardfile.Options{OnProgress: monotone(t, &progress)})
	if r.code != "" || r.sum.Good != 20_000 || progress < 5 {
		t.Errorf("20,000 cards: %q %+v, progress told %d times", r.code, r.sum, progress)
	}
	rows[1<<16-2] = []any{cmcc(20_001)}
	if r := read(t, "nearly.xls", xls(xlsSheet{name: "卡", rows: rows}), cardfile.Options{}); r.code != "" || r.sum.Good != 20_001 {
		t.Errorf("65,535 rows: %q %+v", r.code, r.sum)
	}
	rows[1<<16-1] = []any{cmcc(20_002)}
	if r := read(t, "full.xls", xls(xlsSheet{name: "卡", rows: rows}), cardfile.Options{}); r.code != cardfile.CodeXLSFull {
		t.Errorf("65,536 rows: %q %+v", r.code, r.sum)
	}
}

func TestXLSRefused(t *testing.T) {
	sheet := xlsSheet{name: "卡", rows: [][]any{{"ICCID"}, {cmcc(1)}}}
	stream := xlsStream([]xlsSheet{sheet}, sstLimit)
	locked := slices.Concat(stream[:20], biffRecord(0x002f, 1, 0, 1, 0), stream[20:])
	old := slices.Clone(stream)
	old[5] = 5
	for name, c := range map[string]struct {
		content []byte
		code    string
	}{
		"password":             {compound("Workbook", locked), cardfile.CodeEncrypted},
		"encrypted .xlsx":      {compound("EncryptedPackage", stream), cardfile.CodeEncrypted},
		"Excel 95":             {compound("Book", stream), cardfile.CodeUnknown},
		"BIFF5 as Workbook":    {compound("Workbook", old), cardfile.CodeUnknown},
		"a Word document":      {compound("WordDocument", stream), cardfile.CodeUnknown},
		"cut container":        {compound("Workbook", stream)[:1024], cardfile.CodeDamaged},
		"cut stream":           {compound("Workbook", stream[:len(stream)-40]), cardfile.CodeDamaged},
		"no column":            {xls(xlsSheet{name: "卡", rows: [][]any{{"姓名"}, {"甲"}}}), cardfile.CodeNoColumn},
		"only a hidden sheet":  {xls(xlsSheet{name: "卡", state: 2, rows: sheet.rows}), cardfile.CodeNoColumn},
		"empty":                {xls(xlsSheet{name: "卡"}), cardfile.CodeEmpty},
		"only a header":        {xls(xlsSheet{name: "卡", rows: [][]any{{"ICCID"}}}), cardfile.CodeEmpty},
		"two columns":          {xls(xlsSheet{name: "卡", rows: [][]any{{"ICCID", "iccid 号"}, {cmcc(1), cmcc(2)}}}), cardfile.CodeAmbiguous},
		"string out of range":  {xls(xlsSheet{name: "卡", rows: sheet.rows, records: biffRecord(0x00fd, u16(2, 0, 15, 999, 0)...)}), cardfile.CodeDamaged},
		"column out of range":  {xls(xlsSheet{name: "卡", rows: sheet.rows, records: biffRecord(0x0203, append(u16(2, 300, 15), float64Bytes(1)...)...)}), cardfile.CodeDamaged},
		"short record":         {xls(xlsSheet{name: "卡", rows: sheet.rows, records: biffRecord(0x0203, 1, 2, 3)}), cardfile.CodeDamaged},
		"nested and not ended": {xls(xlsSheet{name: "卡", rows: sheet.rows, records: biffRecord(0x0809, u16(0x600, 0x20)...)}), cardfile.CodeDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			r := read(t, "cards.xls", c.content, cardfile.Options{})
			if r.code != c.code {
				t.Errorf("%q, want %q", r.code, c.code)
			}
		})
	}
	if r := read(t, "big.xls", compound("Workbook", stream), cardfile.Options{MaxBytes: 1000}); r.code != cardfile.CodeTooLarge {
		t.Errorf("too large: %q", r.code)
	}
}

// TestXLSChild: whatever becomes of the child, the parent answers a FileError, and in time.
func TestXLSChild(t *testing.T) {
	content := xls(xlsSheet{name: "卡", rows: [][]any{{"ICCID"}, {cmcc(1)}}})
	for _, how := range []string{"hang", "babble", "panic"} {
		t.Run(how, func(t *testing.T) {
			opts := cardfile.Options{Self: command(how)}
			if how == "hang" {
				opts.Timeout = 50 * time.Millisecond
			}
			if r := read(t, "cards.xls", content, opts); r.code != cardfile.CodeDamaged {
				t.Errorf("%q, want %q", r.code, cardfile.CodeDamaged)
			}
		})
	}
	t.Run("no child", func(t *testing.T) {
		var fe *cardfile.FileError
		_, err := cardfile.Read(context.Background(), put(t, "cards.xls", content), "cards.xls", cardfile.Options{}, nil, nil)
		if err == nil || errors.As(err, &fe) {
			t.Errorf("%v: a missing child is no fault of the file", err)
		}
	})
	t.Run("arguments", func(t *testing.T) {
		if r := read(t, "cards.xls", content, cardfile.Options{Self: append(child(), "extra")}); r.code != cardfile.CodeDamaged {
			t.Errorf("%q", r.code)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := cardfile.Read(ctx, put(t, "cards.xls", content), "cards.xls", cardfile.Options{Self: command("hang")}, nil, nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	t.Run("caller stops", func(t *testing.T) {
		stop := errors.New("stop")
		_, err := cardfile.Read(context.Background(), put(t, "cards.xls", content), "cards.xls", cardfile.Options{Self: child()},
			func(cardfile.Row) error { return stop }, nil)
		if !errors.Is(err, stop) {
			t.Errorf("%v", err)
		}
	})
}

// TestXLSStringBomb: a count of strings that the file doesn't hold costs nothing.
func TestXLSStringBomb(t *testing.T) {
	stream := biffRecord(0x0809, append(u16(0x0600, 0x0005, 0, 0), make([]byte, 8)...)...)
	stream = append(stream, biffRecord(0x00fc, append(u32(1<<30), u32(1<<30)...)...)...)
	stream = append(stream, biffRecord(0x000a)...)
	if r := read(t, "bomb.xls", compound("Workbook", stream), cardfile.Options{}); r.code != cardfile.CodeDamaged {
		t.Errorf("%q, want %q", r.code, cardfile.CodeDamaged)
	}
}

// TestXLSMutated takes files with random bytes changed through the child: each is read or refused with a code.
func TestXLSMutated(t *testing.T) {
	sound := xls(xlsSheet{name: "卡", rows: [][]any{
		{"ICCID", "IMSI", "备注"}, {cmcc(0), 460001234500000.0, "甲"}, {formulaText(cmcc(1)), nil, true}, {labelText(cmcc(2)), rkNumber(9)},
	}, hidden: []int{3}, merged: [][4]uint16{{1, 2, 2, 2}}})
	random := rand.New(rand.NewPCG(1, 2))
	codes := map[string]int{}
	for range 60 {
		content := slices.Clone(sound)
		for range 1 + random.IntN(4) {
			at := random.IntN(1500)
			if random.IntN(2) == 0 {
				at = len(content) - 1 - random.IntN(1500)
			}
			content[at] = byte(random.Uint32())
		}
		codes[read(t, "mutated.xls", content, cardfile.Options{Timeout: 10 * time.Second}).code]++
	}
	if codes[cardfile.CodeDamaged] == 0 {
		t.Errorf("no mutation did damage: %v", codes)
	}
}
