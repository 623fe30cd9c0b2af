package cardfile_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cardflow/transfer/cardfile"

	"github.com/xuri/excelize/v2"
)

// TestXLSXAsWrittenByExcelize reads a workbook of a kept library's making, with shared strings, styles, a title, hidden
// rows, merged cells, formulas and two other sheets.
func TestXLSXAsWrittenByExcelize(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.SetSheetName("Sheet1", "隐藏"))
	must(f.SetCellValue("隐藏", "A1", "ICCID"))
	must(f.SetCellValue("隐藏", "A2", cmcc(99)))
	for _, name := range []string{"说明", "卡"} {
		_, err := f.NewSheet(name)
		must(err)
	}
	must(f.SetCellValue("说明", "A1", "卡在下一张表"))
	f.SetActiveSheet(2)
	must(f.SetSheetVisible("隐藏", false))
	for cell, value := range map[string]any{
		"A1": "中国移动物联网卡清单（2024 年）",
		"A3": "备注", "B3": "ＭＳＩＳＤＮ", "C3": "ICCID（20位）", "D3": " imsi 号",
		"A4": "甲", "B4": 1064812345670, "C4": cmcc(0), "D4": 460001234500000,
		"C5": " " + cmcc(1) + "\n", "D5": "460001234500001",
		"C6": 89860671927000000.0,
		"C7": cmcc(2), "C8": cmcc(3), "C9": true, "A10": "没有卡",
		"C12": cmcc(4), "C13": cmcc(5), "A14": "一批", "C14": cmcc(6), "C15": cmcc(7), "C16": cmcc(1),
		"C17": strings.ToLower(cmcc(8)),
	} {
		must(f.SetCellValue("卡", cell, value))
	}
	must(f.SetCellRichText("卡", "C7", []excelize.RichTextRun{
		{Text: cmcc(2)[:8], Font: &excelize.Font{Bold: true}}, {Text: cmcc(2)[8:], Font: &excelize.Font{Color: "FF0000"}},
	}))
	must(f.SetRowVisible("卡", 8, false))
	must(f.MergeCell("卡", "A1", "D1"))
	must(f.MergeCell("卡", "C12", "C13"))
	must(f.MergeCell("卡", "A14", "A15")) // touches no column of ours
	must(f.SetCellFormula("卡", "D17", "1/0"))
	var b bytes.Buffer
	must(f.Write(&b))

	n := 0
	r := read(t, "cards.xlsx", b.Bytes(), cardfile.Options{OnProgress: monotone(t, &n)})
	if r.code != "" {
		t.Fatal(r.code)
	}
	if got, want := rowLines(r.rows), []string{
		"4 " + cmcc(0) + " 460001234500000 1064812345670", "5 " + cmcc(1) + " 460001234500001 ", "7 " + cmcc(2) + "  ",
		"14 " + cmcc(6) + "  ", "15 " + cmcc(7) + "  ", "17 " + strings.ToLower(cmcc(8)) + "  ",
	}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if got, want := faultLines(r.faults), []string{
		"6 ICCID_NUMERIC_CELL 89860671927000000", "8 ROW_HIDDEN " + cmcc(3), "9 ICCID_NOT_TEXT TRUE", "10 ICCID_MISSING ",
		"12 MERGED_CELL " + cmcc(4), "16 DUPLICATE_IN_FILE " + cmcc(1),
	}; !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
	if r.sum != (cardfile.Summary{Rows: 12, Good: 6, Bad: 6}) || n == 0 {
		t.Errorf("%+v, progress told %d times", r.sum, n)
	}
	if last := r.faults[5].Reason; !strings.Contains(last, "第 5 行") {
		t.Errorf("the reason doesn't name the first line: %s", last)
	}
}

