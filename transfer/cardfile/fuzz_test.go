package cardfile_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"cardflow/transfer/cardfile"
)

// judge reads a file that may be anything and checks what must hold of any: no panic, an error only of the two kinds,
// counts that add up, lines in order, values that are safe to show.
func judge(t *testing.T, name string, content []byte) {
	t.Helper()
	last, good := 0, int64(0)
	bad := map[int]bool{}
	sum, err := cardfile.Read(context.Background(), put(t, name, content), name, cardfile.Options{MaxBytes: 16 << 20, MaxRows: 10_000},
		func(r cardfile.Row) error {
			if r.Line <= last || r.Issuer.Carrier == "" {
				t.Errorf("row on line %d after %d of %q", r.Line, last, r.Issuer.Carrier)
			}
			last, good = r.Line, good+1
			return nil
		},
		func(f cardfile.Fault) error {
			if f.Line < last || f.Code == "" || f.Reason == "" || len([]rune(f.Value)) > 64 {
				t.Errorf("fault %+v after line %d", f, last)
			}
			last, bad[f.Line] = f.Line, true
			return nil
		})
	var fe *cardfile.FileError
	if err != nil && !errors.As(err, &fe) {
		t.Errorf("%v", err)
	}
	if sum.Good != good || sum.Bad != int64(len(bad)) || err == nil && (sum.Rows != sum.Good+sum.Bad || sum.Rows == 0) {
		t.Errorf("%+v with %d rows, %d bad lines, %v", sum, good, len(bad), err)
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"ICCID,IMSI,MSISDN\r\n" + cmcc(1) + ",460001234567890,1064812345678\r\n",
		"\ufeff卡号;备注\n\"" + unicom(1) + "\";\"a\"\"b\"\n\n='1\n",
		"iccid\t手机号\r=\"" + cmcc(2) + "\"\t1.06E+12\r",
		"\xff\xfeI\x00C\x00C\x00I\x00D\x00\n\x008\x009\x00",
		string(gb18030(f, "备注,卡号\n甲,"+cmcc(3)+"\n")),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if bytes.HasPrefix(content, []byte("\xd0\xcf\x11\xe0")) {
			return // that would be a .xls, whose mutations have a test of their own
		}
		judge(t, "fuzz.csv", content)
	})
}

// FuzzXLSX mutates the sheet, the shared strings and, at one place, the archive around them: mutations of the archive
// alone would hardly ever get past its checksums.
func FuzzXLSX(f *testing.F) {
	rows := inline("ICCID", "IMSI") + `<row r="2" hidden="1"><c r="A2" t="s"><v>0</v></c></row>` +
		`<row r="3"><c r="A3" t="str"><f>A1</f><v>` + cmcc(2) + `</v></c><c r="B3"><v>4.6E14</v></c></row>` + inline(cmcc(3)+"_x000D_", "x")
	f.Add([]byte(sheetXML(rows, `<mergeCells count="1"><mergeCell ref="A3:B3"/></mergeCells>`)), []byte(`<si><t>`+cmcc(1)+`</t></si>`), uint16(0), byte(0))
	f.Add([]byte(sheetXML(inline("卡号")+inline(cmcc(1)))), []byte(`<si><r><t>a</t></r><rPh><t>b</t></rPh></si><si/>`), uint16(700), byte(1))
	f.Fuzz(func(t *testing.T, sheet, shared []byte, at uint16, flip byte) {
		parts := workbookParts("-", tab{xml: string(sheet)})
		for i := range parts {
			if parts[i].name == "xl/sharedStrings.xml" {
				parts[i].text = "<sst>" + string(shared) + "</sst>"
			}
		}
		content := zipped(t, parts)
		content[int(at)%len(content)] ^= flip
		if bytes.HasPrefix(content, []byte("PK")) {
			judge(t, "fuzz.xlsx", content)
		}
	})
}

// FuzzXLSXArchive mutates the archive, stored without compression so that mutations reach what is inside.
func FuzzXLSXArchive(f *testing.F) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, p := range workbookParts("<si><t>"+cmcc(1)+"</t></si>", tab{xml: sheetXML(inline("ICCID") + `<row><c t="s"><v>0</v></c></row>`)}) {
		part, err := w.CreateHeader(&zip.FileHeader{Name: p.name, Method: zip.Store})
		if err != nil {
			f.Fatal(err)
		}
		if _, err := io.WriteString(part, p.text); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(slices.Concat([]byte("PK\x05\x06"), make([]byte, 18)))
	f.Fuzz(func(t *testing.T, content []byte) {
		if bytes.HasPrefix(content, []byte("PK")) {
			judge(t, "fuzz.xlsx", content)
		}
	})
}
