package transfer

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardflow/iccid"
	"cardflow/model"
)

// TestRuns: cards in any order become the same sets.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.Uint32Range(0, 60), 1, 40, rapid.ID).Draw(t, "numbers")
		heads := rapid.SliceOfN(rapid.SampledFrom([]string{"898604B719220", "898602A719220"}), len(numbers), len(numbers)).Draw(t, "heads")
		rules := rapid.SliceOfN(rapid.SampledFrom([]iccid.Rule{iccid.Serial, iccid.Serial, iccid.Luhn}), len(numbers), len(numbers)).Draw(t, "rules")
		got, want := map[iccid.Rule]iccid.Set{}, map[iccid.Rule]*iccid.Builder{}
		cards := runs{}
		for i, n := range numbers {
			c := iccid.Card{Head: heads[i], Width: 7, Tail: n}
			if rules[i] == iccid.Luhn {
				c.Head = "898606190001"
			}
			cards.add(rules[i], c)
			if want[rules[i]] == nil {
				want[rules[i]] = &iccid.Builder{Rule: rules[i]}
			}
			want[rules[i]].Add(c)
		}
		if err := cards.sets(func(s iccid.Set) error {
			if _, twice := got[s.Rule]; twice {
				t.Errorf("two sets of so few cards")
			}
			got[s.Rule] = s
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for rule, b := range want {
			set, err := b.Set()
			if err != nil {
				t.Fatal(err)
			}
			if !got[rule].Equal(set) {
				t.Errorf("%v, want %v", got[rule], set)
			}
		}
	})
}

// TestPlan: what a large, scattered import will issue is cut into steps of bounded size, sealed, and read back whole.
func TestPlan(t *testing.T) {
	vault, err := NewVault(make([]byte, 32), zeroes{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &importing{held[model.Import]{Service: New(Config{Vault: vault, Imports: ImportConfig{Dir: dir}}), row: model.Import{ID: "i"}}}
	const n = 52_000
	cards := runs{}
	for i := range uint32(n) {
		cards.add(iccid.Serial, iccid.Card{Head: "898604B719220", Width: 7, Tail: 2 * i})
	}
	cards.add(iccid.Luhn, iccid.Card{Head: "898606190001", Width: 7, Tail: 1})
	if err := w.planIssue(cards); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(w.issueFile("i"))
	if err != nil || bytes.Contains(raw, []byte("898604B")) {
		t.Errorf("the plan is not sealed: %v", err)
	}
	var sizes []string
	total := 0
	read := func() error {
		return w.steps(func(k int, step issueStep) error {
			size := fmt.Sprint(k)
			for _, p := range step {
				set, err := iccid.ParseCanonical(p.Rule, p.Cards)
				if err != nil {
					return err
				}
				size += fmt.Sprintf(" %d", set.Len())
				total += int(set.Count())
			}
			sizes = append(sizes, size)
			return nil
		})
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"0 1 10000 10000 10000 10000", "1 10000 2000"}; !slices.Equal(sizes, want) || total != n+1 {
		t.Errorf("%d cards in steps %q, want %q", total, sizes, want)
	}
	if err := os.WriteFile(w.issueFile("i"), []byte(strings.Replace(string(raw), "\n", "\n\"AAAA\"\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if read() == nil {
		t.Error("a plan that somebody changed is believed")
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestCutCards: every card is in one chunk, all chunks but the last are full, and the cut is always the same.
func TestCutCards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var segs []iccid.Segment
		at := uint32(0)
		for range rapid.IntRange(1, 6).Draw(t, "segments") {
			at += 1 + rapid.Uint32Range(1, 5).Draw(t, "hole")
			hi := at + rapid.Uint32Range(0, 30).Draw(t, "length")
			segs = append(segs, iccid.Segment{Head: "898604B719220", Width: 7, Lo: at, Hi: hi})
			at = hi
		}
		set, err := iccid.NewSet(iccid.Serial, segs...)
		if err != nil {
			t.Fatal(err)
		}
		most := rapid.Uint64Range(1, 20).Draw(t, "most")
		chunks, err := cutCards(set, most)
		if err != nil {
			t.Fatal(err)
		}
		if err := iccid.Partition([]iccid.Set{set}, chunks); err != nil {
			t.Error(err)
		}
		for i, c := range chunks {
			if c.Count() != most && i < len(chunks)-1 || c.Count() > most {
				t.Errorf("chunk %d of %d has %d cards, not %d", i, len(chunks), c.Count(), most)
			}
		}
	})
}