func TestXLSXCells(t *testing.T) {
	head := inline("ICCID", "IMSI", "MSISDN")
	c := func(attrs, value string) string { return `<c ` + attrs + `><v>` + value + `</v></c>` }
	for name, x := range map[string]struct {
		row        string
		rows, code string // the row, or the fault
	}{
		"formula with a text":       {`<c t="str"><f>"8"&amp;B9</f><v>` + cmcc(1) + `</v></c>`, cmcc(1) + "  ", ""},
		"formula with a number":     {`<c><f>1+1</f><v>8.98604E19</v></c>`, "", "ICCID_NUMERIC_CELL 8.98604E19"},
		"number":                    {c(``, "8986061701000135"), "", "ICCID_NUMERIC_CELL 8986061701000135"},
		"number, said so":           {c(`t="n"`, "89860617010001350000"), "", "ICCID_NUMERIC_CELL 89860617010001350000"},
		"date":                      {c(`t="d"`, "2024-01-02"), "", "ICCID_NUMERIC_CELL 2024-01-02"},
		"truth value":               {c(`t="b"`, "0"), "", "ICCID_NOT_TEXT FALSE"},
		"error value":               {c(`t="e"`, "#REF!"), "", "ICCID_NOT_TEXT #REF!"},
		"text in two runs":          {`<c t="inlineStr"><is><r><t>` + cmcc(1)[:5] + `</t></r><r><t>` + cmcc(1)[5:] + `</t></r><rPh sb="0" eb="1"><t>9</t></rPh></is></c>`, cmcc(1) + "  ", ""},
		"shared":                    {c(`t="s"`, "1"), cmcc(7) + "  ", ""},
		"escaped":                   {`<c t="inlineStr"><is><t xml:space="preserve"> ` + cmcc(1) + `_x000D_&#10;</t></is></c>`, cmcc(1) + "  ", ""},
		"CDATA":                     {`<c t="inlineStr"><is><t><![CDATA[` + cmcc(1) + `]]></t></is></c>`, cmcc(1) + "  ", ""},
		"IMSI in 17 digits":         {`<c t="s"><v>1</v></c>` + c(``, "4.6000123456789E14"), cmcc(7) + " 460001234567890 ", ""},
		"IMSI with a fraction":      {`<c t="s"><v>1</v></c>` + c(``, "460001234567890.5"), "", "IMSI_NUMERIC_CELL 460001234567890.5"},
		"IMSI above 2^53":           {`<c t="s"><v>1</v></c>` + c(``, "9007199254740993"), "", "IMSI_NUMERIC_CELL 9007199254740993"},
		"IMSI lost a zero":          {`<c t="s"><v>1</v></c>` + c(``, "46000123456789"), "", "IMSI_FORMAT 46000123456789"},
		"IMSI is an error":          {`<c t="s"><v>1</v></c>` + c(`t="e"`, "#N/A"), "", "IMSI_NOT_TEXT #N/A"},
		"IMSI in E notation":        {`<c t="s"><v>1</v></c>` + c(`t="str"`, "4.60001E+14"), "", "IMSI_NUMERIC_CELL 4.60001E+14"},
		"MSISDN as a number":        {`<c t="s"><v>1</v></c><c/>` + c(``, "1064812345678"), cmcc(7) + "  1064812345678", ""},
		"MSISDN of a telephone":     {`<c t="s"><v>1</v></c><c/>` + c(`t="str"`, "13800138000"), "", "MSISDN_FORMAT 13800138000"},
		"cells out of reach":        {`<c r="A2" t="s"><v>1</v></c><c r="XFD2"><v>5</v></c>`, cmcc(7) + "  ", ""},
		"blank cells between":       {`<c t="s"><v>1</v></c><c s="4"/><c t="str"><v>1064812345678</v></c>`, cmcc(7) + "  1064812345678", ""},
		"no ICCID, only a note":     {`<c r="E2"><v>5</v></c>`, "", "ICCID_MISSING "},
		"wrong check digit":         {c(`t="str"`, unicom(1)[:19]+"x"), "", "ICCID_FORMAT " + unicom(1)[:19] + "x"},
		"a control character in it": {`<c t="inlineStr"><is><t>a_x001B_[31m&#x202E;b</t></is></c>`, "", "ICCID_FORMAT a[31mb"},
	} {
		t.Run(name, func(t *testing.T) {
			parts := workbookParts(`<si><t>无</t></si><si><t> `+cmcc(7)+` </t></si><si><t/></si>`, tab{xml: sheetXML(head + "<row>" + x.row + "</row>")})
			r := read(t, "cards.xlsx", zipped(t, parts), cardfile.Options{})
			if r.code != "" {
				t.Fatal(r.code)
			}
			rows, faults := strings.Join(rowLines(r.rows), ";"), strings.Join(faultLines(r.faults), ";")
			if rows != strings.TrimPrefix("2 "+x.rows, map[bool]string{true: "2 "}[x.rows == ""]) {
				t.Errorf("rows %q, want %q", rows, x.rows)
			}
			if faults != strings.TrimPrefix("2 "+x.code, map[bool]string{true: "2 "}[x.code == ""]) {
				t.Errorf("faults %q, want %q", faults, x.code)
			}
		})
	}
}

