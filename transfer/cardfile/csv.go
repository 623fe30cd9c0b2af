package cardfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

const (
	// maxRecord is the most bytes of one .csv record: an unclosed quote or a file without line ends is no reason to
	// hold a gigabyte.
	maxRecord = 64 << 10
	// maxCSVColumns bounds the fields of a record.
	maxCSVColumns = 1 << 12
)

// separators in the order in which they are tried: the first under which a header is found is the file's.
var separators = []byte{',', '\t', ';'}

// csvBook is a .csv file, seen as one table for each separator that it may have.
type csvBook struct {
	file     io.ReaderAt
	size     int64
	encoding encoding.Encoding // nil for UTF-8
	opts     Options
}

var utf8Mark = []byte("\xef\xbb\xbf")

// openCSV tells the encoding by reading the whole file once: a file is UTF-8 only if all of it is, and GB18030 (with
// its subsets GBK and GB 2312, which Excel writes in China) otherwise. A look at the beginning would be wrong for a
// file whose first Chinese remark stands on line 1,000.
func openCSV(ctx context.Context, file io.ReaderAt, size int64, opts Options) (*csvBook, error) {
	if size > opts.MaxBytes {
		return nil, tooLarge("超过上限")
	}
	b := &csvBook{file: file, size: size, opts: opts}
	head := make([]byte, min(size, 3))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read card file: %w", err)
	}
	if b.encoding = utf16Order(head); b.encoding != nil {
		return b, nil
	}
	valid, err := isUTF8(ctx, io.NewSectionReader(file, 0, size))
	switch {
	case err != nil:
		return nil, err
	case !valid && bytes.Equal(head, utf8Mark):
		return nil, damaged("标明为 UTF-8 但含有无效字符")
	case !valid:
		b.encoding = simplifiedchinese.GB18030
	}
	return b, nil
}

// utf16Order knows the "Unicode text" that Excel writes, by its mark.
func utf16Order(head []byte) encoding.Encoding {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	}
	return nil
}

func isUTF8(ctx context.Context, r io.Reader) (bool, error) {
	buf, kept, valid := make([]byte, 1<<18), 0, true
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := io.ReadFull(r, buf[kept:])
		piece := buf[:kept+n]
		if bytes.IndexByte(piece[kept:], 0) >= 0 {
			return false, damaged("文本中含有空字节")
		}
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return false, fmt.Errorf("read card file: %w", err)
		}
		cut := len(piece)
		if !last {
			for back := 1; back < utf8.UTFMax && back <= cut; back++ { // a character may straddle two pieces
				if utf8.RuneStart(piece[cut-back]) {
					if !utf8.FullRune(piece[cut-back:]) {
						cut -= back
					}
					break
				}
			}
		}
		valid = valid && utf8.Valid(piece[:cut])
		if last {
			return valid, nil
		}
		kept = copy(buf, piece[cut:])
	}
}

func (b *csvBook) tables() int       { return len(separators) }
func (b *csvBook) hiddenTables() int { return 0 }

func (b *csvBook) table(i int) (table, error) {
	t := &csvTable{book: b, separator: separators[i]}
	t.counted.r = io.NewSectionReader(b.file, 0, b.size)
	var r io.Reader = &t.counted
	if b.encoding != nil {
		r = b.encoding.NewDecoder().Reader(r)
	}
	t.in = bufio.NewReaderSize(r, tokenIn)
	if mark, err := t.in.Peek(3); err == nil && bytes.Equal(mark, utf8Mark) {
		if _, err := t.in.Discard(3); err != nil {
			return nil, fmt.Errorf("read card file: %w", err)
		}
	}
	return t, nil
}

