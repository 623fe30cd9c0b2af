package iccid

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"strings"
)

// pow10 holds the sizes of aligned decimal blocks, 10^0 to 10^tailDigits.
var pow10 = [tailDigits + 1]uint32{1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000}

// Segment is a run of consecutive cards: all with one Head and Width, the tails from
// Lo to Hi, both included. At most ten million cards, because tails never carry.
type Segment struct {
	Head  string
	Width uint8
	Lo    uint32
	Hi    uint32
}

// Count is the number of cards; 0 if Lo > Hi.
func (s Segment) Count() uint64 {
	if s.Lo > s.Hi {
		return 0
	}
	return uint64(s.Hi) - uint64(s.Lo) + 1
}

// First returns the card with the lowest number.
func (s Segment) First() Card { return Card{Head: s.Head, Width: s.Width, Tail: s.Lo} }

// Last returns the card with the highest number.
func (s Segment) Last() Card { return Card{Head: s.Head, Width: s.Width, Tail: s.Hi} }

// String tells the size and hides the numbers: it may end up in a log.
func (s Segment) String() string { return fmt.Sprintf("[segment of %d cards]", s.Count()) }

// LogValue hides the numbers from structured logs.
func (s Segment) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Range reads the segment from start to end, both included: the first and the last
// ICCID of a box, say. The two may be the same card.
//
// Errors: those of [Rule.Parse]; ICCID_RANGE_REVERSED; ICCID_RANGE_OVERFLOW if the
// numbers are of one kind but differ to the left of the last seven digits, where
// nothing is known about the cards between; ICCID_RANGE_MIXED if they differ in
// length, issuer or letters.
func (r Rule) Range(start, end string) (Segment, error) {
	a, err := r.Parse(start)
	if err != nil {
		return Segment{}, err
	}
	b, err := r.Parse(end)
	if err != nil {
		return Segment{}, err
	}
	sameTrack := a.Head == b.Head && a.Width == b.Width
	switch {
	case !sameTrack && !akin(a, b):
		return Segment{}, mixedError(start, end)
	case a.Head > b.Head || sameTrack && a.Tail > b.Tail:
		return Segment{}, newError(CodeRangeReversed, "起始号码大于结束号码，请对调后重试", start+"-"+end)
	case !sameTrack:
		return Segment{}, newError(CodeRangeOverflow, "号段跨过了最后 7 位数字的进位，中间有哪些卡无法确定，请按进位处分成几段填写", start+"-"+end)
	}
	return Segment{Head: a.Head, Width: a.Width, Lo: a.Tail, Hi: b.Tail}, nil
}

func mixedError(start, end string) *Error {
	return newError(CodeRangeMixed, "起止号码不属于同一号段（长度、运营商或中间的字母不同），请核对首尾两个号码", start+"-"+end)
}

// akin reports whether two cards differ only in digits that a longer tail would
// cover: same length, same issuer (the first six characters: 89, country, issuer),
// same letters.
func akin(a, b Card) bool {
	const issuerLen = 6
	stem := func(c Card) string {
		return c.Head[:issuerLen] + strings.TrimRight(c.Head[issuerLen:], "0123456789")
	}
	return a.Width == tailDigits && b.Width == tailDigits && len(a.Head) == len(b.Head) && stem(a) == stem(b)
}

// check refuses a segment that no Range could have returned. Segments have exported
// fields, and another cut of the same number (a longer head, a shorter tail) would
// hide that two sets hold the same card.
func (r Rule) check(s Segment) error {
	if !r.known() {
		return r.unknown()
	}
	if s.Lo > s.Hi {
		return newError(CodeRangeReversed, "起始号码大于结束号码，请对调后重试", "")
	}
	// The sizes first: they bound what Format and Parse have to look at.
	if s.Width <= tailDigits && s.Hi < pow10[s.Width] && len(s.Head) <= fullLen {
		if c, err := r.Parse(r.Format(s.First())); err == nil && c == s.First() {
			return nil
		}
	}
	return newError(CodeFormat, "号段不是有效的 ICCID 号段，请用首尾两个 ICCID 重新填写", "")
}

// onTrack reports whether the segments' cards are numbered in one sequence. Segments
// on different tracks never share a card, given check.
func (s Segment) onTrack(t Segment) bool { return s.Head == t.Head && s.Width == t.Width }

// compareTrack orders segments by track and then by number: the order in which
// overlap and adjacency are neighbours.
func compareTrack(a, b Segment) int {
	return cmp.Or(cmp.Compare(a.Head, b.Head), cmp.Compare(a.Width, b.Width), cmp.Compare(a.Lo, b.Lo))
}

// comparePrinted orders segments by the printed ICCID of their first card. Check
// digits may be left out: they never decide, since bodies with one have one length.
// The two orders differ where one track's head begins another's.
func comparePrinted(a, b Segment) int {
	var x, y [fullLen + 12]byte
	return bytes.Compare(a.First().appendBody(x[:0]), b.First().appendBody(y[:0]))
}
