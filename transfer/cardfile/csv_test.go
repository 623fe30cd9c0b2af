package cardfile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"cardflow/transfer/cardfile"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

func gb18030(t testing.TB, s string) []byte {
	t.Helper()
	b, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCSVForms: one list in every form in which carriers send it gives the same rows.
func TestCSVForms(t *testing.T) {
	list := "备注,卡号,IMSI,物联网号码\r\n甲," + cmcc(1) + ",460001234567890,1064812345678\r\n,,,\r\n\"乙, 丙\"," + unicom(2) + ",,\r\n"
	tabs := strings.ReplaceAll(strings.ReplaceAll(list, "\"乙, 丙\"", "乙丙"), ",", "\t")
	utf16le, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Bytes([]byte(tabs))
	if err != nil {
		t.Fatal(err)
	}
	utf16be, err := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().Bytes([]byte(tabs))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"2 " + cmcc(1) + " 460001234567890 1064812345678", "4 " + unicom(2) + "  "}
	for name, content := range map[string][]byte{
		"UTF-8":             []byte(list),
		"UTF-8 with a mark": []byte("\ufeff" + list),
		"GB18030":           gb18030(t, list),
		"LF":                []byte(strings.ReplaceAll(list, "\r\n", "\n")),
		"CR":                []byte(strings.ReplaceAll(list, "\r\n", "\r")),
		"no last line end":  []byte(strings.TrimSuffix(list, "\r\n")),
		"semicolons":        []byte(strings.ReplaceAll(strings.ReplaceAll(list, "乙, 丙", "乙丙"), ",", ";")),
		"tabs":              []byte(tabs),
		"UTF-16, low first": utf16le,
		"UTF-16, high":      utf16be,
		"quoted":            []byte(strings.ReplaceAll(list, cmcc(1), `"`+cmcc(1)+`"`)),
		"as formula":        []byte(strings.ReplaceAll(list, cmcc(1), `="`+cmcc(1)+`"`)),
		"as quoted formula": []byte(strings.ReplaceAll(list, cmcc(1), `"=""`+cmcc(1)+`"""`)),
		"apostrophe":        []byte(strings.ReplaceAll(list, cmcc(1), "'"+cmcc(1))),
		"unseen marks":      []byte(strings.ReplaceAll(list, cmcc(1), "\u200b "+cmcc(1)+"\u3000\u00a0")),
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"cards.csv", "cards.xlsx", "cards"} { // the name is no proof
				r := read(t, file, content, cardfile.Options{})
				if got := rowLines(r.rows); r.code != "" || !slices.Equal(got, want) {
					t.Errorf("%s: %q %q %q, want %q", file, r.code, got, faultLines(r.faults), want)
				}
			}
		})
	}
}

// TestCSVEncodingIsDecidedByTheWholeFile: the first Chinese character stands behind a quarter of a megabyte of digits and
// go on across the border of the pieces in which the file is read.
func TestCSVEncodingIsDecidedByTheWholeFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("ICCID,note\n")
	for i := range 11_800 {
		fmt.Fprintf(&b, "%s,\n", cmcc(i))
	}
	for shift := range 4 {
		list := b.String() + cmcc(11_800) + "," + strings.Repeat("x", shift) + strings.Repeat("卡", 3000) + "\n"
		for name, content := range map[string][]byte{"UTF-8": []byte(list), "GB18030": gb18030(t, list)} {
			if r := read(t, "cards.csv", content, cardfile.Options{}); r.code != "" || r.sum.Good != 11_801 {
				t.Errorf("%s shifted by %d: %q %+v", name, shift, r.code, r.sum)
			}
		}
	}
}

