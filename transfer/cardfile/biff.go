package cardfile

import (
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/richardlehane/mscfb"
)

// Record types of a BIFF8 stream ([MS-XLS] §2.3).
const (
	recFormula  = 0x0006
	recEOF      = 0x000a
	recFilePass = 0x002f
	recContinue = 0x003c
	recSheet    = 0x0085
	recMulRK    = 0x00bd
	recRString  = 0x00d6
	recMerged   = 0x00e5
	recSST      = 0x00fc
	recLabelSST = 0x00fd
	recNumber   = 0x0203
	recLabel    = 0x0204
	recBoolErr  = 0x0205
	recString   = 0x0207
	recRow      = 0x0208
	recRK       = 0x027e
	recBOF      = 0x0809
)

const (
	maxXLSRows    = 1 << 16
	maxXLSColumns = 1 << 8
)

// biff is an .xls workbook in memory. It is read in the child process only (XLSMain).
type biff struct {
	stream  []byte
	strings []string
	visible []int // where each visible worksheet begins in the stream
	hidden  int
}

func openBIFF(file io.ReaderAt, size int64) (*biff, error) {
	doc, err := mscfb.New(file)
	if err != nil {
		return nil, damaged("复合文档结构不完整")
	}
	var workbook *mscfb.File
	for _, f := range doc.File {
		switch f.Name {
		case "EncryptedPackage":
			return nil, encrypted()
		case "Book":
			return nil, unknown("这是 Excel 95 或更早版本的表格，请在 Excel 中另存为 .xlsx")
		case "Workbook":
			if len(f.Path) == 0 {
				workbook = f
			}
		}
	}
	switch {
	case workbook == nil:
		return nil, unknown("这是 Office 文档，但不是表格")
	case workbook.Size <= 0 || workbook.Size > size:
		return nil, damaged("工作簿长度不符")
	}
	b := &biff{stream: make([]byte, workbook.Size)}
	if _, err := io.ReadFull(workbook, b.stream); err != nil {
		return nil, damaged("工作簿不完整")
	}
	return b, b.readGlobals()
}

// readGlobals reads the part before the sheets: where they are, and the shared strings.
func (b *biff) readGlobals() error {
	r := records{rest: b.stream}
	for first := true; ; first = false {
		kind, data, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case first && (kind != recBOF || len(data) < 4):
			return damaged("工作簿开头不符")
		case first && binary.LittleEndian.Uint16(data) != 0x0600:
			return unknown("这是 Excel 95 或更早版本的表格，请在 Excel 中另存为 .xlsx")
		case kind == recFilePass:
			return encrypted()
		case kind == recSheet && len(data) >= 6:
			at, state, sort := binary.LittleEndian.Uint32(data), data[4]&3, data[5]
			switch {
			case sort != 0: // a chart, a macro sheet, a module
			case state != 0:
				b.hidden++
			case int64(at) >= int64(len(b.stream)):
				return damaged("工作表位置不符")
			default:
				b.visible = append(b.visible, int(at))
			}
		case kind == recSST:
			if b.strings, err = readStrings(r.withContinues(data)); err != nil {
				return err
			}
		case kind == recEOF:
			return nil
		}
	}
}

func (b *biff) tables() int       { return len(b.visible) }
func (b *biff) hiddenTables() int { return b.hidden }

