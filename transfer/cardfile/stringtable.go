package cardfile

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// stringTable holds the shared strings of a workbook: bytes in one spill, the offset of each in another. Sheets ask for
// strings mostly in the order in which they first occur, which a page cache serves well.
type stringTable struct {
	part    *zip.File
	dir     string
	loaded  bool
	n       int
	data    spill
	offsets spill // n+1 of 8 bytes
	blank   map[int]bool
	buf     []byte
}

// maxStrings is three columns of the longest sheet five times over. It bounds the temporary file of offsets.
const maxStrings = 16 << 20

// maxBlanks is how many blank shared strings are remembered. Writers that don't share make one for each blank cell;
// beyond the bound such cells are looked up.
const maxBlanks = 1 << 10

func (t *stringTable) load() error {
	t.loaded = true
	t.data.dir, t.offsets.dir = t.dir, t.dir
	t.blank = map[int]bool{}
	r, err := t.part.Open()
	if err != nil {
		return unpackError(err)
	}
	defer r.Close()
	d := newTokens(r)
	if err := t.mark(); err != nil {
		return err
	}
	for {
		tok, err := d.next()
		if err != nil {
			return unpackError(err)
		}
		switch {
		case tok.end && tok.name == "sst":
			return unpackError(d.rest())
		case tok.start && tok.name == "si":
			s, err := d.richText("si")
			if err != nil {
				return unpackError(err)
			}
			s = trim(s)
			if s == "" && len(t.blank) < maxBlanks {
				t.blank[t.n] = true
			}
			if err := t.data.append([]byte(s)); err != nil {
				return err
			}
			if t.n++; t.n > maxStrings {
				return tooLarge("共享字符串过多")
			}
			if err := t.mark(); err != nil {
				return err
			}
		}
	}
}

func (t *stringTable) mark() error {
	return t.offsets.append(binary.LittleEndian.AppendUint64(nil, uint64(t.data.size)))
}

func (t *stringTable) get(i int) (string, error) {
	if t == nil || i < 0 || i >= t.n {
		return "", damaged("共享字符串编号越界")
	}
	var ends [16]byte
	if err := t.offsets.read(ends[:], int64(i)*8); err != nil {
		return "", err
	}
	from, to := binary.LittleEndian.Uint64(ends[:8]), binary.LittleEndian.Uint64(ends[8:])
	t.buf = append(t.buf[:0], make([]byte, to-from)...)
	if err := t.data.read(t.buf, int64(from)); err != nil {
		return "", err
	}
	return string(t.buf), nil
}

// isBlank is get without the reading, for columns that nobody reads.
func (t *stringTable) isBlank(i int) (bool, error) {
	if t != nil && len(t.blank) < maxBlanks {
		return t.blank[i], nil
	}
	s, err := t.get(i)
	return s == "", err
}

func (t *stringTable) Close() error { return errors.Join(t.data.Close(), t.offsets.Close()) }

// spill is bytes that are appended and then read: in memory while they are few, beyond that in a temporary file which
// has no name any more, so that nothing of a carrier's cards stays behind after a crash.
type spill struct {
	dir   string
	size  int64
	mem   []byte // all of it, or with a file the part not yet written
	file  *os.File
	named string // on systems that can't remove an open file
	out   *bufio.Writer
	pages map[int64]page // direct-mapped: slot → page
}

type page struct {
	number int64
	bytes  []byte
}

const (
	spillAt   = 2 << 20
	pageSize  = 8 << 10
	pageSlots = 256
)

func (s *spill) append(b []byte) error {
	s.size += int64(len(b))
	if s.file == nil && len(s.mem)+len(b) <= spillAt {
		s.mem = append(s.mem, b...)
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "cardfile-*")
		if err != nil {
			return fmt.Errorf("shared strings: %w", err)
		}
		if os.Remove(f.Name()) != nil {
			s.named = f.Name()
		}
		s.file, s.out, s.pages = f, bufio.NewWriterSize(f, 1<<16), map[int64]page{}
		if _, err := s.out.Write(s.mem); err != nil {
			return fmt.Errorf("shared strings: %w", err)
		}
		s.mem = nil
	}
	if _, err := s.out.Write(b); err != nil {
		return fmt.Errorf("shared strings: %w", err)
	}
	return nil
}

func (s *spill) read(p []byte, off int64) error {
	if s.file == nil {
		copy(p, s.mem[off:])
		return nil
	}
	if s.out != nil {
		if err := s.out.Flush(); err != nil {
			return fmt.Errorf("shared strings: %w", err)
		}
		s.out = nil
	}
	for len(p) > 0 {
		pg, err := s.page(off / pageSize)
		if err != nil {
			return err
		}
		n := copy(p, pg[off%pageSize:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (s *spill) page(number int64) ([]byte, error) {
	slot := number % pageSlots
	pg, ok := s.pages[slot]
	if ok && pg.number == number {
		return pg.bytes, nil
	}
	if !ok {
		pg.bytes = make([]byte, pageSize)
	}
	pg.number, pg.bytes = number, pg.bytes[:pageSize]
	n, err := s.file.ReadAt(pg.bytes, number*pageSize)
	if n == 0 || err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("shared strings: %w", err)
	}
	pg.bytes = pg.bytes[:n]
	s.pages[slot] = pg
	return pg.bytes, nil
}

func (s *spill) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.named != "" {
		err = errors.Join(err, os.Remove(s.named))
	}
	return err
}

// trim takes off what surrounds a value unseen: spaces of all kinds, and the zero-width characters that web pages and
// chat programs add.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		switch r {
		case '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff', '\u202a', '\u202c', '\u200e', '\u200f', '\u00ad':
			return true
		}
		return r <= ' ' || r == '\u00a0' || r == '\u3000' || r >= '\u2000' && r <= '\u200a'
	})
}