func TestXLSXRows(t *testing.T) {
	head := `<row r="3">` + strings.TrimPrefix(inline("ICCID"), "<row>")
	numbered := func(n int, attrs, id string) string {
		return fmt.Sprintf(`<row r="%d" %s><c r="A%d" t="str"><v>%s</v></c></row>`, n, attrs, n, id)
	}
	shared := `<si><t/></si>`
	rows := head +
		numbered(4, "", "") + `<row r="5"/>` +
		`<row r="6" hidden="1"/>` + // hidden and blank: nobody misses it
		numbered(7, `hidden="true"`, cmcc(7)) +
		numbered(8, `ht="0" customHeight="1"`, cmcc(8)) +
		numbered(9, `ht="15"`, cmcc(9)) +
		`<row r="12"><c r="A12" t="s"><v>0</v></c><c r="F12" t="s"><v>0</v></c></row>` + // blank texts
		numbered(40, "", cmcc(40))
	r := read(t, "cards.xlsx", zipped(t, workbookParts(shared, tab{xml: sheetXML(rows)})), cardfile.Options{})
	if got, want := rowLines(r.rows), []string{"9 " + cmcc(9) + "  ", "40 " + cmcc(40) + "  "}; r.code != "" || !slices.Equal(got, want) {
		t.Errorf("%q rows %q, want %q", r.code, got, want)
	}
	if got, want := faultLines(r.faults), []string{"7 ROW_HIDDEN " + cmcc(7), "8 ROW_HIDDEN " + cmcc(8)}; !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
}

// TestXLSXMergedHeader: a header of two rows is no data, however far it is merged down; data under a merged cell is
// reported, not passed over.
func TestXLSXMergedHeader(t *testing.T) {
	rows := inline("ICCID", "号码信息", "") + inline("", "MSISDN", "备注") + inline(cmcc(1), "x", "y")
	r := read(t, "cards.xlsx", oneSheet(t, rows, `<mergeCells count="2"><mergeCell ref="A1:A2"/><mergeCell ref="B1:C1"/></mergeCells>`), cardfile.Options{})
	if got, want := rowLines(r.rows), []string{"3 " + cmcc(1) + "  "}; r.code != "" || !slices.Equal(got, want) || len(r.faults) > 0 {
		t.Errorf("%q %q %q", r.code, got, faultLines(r.faults))
	}
	r = read(t, "cards.xlsx", oneSheet(t, rows, `<mergeCells><mergeCell ref="A1:A3000"/></mergeCells>`), cardfile.Options{})
	if got, want := faultLines(r.faults), []string{"2 MERGED_CELL ", "3 MERGED_CELL " + cmcc(1)}; !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
}

