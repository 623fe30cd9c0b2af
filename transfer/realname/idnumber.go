package realname

import (
	"strings"
	"time"
)

// Fault is what is wrong with a part of an identity. It never quotes it.
type Fault string

// Error implements error.
func (f Fault) Error() string { return "identity: " + string(f) }

// The faults.
const (
	NameInvalid        Fault = "NAME_INVALID"
	NumberLength       Fault = "ID_NUMBER_LENGTH"
	NumberOld          Fault = "ID_NUMBER_OLD" // of the first generation, which ended in 2013
	NumberCharacters   Fault = "ID_NUMBER_CHARACTERS"
	NumberRegion       Fault = "ID_NUMBER_REGION"
	NumberBirthday     Fault = "ID_NUMBER_BIRTHDAY"
	NumberChecksum     Fault = "ID_NUMBER_CHECKSUM"
	CredentialMisshape Fault = "CREDENTIAL_FORMAT"
)

// regions are the first two digits of a number: GB/T 2260's provinces; 91 to 99 begin the numbers of foreigners who live
// here for good. The other four are not looked at: divisions come and go, and a number stays.
const regions = "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83 91 92 93 94 95 96 97 98 99"

// china is where birthdays begin.
var china = time.FixedZone("CST", 8*60*60)

// ParseIDNumber reads a citizen's identification number (公民身份号码, GB 11643-1999) as people type it: with spaces, in
// full-width digits of a Chinese keyboard, with a small x. It answers the 18 characters. A birthday is one that has been
// by now.
//
// The 18th is the check character, ISO 7064 MOD 11-2: with the weights 2^(18-i) mod 11 of the i-th character, and X for
// 10, all sum up to 1 mod 11.
func ParseIDNumber(typed string, now time.Time) (string, error) {
	var b strings.Builder
	for _, r := range typed {
		switch {
		case r == ' ' || r == '\u3000' || r == '\t' || r == '-':
			continue
		case r >= '\uff10' && r <= '\uff19':
			r += '0' - '\uff10'
		case r == 'x' || r == '\uff38' || r == '\uff58' || r == '×':
			r = 'X'
		}
		if b.Len() > 64 {
			break
		}
		b.WriteRune(r)
	}
	number := b.String()
	switch len([]rune(number)) {
	case 18:
	case 15:
		return "", NumberOld
	default:
		return "", NumberLength
	}
	for i, r := range number {
		if (r < '0' || r > '9') && (i != 17 || r != 'X') {
			return "", NumberCharacters
		}
	}
	if !strings.Contains(regions, number[:2]) { // which has no space, so that it is one of them
		return "", NumberRegion
	}
	born, err := time.ParseInLocation("20060102", number[6:14], china)
	if err != nil || born.Year() < 1900 || born.After(now) {
		return "", NumberBirthday
	}
	sum := 0
	for i, c := range number {
		weight := 1 << (17 - i) % 11
		value := int(c - '0')
		if c == 'X' {
			value = 10
		}
		sum += weight * value
	}
	if sum%11 != 1 {
		return "", NumberChecksum
	}
	return number, nil
}

// MaskIDNumber shows as much of a number as tells it from others in a list: where, and the end.
func MaskIDNumber(number string) string {
	if len(number) != 18 {
		return ""
	}
	return number[:3] + "***********" + number[14:]
}
