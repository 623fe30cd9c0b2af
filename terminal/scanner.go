package terminal

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode"
)

// Signal is what a line from the scanner means.
type Signal int

// The signals.
const (
	SignalCode Signal = iota // a barcode
	SignalBox                // the next two codes are the first and the last label of a box
	SignalUndo
	SignalDone
	SignalHelp
	SignalBad // a line that is too long to be anything
)

// words are the lines that command instead of naming a card. They can be printed as barcodes, too.
var words = map[string]Signal{
	"box": SignalBox, "b": SignalBox, "整盒": SignalBox, "盒": SignalBox, "undo": SignalUndo, "u": SignalUndo, "撤销": SignalUndo, "done": SignalDone,
	"d": SignalDone, "完成": SignalDone, "help": SignalHelp, "?": SignalHelp, "帮助": SignalHelp,
}

// maxLine is how long a line is looked at, in bytes.
const maxLine = 256

// Scanner reads a barcode scanner that types like a keyboard: one code a line, with an AIM identifier (ISO/IEC 15424, like ]C0)
// or without, and control characters around it as some scanners send them. A person at the same keyboard commands it by words.
type Scanner struct {
	lines *bufio.Reader
	idle  func() error
}

// NewScanner reads lines. Whenever there is nothing more to be read at once it calls idle, and then waits for more; an error of
// idle's is Next's.
func NewScanner(r *bufio.Reader, idle func() error) *Scanner { return &Scanner{r, idle} }

// Next reads the next line that isn't empty. At the end of the input it answers io.EOF. A line without an end is one, too.
func (s *Scanner) Next() (Signal, string, error) {
	for {
		line, long, err := s.line()
		if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
			return 0, "", err
		}
		if long {
			return SignalBad, "", nil
		}
		code := trimmed(line)
		if code == "" {
			continue
		}
		if signal, ok := words[strings.ToLower(code)]; ok {
			return signal, "", nil
		}
		return SignalCode, code, nil
	}
}

// line reads one line, of which it keeps the beginning. It ends with a line feed, a carriage return, or both: scanners differ.
func (s *Scanner) line() (text string, long bool, err error) {
	var kept []byte
	for {
		if s.lines.Buffered() == 0 {
			if err := s.idle(); err != nil {
				return "", false, err
			}
		}
		c, err := s.lines.ReadByte()
		if err != nil {
			return string(kept), len(kept) > maxLine, err
		}
		if c == '\r' && s.lines.Buffered() > 0 {
			if next, err := s.lines.Peek(1); err == nil && next[0] == '\n' {
				_, _ = s.lines.Discard(1)
			}
		}
		if c == '\r' || c == '\n' {
			return string(kept), len(kept) > maxLine, nil
		}
		if len(kept) <= maxLine {
			kept = append(kept, c)
		}
	}
}

// trimmed is a line without what scanners put around a code.
func trimmed(line string) string {
	around := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\ufeff' || r == unicode.ReplacementChar
	}
	code := strings.TrimFunc(line, around)
	if len(code) >= 3 && code[0] == ']' && code[1] < 0x80 && code[2] < 0x80 {
		code = strings.TrimFunc(code[3:], around)
	}
	return code
}
