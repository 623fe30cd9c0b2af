package iccid

import (
	"slices"
	"strings"
)

// CheckIMSI checks an IMSI: 15 digits (3GPP TS 23.003 §2.2; China assigns no shorter
// ones). Errors: IMSI_FORMAT.
func CheckIMSI(s string) error {
	if len(s) != 15 || !isDigits(s) {
		return newError(CodeIMSI, "IMSI 应是 15 位数字，请核对；没有 IMSI 时请留空", s)
	}
	return nil
}

// DefaultMSISDNPrefixes returns the beginnings of the 13-digit numbers that China
// assigns to things. Operators extend it by configuration.
func DefaultMSISDNPrefixes() []string {
	return []string{"1064", "1400", "1410", "1440", "1441", "146", "148", "149"}
}

// CheckMSISDN checks the number of an IoT card: 13 digits that begin with one of the
// prefixes, those of DefaultMSISDNPrefixes if none are given. Errors: MSISDN_FORMAT.
func CheckMSISDN(s string, prefixes ...string) error {
	if len(prefixes) == 0 {
		prefixes = DefaultMSISDNPrefixes()
	}
	begins := func(p string) bool { return strings.HasPrefix(s, p) }
	if len(s) != 13 || !isDigits(s) || !slices.ContainsFunc(prefixes, begins) {
		return newError(CodeMSISDN, "物联网卡号应是 13 位数字且属于物联网号段（如 1064、1440、146 开头），请核对；没有卡号时请留空", s)
	}
	return nil
}