// table reads a sheet whole: not all writers order the cells by row.
func (b *biff) table(i int) (table, error) {
	t := &biffTable{book: b, rows: map[int]*biffRow{}}
	r := records{rest: b.stream[b.visible[i]:]}
	if kind, _, err := r.next(); err != nil || kind != recBOF {
		return nil, damaged("工作表开头不符")
	}
	for depth := 1; depth > 0; {
		kind, data, err := r.next()
		if err != nil {
			return nil, err
		}
		switch kind {
		case recBOF: // a chart inside the sheet
			depth++
		case recEOF:
			depth--
		}
		if depth != 1 {
			continue
		}
		if err := t.read(kind, data, &r); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// records walks over the records of a stream.
type records struct{ rest []byte }

func (r *records) next() (kind int, data []byte, err error) {
	if len(r.rest) < 4 {
		return 0, nil, damaged("工作簿提前结束")
	}
	kind = int(binary.LittleEndian.Uint16(r.rest))
	size := int(binary.LittleEndian.Uint16(r.rest[2:]))
	if len(r.rest)-4 < size {
		return 0, nil, damaged("工作簿提前结束")
	}
	data, r.rest = r.rest[4:4+size], r.rest[4+size:]
	return kind, data, nil
}

// withContinues answers a record's data together with the CONTINUE records behind it.
func (r *records) withContinues(data []byte) *pieces {
	p := &pieces{all: [][]byte{data}}
	for len(r.rest) >= 4 && binary.LittleEndian.Uint16(r.rest) == recContinue {
		_, more, err := r.next()
		if err != nil {
			break // the next record will say so
		}
		p.all = append(p.all, more)
	}
	return p
}

// biffTable is one sheet.
type biffTable struct {
	book    *biff
	rows    map[int]*biffRow
	last    int // the highest row with a cell
	at      int
	row     row
	merged  []biffMerge
	pending *biffCell // a formula whose text comes in the next STRING record
}

type biffRow struct {
	hidden bool
	cells  []biffCell
}

type biffCell struct {
	column int
	cell   cell
}

type biffMerge struct{ top, bottom, left, right int }

func (t *biffTable) line(i int) *biffRow {
	r := t.rows[i]
	if r == nil {
		r = &biffRow{}
		t.rows[i] = r
	}
	return r
}

// put answers false if the cell lies outside of the sheet.
func (t *biffTable) put(rowIndex, column int, c cell) bool {
	if column >= maxXLSColumns {
		return false
	}
	if c.kind == blank {
		return true
	}
	r := t.line(rowIndex)
	r.cells = append(r.cells, biffCell{column, c})
	t.last = max(t.last, rowIndex)
	return true
}

// least is how many bytes a record needs to be what it says.
var least = map[int]int{recRow: 16, recLabelSST: 10, recLabel: 9, recRString: 9, recNumber: 14, recRK: 10, recMulRK: 6, recBoolErr: 8, recFormula: 14, recMerged: 2}

func (t *biffTable) read(kind int, data []byte, r *records) error {
	need, known := least[kind]
	if !known && kind != recString {
		return nil
	}
	if len(data) < need {
		return damaged("单元格记录不完整")
	}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(data[at:])) }
	ok := true
	switch kind {
	case recRow:
		const zeroHeight = 0x20
		if u16(12)&zeroHeight != 0 || u16(6)&0x7fff == 0 {
			t.line(u16(0)).hidden = true
		}
	case recLabelSST:
		i := binary.LittleEndian.Uint32(data[6:])
		if int64(i) >= int64(len(t.book.strings)) {
			return damaged("共享字符串编号越界")
		}
		ok = t.put(u16(0), u16(2), textCell(t.book.strings[i]))
	case recLabel, recRString:
		p := &pieces{all: [][]byte{data[8:]}}
		s, err := p.chars(u16(6), int(p.byte()))
		if err != nil {
			return err
		}
		ok = t.put(u16(0), u16(2), textCell(trim(s)))
	case recNumber:
		ok = t.put(u16(0), u16(2), numberCell(math.Float64frombits(binary.LittleEndian.Uint64(data[6:]))))
	case recRK:
		ok = t.put(u16(0), u16(2), numberCell(rk(binary.LittleEndian.Uint32(data[6:]))))
	case recMulRK:
		for n := range (len(data) - 6) / 6 {
			ok = ok && t.put(u16(0), u16(2)+n, numberCell(rk(binary.LittleEndian.Uint32(data[4+6*n+2:]))))
		}
	case recBoolErr:
		ok = t.put(u16(0), u16(2), oddCell(data[6], data[7] != 0))
	case recFormula:
		ok = t.formula(u16(0), u16(2), data[6:14])
	case recString:
		if t.pending == nil {
			break
		}
		p := r.withContinues(data)
		n := p.u16()
		s, err := p.chars(n, int(p.byte()))
		if err != nil {
			return err
		}
		t.pending.cell = textCell(trim(s))
		t.pending = nil
	case recMerged:
		for n := range min(u16(0), (len(data)-2)/8) {
			at := 2 + 8*n
			t.merged = append(t.merged, biffMerge{u16(at), u16(at + 2), u16(at + 4), u16(at + 6)})
		}
		if len(t.merged) > maxMerges {
			return tooLarge("合并单元格过多，请先取消合并")
		}
	}
	if !ok {
		return damaged("单元格位置错乱")
	}
	return nil
}

