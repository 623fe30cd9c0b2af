package wechat

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// wx.login gives 32 letters and digits, getPhoneNumber 64; the range leaves WeChat room, and an attacker none.
	realCode = regexp.MustCompile(`^[0-9A-Za-z_-]{8,128}$`)
	errCode  = regexp.MustCompile(`^err:-?[0-9]{1,9}$`)
)

// checkCode refuses a code before any request is made. The library pastes it into the URL as it is, so
// "abc&appid=evil" would add a parameter, and "abc#" would cut the rest off.
//
// Only a sandbox also takes what a person types: "demo:<name>" logs in the person of that name, "err:<number>" asks
// for that error.
func checkCode(code string, sandbox bool) *Error {
	if realCode.MatchString(code) {
		return nil
	}
	if name, ok := strings.CutPrefix(code, "demo:"); sandbox && ok && validName(name) {
		return nil
	}
	if sandbox && errCode.MatchString(code) {
		return nil
	}
	return newError(CodeInvalid)
}

// validName: 1 to 32 letters or digits of any script, single spaces, and the marks of names (· . _ - ').
// No & = # % ? or + comes through, though the code is escaped as well.
func validName(name string) bool {
	if !utf8.ValidString(name) || strings.TrimSpace(name) != name {
		return false
	}
	if n := utf8.RuneCountInString(name); n < 1 || n > 32 {
		return false
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune(" ·._-'", r) {
			return false
		}
	}
	return true
}
