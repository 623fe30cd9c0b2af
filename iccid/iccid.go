// Package iccid knows how SIM cards are named: how an ICCID is written, when two
// cards are consecutive, and how a set of cards is put in one canonical form.
//
// Its promise: every card has exactly one representation here, every set of cards
// exactly one canonical form, and no operation costs more than the number of
// segments (runs of consecutive cards) asks for, however many cards they hold.
// The ledger's guarantee that no card is sold or issued twice rests on the first
// two, so whatever enters a [Set] is checked, even when the caller built it by hand.
//
// ICCIDs are personal data. Errors and the values of this package print nothing
// of them unless asked to by name (see [Error], [Rule.Format], [Set.Canonical]).
package iccid

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	shortLen = 19 // characters of an ICCID without its check digit, or of a short one
	fullLen  = 20

	// maxInput bounds what is looked at: scanners and spreadsheets add a few
	// characters to an ICCID, never hundreds.
	maxInput = 256
)

// Normalize turns an ICCID as people, scanners and files write it into its one
// spelling: 19 or 20 characters, 89 first, digits and A-F in upper case.
//
// It drops spaces, hyphens, line ends, an AIM symbology prefix (]C1 and the like)
// and the F that fills up a 19-character number to whole bytes; it accepts
// full-width characters. Normalize of its own result changes nothing.
//
// Errors: ICCID_FORMAT; ICCID_NIBBLE_SWAPPED for the byte order of the chip (98…),
// with the readable form in Hint: it is offered, not assumed, because a person
// should see that his file holds raw chip data.
func Normalize(s string) (string, error) {
	t, ok := clean(s)
	if !ok {
		return "", formatError(s)
	}
	if len(t) == fullLen && strings.HasPrefix(t, "98") {
		if readable := dropFiller(swapNibbles(t)); wellFormed(readable) {
			err := newError(CodeNibbleSwapped, "ICCID 的数字两两颠倒了（98 开头是芯片内部的写法），请改用卡面上 89 开头的号码", s)
			err.Hint = readable
			return "", err
		}
	}
	t = dropFiller(t)
	if !wellFormed(t) {
		return "", formatError(s)
	}
	return t, nil
}

// Last6 returns the last six characters of an ICCID as printed, or of what somebody
// typed of it, in upper case and without separators or filler. It is empty if there
// are fewer than six: an empty answer must never count as a match.
// To ask whether a set holds such a card, use [Set.HasLast6].
func Last6(s string) string {
	t, ok := clean(s)
	if !ok {
		return ""
	}
	t = dropFiller(t)
	if len(t) < 6 {
		return ""
	}
	return t[len(t)-6:]
}

// clean drops what is no part of the number and folds the rest to upper-case ASCII.
// It says no to input that is too long or holds anything else than ASCII.
func clean(s string) (string, bool) {
	if len(s) > maxInput {
		return "", false
	}
	if isHex(s) {
		return s, true // nearly every row of a card file: nothing to copy
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if '！' <= r && r <= '～' {
			r -= '！' - '!' // the full-width block mirrors ASCII
		}
		switch {
		case isSeparator(r):
		case 'a' <= r && r <= 'z':
			b.WriteRune(r - 'a' + 'A')
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		default:
			return "", false
		}
	}
	t := b.String()
	if len(t) >= 3 && t[0] == ']' {
		t = t[3:] // ISO/IEC 15424: ], code character, modifier
	}
	return t, true
}

func isSeparator(r rune) bool {
	switch r {
	case '-', '\u2010', '\u2011', '\u2012', '\u2013', '\u2014', '\u2015', '\u2212', // hyphens, dashes, minus
		'\u200b', '\ufeff': // zero-width space, byte order mark
		return true
	}
	return unicode.IsSpace(r)
}

// dropFiller removes the F that makes 19 characters fill 10 bytes. Only one, and
// only there: F elsewhere can be a China Mobile letter.
func dropFiller(s string) string {
	if len(s) == fullLen && s[fullLen-1] == 'F' {
		return s[:shortLen]
	}
	return s
}

// wellFormed refuses a number that ends in F, so that a filler is never read as
// part of a card, nor a second filler left behind.
func wellFormed(s string) bool {
	return (len(s) == shortLen || len(s) == fullLen) &&
		strings.HasPrefix(s, "89") && s[len(s)-1] != 'F' && isHex(s)
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'A' || 'F' < c) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func swapNibbles(s string) string {
	b := []byte(s)
	for i := 0; i+1 < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return string(b)
}

func formatError(s string) *Error {
	message := "ICCID 格式不对：应是 89 开头的 19 或 20 位号码（只含数字，中国移动的卡可含字母 A 到 F），请核对后重新填写"
	if len(s) <= maxInput && strings.ContainsAny(s, ".+") {
		message = "ICCID 像是被表格软件当成了数字，末几位已经丢失：请把这一列设为“文本”，从原始数据重新导出"
	}
	return newError(CodeFormat, message, s)
}
