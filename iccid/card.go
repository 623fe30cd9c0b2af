package iccid

import (
	"log/slog"
	"strconv"
)

// Rule is an issuer's numbering rule: what "the next card" means. The same pair of
// numbers `A-B` means other cards under another rule, so the rule belongs to
// whatever is hashed or compared.
type Rule string

const (
	// Serial counts in the trailing digits of the printed number, at most seven.
	// There is no check digit; the head may hold letters (China Mobile).
	Serial Rule = "SERIAL"
	// Luhn counts in the last seven of 19 digits and appends a check digit
	// (ITU-T E.118, ISO/IEC 7812-1 annex B). 19 digits and 20 are one card.
	Luhn Rule = "LUHN"
)

// tailDigits is how many digits count at most: no issuer numbers a box across a
// carry further left, and it keeps every run below ten million cards.
const tailDigits = 7

// Card is one card under a [Rule]: Head, then Tail in Width digits, and under Luhn
// the check digit, which isn't stored. Cards are comparable with ==; the fields are
// exported so that a database can store them. A Card made by hand may be none
// (Width too small for Tail, say): a [Set] refuses those.
type Card struct {
	Head  string
	Width uint8
	Tail  uint32
}

// Parse reads one ICCID, in any spelling that [Normalize] knows, under the rule.
//
// Errors: those of Normalize, ICCID_CHECK_DIGIT, ICCID_RULE_UNKNOWN.
func (r Rule) Parse(s string) (Card, error) {
	id, err := Normalize(s)
	if err != nil {
		return Card{}, err
	}
	switch r {
	case Serial:
		return split(id), nil
	case Luhn:
		if !isDigits(id) {
			return Card{}, newError(CodeFormat, "这家运营商的 ICCID 只含数字，请核对是否有字母误读（如 B 与 8、D 与 0）", s)
		}
		if len(id) == fullLen && !CheckLuhn(id) {
			return Card{}, newError(CodeCheckDigit, "ICCID 最后一位校验码与前面的数字不符，请核对是否有数字写错或漏写", s)
		}
		return split(id[:shortLen]), nil
	default:
		return Card{}, r.unknown()
	}
}

// Format returns the printed ICCID: the inverse of Parse.
func (r Rule) Format(c Card) string {
	var space [fullLen + 12]byte
	b := c.appendBody(space[:0])
	if r == Luhn {
		b = append(b, luhnDigit(b))
	}
	return string(b)
}

func (r Rule) known() bool { return r == Serial || r == Luhn }

func (r Rule) unknown() *Error {
	return newError(CodeRuleUnknown, "编号规则只能是 SERIAL 或 LUHN，请核对号段配置", string(r))
}

// split cuts a number before its trailing digits, at most tailDigits of them.
func split(body string) Card {
	cut, leftmost := len(body), max(0, len(body)-tailDigits)
	for cut > leftmost && isDigit(body[cut-1]) {
		cut--
	}
	tail := uint32(0)
	for i := cut; i < len(body); i++ {
		tail = tail*10 + uint32(body[i]-'0')
	}
	return Card{Head: body[:cut], Width: uint8(len(body) - cut), Tail: tail}
}

// appendBody appends the number without a check digit.
func (c Card) appendBody(b []byte) []byte {
	return appendPadded(append(b, c.Head...), c.Tail, int(c.Width))
}

func appendPadded(b []byte, n uint32, width int) []byte {
	var space [10]byte // uint32 has no more digits
	digits := strconv.AppendUint(space[:0], uint64(n), 10)
	for range width - len(digits) {
		b = append(b, '0')
	}
	if width == 0 && n == 0 {
		return b
	}
	return append(b, digits...)
}

// String hides the card: a Card in a log line must not name it.
func (c Card) String() string { return "[card]" }

// LogValue hides the card from structured logs.
func (c Card) LogValue() slog.Value { return slog.StringValue(c.String()) }

// CheckLuhn reports whether s is digits only and its last one is the Luhn check
// digit of those before it (ISO/IEC 7812-1 annex B).
func CheckLuhn(s string) bool {
	last := len(s) - 1
	return last >= 1 && isDigits(s) && luhnDigit([]byte(s[:last])) == s[last]
}

// luhnDigit doubles every second digit from the right, the last included.
func luhnDigit(body []byte) byte {
	sum, double := 0, true
	for i := len(body) - 1; i >= 0; i-- {
		d := int(body[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		double = !double
	}
	return '0' + byte((10-sum%10)%10)
}