func TestXLSXRefused(t *testing.T) {
	cards := inline("ICCID") + inline(cmcc(1))
	sound := oneSheet(t, cards)
	without := func(name string) []byte {
		parts := workbookParts("", tab{xml: sheetXML(cards)})
		return zipped(t, slices.DeleteFunc(parts, func(p part) bool { return p.name == name }))
	}
	sheet := func(xml string) []byte { return zipped(t, workbookParts("", tab{xml: xml})) }
	flip := func(at int) []byte {
		b := slices.Clone(sound)
		b[at] ^= 0xff
		return b
	}
	many := make([]part, 5000)
	for i := range many {
		many[i] = part{name: strings.Repeat("x", 1000) + fmt.Sprint(i)}
	}
	for name, c := range map[string]struct {
		content []byte
		code    string
	}{
		"half a file":              {sound[:len(sound)/2], cardfile.CodeDamaged},
		"sheet's bytes changed":    {flip(bytes.Index(sound, []byte("sheet1.xml")) + 40), cardfile.CodeDamaged},
		"sheet ends too soon":      {sheet(strings.TrimSuffix(sheetXML(cards), "</sheetData></worksheet>")), cardfile.CodeDamaged},
		"nothing behind the rows":  {sheet(strings.TrimSuffix(sheetXML(cards), "</worksheet>")), cardfile.CodeDamaged},
		"row numbers fall":         {oneSheet(t, cards+`<row r="2"/>`), cardfile.CodeDamaged},
		"row number too high":      {oneSheet(t, cards+`<row r="1048577"/>`), cardfile.CodeDamaged},
		"columns fall":             {oneSheet(t, cards+`<row><c r="B3"/><c r="A3"/></row>`), cardfile.CodeDamaged},
		"column too high":          {oneSheet(t, cards+`<row><c r="XFE3"/></row>`), cardfile.CodeDamaged},
		"cell type unknown":        {oneSheet(t, cards+`<row><c t="x"><v>1</v></c></row>`), cardfile.CodeDamaged},
		"shared string missing":    {oneSheet(t, cards+`<row><c t="s"><v>1</v></c></row>`), cardfile.CodeDamaged},
		"merged region backwards":  {oneSheet(t, cards, `<mergeCells><mergeCell ref="A3:A2"/></mergeCells>`), cardfile.CodeDamaged},
		"DTD":                      {sheet(`<!DOCTYPE x [<!ENTITY a "aaaa">]>` + sheetXML(cards)), cardfile.CodeDamaged},
		"entity":                   {oneSheet(t, cards+inline("&a;")), cardfile.CodeDamaged},
		"a cell of 1.2 MB":         {oneSheet(t, cards+inline(strings.Repeat("random"+cmcc(3), 45_000))), cardfile.CodeDamaged},
		"text of many pieces":      {oneSheet(t, cards+inline(strings.Repeat("<![CDATA[x]]>", 270_000))), cardfile.CodeDamaged},
		"an attribute without end": {oneSheet(t, cards+`<row a="`+strings.Repeat("8986", 300_000)+`"/>`), cardfile.CodeDamaged},
		"no workbook":              {without("xl/workbook.xml"), cardfile.CodeDamaged},
		"no sheet":                 {without("xl/worksheets/sheet1.xml"), cardfile.CodeDamaged},
		"no relationships":         {without("xl/_rels/workbook.xml.rels"), cardfile.CodeDamaged},
		"an ordinary archive":      {zipped(t, []part{{"a.txt", "x"}}), cardfile.CodeUnknown},
		"an empty archive":         {zipped(t, nil), cardfile.CodeUnknown},
		"a Word document": {zipped(t, []part{{"[Content_Types].xml", "<Types/>"}, {"word/document.xml", "<document/>"},
			{"_rels/.rels", `<Relationships><Relationship Id="a" Type="x/officeDocument" Target="word/document.xml"/></Relationships>`}}), cardfile.CodeUnknown},
		"a binary workbook": {zipped(t, []part{{"[Content_Types].xml", "<Types/>"}, {"xl/workbook.bin", "x"}}), cardfile.CodeUnknown},
		"OpenDocument":      {zipped(t, []part{{"mimetype", "application/vnd.oasis.opendocument.spreadsheet"}, {"content.xml", "<x/>"}}), cardfile.CodeUnknown},
		"no header":         {oneSheet(t, inline(cmcc(1))), cardfile.CodeNoColumn},
		"hidden only":       {zipped(t, workbookParts("", tab{attrs: `state="veryHidden"`, xml: sheetXML(cards)})), cardfile.CodeNoColumn},
		"no row":            {oneSheet(t, ""), cardfile.CodeEmpty},
		"only a header":     {oneSheet(t, inline("ICCID")), cardfile.CodeEmpty},
		"two columns":       {oneSheet(t, inline("iccid", "ICCID号")+inline(cmcc(1), cmcc(2))), cardfile.CodeAmbiguous},
		"password":          {encryptedFlag(sound), cardfile.CodeEncrypted},
		"declared bomb":     {claiming(t, sheetXML(cards), 40<<20), cardfile.CodeTooLarge},
		"directory bomb":    {zipped(t, append(workbookParts("", tab{xml: sheetXML(cards)}), many...)), cardfile.CodeTooLarge},
		"understated size":  {claiming(t, sheetXML(cards+strings.Repeat(" ", 1<<20)), 100), cardfile.CodeTooLarge},
		"a full sheet":      {oneSheet(t, cards+`<row r="1048576"><c t="str"><v>`+cmcc(2)+`</v></c></row>`), cardfile.CodeXLSXFull},
	} {
		t.Run(name, func(t *testing.T) {
			var r result
			peak := peakHeap(func() { r = read(t, "cards.xlsx", c.content, cardfile.Options{}) })
			if r.code != c.code {
				t.Errorf("%q, want %q", r.code, c.code)
			}
			if peak > 40<<20 {
				t.Errorf("took %d MB", peak>>20)
			}
		})
	}
	if r := read(t, "cards.xlsx", sound, cardfile.Options{MaxBytes: 500}); r.code != cardfile.CodeTooLarge {
		t.Errorf("over the caller's bound: %q", r.code)
	}
	if r := read(t, "cards.xlsx", sound, cardfile.Options{}); r.code != "" || r.sum.Good != 1 {
		t.Errorf("the sound one: %q", r.code)
	}
}