func TestCSVRefused(t *testing.T) {
	for name, c := range map[string]struct {
		content, code string
	}{
		"nothing":              {"", cardfile.CodeEmpty},
		"spaces":               {" \n\n\u3000\n", cardfile.CodeEmpty},
		"only a header":        {"ICCID,IMSI\n", cardfile.CodeEmpty},
		"no header":            {cmcc(1) + "\n" + cmcc(2) + "\n", cardfile.CodeNoColumn},
		"header too far down":  {strings.Repeat("x\n", 20) + "ICCID\n" + cmcc(1), cardfile.CodeNoColumn},
		"two ICCID columns":    {"ICCID,iccid\n", cardfile.CodeAmbiguous},
		"two IMSI columns":     {"ICCID,IMSI,imsi号\n", cardfile.CodeAmbiguous},
		"a zero byte":          {"ICCID\n" + strings.Repeat(cmcc(1)+"\n", 300) + "\x00\n", cardfile.CodeDamaged},
		"a zero byte at once":  {"ICCID\n\x00\n", cardfile.CodeDamaged},
		"marked, not UTF-8":    {"\ufeffICCID\n\xff\xfe\n", cardfile.CodeDamaged},
		"no encoding at all":   {"ICCID\n\xff\xff" + cmcc(1) + "\n", cardfile.CodeDamaged},
		"quote without end":    {"ICCID\n\"" + cmcc(1) + "\n", cardfile.CodeDamaged},
		"line without end":     {"ICCID\n" + strings.Repeat("8", 1<<20), cardfile.CodeDamaged},
		"a million columns":    {"ICCID\n" + strings.Repeat(",", 1<<20), cardfile.CodeDamaged},
		"a web page":           {"<html><table><tr><td>ICCID</td></tr></table>", cardfile.CodeUnknown},
		"a PDF":                {"%PDF-1.7\nICCID\n", cardfile.CodeUnknown},
		"an old Excel":         {"\x09\x08\x08\x00\x00\x05\x10\x00", cardfile.CodeUnknown},
		"a picture":            {"\x89PNG\r\n\x1a\n", cardfile.CodeUnknown},
		"a RAR archive":        {"Rar!\x1a\x07\x00", cardfile.CodeUnknown},
		"a text with controls": {"ICCID\n" + cmcc(1) + "\x1b[31m\n", cardfile.CodeDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			if r := read(t, "cards.csv", []byte(c.content), cardfile.Options{}); r.code != c.code {
				t.Errorf("%q, want %q", r.code, c.code)
			}
		})
	}
	if r := read(t, "photo.jpg", []byte("ICCID\n\x00\x01\x02"), cardfile.Options{}); r.code != cardfile.CodeUnknown {
		t.Errorf("binary without a name of ours: %q", r.code)
	}
	content := []byte("ICCID\n" + cmcc(1) + "\n" + cmcc(2) + "\n")
	if r := read(t, "cards.csv", content, cardfile.Options{MaxRows: 1}); r.code != cardfile.CodeTooLarge || len(r.rows) != 1 {
		t.Errorf("too many rows: %q", r.code)
	}
	if r := read(t, "cards.csv", content, cardfile.Options{MaxBytes: 20}); r.code != cardfile.CodeTooLarge {
		t.Errorf("too many bytes: %q", r.code)
	}
}

// TestCSVLineIsTheSpreadsheetsRow: a quoted line break doesn't begin a new row, a blank line is one.
func TestCSVLineIsTheSpreadsheetsRow(t *testing.T) {
	r := read(t, "cards.csv", []byte("标题\n\n备注,ICCID\n\"两\n行\","+cmcc(1)+"\n\nx,\n"), cardfile.Options{})
	if got, want := rowLines(r.rows), []string{"4 " + cmcc(1) + "  "}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if got, want := faultLines(r.faults), []string{"6 ICCID_MISSING "}; !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
}

func TestReadStops(t *testing.T) {
	path := put(t, "cards.csv", []byte("ICCID\n"+cmcc(1)+"\nx\n"))
	stop := errors.New("stop")
	keep := func(cardfile.Row) error { return nil }
	for name, read := range map[string]func() error{
		"by each": func() error {
			_, err := cardfile.Read(context.Background(), path, "c.csv", cardfile.Options{}, func(cardfile.Row) error { return stop }, nil)
			return err
		},
		"by fault": func() error {
			_, err := cardfile.Read(context.Background(), path, "c.csv", cardfile.Options{}, keep, func(cardfile.Fault) error { return stop })
			return err
		},
	} {
		if err := read(); !errors.Is(err, stop) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := cardfile.Read(ctx, path, "c.csv", cardfile.Options{}, keep, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := cardfile.Read(context.Background(), path+".gone", "c.csv", cardfile.Options{}, keep, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// TestCSVWithoutLineEnds: a gigabyte in one line costs what the first 64 KB cost.
func TestCSVWithoutLineEnds(t *testing.T) {
	f, err := os.Create(put(t, "long.csv", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := strings.Repeat("8986", 1<<18)
	if _, err := io.WriteString(f, "ICCID\n"); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := io.WriteString(f, line); err != nil {
			t.Fatal(err)
		}
	}
	var r result
	peak := peakHeap(func() { r = readPath(t, f.Name(), "long.csv", cardfile.Options{}) })
	if r.code != cardfile.CodeDamaged || peak > 8<<20 {
		t.Errorf("%q with %d KB", r.code, peak>>10)
	}
}
