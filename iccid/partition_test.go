package iccid_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"cardflow/iccid"
	"pgregory.net/rapid"
)

func TestPartition(t *testing.T) {
	set := func(rule iccid.Rule, s string) iccid.Set { return must[iccid.Set](t)(iccid.ParseCanonical(rule, s)) }
	serial := func(s string) iccid.Set { return set(iccid.Serial, s) }
	const (
		box   = "898604B7192270274500-898604B7192270274599"
		left  = "898604B7192270274500-898604B7192270274549"
		right = "898604B7192270274550-898604B7192270274599"
		short = "898604B7192270274551-898604B7192270274599"
		wide  = "898604B7192270274549-898604B7192270274599"
		other = "898604B7192270274700"
	)
	type sets = []iccid.Set
	for _, c := range []struct {
		name    string
		in, out sets
		code    string
	}{
		{"whole", sets{serial(box)}, sets{serial(box)}, ""},
		{"cut", sets{serial(box)}, sets{serial(right), serial(left)}, ""},
		{"merge", sets{serial(left), serial(right)}, sets{serial(box)}, ""},
		{"two and two", sets{serial(box), serial(other)}, sets{serial(left), serial(right + "," + other)}, ""},
		{"a card lost", sets{serial(box)}, sets{serial(left), serial(short)}, iccid.CodePartition},
		{"a card added", sets{serial(left)}, sets{serial(left), serial(other)}, iccid.CodePartition},
		{"a card exchanged", sets{serial(box)}, sets{serial(left), serial(short), serial(other)}, iccid.CodePartition},
		{"all lost", sets{serial(box)}, nil, iccid.CodePartition},
		{"a card sold twice", sets{serial(box)}, sets{serial(left), serial(wide)}, iccid.CodeDuplicate},
		{"a lot sold twice", sets{serial(box)}, sets{serial(box), serial(box)}, iccid.CodeDuplicate},
		{"an input twice", sets{serial(left), serial(left)}, sets{serial(left)}, iccid.CodeDuplicate},
		{"from nothing", nil, sets{serial(box)}, iccid.CodeEmpty},
		{"nothing at all", nil, nil, iccid.CodeEmpty},
		{"an empty output", sets{serial(box)}, sets{serial(box), {Rule: iccid.Serial}}, iccid.CodeEmpty},
		{"an empty input", sets{{}}, sets{serial(box)}, iccid.CodeEmpty},
		{"another rule", sets{set(iccid.Serial, "89882390001334701795")}, sets{set(iccid.Luhn, "89882390001334701795")}, iccid.CodeRuleMismatch},
		{"rules mixed", sets{serial(box), set(iccid.Luhn, "89882390001334701795")}, sets{serial(box)}, iccid.CodeRuleMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := iccid.Partition(c.in, c.out); codeOf(err) != c.code {
				t.Errorf("got %v, want %q", err, c.code)
			}
		})
	}
}

// deal hands every card to one of at most four sets.
func deal(t *rapid.T, rule iccid.Rule, cards []string) []iccid.Set {
	hands := map[int][]string{}
	for _, c := range cards {
		i := rapid.IntRange(0, 3).Draw(t, "hand")
		hands[i] = append(hands[i], c)
	}
	var sets []iccid.Set
	for _, i := range slices.Sorted(maps.Keys(hands)) {
		sets = append(sets, must[iccid.Set](t)(iccid.SetOf(rule, hands[i]...)))
	}
	return sets
}

func TestPartitionAgainstTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := drawRule(t)
		cards := drawCards(t, rule)
		inputs, outputs := deal(t, rule, cards), deal(t, rule, cards)
		if err := iccid.Partition(inputs, outputs); err != nil {
			t.Fatalf("the same cards dealt twice: %v", err)
		}

		one := must[iccid.Set](t)(iccid.SetOf(rule, rapid.SampledFrom(cards).Draw(t, "card")))
		if err := iccid.Partition(inputs, append(slices.Clone(outputs), one)); codeOf(err) != iccid.CodeDuplicate {
			t.Fatalf("a card in two outputs: %v", err)
		}

		var fewer []iccid.Set
		for _, s := range outputs {
			if s = s.Minus(one); !s.Empty() {
				fewer = append(fewer, s)
			}
		}
		if err := iccid.Partition(inputs, fewer); codeOf(err) != iccid.CodePartition {
			t.Fatalf("a card lost: %v", err)
		}

		stranger := rule.Format(drawCard(t, rule))
		if slices.Contains(cards, stranger) {
			return
		}
		extra := must[iccid.Set](t)(iccid.SetOf(rule, stranger))
		for _, outputs := range [][]iccid.Set{outputs, fewer} { // one more; one for another
			if err := iccid.Partition(inputs, append(slices.Clone(outputs), extra)); codeOf(err) != iccid.CodePartition {
				t.Fatalf("a card from nowhere: %v", err)
			}
		}
	})
}

// sale is a lot of n consecutive cards and what is left when its first is sold.
func sale(t interface{ Fatalf(string, ...any) }, n uint32) (lot iccid.Set, parts []iccid.Set) {
	lot = must[iccid.Set](t)(iccid.NewSet(iccid.Luhn, iccid.Segment{Head: "898606170100", Width: 7, Lo: 1, Hi: n}))
	parts = []iccid.Set{lot}
	if n > 1 {
		first := must[iccid.Set](t)(iccid.NewSet(iccid.Luhn, iccid.Segment{Head: "898606170100", Width: 7, Lo: 1, Hi: 1}))
		parts = []iccid.Set{first, lot.Minus(first)}
	}
	return lot, parts
}

// What a million consecutive cards cost must not differ from what two cost. Memory
// taken is a measure that the machine's load doesn't change.
func TestCostIsThatOfSegments(t *testing.T) {
	cost := func(n uint32) float64 {
		lot, parts := sale(t, n)
		return testing.AllocsPerRun(20, func() {
			if err := iccid.Partition([]iccid.Set{lot}, parts); err != nil {
				t.Fatal(err)
			}
			iccid.LotHash(lot, [32]byte{})
			lot.HasLast6("123456")
		})
	}
	if few, many := cost(2), cost(1_000_000); many > few+2 {
		t.Errorf("%v allocations for 2 cards, %v for 1,000,000", few, many)
	}
}

func BenchmarkPartition(b *testing.B) {
	for _, n := range []uint32{1, 2, 1000, 1_000_000} {
		b.Run(fmt.Sprintf("cards=%d", n), func(b *testing.B) {
			lot, parts := sale(b, n)
			for b.Loop() {
				if err := iccid.Partition([]iccid.Set{lot}, parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLotHash(b *testing.B) {
	for _, n := range []uint32{1, 2, 1000, 1_000_000} {
		b.Run(fmt.Sprintf("cards=%d", n), func(b *testing.B) {
			lot, _ := sale(b, n)
			for b.Loop() {
				iccid.LotHash(lot, [32]byte{1})
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	plan := iccid.DefaultPlan()
	for b.Loop() {
		if _, _, err := plan.Parse("89860617010001351357"); err != nil {
			b.Fatal(err)
		}
	}
}
