package realname

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseName reads a name as it stands on an identity card: Han characters, with a dot between the parts of a name of a
// national minority, or Latin letters on a foreigner's card.
func ParseName(typed string) (string, error) {
	if !utf8.ValidString(typed) || len(typed) > 400 {
		return "", NameInvalid
	}
	words := strings.Fields(strings.Map(func(r rune) rune {
		switch r {
		case '•', '・', '‧', '．', '∙', '⋅', '●', '.':
			return '·'
		case '\u3000':
			return ' '
		}
		return r
	}, typed))
	name := strings.Join(words, " ")
	han, latin, marks := 0, 0, 0
	for i, r := range name {
		switch {
		case unicode.Is(unicode.Han, r):
			han++
		case unicode.Is(unicode.Latin, r):
			latin++
		case r == '·' || r == ' ' || r == '-' || r == '\'':
			if marks++; i == 0 {
				return "", NameInvalid
			}
		default:
			return "", NameInvalid
		}
	}
	if han > 0 {
		name = strings.ReplaceAll(name, " ", "") // put there to make two characters as wide as three
	}
	if last, _ := utf8.DecodeLastRuneInString(name); han > 0 && latin > 0 || han+latin < 2 || han+latin+marks > 50 || last == '·' || last == '-' {
		return "", NameInvalid
	}
	return name, nil
}

// MaskName shows the first character of a name.
func MaskName(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	if size == 0 {
		return ""
	}
	return string(first) + strings.Repeat("*", min(3, max(1, utf8.RuneCountInString(name)-1)))
}
