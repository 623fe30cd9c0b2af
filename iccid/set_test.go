package iccid_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"cardflow/iccid"
	"pgregory.net/rapid"
)

// The model of a set is a map of printed ICCIDs; slow, and hard to get wrong.
type model map[string]bool

// tracks are chosen to lie close: a head that begins another, neighbours across a
// carry, letters where the next track has digits, 19 characters beside 20.
var tracks = map[iccid.Rule][]iccid.Segment{
	iccid.Serial: {
		{Head: "898604B719227", Width: 7, Lo: 0},
		{Head: "898604B719227", Width: 7, Lo: 9_999_980},
		{Head: "898604B719228", Width: 7, Lo: 0},
		{Head: "898604B71922", Width: 7, Lo: 7_000_000},
		{Head: "898604B719227000000A", Width: 0, Lo: 0},
		{Head: "898604B7192270000A", Width: 2, Lo: 0},
		{Head: "898600421520FA", Width: 6, Lo: 999_980},
		{Head: "898600421520FB", Width: 6, Lo: 0},
	},
	iccid.Luhn: {
		{Head: "898606170100", Width: 7, Lo: 135_100},
		{Head: "898606170100", Width: 7, Lo: 9_999_980},
		{Head: "898606170101", Width: 7, Lo: 0},
		{Head: "898603170100", Width: 7, Lo: 135_100},
	},
}

func drawRule(t *rapid.T) iccid.Rule {
	return rapid.SampledFrom([]iccid.Rule{iccid.Serial, iccid.Luhn}).Draw(t, "rule")
}

// drawCard draws from windows of twenty cards, so that cards often meet.
func drawCard(t *rapid.T, rule iccid.Rule) iccid.Card {
	track := rapid.SampledFrom(tracks[rule]).Draw(t, "track")
	c := track.First()
	if track.Width > 0 {
		c.Tail += rapid.Uint32Range(0, 19).Draw(t, "offset")
	}
	return c
}

func drawCards(t *rapid.T, rule iccid.Rule) []string {
	cards := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return rule.Format(drawCard(t, rule)) }), 1, 40).Draw(t, "cards")
	slices.Sort(cards)
	return slices.Compact(cards)
}

func must[T any](t interface{ Fatalf(string, ...any) }) func(T, error) T {
	return func(v T, err error) T {
		if err != nil {
			t.Fatalf("unexpected: %v", err)
		}
		return v
	}
}

// drawSet draws a set and its model.
func drawSet(t *rapid.T, rule iccid.Rule) (iccid.Set, model) {
	cards := drawCards(t, rule)
	m := model{}
	for _, c := range cards {
		m[c] = true
	}
	return must[iccid.Set](t)(iccid.SetOf(rule, cards...)), m
}

// cardsOf spells a set out, card by card.
func cardsOf(s iccid.Set) model {
	m := model{}
	for _, seg := range s.Segments() {
		for tail := seg.Lo; tail <= seg.Hi; tail++ {
			m[s.Rule.Format(iccid.Card{Head: seg.Head, Width: seg.Width, Tail: tail})] = true
		}
	}
	return m
}

func TestAnyOrderAndSplittingGiveOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := drawRule(t)
		set, _ := drawSet(t, rule)
		var pieces []iccid.Segment
		for _, seg := range set.Segments() {
			for seg.Count() > 1 && rapid.Bool().Draw(t, "cut") {
				at := rapid.Uint32Range(seg.Lo, seg.Hi-1).Draw(t, "at")
				left := seg
				left.Hi, seg.Lo = at, at+1
				pieces = append(pieces, left)
			}
			pieces = append(pieces, seg)
		}
		pieces = rapid.Permutation(pieces).Draw(t, "order")
		again := must[iccid.Set](t)(iccid.NewSet(rule, pieces...))
		if again.Canonical() != set.Canonical() || !again.Equal(set) || !slices.Equal(again.Segments(), set.Segments()) {
			t.Fatalf("the form depends on how the cards came:\n%s\n%s", set.Canonical(), again.Canonical())
		}
		cards := rapid.Permutation(slices.Collect(maps.Keys(cardsOf(set)))).Draw(t, "cards")
		one := must[iccid.Set](t)(iccid.SetOf(rule, cards...))
		if one.Canonical() != set.Canonical() || iccid.PlainHash(one) != iccid.PlainHash(set) {
			t.Fatalf("card by card:\n%s\n%s", set.Canonical(), one.Canonical())
		}
	})
}

func TestParseOfPrintIsIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := drawRule(t)
		card := drawCard(t, rule)
		printed := rule.Format(card)
		if back := must[iccid.Card](t)(rule.Parse(printed)); back != card || rule.Format(back) != printed {
			t.Fatalf("%#v is printed %s, which is %#v", card, printed, back)
		}
		set, _ := drawSet(t, rule)
		if back := must[iccid.Set](t)(iccid.ParseCanonical(rule, set.Canonical())); !back.Equal(set) {
			t.Fatalf("%s reads as %s", set.Canonical(), back.Canonical())
		}
	})
}

func TestParseOfAnyNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, alphabet := iccid.Luhn, `89[0-9]{17}`
		if rapid.Bool().Draw(t, "serial") {
			rule, alphabet = iccid.Serial, `89[0-9A-F]{16}[0-9]?[0-9A-E]`
		}
		s := rapid.StringMatching(alphabet).Draw(t, "number")
		card := must[iccid.Card](t)(rule.Parse(s))
		printed := rule.Format(card)
		if rule == iccid.Serial && printed != s || printed[:len(s)] != s {
			t.Fatalf("%s is printed %s", s, printed)
		}
		if back := must[iccid.Card](t)(rule.Parse(printed)); back != card {
			t.Fatalf("%s: %#v and %#v", s, card, back)
		}
		must[iccid.Set](t)(iccid.NewSet(rule, iccid.Segment{Head: card.Head, Width: card.Width, Lo: card.Tail, Hi: card.Tail}))
	})
}

func TestOperationsAgainstTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := drawRule(t)
		a, ma := drawSet(t, rule)
		b, mb := drawSet(t, rule)

		both, onlyA, all := model{}, model{}, maps.Clone(ma)
		for c := range ma {
			if mb[c] {
				both[c] = true
			} else {
				onlyA[c] = true
			}
		}
		maps.Copy(all, mb)

		if got := cardsOf(a); !maps.Equal(got, ma) {
			t.Fatalf("a holds %v, want %v", got, ma)
		}
		if a.Count() != uint64(len(ma)) {
			t.Fatalf("%d cards, want %d", a.Count(), len(ma))
		}
		if got := cardsOf(a.Minus(b)); !maps.Equal(got, onlyA) {
			t.Fatalf("minus %v, want %v", got, onlyA)
		}
		if got := cardsOf(a.Intersect(b)); !maps.Equal(got, both) {
			t.Fatalf("intersection %v, want %v", got, both)
		}
		union, err := a.Union(b)
		if len(both) > 0 {
			var e *iccid.Error
			if !errors.As(err, &e) || e.Code != iccid.CodeDuplicate || !both[e.Value] {
				t.Fatalf("union of overlapping sets: %v", err)
			}
			union = must[iccid.Set](t)(a.Minus(b).Union(b))
		} else if err != nil {
			t.Fatalf("union: %v", err)
		}
		if got := cardsOf(union); !maps.Equal(got, all) {
			t.Fatalf("union %v, want %v", got, all)
		}
		if a.Covers(b) != (len(both) == len(mb)) || !union.Covers(a) || !union.Covers(b) {
			t.Fatalf("covers is wrong")
		}
		if a.Equal(b) != maps.Equal(ma, mb) {
			t.Fatalf("equal is wrong")
		}
		card := drawCard(t, rule)
		if union.Contains(card) != all[rule.Format(card)] {
			t.Fatalf("contains is wrong for %#v", card)
		}
		// Results are in normal form: built from their own cards they are the same.
		for _, s := range []iccid.Set{union, a.Minus(b), a.Intersect(b)} {
			if s.Empty() {
				continue
			}
			if again := must[iccid.Set](t)(iccid.NewSet(rule, s.Segments()...)); !again.Equal(s) || again.Len() != s.Len() {
				t.Fatalf("%s is not in normal form", s.Canonical())
			}
		}
	})
}

func TestLast6AgainstTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := drawRule(t)
		set, cards := drawSet(t, rule)
		ends := func(end string) bool {
			for c := range cards {
				if iccid.Last6(c) == end || rule == iccid.Luhn && iccid.Last6(c[:19]) == end {
					return true
				}
			}
			return false
		}
		for c := range cards {
			if !set.HasLast6(c) || !set.HasLast6(c[14:]) && len(c) == 20 {
				t.Fatalf("%s is not found", c)
			}
		}
		near := rule.Format(drawCard(t, rule))
		digits := []byte(iccid.Last6(near))
		digits[rapid.IntRange(0, 5).Draw(t, "place")] = rapid.SampledFrom([]byte("0123456789ABCDEF")).Draw(t, "digit")
		if end := string(digits); set.HasLast6(end) != ends(end) {
			t.Fatalf("HasLast6(%s) = %v in %s", end, !ends(end), set.Canonical())
		}
	})
}

func TestHasLast6OfManyCards(t *testing.T) {
	box := must[iccid.Segment](t)(iccid.Luhn.Range("8986061701000000000", "8986061701009999999"))
	set := must[iccid.Set](t)(iccid.NewSet(iccid.Luhn, box))
	for typed, want := range map[string]bool{
		"000000": true, "99 99 99": true, "12345": false, "1234567": true, "12345A": false, "A23456": false, "": false, "一二三四五六": false,
	} {
		if got := set.HasLast6(typed); got != want {
			t.Errorf("HasLast6(%q) = %v", typed, got)
		}
	}
}

