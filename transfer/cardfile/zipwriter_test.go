package cardfile_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// part is one file of a hand-made .xlsx.
type part struct{ name, text string }

// tab is one sheet of a hand-made workbook: its attributes in the workbook and its XML.
type tab struct{ attrs, xml string }

const (
	nsMain = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	nsRel  = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
)

// workbookParts makes the parts of a workbook; an empty shared leaves the shared strings out.
func workbookParts(shared string, tabs ...tab) []part {
	var sheets, rels strings.Builder
	var parts []part
	for i, s := range tabs {
		fmt.Fprintf(&sheets, `<sheet name="表%d" sheetId="%d" r:id="rId%d" %s/>`, i+1, i+1, i+1, s.attrs)
		fmt.Fprintf(&rels, `<Relationship Id="rId%d" Type="%s/worksheet" Target="worksheets/sheet%d.xml"/>`, i+1, nsRel, i+1)
		parts = append(parts, part{fmt.Sprintf("xl/worksheets/sheet%d.xml", i+1), s.xml})
	}
	if shared != "" {
		fmt.Fprintf(&rels, `<Relationship Id="rIdS" Type="%s/sharedStrings" Target="/xl/sharedStrings.xml"/>`, nsRel)
		parts = append(parts, part{"xl/sharedStrings.xml", `<?xml version="1.0" encoding="UTF-8"?><sst ` + nsMain + `>` + shared + `</sst>`})
	}
	return append([]part{
		{"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`},
		{"_rels/.rels", `<Relationships><Relationship Id="r1" Type="` + nsRel + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		{"xl/workbook.xml", `<workbook ` + nsMain + ` xmlns:r="` + nsRel + `"><sheets>` + sheets.String() + `</sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships>` + rels.String() + `</Relationships>`},
	}, parts...)
}

func zipped(t testing.TB, parts []part) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, p := range parts {
		f, err := w.Create(p.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(p.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sheetXML wraps rows, and what follows them, in a worksheet.
func sheetXML(rows string, after ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><worksheet ` + nsMain + `><sheetData>` + rows + `</sheetData>` + strings.Join(after, "") + `</worksheet>`
}

// inline is a row of text cells without references.
func inline(values ...string) string {
	var b strings.Builder
	b.WriteString("<row>")
	for _, v := range values {
		b.WriteString(`<c t="inlineStr"><is><t>` + v + `</t></is></c>`)
	}
	return b.String() + "</row>"
}

// oneSheet is a workbook of one visible sheet.
func oneSheet(t testing.TB, rows string, after ...string) []byte {
	t.Helper()
	return zipped(t, workbookParts("", tab{xml: sheetXML(rows, after...)}))
}
