package cardfile

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	maxXLSXRows    = 1 << 20
	maxXLSXColumns = 1 << 14
	// maxMerges is how many merged regions may touch the three columns. Each is a fault anyway.
	maxMerges = 100_000
	// reportEvery is how many rows lie between two reports of progress.
	reportEvery = 2048
)

// sheet streams one worksheet of an .xlsx.
type sheet struct {
	book   *xlsx
	part   *zip.File
	in     *tokens
	row    row
	line   int
	column int  // where a cell stands that doesn't say
	data   bool // inside sheetData
	done   bool
	only   []int // the columns that are read; nil means all
	rows   int
	base   int64 // bytes before this sheet, for the progress; negative until the header is found
}

func newSheet(x *xlsx, part *zip.File) (*sheet, error) {
	r, err := part.Open()
	if err != nil {
		return nil, unpackError(err)
	}
	return &sheet{book: x, part: part, in: newTokens(r), base: -1}, nil
}

func (s *sheet) full() (int, string) { return maxXLSXRows, CodeXLSXFull }

func (s *sheet) next() (*row, error) {
	for !s.done {
		tok, err := s.in.next()
		if err != nil {
			return nil, unpackError(err)
		}
		switch {
		case tok.start && tok.name == "sheetData":
			s.data = true
		case tok.end && (tok.name == "sheetData" || tok.name == "worksheet"):
			s.done = true
			s.report(int64(s.part.UncompressedSize64))
		case tok.start && tok.name == "row" && s.data:
			if err := s.readRow(tok); err != nil {
				return nil, unpackError(err)
			}
			if s.rows++; s.rows%reportEvery == 0 {
				s.report(s.in.d.InputOffset())
			}
			return &s.row, nil
		}
	}
	return nil, io.EOF
}

func (s *sheet) report(read int64) {
	if s.base >= 0 {
		s.book.opts.OnProgress(s.base+read, s.base+int64(s.part.UncompressedSize64))
	}
}

func (s *sheet) readRow(start token) error {
	line := s.line + 1 // what is meant if the row doesn't say
	if r := attr(start.attrs, "r"); r != "" {
		n, err := strconv.Atoi(r)
		if err != nil || n <= s.line || n > maxXLSXRows {
			return damaged("行号错乱")
		}
		line = n
	}
	s.line = line
	hidden := isTrue(attr(start.attrs, "hidden"))
	if height := attr(start.attrs, "ht"); height != "" {
		h, err := strconv.ParseFloat(height, 64)
		hidden = hidden || err == nil && h == 0
	}
	s.row.line, s.row.hidden, s.row.cells = line, hidden, s.row.cells[:0]
	s.column = 0
	for {
		tok, err := s.in.next()
		if err != nil {
			return err
		}
		switch {
		case tok.end && tok.name == "row":
			return nil
		case tok.start && tok.name == "c":
			if err := s.readCell(tok); err != nil {
				return err
			}
		case tok.start:
			if err := s.in.skip(); err != nil {
				return err
			}
		}
	}
}

func isTrue(s string) bool { return s == "1" || s == "true" }

func (s *sheet) readCell(start token) error {
	column := s.column
	if r := attr(start.attrs, "r"); r != "" {
		n, ok := columnOf(r)
		if !ok || n < column {
			return damaged("单元格位置错乱")
		}
		column = n
	}
	if s.column = column + 1; s.column > maxXLSXColumns {
		return damaged("单元格位置错乱")
	}
	kind, value, inline := attr(start.attrs, "t"), "", ""
	for {
		tok, err := s.in.next()
		if err != nil {
			return err
		}
		if tok.end && tok.name == "c" {
			break
		}
		if !tok.start {
			continue
		}
		switch tok.name {
		case "v":
			value, err = s.in.chars()
		case "is":
			inline, err = s.in.richText("is")
		default: // a formula: what counts is the value it gave
			err = s.in.skip()
		}
		if err != nil {
			return err
		}
	}
	c, err := s.cell(column, kind, value, inline)
	if err != nil || c.kind == blank {
		return err
	}
	for len(s.row.cells) < column {
		s.row.cells = append(s.row.cells, cell{})
	}
	s.row.cells = append(s.row.cells, c)
	return nil
}

