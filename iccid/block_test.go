package iccid_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cardflow/iccid"
	"pgregory.net/rapid"
)

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		name   string
		width  uint8
		lo, hi uint32
		want   string
	}{
		{"one card", 7, 274511, 274511, "0274511"},
		{"ten cards, aligned", 7, 10, 19, "000001"},
		{"ten cards, not aligned", 7, 15, 24, "0000015 0000016 0000017 0000018 0000019 0000020 0000021 0000022 0000023 0000024"},
		{"a hundred and one", 7, 100, 200, "00001 0000200"},
		{"a million", 7, 0, 999_999, "0"},
		{"a whole tail", 7, 0, 9_999_999, ""},
		{"up to the end", 7, 9_999_998, 9_999_999, "9999998 9999999"},
		{"short tail", 2, 5, 99, "05 06 07 08 09 1 2 3 4 5 6 7 8 9"},
		{"no tail", 0, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			seg := iccid.Segment{Head: "898604B719227", Width: c.width, Lo: c.lo, Hi: c.hi}
			var got []string
			for _, b := range seg.Blocks() {
				got = append(got, b.Digits)
			}
			if len(got) == 0 || strings.Join(got, " ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNoBlocksOfNoSegment(t *testing.T) {
	for _, s := range []iccid.Segment{
		{Width: 7, Lo: 2, Hi: 1}, {Width: 7, Lo: 0, Hi: 4294967295}, {Width: 200, Hi: 9}, {Width: 0, Hi: 1},
	} {
		if b := s.Blocks(); len(b) != 0 {
			t.Errorf("%#v has %d blocks", s, len(b))
		}
	}
}

func TestAncestors(t *testing.T) {
	b := iccid.Block{Head: "898604B719227", Width: 7, Digits: "027"}
	want := []iccid.Block{{b.Head, 7, "02"}, {b.Head, 7, "0"}, {b.Head, 7, ""}}
	if got := b.Ancestors(); !slices.Equal(got, want) {
		t.Errorf("got %#v", got)
	}
	if got := want[2].Ancestors(); len(got) != 0 {
		t.Errorf("the whole tail has ancestors: %#v", got)
	}
}

func TestKeysAreUnambiguous(t *testing.T) {
	seen := map[string]string{}
	for _, rule := range []iccid.Rule{iccid.Serial, iccid.Luhn} {
		for _, b := range []iccid.Block{
			{"898604B71922", 7, ""}, {"898604B71922", 7, "7"}, {"898604B719227", 7, ""}, {"898604B719227", 6, ""},
			{"898604B71922", 7, "71"}, {"898604B719227", 7, "1"}, {"898604B7192271", 7, ""},
		} {
			what := fmt.Sprintf("%s %#v", rule, b)
			if before, twice := seen[b.Key(rule)]; twice {
				t.Errorf("%s and %s have one key", what, before)
			}
			seen[b.Key(rule)] = what
		}
	}
	if got, want := (iccid.Block{Head: "898606170100", Width: 7, Digits: "0135"}).Key(iccid.Luhn), "cardflow/block/1/LUHN/898606170100/7/0135"; got != want {
		t.Errorf("key %s, want %s: the ledger would forget what was issued", got, want)
	}
}

// drawSegment draws bounds that like to sit next to round numbers.
func drawSegment(t *rapid.T) iccid.Segment {
	bound := rapid.Custom(func(t *rapid.T) uint32 {
		round := rapid.SampledFrom([]uint32{1, 10, 1000, 100_000, 1_000_000}).Draw(t, "round")
		n := int64(rapid.Uint32Range(0, 9_999_999).Draw(t, "n")/round*round) + int64(rapid.IntRange(-2, 2).Draw(t, "off"))
		return uint32(min(max(n, 0), 9_999_999))
	})
	lo, hi := bound.Draw(t, "lo"), bound.Draw(t, "hi")
	return iccid.Segment{Head: "898606170100", Width: 7, Lo: min(lo, hi), Hi: max(lo, hi)}
}

func TestBlocksTileTheirSegment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seg := drawSegment(t)
		blocks := seg.Blocks()
		next := uint64(seg.Lo)
		for _, b := range blocks {
			s := b.Segment()
			if uint64(s.Lo) != next || s.Head != seg.Head || s.Width != seg.Width {
				t.Fatalf("%#v begins at %d, want %d", b, s.Lo, next)
			}
			for _, c := range []iccid.Card{s.First(), s.Last()} {
				if tail := fmt.Sprintf("%07d", c.Tail); !strings.HasPrefix(tail, b.Digits) {
					t.Fatalf("card %s in block %s", tail, b.Digits)
				}
			}
			next = uint64(s.Hi) + 1
		}
		if next != uint64(seg.Hi)+1 {
			t.Fatalf("blocks end at %d, the segment at %d", next, seg.Hi)
		}
		if len(blocks) > 2*9*7 {
			t.Fatalf("%d blocks", len(blocks))
		}
		set := must[iccid.Set](t)(iccid.NewSet(iccid.Luhn, seg))
		if !slices.Equal(set.Blocks(), blocks) {
			t.Fatalf("the set of one segment has other blocks")
		}
	})
}

// Issued once, as the ledger checks it: a block, its ancestors, its descendants. It
// has to say no exactly when two segments share a card.
func TestBlocksMeetExactlyWhenCardsDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSegment(t), drawSegment(t)
		covered, hasDescendant := map[string]bool{}, map[string]bool{}
		for _, blk := range a.Blocks() {
			covered[blk.Key(iccid.Luhn)] = true
			for _, anc := range blk.Ancestors() {
				hasDescendant[anc.Key(iccid.Luhn)] = true
			}
		}
		meet := false
		for _, blk := range b.Blocks() {
			meet = meet || covered[blk.Key(iccid.Luhn)] || hasDescendant[blk.Key(iccid.Luhn)]
			for _, anc := range blk.Ancestors() {
				meet = meet || covered[anc.Key(iccid.Luhn)]
			}
		}
		if share := a.Lo <= b.Hi && b.Lo <= a.Hi; meet != share {
			t.Fatalf("%d-%d and %d-%d: blocks meet %v, cards %v", a.Lo, a.Hi, b.Lo, b.Hi, meet, share)
		}
	})
}