// csvTable streams a .csv under one separator.
type csvTable struct {
	book      *csvBook
	separator byte
	counted   counter
	in        *bufio.Reader
	row       row
	record    []byte // the fields, unquoted, one behind the other
	ends      []int  // where each field ends in record
	only      []int
	focused   bool
	done      bool
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// full: a .csv has no limit of its own.
func (t *csvTable) full() (int, string) { return 0, "" }

func (t *csvTable) focus(columns []int) ([]span, error) {
	t.only, t.focused = columns, true
	return nil, nil
}

func (t *csvTable) next() (*row, error) {
	if t.done {
		return nil, io.EOF
	}
	t.row.line++
	err := t.readRecord()
	switch {
	case errors.Is(err, io.EOF):
		t.done = true
		t.report()
		if len(t.ends) == 0 {
			return nil, io.EOF
		}
	case err != nil:
		return nil, err
	case t.row.line%reportEvery == 0:
		t.report()
	}
	t.row.cells = t.row.cells[:0]
	from := 0
	for column, to := range t.ends {
		c, err := t.cell(column, t.record[from:to])
		if err != nil {
			return nil, err
		}
		t.row.cells = append(t.row.cells, c)
		from = to
	}
	return &t.row, nil
}

func (t *csvTable) report() {
	if t.focused {
		t.book.opts.OnProgress(t.counted.n, t.book.size)
	}
}

func (t *csvTable) cell(column int, value []byte) (cell, error) {
	if t.focused {
		wanted := false
		for _, c := range t.only {
			wanted = wanted || c == column
		}
		if !wanted {
			if len(value) == 0 || trim(string(value)) == "" {
				return cell{}, nil
			}
			return cell{kind: unread}, nil
		}
	}
	if t.book.encoding != nil && bytes.ContainsRune(value, utf8.RuneError) {
		return cell{}, damaged(fmt.Sprintf("第 %d 行的文字编码无法识别，应为 UTF-8 或 GB18030", t.row.line))
	}
	return textCell(unwrap(trim(string(value)))), nil
}

// unwrap takes off what people and programs put around a number to keep a spreadsheet from rounding it: ="8986…" and a
// leading apostrophe.
func unwrap(s string) string {
	if len(s) >= 3 && s[:2] == `="` && s[len(s)-1] == '"' {
		return trim(s[2 : len(s)-1])
	}
	if len(s) >= 1 && s[0] == '\'' {
		return trim(s[1:])
	}
	return s
}

// readRecord reads one record into record and ends (RFC 4180, and forgiving like a spreadsheet: a quote inside an
// unquoted field is a quote, what follows a closing quote belongs to the field). io.EOF may come with a last record
// that has no line end; a blank line is a record without fields.
func (t *csvTable) readRecord() error {
	t.record, t.ends = t.record[:0], t.ends[:0]
	atStart, quoted := true, false
	for read := 0; ; read++ {
		if read > maxRecord || len(t.ends) > maxCSVColumns {
			return damaged(fmt.Sprintf("第 %d 行过长，可能缺少换行或右引号", t.row.line))
		}
		c, err := t.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && quoted:
			return damaged(fmt.Sprintf("第 %d 行的引号没有结束", t.row.line))
		case errors.Is(err, io.EOF):
			if read > 0 {
				t.endField()
			}
			return io.EOF
		case err != nil:
			return fmt.Errorf("read card file: %w", err)
		case c == 0:
			return damaged("文本中含有空字节")
		case quoted && c == '"':
			if next, err := t.in.Peek(1); err == nil && next[0] == '"' {
				if _, err := t.in.Discard(1); err != nil {
					return fmt.Errorf("read card file: %w", err)
				}
				t.record = append(t.record, '"')
				continue
			}
			quoted = false
		case quoted:
			t.record = append(t.record, c)
		case c == '"' && atStart:
			quoted, atStart = true, false
		case c == t.separator:
			t.endField()
			atStart = true
		case c == '\n', c == '\r':
			if c == '\r' {
				if next, err := t.in.Peek(1); err == nil && next[0] == '\n' {
					if _, err := t.in.Discard(1); err != nil {
						return fmt.Errorf("read card file: %w", err)
					}
				}
			}
			if read > 0 {
				t.endField()
			}
			return nil
		default:
			t.record = append(t.record, c)
			atStart = false
		}
	}
}

func (t *csvTable) endField() { t.ends = append(t.ends, len(t.record)) }