// cell tells what a cell holds (ECMA-376 part 1, §18.18.11).
func (s *sheet) cell(column int, kind, value, inline string) (cell, error) {
	switch kind {
	case "s":
		if value == "" {
			return cell{}, nil
		}
		i, err := strconv.Atoi(value)
		if err != nil {
			return cell{}, damaged("共享字符串编号越界")
		}
		if s.only != nil && !slices.Contains(s.only, column) {
			if none, err := s.book.strings.isBlank(i); err != nil || none {
				return cell{}, err
			}
			return cell{kind: unread}, nil
		}
		value, err := s.book.strings.get(i)
		if err != nil {
			return cell{}, err
		}
		return textCell(value), nil
	case "inlineStr":
		return textCell(trim(inline)), nil
	case "str":
		return textCell(trim(unescape(value))), nil
	case "b", "e":
		if value = trim(value); value == "" {
			return cell{}, nil
		}
		if kind == "b" {
			value = map[bool]string{true: "TRUE", false: "FALSE"}[isTrue(value)]
		}
		return cell{kind: odd, text: value}, nil
	case "", "n", "d":
		if value = trim(value); value == "" {
			return cell{}, nil
		}
		return cell{kind: number, text: value}, nil
	}
	return cell{}, damaged("单元格类型未知")
}

func textCell(s string) cell {
	if s == "" {
		return cell{}
	}
	return cell{kind: text, text: s}
}

// columnOf answers the column of a reference such as AB12, from 0.
func columnOf(ref string) (int, bool) {
	n := 0
	for i := 0; i < len(ref); i++ {
		c := ref[i] &^ 0x20
		if c < 'A' || c > 'Z' {
			return n - 1, i > 0
		}
		if n = n*26 + int(c-'A') + 1; n > maxXLSXColumns {
			return 0, false
		}
	}
	return n - 1, n > 0
}

// focus reads the sheet once ahead, because its merged regions stand behind its rows. That also proves the whole
// sheet's checksum before the first card is handed out.
func (s *sheet) focus(columns []int) ([]span, error) {
	s.only = columns
	s.base = 0
	if s.book.strings != nil {
		s.base = int64(s.book.strings.part.UncompressedSize64)
	}
	r, err := s.part.Open()
	if err != nil {
		return nil, unpackError(err)
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, tokenIn)
	if err := toRowsEnd(in); err != nil {
		return nil, unpackError(err)
	}
	var spans []span
	rest := newTokens(in)
	for {
		tok, err := rest.next()
		if err != nil {
			return nil, unpackError(err)
		}
		if tok.end && tok.name == "worksheet" {
			return spans, unpackError(rest.rest())
		}
		if !tok.start || tok.name != "mergeCell" {
			continue
		}
		sp, touches, ok := region(attr(tok.attrs, "ref"), columns)
		if !ok {
			return nil, damaged("合并单元格位置错乱")
		}
		if touches {
			spans = append(spans, sp)
		}
		if len(spans) > maxMerges {
			return nil, tooLarge("合并单元格过多，请先取消合并")
		}
	}
}

// toRowsEnd reads past the last tag of the rows without taking them apart, which is several times faster.
func toRowsEnd(in *bufio.Reader) error {
	for {
		piece, err := in.ReadSlice('>')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if !bytes.HasSuffix(piece, []byte("sheetData>")) && !bytes.HasSuffix(piece, []byte("sheetData/>")) {
			continue
		}
		tag, closing := bytes.CutPrefix(piece[bytes.LastIndexByte(piece, '<')+1:], []byte("/"))
		if _, local, prefixed := bytes.Cut(tag, []byte(":")); prefixed {
			tag = local
		}
		if bytes.HasPrefix(tag, []byte("sheetData")) && (closing || bytes.HasSuffix(tag, []byte("/>"))) {
			return nil
		}
	}
}

// region reads a merged region such as A2:C5 and tells whether it touches one of the columns.
func region(ref string, columns []int) (sp span, touches, ok bool) {
	from, to, two := strings.Cut(ref, ":")
	if !two {
		to = from
	}
	left, ok1 := columnOf(from)
	right, ok2 := columnOf(to)
	top, err1 := strconv.Atoi(strings.TrimLeft(from, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
	bottom, err2 := strconv.Atoi(strings.TrimLeft(to, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
	if !ok1 || !ok2 || err1 != nil || err2 != nil || left > right || top > bottom {
		return span{}, false, false
	}
	touches = slices.ContainsFunc(columns, func(c int) bool { return left <= c && c <= right })
	return span{top, bottom}, touches, true
}
