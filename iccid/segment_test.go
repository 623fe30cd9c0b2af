package iccid_test

import (
	"testing"

	"cardflow/iccid"
)

func TestRange(t *testing.T) {
	for _, c := range []struct {
		name       string
		rule       iccid.Rule
		start, end string
		count      uint64
		code       string
	}{
		{"one card", iccid.Serial, "898604B7192270274511", "898604b7 1922 7027 4511", 1, ""},
		{"a box", iccid.Serial, "898604B7192270274500", "898604B7192270274599", 100, ""},
		{"a box with check digits", iccid.Luhn, "89860617010001351357", "89860617010001352348", 100, ""},
		{"the same without them", iccid.Luhn, "8986061701000135135", "8986061701000135234", 100, ""},
		{"a whole tail", iccid.Luhn, "8986061701000000000", "8986061701009999999", 10_000_000, ""},
		{"a card without a tail", iccid.Serial, "8986004215200000000A", "8986004215200000000A", 1, ""},
		{"reversed", iccid.Serial, "898604B7192270274512", "898604B7192270274511", 0, iccid.CodeRangeReversed},
		{"reversed over the tail", iccid.Serial, "898604B7192280000000", "898604B7192279999999", 0, iccid.CodeRangeReversed},
		{"over the tail by one", iccid.Serial, "898604B7192279999999", "898604B7192280000000", 0, iccid.CodeRangeOverflow},
		{"over the tail, check digits", iccid.Luhn, "8986061701009999999", "8986061701010000000", 0, iccid.CodeRangeOverflow},
		{"10⁹ cards", iccid.Luhn, "8986061701000000000", "8986061702000000000", 0, iccid.CodeRangeOverflow},
		{"two issuers", iccid.Luhn, "8986061701000000000", "8986091701000000000", 0, iccid.CodeRangeMixed},
		{"two lengths", iccid.Serial, "8985200012345678901", "89852000123456789019", 0, iccid.CodeRangeMixed},
		{"two letters", iccid.Serial, "898604B7192270274511", "898604C7192270274511", 0, iccid.CodeRangeMixed},
		{"a letter's carry", iccid.Serial, "898600421520FA999999", "898600421520FB000000", 0, iccid.CodeRangeMixed},
		{"letter against digit", iccid.Serial, "898600421520FA000001", "898600421520F0000001", 0, iccid.CodeRangeMixed},
		{"bad start", iccid.Serial, "12", "898604B7192270274511", 0, iccid.CodeFormat},
		{"bad end", iccid.Luhn, "89860617010001351357", "89860617010001352349", 0, iccid.CodeCheckDigit},
		{"no rule", "ROMAN", "89860617010001351357", "89860617010001352349", 0, iccid.CodeRuleUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			seg, err := c.rule.Range(c.start, c.end)
			if codeOf(err) != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
			if err != nil {
				if seg != (iccid.Segment{}) {
					t.Errorf("a segment beside an error: %#v", seg)
				}
				return
			}
			if seg.Count() != c.count {
				t.Errorf("%d cards, want %d", seg.Count(), c.count)
			}
			first, _ := c.rule.Parse(c.start)
			last, _ := c.rule.Parse(c.end)
			if seg.First() != first || seg.Last() != last {
				t.Errorf("from %#v to %#v", seg.First(), seg.Last())
			}
		})
	}
}

func TestCountOfExtremes(t *testing.T) {
	for _, c := range []struct {
		seg  iccid.Segment
		want uint64
	}{
		{iccid.Segment{Lo: 0, Hi: 4294967295}, 1 << 32},
		{iccid.Segment{Lo: 5, Hi: 4}, 0},
		{iccid.Segment{}, 1},
	} {
		if got := c.seg.Count(); got != c.want {
			t.Errorf("%#v: %d, want %d", c.seg, got, c.want)
		}
	}
}

// A set must not take a segment that cuts a number in another place than Parse does:
// the same card could then be in two sets that look disjoint.
func TestSetsRefuseHandMadeSegments(t *testing.T) {
	for _, c := range []struct {
		name string
		rule iccid.Rule
		seg  iccid.Segment
		code string
	}{
		{"right", iccid.Serial, iccid.Segment{Head: "898604B719227", Width: 7, Lo: 0, Hi: 9999999}, ""},
		{"head too long", iccid.Serial, iccid.Segment{Head: "898604B7192270", Width: 6, Lo: 0, Hi: 9}, iccid.CodeFormat},
		{"head too short", iccid.Luhn, iccid.Segment{Head: "89860617010", Width: 8, Lo: 0, Hi: 9}, iccid.CodeFormat},
		{"beyond the tail", iccid.Serial, iccid.Segment{Head: "898604B719227", Width: 7, Lo: 0, Hi: 10_000_000}, iccid.CodeFormat},
		{"tail of a billion", iccid.Serial, iccid.Segment{Head: "898604B719227", Width: 7, Lo: 0, Hi: 4294967295}, iccid.CodeFormat},
		{"huge width", iccid.Serial, iccid.Segment{Head: "89", Width: 255, Lo: 0, Hi: 9}, iccid.CodeFormat},
		{"letters under Luhn", iccid.Luhn, iccid.Segment{Head: "898604B71922", Width: 7, Lo: 0, Hi: 9}, iccid.CodeFormat},
		{"lower case", iccid.Serial, iccid.Segment{Head: "898604b719227", Width: 7, Lo: 0, Hi: 9}, iccid.CodeFormat},
		{"a separator in the head", iccid.Serial, iccid.Segment{Head: "898604-B719227", Width: 7, Lo: 0, Hi: 9}, iccid.CodeFormat},
		{"a filler as a card", iccid.Serial, iccid.Segment{Head: "8986041234567890123F"}, iccid.CodeFormat},
		{"nothing", iccid.Serial, iccid.Segment{}, iccid.CodeFormat},
		{"reversed", iccid.Serial, iccid.Segment{Head: "898604B719227", Width: 7, Lo: 2, Hi: 1}, iccid.CodeRangeReversed},
		{"no rule", "", iccid.Segment{Head: "898604B719227", Width: 7}, iccid.CodeRuleUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := iccid.NewSet(c.rule, c.seg); codeOf(err) != c.code {
				t.Errorf("got %v, want %q", err, c.code)
			}
		})
	}
}
