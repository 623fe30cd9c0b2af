package iccid_test

import (
	"slices"
	"strings"
	"testing"

	"cardflow/iccid"
)

func TestDefaultPlan(t *testing.T) {
	want := map[string]struct {
		rule     iccid.Rule
		prefixes []string
	}{
		"cmcc":    {iccid.Serial, []string{"898600", "898602", "898604", "898607", "898608"}},
		"unicom":  {iccid.Luhn, []string{"898601", "898606", "898609"}},
		"telecom": {iccid.Luhn, []string{"898603", "898611"}},
	}
	plan, n := iccid.DefaultPlan(), 0
	for carrier, w := range want {
		for _, prefix := range w.prefixes {
			n++
			is, err := plan.Issuer(prefix + "00000000000000")
			if err != nil || is != (iccid.Issuer{Prefix: prefix, Carrier: carrier, Rule: w.rule}) {
				t.Errorf("%s: %+v, %v", prefix, is, err)
			}
		}
	}
	got := plan.Issuers()
	if len(got) != n || !slices.IsSortedFunc(got, func(a, b iccid.Issuer) int { return strings.Compare(a.Prefix, b.Prefix) }) {
		t.Errorf("issuers: %v", got)
	}
}

func TestPlanParse(t *testing.T) {
	plan := iccid.DefaultPlan()
	for _, c := range []struct{ name, in, printed, carrier, code string }{
		{"China Mobile", "898604b7192270274511", "898604B7192270274511", "cmcc", ""},
		{"China Unicom", "8986 0617 0100 0135 1357", "89860617010001351357", "unicom", ""},
		{"China Unicom without check digit", "8986061701000135135", "89860617010001351357", "unicom", ""},
		{"China Telecom", "8986031234567890123", "89860312345678901235", "telecom", ""},
		{"China Unicom, wrong digit", "89860617010001351356", "", "", iccid.CodeCheckDigit},
		{"unknown issuer", "89882390001334701795", "", "", iccid.CodeIssuerUnknown},
		{"no ICCID", "8986", "", "", iccid.CodeFormat},
		{"chip order", "9868407B912207725411", "", "", iccid.CodeNibbleSwapped},
	} {
		t.Run(c.name, func(t *testing.T) {
			card, is, err := plan.Parse(c.in)
			if codeOf(err) != c.code || is.Carrier != c.carrier {
				t.Fatalf("got %+v, %v; want %q, %q", is, err, c.carrier, c.code)
			}
			if err == nil && is.Rule.Format(card) != c.printed {
				t.Errorf("printed %q, want %q", is.Rule.Format(card), c.printed)
			}
		})
	}
}

func TestLongestPrefixWins(t *testing.T) {
	plan, err := iccid.NewPlan([]iccid.Issuer{
		{Prefix: "898604", Carrier: "cmcc", Rule: iccid.Serial},
		{Prefix: "89860499", Carrier: "virtual", Rule: iccid.Serial},
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"89860499000000000000": "virtual", "89860498000000000000": "cmcc", "898604": "cmcc"} {
		if is, err := plan.Issuer(id); err != nil || is.Carrier != want {
			t.Errorf("%s: %+v, %v; want %s", id, is, err, want)
		}
	}
	if _, err := plan.Issuer("89860"); codeOf(err) != iccid.CodeIssuerUnknown {
		t.Errorf("half a prefix: %v", err)
	}
	if _, _, err := plan.Range("89860498000000000000", "89860499000000000008"); codeOf(err) != iccid.CodeRangeMixed {
		t.Errorf("a range of two issuers: %v", err)
	}
}

func TestPlanRange(t *testing.T) {
	plan := iccid.DefaultPlan()
	seg, is, err := plan.Range("89860617010001351357", "89860617010001352348")
	if err != nil || is.Carrier != "unicom" || seg.Count() != 100 {
		t.Errorf("a box of a hundred: %d cards of %+v, %v", seg.Count(), is, err)
	}
	for _, c := range []struct{ name, start, end, code string }{
		{"two issuers, one carrier", "898600B7192270274511", "898604B7192270274511", iccid.CodeRangeMixed},
		{"two carriers", "89860617010001351357", "898604B7192270274511", iccid.CodeRangeMixed},
		{"bad start", "898606", "89860617010001352348", iccid.CodeFormat},
		{"bad end", "89860617010001351357", "89860617010001352349", iccid.CodeCheckDigit},
		{"unknown issuer", "89882390001334701795", "89882390001334701811", iccid.CodeIssuerUnknown},
		{"reversed", "89860617010001352348", "89860617010001351357", iccid.CodeRangeReversed},
	} {
		if _, _, err := plan.Range(c.start, c.end); codeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}

func TestBadPlans(t *testing.T) {
	ok := iccid.Issuer{Prefix: "898604", Carrier: "cmcc", Rule: iccid.Serial}
	for _, c := range []struct {
		name    string
		issuers []iccid.Issuer
		code    string
	}{
		{"empty", nil, iccid.CodePlanInvalid},
		{"twice", []iccid.Issuer{ok, ok}, iccid.CodePlanInvalid},
		{"short prefix", []iccid.Issuer{{Prefix: "89", Carrier: "a", Rule: iccid.Luhn}}, iccid.CodePlanInvalid},
		{"prefix into the tail", []iccid.Issuer{{Prefix: "8986040000000", Carrier: "a", Rule: iccid.Luhn}}, iccid.CodePlanInvalid},
		{"foreign prefix", []iccid.Issuer{{Prefix: "778604", Carrier: "a", Rule: iccid.Luhn}}, iccid.CodePlanInvalid},
		{"lower case", []iccid.Issuer{{Prefix: "898604b", Carrier: "a", Rule: iccid.Luhn}}, iccid.CodePlanInvalid},
		{"no carrier", []iccid.Issuer{{Prefix: "898604", Rule: iccid.Luhn}}, iccid.CodePlanInvalid},
		{"no rule", []iccid.Issuer{{Prefix: "898604", Carrier: "a"}}, iccid.CodeRuleUnknown},
	} {
		if _, err := iccid.NewPlan(c.issuers); codeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}
