package cardfile

import (
	"bufio"
	"encoding/xml"
	"io"
	"regexp"
	"strconv"
	"strings"
)

const (
	// maxToken is the most bytes between two tokens: encoding/xml holds a token in memory, and a hostile one has no end.
	maxToken = 1 << 20
	// maxText is the most bytes of a cell. A spreadsheet stops at 32,767 characters.
	maxText = 256 << 10
	tokenIn = 64 << 10
)

// tokens reads XML with bounded memory. Namespaces are dropped: writers differ in the prefixes, not in the names.
type tokens struct {
	source *allowance
	in     *bufio.Reader
	d      *xml.Decoder
	text   []byte // of the element being read
}

type token struct {
	start, end bool
	name       string
	attrs      []xml.Attr
	text       xml.CharData // valid until the next token
}

// allowance fails once it has given more than it may.
type allowance struct {
	r           io.Reader
	given, upTo int64
}

func (a *allowance) Read(p []byte) (int, error) {
	if a.given > a.upTo {
		return 0, errBudget
	}
	n, err := a.r.Read(p)
	a.given += int64(n)
	return n, err
}

func newTokens(r io.Reader) *tokens {
	a := &allowance{r: r}
	in := bufio.NewReaderSize(a, tokenIn)
	return &tokens{source: a, in: in, d: xml.NewDecoder(in)}
}

// next answers the next token. The end of the input before the end of the document is an error; the caller stops at
// the document's last tag.
func (t *tokens) next() (token, error) {
	t.source.upTo = t.d.InputOffset() + maxToken + tokenIn
	raw, err := t.d.RawToken()
	if err == io.EOF {
		return token{}, io.ErrUnexpectedEOF
	}
	if err != nil {
		return token{}, err
	}
	switch raw := raw.(type) {
	case xml.StartElement:
		return token{start: true, name: raw.Name.Local, attrs: raw.Attr}, nil
	case xml.EndElement:
		return token{end: true, name: raw.Name.Local}, nil
	case xml.CharData:
		return token{text: raw}, nil
	case xml.Directive:
		return token{}, damaged("含有 DTD 声明") // no spreadsheet writes one, attacks do
	}
	return token{}, nil
}

// rest reads the input to its end, which makes archive/zip compare the checksum.
func (t *tokens) rest() error {
	t.source.upTo = 1 << 62
	_, err := io.Copy(io.Discard, t.in)
	return err
}

// skip reads over the element that has just begun.
func (t *tokens) skip() error {
	for depth := 1; depth > 0; {
		tok, err := t.next()
		if err != nil {
			return err
		}
		if tok.start {
			depth++
		} else if tok.end {
			depth--
		}
	}
	return nil
}

// chars answers the text of the element that has just begun.
func (t *tokens) chars() (string, error) {
	t.text = t.text[:0]
	err := t.appendChars()
	return string(t.text), err
}

func (t *tokens) appendChars() error {
	for {
		tok, err := t.next()
		if err != nil {
			return err
		}
		switch {
		case tok.start:
			if err := t.skip(); err != nil {
				return err
			}
		case tok.end:
			return nil
		default:
			t.text = append(t.text, tok.text...)
		}
		if len(t.text) > maxText {
			return errBudget
		}
	}
}

// richText answers the text of the string that has just begun, all its runs together, without the phonetic guides that
// East Asian editions put beside it.
func (t *tokens) richText(end string) (string, error) {
	t.text = t.text[:0]
	for {
		tok, err := t.next()
		if err != nil {
			return "", err
		}
		switch {
		case tok.start && tok.name == "t":
			if err := t.appendChars(); err != nil {
				return "", err
			}
		case tok.start && tok.name == "rPh":
			if err := t.skip(); err != nil {
				return "", err
			}
		case tok.end && tok.name == end:
			return unescape(string(t.text)), nil
		}
	}
}

var escape = regexp.MustCompile(`_x[0-9A-Fa-f]{4}_`)

// unescape resolves the way in which a sheet writes characters that XML can't hold (ECMA-376 part 1, §22.9.2.19).
func unescape(s string) string {
	if !strings.Contains(s, "_x") {
		return s
	}
	return escape.ReplaceAllStringFunc(s, func(code string) string {
		n, err := strconv.ParseUint(code[2:6], 16, 16)
		if err != nil {
			return code
		}
		return string(rune(n))
	})
}

func attr(attrs []xml.Attr, name string) string {
	for _, a := range attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}