// encryptedFlag sets the flag of a password in the directory's entries.
func encryptedFlag(sound []byte) []byte {
	b := slices.Clone(sound)
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("PK\x01\x02"))
		if i < 0 {
			return b
		}
		at += i + 4
		b[at+4] |= 1
	}
}

// claiming makes a workbook whose sheet claims to unpack to size bytes.
func claiming(t *testing.T, xml string, size uint32) []byte {
	t.Helper()
	b := zipped(t, workbookParts("", tab{xml: xml}))
	name := []byte("xl/worksheets/sheet1.xml")
	entry := bytes.LastIndex(b, name) - 46
	if entry < 0 || string(b[entry:entry+4]) != "PK\x01\x02" {
		t.Fatal("no directory entry")
	}
	binary.LittleEndian.PutUint32(b[entry+24:], size)
	return b
}

// TestXLSXDialects: prefixes, the strict form's names, other paths and an upper-case part are all xlsx.
func TestXLSXDialects(t *testing.T) {
	cards := inline("ICCID") + inline(cmcc(1))
	prefixed := strings.NewReplacer("<?", "<?", "</", "</x:", "<", "<x:").Replace(sheetXML(cards))
	parts := workbookParts("", tab{xml: prefixed})
	for i := range parts {
		parts[i].text = strings.ReplaceAll(parts[i].text, "http://schemas.openxmlformats.org/officeDocument/2006/relationships", "http://purl.oclc.org/ooxml/officeDocument/relationships")
		parts[i].name = strings.ReplaceAll(parts[i].name, "worksheets/sheet1.xml", `WorkSheets\Sheet1.xml`)
	}
	if r := read(t, "cards.xlsx", zipped(t, parts), cardfile.Options{}); r.code != "" || r.sum.Good != 1 {
		t.Errorf("%q %+v", r.code, r.sum)
	}
}
