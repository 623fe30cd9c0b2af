package iccid_test

import (
	"testing"

	"cardflow/iccid"
)

func TestParseAndFormat(t *testing.T) {
	for _, c := range []struct {
		name    string
		rule    iccid.Rule
		in      string
		want    iccid.Card
		printed string
		code    string
	}{
		{"serial", iccid.Serial, "898604B7192270274511", iccid.Card{Head: "898604B719227", Width: 7, Tail: 274511}, "898604B7192270274511", ""},
		{"serial, letters near the end", iccid.Serial, "898600421520FA000001", iccid.Card{Head: "898600421520FA", Width: 6, Tail: 1}, "898600421520FA000001", ""},
		{"serial, a letter last", iccid.Serial, "8986004215200000000A", iccid.Card{Head: "8986004215200000000A"}, "8986004215200000000A", ""},
		{"serial, 19 characters", iccid.Serial, "8985200012345678901F", iccid.Card{Head: "898520001234", Width: 7, Tail: 5678901}, "8985200012345678901", ""},
		{"Luhn", iccid.Luhn, "89860617010001351357", iccid.Card{Head: "898606170100", Width: 7, Tail: 135135}, "89860617010001351357", ""},
		{"Luhn without its check digit", iccid.Luhn, "8986061701000135135", iccid.Card{Head: "898606170100", Width: 7, Tail: 135135}, "89860617010001351357", ""},
		{"Luhn without its check digit, filled up", iccid.Luhn, "8986061701000135135F", iccid.Card{Head: "898606170100", Width: 7, Tail: 135135}, "89860617010001351357", ""},
		{"wrong check digit", iccid.Luhn, "89860617010001351358", iccid.Card{}, "", iccid.CodeCheckDigit},
		{"two digits exchanged", iccid.Luhn, "89860617010001315357", iccid.Card{}, "", iccid.CodeCheckDigit},
		{"letters under Luhn", iccid.Luhn, "898606170100013A1357", iccid.Card{}, "", iccid.CodeFormat},
		{"no ICCID", iccid.Luhn, "12345", iccid.Card{}, "", iccid.CodeFormat},
		{"no rule", "", "89860617010001351357", iccid.Card{}, "", iccid.CodeRuleUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.rule.Parse(c.in)
			if got != c.want || codeOf(err) != c.code {
				t.Fatalf("got %#v, %v; want %#v, %q", got, err, c.want, c.code)
			}
			if err != nil {
				return
			}
			if printed := c.rule.Format(got); printed != c.printed {
				t.Errorf("printed %q, want %q", printed, c.printed)
			}
		})
	}
}

func TestCheckLuhn(t *testing.T) {
	for s, want := range map[string]bool{
		"79927398713":          true, // the example of ISO/IEC 7812-1
		"79927398710":          false,
		"89882390001334701795": true,
		"18":                   true,
		"00":                   true,
		"0":                    false,
		"":                     false,
		"7992739871A":          false,
		"７９９２７３９８７１３":          false,
	} {
		if got := iccid.CheckLuhn(s); got != want {
			t.Errorf("CheckLuhn(%q) = %v", s, got)
		}
	}
}

// A card that a database garbled prints as something; it must not panic.
func TestFormatOfNoCard(t *testing.T) {
	for _, c := range []iccid.Card{
		{}, {Head: "89", Width: 255, Tail: 4294967295}, {Head: "x", Width: 1, Tail: 42}, {Width: 0, Tail: 7},
	} {
		for _, r := range []iccid.Rule{iccid.Serial, iccid.Luhn, ""} {
			if _, err := r.Parse(r.Format(c)); err == nil {
				t.Errorf("%#v prints as a card under %q", c, r)
			}
		}
	}
}

func TestIMSIAndMSISDN(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		code string
	}{
		{"IMSI", iccid.CheckIMSI("460061234567890"), ""},
		{"IMSI of 14", iccid.CheckIMSI("46006123456789"), iccid.CodeIMSI},
		{"IMSI with a letter", iccid.CheckIMSI("46006123456789A"), iccid.CodeIMSI},
		{"no IMSI", iccid.CheckIMSI(""), iccid.CodeIMSI},
		{"1064", iccid.CheckMSISDN("1064612345678"), ""},
		{"1440", iccid.CheckMSISDN("1440123456789"), ""},
		{"1441", iccid.CheckMSISDN("1441123456789"), ""},
		{"146", iccid.CheckMSISDN("1461234567890"), ""},
		{"a person's number", iccid.CheckMSISDN("13912345678"), iccid.CodeMSISDN},
		{"13 digits of another kind", iccid.CheckMSISDN("1391234567890"), iccid.CodeMSISDN},
		{"own prefixes", iccid.CheckMSISDN("1391234567890", "139"), ""},
		{"own prefixes replace the default", iccid.CheckMSISDN("1064612345678", "139"), iccid.CodeMSISDN},
		{"a letter", iccid.CheckMSISDN("106461234567A"), iccid.CodeMSISDN},
	} {
		if got := codeOf(c.err); got != c.code {
			t.Errorf("%s: %q, want %q", c.name, got, c.code)
		}
	}
}