func TestSetErrors(t *testing.T) {
	const card = "898604B7192270274511"
	serial := must[iccid.Set](t)(iccid.SetOf(iccid.Serial, card))
	luhn := must[iccid.Set](t)(iccid.SetOf(iccid.Luhn, "89860617010001351357"))
	code := func(_ iccid.Set, err error) string { return codeOf(err) }
	for _, c := range []struct{ name, got, want string }{
		{"no segment", code(iccid.NewSet(iccid.Serial)), iccid.CodeEmpty},
		{"no card", code(iccid.SetOf(iccid.Serial)), iccid.CodeEmpty},
		{"no rule", code(iccid.NewSet("")), iccid.CodeRuleUnknown},
		{"a card twice in two spellings", code(iccid.SetOf(iccid.Luhn, "8986061701000135135", "89860617010001351357")), iccid.CodeDuplicate},
		{"a bad card", code(iccid.SetOf(iccid.Serial, card, "8986")), iccid.CodeFormat},
		{"union of two rules", code(serial.Union(luhn)), iccid.CodeRuleMismatch},
		{"union with itself", code(serial.Union(serial)), iccid.CodeDuplicate},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestEmptyAndForeignSets(t *testing.T) {
	serial := must[iccid.Set](t)(iccid.SetOf(iccid.Serial, "89882390001334701795"))
	luhn := must[iccid.Set](t)(iccid.SetOf(iccid.Luhn, "89882390001334701795"))
	var none iccid.Set
	if !none.Empty() || none.Count() != 0 || none.Canonical() != "" || none.HasLast6("701795") {
		t.Error("the zero set is not empty")
	}
	if u := must[iccid.Set](t)(none.Union(serial)); !u.Equal(serial) {
		t.Error("nothing and a set is not the set")
	}
	if u := must[iccid.Set](t)(serial.Union(none)); !u.Equal(serial) {
		t.Error("a set and nothing is not the set")
	}
	if !none.Equal(serial.Minus(serial)) || !serial.Covers(none) || none.Covers(serial) {
		t.Error("empty sets differ")
	}
	if serial.Equal(luhn) || serial.Covers(luhn) || !serial.Intersect(luhn).Empty() || !serial.Minus(luhn).Equal(serial) {
		t.Error("sets under two rules share a card")
	}
}

func TestSegmentsAreACopy(t *testing.T) {
	set := must[iccid.Set](t)(iccid.SetOf(iccid.Serial, "898604B7192270274511"))
	before := set.Canonical()
	set.Segments()[0].Hi += 100
	if set.Canonical() != before {
		t.Error("a caller changed a set")
	}
}

func TestMaxSegments(t *testing.T) {
	var b iccid.Builder
	b.Rule = iccid.Serial
	for i := range uint32(iccid.MaxSegments) {
		b.Add(iccid.Card{Head: "898604B719227", Width: 7, Tail: 2 * i})
	}
	set := must[iccid.Set](t)(b.Set())
	if b.Runs() != iccid.MaxSegments || set.Len() != iccid.MaxSegments {
		t.Fatalf("%d runs, %d segments", b.Runs(), set.Len())
	}
	if back := must[iccid.Set](t)(iccid.ParseCanonical(iccid.Serial, set.Canonical())); !back.Equal(set) {
		t.Error("the largest set doesn't read back")
	}
	extra := must[iccid.Set](t)(iccid.SetOf(iccid.Serial, "898604B7192279999999"))
	if _, err := set.Union(extra); codeOf(err) != iccid.CodeTooManySegments {
		t.Errorf("union: %v", err)
	}
	b.Add(iccid.Card{Head: "898604B719227", Width: 7, Tail: 9_999_999})
	if _, err := b.Set(); codeOf(err) != iccid.CodeTooManySegments {
		t.Errorf("one more: %v", err)
	}
	// The gaps filled, they are one run again: what counts is what remains.
	for i := range uint32(iccid.MaxSegments) {
		b.Add(iccid.Card{Head: "898604B719227", Width: 7, Tail: 2*i + 1})
	}
	if set := must[iccid.Set](t)(b.Set()); set.Len() != 2 || set.Count() != 2*iccid.MaxSegments+1 {
		t.Errorf("%v", set)
	}
}

func TestBuilderKeepsRunsShort(t *testing.T) {
	b := iccid.Builder{Rule: iccid.Luhn}
	for i := range uint32(1000) {
		b.Add(iccid.Card{Head: "898606170100", Width: 7, Tail: 135_135 + i})
	}
	if b.Runs() != 1 {
		t.Errorf("%d runs for a thousand consecutive cards", b.Runs())
	}
	if set := must[iccid.Set](t)(b.Set()); set.Count() != 1000 {
		t.Errorf("%v", set)
	}
	b.Add(iccid.Card{Head: "898606170100", Width: 7, Tail: 135_135})
	if _, err := b.Set(); codeOf(err) != iccid.CodeDuplicate {
		t.Errorf("a card twice: %v", err)
	}
}
