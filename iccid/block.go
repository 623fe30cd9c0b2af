package iccid

import (
	"log/slog"
	"strconv"
)

// Block is an aligned decimal block: all cards of Head whose tail, written in Width
// digits, begins with Digits. One card when Digits has Width digits, ten (…0 to …9)
// with one less, and so on up to the whole tail with none.
//
// Blocks make "was any of these cards seen before?" a matter of a few exact keys:
// two blocks share a card only if they are equal or one is an ancestor of the other.
type Block struct {
	Head   string
	Width  uint8
	Digits string
}

// Blocks cuts the segment into the fewest blocks, in order of their numbers: at most
// 9 for each digit's place on either side, a handful for usual ranges. A segment
// that is none (see [NewSet]) has no blocks.
func (s Segment) Blocks() []Block {
	if s.Width > tailDigits || s.Hi >= pow10[s.Width] {
		return nil // never loop over a tail that can't be printed
	}
	var blocks []Block
	for lo := s.Lo; lo <= s.Hi; {
		zeros := 0 // of the block's free digits
		for zeros < int(s.Width) && lo%pow10[zeros+1] == 0 && s.Hi-lo >= pow10[zeros+1]-1 {
			zeros++
		}
		tail := appendPadded(nil, lo, int(s.Width))
		blocks = append(blocks, Block{s.Head, s.Width, string(tail[:int(s.Width)-zeros])})
		lo += pow10[zeros]
	}
	return blocks
}

// Blocks returns the blocks of all segments, in canonical order.
func (s Set) Blocks() []Block {
	var blocks []Block
	for _, seg := range s.Segments() {
		blocks = append(blocks, seg.Blocks()...)
	}
	return blocks
}

// Ancestors returns the larger blocks that hold this one, smallest first: at most
// seven.
func (b Block) Ancestors() []Block {
	ancestors := make([]Block, 0, len(b.Digits))
	for n := len(b.Digits) - 1; n >= 0; n-- {
		ancestors = append(ancestors, Block{b.Head, b.Width, b.Digits[:n]})
	}
	return ancestors
}

// Segment returns the cards of a block that Blocks or Ancestors made.
func (b Block) Segment() Segment {
	size := pow10[int(b.Width)-len(b.Digits)]
	lo := split(b.Digits).Tail * size
	return Segment{b.Head, b.Width, lo, lo + size - 1}
}

// Key names the block under a rule, unambiguously: no part can hold the separator.
// It spells out ICCIDs, so it is for a keyed hash and never stored as it is.
func (b Block) Key(rule Rule) string {
	return "cardflow/block/1/" + string(rule) + "/" + b.Head + "/" + strconv.Itoa(int(b.Width)) + "/" + b.Digits
}

// String hides the block's numbers: it may end up in a log.
func (b Block) String() string { return "[block]" }

// LogValue hides the block's numbers from structured logs.
func (b Block) LogValue() slog.Value { return slog.StringValue(b.String()) }
