package cardfile_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf16"
)

// xlsSheet is a sheet of a hand-made .xls. The writer knows just enough of [MS-XLS] and [MS-CFB] for the tests;
// TestXLSWriterAgainstAnotherReader shows that it isn't only our reader that understands it.
type xlsSheet struct {
	name    string
	state   byte // 1 hidden
	rows    [][]any
	hidden  []int       // row indexes
	merged  [][4]uint16 // first row, last row, first column, last column
	records []byte      // raw records put behind the cells
}

// formulaText is a cell whose formula gave a text, formulaNumber one whose formula gave a number.
type (
	formulaText   string
	formulaNumber float64
	rkNumber      uint32
	labelText     string // a text in the cell itself
	errorValue    byte
)

func biffRecord(kind uint16, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func u16(values ...int) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}

func u32(v int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

// unicodeString is flags and characters: one byte each if that is enough.
func unicodeString(s string) (n int, flagsAndChars []byte) {
	units := utf16.Encode([]rune(s))
	wide := byte(0)
	for _, u := range units {
		if u > 0xff {
			wide = 1
		}
	}
	b := []byte{wide}
	for _, u := range units {
		b = append(b, byte(u))
		if wide == 1 {
			b = append(b, byte(u>>8))
		}
	}
	return len(units), b
}

func float64Bytes(v float64) []byte {
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
}

// sstRecords lays the strings into an SST record and its CONTINUEs, cut where a record is full: in the midst of a
// string if so it comes, with new flags behind the cut.
func sstRecords(strings []string, limit int) []byte {
	out := []byte{}
	current := append(u32(len(strings)), u32(len(strings))...)
	kind := uint16(0x00fc)
	flush := func() {
		out = append(out, biffRecord(kind, current...)...)
		kind, current = 0x003c, nil
	}
	for _, s := range strings {
		n, body := unicodeString(s)
		if len(current)+3 > limit {
			flush()
		}
		current = append(append(current, u16(n)...), body[0])
		width := 1 + int(body[0])
		for chars := body[1:]; len(chars) > 0; chars = chars[width:] {
			if len(current)+width > limit {
				flush()
				current = append(current, body[0])
			}
			current = append(current, chars[:width]...)
		}
	}
	flush()
	return out
}

const sstLimit = 8224

// xlsStream makes the Workbook stream.
func xlsStream(sheets []xlsSheet, limit int) []byte {
	index := map[string]int{}
	var strings []string
	var bodies [][]byte
	for _, s := range sheets {
		body := biffRecord(0x0809, append(u16(0x0600, 0x0010, 0, 0), make([]byte, 8)...)...)
		last := len(s.rows)
		body = append(body, biffRecord(0x0200, append(append(u32(0), u32(last)...), u16(0, 256, 0)...)...)...)
		for _, h := range s.hidden {
			body = append(body, biffRecord(0x0208, u16(h, 0, 3, 255, 0, 0, 0x20|0x100, 15)...)...)
		}
		for r, row := range s.rows {
			for c, v := range row {
				at := u16(r, c, 15)
				switch v := v.(type) {
				case nil:
				case string:
					i, ok := index[v]
					if !ok {
						i = len(strings)
						index[v], strings = i, append(strings, v)
					}
					body = append(body, biffRecord(0x00fd, append(at, u32(i)...)...)...)
				case float64:
					body = append(body, biffRecord(0x0203, append(at, float64Bytes(v)...)...)...)
				case rkNumber:
					body = append(body, biffRecord(0x027e, append(at, u32(int(v))...)...)...)
				case labelText:
					n, chars := unicodeString(string(v))
					body = append(body, biffRecord(0x0204, append(append(at, u16(n)...), chars...)...)...)
				case bool:
					body = append(body, biffRecord(0x0205, append(at, map[bool]byte{true: 1}[v], 0)...)...)
				case errorValue:
					body = append(body, biffRecord(0x0205, append(at, byte(v), 1)...)...)
				case formulaNumber:
					body = append(body, biffRecord(0x0006, append(append(at, float64Bytes(float64(v))...), make([]byte, 8)...)...)...)
				case formulaText:
					body = append(body, biffRecord(0x0006, append(append(at, 0, 0, 0, 0, 0, 0, 0xff, 0xff), make([]byte, 8)...)...)...)
					n, chars := unicodeString(string(v))
					body = append(body, biffRecord(0x0207, append(u16(n), chars...)...)...)
				}
			}
		}
		if len(s.merged) > 0 {
			m := u16(len(s.merged))
			for _, r := range s.merged {
				m = append(m, u16(int(r[0]), int(r[1]), int(r[2]), int(r[3]))...)
			}
			body = append(body, biffRecord(0x00e5, m...)...)
		}
		body = append(body, s.records...)
		bodies = append(bodies, append(body, biffRecord(0x000a)...))
	}
	head := biffRecord(0x0809, append(u16(0x0600, 0x0005, 0, 0), make([]byte, 8)...)...)
	tail := append(sstRecords(strings, limit), biffRecord(0x000a)...)
	var names [][]byte
	size := len(head) + len(tail)
	for _, s := range sheets {
		n, chars := unicodeString(s.name)
		names = append(names, append([]byte{s.state, 0, byte(n)}, chars...))
		size += 4 + 4 + len(names[len(names)-1])
	}
	out := head
	for i := range sheets {
		out = append(out, biffRecord(0x0085, append(u32(size), names[i]...)...)...)
		size += len(bodies[i])
	}
	return append(append(out, tail...), bytes.Join(bodies, nil)...)
}

// compound puts one stream into a compound file (version 3, sectors of 512 bytes).
func compound(name string, stream []byte) []byte {
	const sector, perFAT = 512, 128
	const endOfChain, free, fatSector, difatSector = 0xfffffffe, 0xffffffff, 0xfffffffd, 0xfffffffc
	for len(stream) < 4096 || len(stream)%sector != 0 { // shorter streams live elsewhere
		stream = append(stream, 0)
	}
	data := len(stream) / sector
	fats, difats := 1, 0
	for fats*perFAT < data+1+fats+difats {
		fats++
		difats = max(0, (fats-109+126)/127)
	}
	var b bytes.Buffer
	b.WriteString("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	b.Write(make([]byte, 16))
	b.Write(u16(0x3e, 3, 0xfffe, 9, 6, 0, 0, 0))
	b.Write(u32(0))
	b.Write(u32(fats))
	b.Write(u32(data)) // the directory follows the stream
	b.Write(u32(0))
	b.Write(u32(4096))
	b.Write(u32(endOfChain))
	b.Write(u32(0))
	firstFAT := data + 1
	if difats > 0 {
		b.Write(u32(firstFAT + fats))
	} else {
		b.Write(u32(endOfChain))
	}
	b.Write(u32(difats))
	for i := range 109 {
		if i < fats {
			b.Write(u32(firstFAT + i))
		} else {
			b.Write(u32(free))
		}
	}
	b.Write(stream)
	directory := func(name string, kind byte, child, start, size int) {
		units := utf16.Encode([]rune(name))
		entry := make([]byte, 64)
		for i, u := range units {
			binary.LittleEndian.PutUint16(entry[2*i:], u)
		}
		length := 0
		if name != "" {
			length = 2*len(units) + 2
		}
		entry = append(entry, u16(length)...)
		entry = append(entry, kind, 1)
		entry = append(entry, u32(free)...)
		entry = append(entry, u32(free)...)
		entry = append(entry, u32(child)...)
		entry = append(entry, make([]byte, 16+4+16)...)
		entry = append(entry, u32(start)...)
		entry = append(entry, u32(size)...)
		b.Write(append(entry, u32(0)...))
	}
	directory("Root Entry", 5, 1, endOfChain, 0)
	directory(name, 2, free, 0, len(stream))
	directory("", 0, free, 0, 0)
	directory("", 0, free, 0, 0)
	for i := range fats * perFAT {
		switch {
		case i < data-1:
			b.Write(u32(i + 1))
		case i == data-1, i == data:
			b.Write(u32(endOfChain))
		case i < firstFAT+fats:
			b.Write(u32(fatSector))
		case i < firstFAT+fats+difats:
			b.Write(u32(difatSector))
		default:
			b.Write(u32(free))
		}
	}
	for i := range difats {
		for j := range 127 {
			if n := 109 + i*127 + j; n < fats {
				b.Write(u32(firstFAT + n))
			} else {
				b.Write(u32(free))
			}
		}
		next := endOfChain
		if i+1 < difats {
			next = firstFAT + fats + i + 1
		}
		b.Write(u32(next))
	}
	return b.Bytes()
}

func xls(sheets ...xlsSheet) []byte { return compound("Workbook", xlsStream(sheets, sstLimit)) }