// formula takes the value that a formula gave ([MS-XLS] §2.5.133): a number, or by its first byte a text that follows
// in a STRING record, a truth value, an error, or an empty text.
func (t *biffTable) formula(rowIndex, column int, value []byte) bool {
	t.pending = nil
	if binary.LittleEndian.Uint16(value[6:]) != 0xffff {
		return t.put(rowIndex, column, numberCell(math.Float64frombits(binary.LittleEndian.Uint64(value))))
	}
	switch value[0] {
	case 0:
		if !t.put(rowIndex, column, cell{kind: text}) {
			return false
		}
		cells := t.rows[rowIndex].cells
		t.pending = &cells[len(cells)-1]
		return true
	case 1, 2:
		return t.put(rowIndex, column, oddCell(value[2], value[0] == 2))
	}
	return true
}

func numberCell(v float64) cell {
	if math.Abs(v) < 1<<53 {
		return cell{kind: number, text: strconv.FormatFloat(v, 'f', -1, 64)}
	}
	return cell{kind: number, text: strconv.FormatFloat(v, 'G', -1, 64)}
}

func oddCell(value byte, isError bool) cell {
	names := map[byte]string{0x00: "#NULL!", 0x07: "#DIV/0!", 0x0f: "#VALUE!", 0x17: "#REF!", 0x1d: "#NAME?", 0x24: "#NUM!", 0x2a: "#N/A"}
	switch {
	case isError && names[value] != "":
		return cell{kind: odd, text: names[value]}
	case isError:
		return cell{kind: odd, text: "#ERROR!"}
	case value != 0:
		return cell{kind: odd, text: "TRUE"}
	}
	return cell{kind: odd, text: "FALSE"}
}

// rk unpacks a number of 30 bits ([MS-XLS] §2.5.218): bit 0 says divided by 100, bit 1 says a signed integer, else the
// upper bits are those of a float64.
func rk(n uint32) float64 {
	v := math.Float64frombits(uint64(n&^3) << 32)
	if n&2 != 0 {
		v = float64(int32(n) >> 2)
	}
	if n&1 != 0 {
		v /= 100
	}
	return v
}

func (t *biffTable) full() (int, string) { return maxXLSRows, CodeXLSFull }

func (t *biffTable) focus(columns []int) ([]span, error) {
	var spans []span
	for _, m := range t.merged {
		if slices.ContainsFunc(columns, func(c int) bool { return m.left <= c && c <= m.right }) {
			spans = append(spans, span{m.top + 1, m.bottom + 1})
		}
	}
	return spans, nil
}

func (t *biffTable) next() (*row, error) {
	for ; t.at <= t.last; t.at++ {
		r := t.rows[t.at]
		if r == nil || len(r.cells) == 0 {
			continue
		}
		t.at++
		t.row.line, t.row.hidden, t.row.cells = t.at, r.hidden, t.row.cells[:0]
		for _, c := range r.cells {
			for len(t.row.cells) <= c.column {
				t.row.cells = append(t.row.cells, cell{})
			}
			t.row.cells[c.column] = c.cell
		}
		return &t.row, nil
	}
	return nil, io.EOF
}
