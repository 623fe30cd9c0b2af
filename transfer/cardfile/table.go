package cardfile

import (
	"context"
	"errors"
	"io"
	"slices"
)

// kind is what a cell holds. It matters more than the value: an ICCID that is a number is no ICCID any more.
type kind uint8

const (
	blank  kind = iota
	text        // a string constant, or a formula that gave a string
	number      // a number, a date, or a formula that gave one
	odd         // a truth value or an error value
	unread      // something in a column that nobody asked for
)

type cell struct {
	kind kind
	text string // trimmed; a number in full precision; the value of an odd cell
}

// row is one row as the file holds it.
type row struct {
	line   int // from 1
	hidden bool
	cells  []cell // by column, from 0; only as long as needed
}

func (r *row) at(column int) cell {
	if column < 0 || column >= len(r.cells) {
		return cell{}
	}
	return r.cells[column]
}

func (r *row) blank() bool {
	return !slices.ContainsFunc(r.cells, func(c cell) bool { return c.kind != blank })
}

// span is a merged region, cut down to its rows.
type span struct{ top, bottom int }

// table is one sheet, read once from top to bottom.
type table interface {
	// next answers the next row, valid until the next call; io.EOF after the last.
	next() (*row, error)
	// focus is called once, when the header is known: from now on only these columns need their values (the others
	// only whether they are blank), and it answers the merged regions that touch them.
	focus(columns []int) ([]span, error)
	// full answers the code and the row count of the format's limit, or 0.
	full() (rows int, code string)
}

// book is a file with its visible sheets in the order of their tabs.
type book interface {
	tables() int
	table(i int) (table, error)
	// hiddenTables is how many sheets were left out because they are hidden.
	hiddenTables() int
}

// headerRows is how many rows are searched for the header: titles and notes may stand above it.
const headerRows = 20

// find answers the first table with an ICCID header, read up to and including that header.
func find(b book) (table, header, error) {
	seen := false
	for i := range b.tables() {
		t, err := b.table(i)
		if err != nil {
			return nil, header{}, err
		}
		for range headerRows {
			r, err := t.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, header{}, err
			}
			seen = seen || !r.blank()
			head, ok, err := readHeader(r)
			if err != nil {
				return nil, header{}, err
			}
			if ok {
				return t, head, nil
			}
		}
	}
	switch {
	case !seen && b.hiddenTables() == 0:
		return nil, header{}, empty("文件中没有数据")
	case b.hiddenTables() > 0:
		return nil, header{}, fileError(CodeNoColumn, "可见的工作表中没有 ICCID 列（隐藏的工作表不读取）。请取消隐藏，并在前 %d 行内写明表头“ICCID”。", headerRows)
	default:
		return nil, header{}, fileError(CodeNoColumn, "没有找到 ICCID 列。请在前 %d 行内写明表头，例如“ICCID”“IMSI”“MSISDN”。", headerRows)
	}
}

// record is one data row, cut down to the three fields.
type record struct {
	line           int
	hidden, merged bool
	cells          [fields]cell
}

// drain takes the data rows below the header to emit.
func drain(ctx context.Context, t table, head header, emit func(record) error) error {
	spans, err := t.focus(head.columns())
	if err != nil {
		return err
	}
	merges := newMerges(spans, head.line)
	limit, limitCode := t.full()
	found := false
	for n := 0; ; n++ {
		if n%256 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		r, err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if r.blank() {
			continue
		}
		if limit > 0 && r.line >= limit {
			return fileError(limitCode, "工作表已写满 %d 行，这是该格式的上限，后面的卡可能已被截断。请用 .csv 格式或拆分成几个文件重新导出。", limit)
		}
		rec := record{line: r.line, hidden: r.hidden}
		for f := range fields {
			rec.cells[f] = r.at(head.column[f])
		}
		under := false
		rec.merged, under = merges.at(r.line)
		if under && rec.cells[fieldICCID].kind == blank {
			continue // the second row of a two-row header
		}
		found = true
		if err := emit(rec); err != nil {
			return err
		}
	}
	if !found {
		return empty("表头下面没有卡数据")
	}
	return nil
}

// merges answers for rows in ascending order whether a merged region touches them.
type merges struct {
	spans     []span
	next      int
	reach     int // the last row of the regions met so far
	underHead int // the last row that a merged header cell covers
}

// headerDepth is how far below the header its merged cells may reach and still be taken for a header of several rows.
const headerDepth = 3

func newMerges(spans []span, headerLine int) *merges {
	m := &merges{}
	for _, s := range spans {
		switch {
		case s.bottom <= headerLine:
		case s.top <= headerLine && s.bottom <= headerLine+headerDepth:
			m.underHead = max(m.underHead, s.bottom)
			m.spans = append(m.spans, s)
		default:
			m.spans = append(m.spans, s)
		}
	}
	slices.SortFunc(m.spans, func(a, b span) int { return a.top - b.top })
	return m
}

func (m *merges) at(line int) (merged, underHeader bool) {
	for m.next < len(m.spans) && m.spans[m.next].top <= line {
		m.reach = max(m.reach, m.spans[m.next].bottom)
		m.next++
	}
	return line <= m.reach, line <= m.underHead
}
