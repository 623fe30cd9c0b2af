package cardfile

import (
	"math"
	"sort"

	"cardflow/iccid"
)

// seen remembers the cards of a file, each with the line where it stood first, as runs: cards that follow one another,
// on lines a constant step apart. A file in order (or in reverse, or several ranges interleaved) takes one run per
// range, or one per 65,535 cards of it. A card that belongs to no run takes one of its own, 20 bytes: a million cards
// in random order take about 30 MB.
//
// The runs lie sorted in blocks of at most blockRuns, so that an insertion moves one block and not everything.
type seen struct{ blocks [][]run }

const blockRuns = 256

// run is n cards, from (head, tail) to (head, tail+n-1); the i-th of them stands on line + i*step.
type run struct {
	headHigh, headLow uint32 // not one uint64: its alignment would cost 4 bytes a run
	tail              uint32
	line              uint32
	n                 uint16
	step              int16
}

// place is where a card stands in the order: a head and a number in it.
type place struct {
	head uint64
	tail uint32
}

func (r *run) head() uint64 { return uint64(r.headHigh)<<32 | uint64(r.headLow) }

func (r *run) after(p place) bool {
	return r.head() > p.head || r.head() == p.head && r.tail > p.tail
}

// placeOf packs a card without loss. An ICCID is 19 or 20 hex digits (without Luhn's check digit); its last seven go to
// the tail, the 12 or 13 before them and what else tells cards apart to the head. A card whose counting tail is shorter
// (there is a letter in the last seven) has the digits between in the tail's upper bits, where counting never gets.
func placeOf(rule iccid.Rule, c iccid.Card) place {
	const tailDigits = 7
	length := len(c.Head) + int(c.Width)
	cut := min(len(c.Head), max(0, length-tailDigits))
	var p place
	for i := range cut {
		p.head = p.head<<4 | nibble(c.Head[i])
	}
	var between uint64
	for i := cut; i < len(c.Head); i++ {
		between = between<<4 | nibble(c.Head[i])
	}
	p.head = p.head<<5 | uint64(length&1)<<4 | uint64(c.Width&7)<<1
	if rule == iccid.Luhn {
		p.head |= 1
	}
	p.tail = uint32(between<<(4*c.Width)) + c.Tail
	return p
}

func nibble(c byte) uint64 {
	if c <= '9' {
		return uint64(c - '0')
	}
	return uint64(c-'A') + 10
}

// add remembers a card, or answers the line on which it was before.
func (s *seen) add(p place, line int) (first int, again bool) {
	// The last block that begins at or before p, and in it the last run that does.
	b := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i][0].after(p) }) - 1
	i := -1
	if b >= 0 {
		block := s.blocks[b]
		i = sort.Search(len(block), func(i int) bool { return block[i].after(p) }) - 1
		before := &block[i]
		if before.head() == p.head {
			switch at := p.tail - before.tail; {
			case at < uint32(before.n):
				return int(before.line) + int(at)*int(before.step), true
			case at == uint32(before.n) && before.extend(line):
				return 0, false
			}
		}
	}
	if next := s.at(b, i+1); next != nil && next.head() == p.head && next.tail == p.tail+1 && next.precede(line) {
		return 0, false
	}
	s.insert(max(b, 0), i+1, run{headHigh: uint32(p.head >> 32), headLow: uint32(p.head), tail: p.tail, line: uint32(line), n: 1})
	return 0, false
}

// at answers run i of block b, where i may be one past its end.
func (s *seen) at(b, i int) *run {
	if b < 0 || i == len(s.blocks[b]) {
		b, i = b+1, 0
	}
	if b == len(s.blocks) {
		return nil
	}
	return &s.blocks[b][i]
}

// extend takes the card after the last, if the line fits.
func (r *run) extend(line int) bool {
	step := line - int(r.line) - int(r.step)*(int(r.n)-1)
	if r.n == math.MaxUint16 || !r.fits(step) {
		return false
	}
	r.step = int16(step)
	r.n++
	return true
}

// precede takes the card before the first, if the line fits.
func (r *run) precede(line int) bool {
	step := int(r.line) - line
	if r.n == math.MaxUint16 || !r.fits(step) {
		return false
	}
	r.step = int16(step)
	r.tail--
	r.line = uint32(line)
	r.n++
	return true
}

func (r *run) fits(step int) bool {
	return step == int(r.step) || r.n == 1 && step >= math.MinInt16 && step <= math.MaxInt16
}

func (s *seen) insert(b, i int, r run) {
	if len(s.blocks) == 0 {
		s.blocks = append(s.blocks, append(make([]run, 0, blockRuns), r))
		return
	}
	block := s.blocks[b]
	if len(block) == blockRuns {
		// Cards in order always land at the end: leave the full block full, or all blocks would stay half empty.
		keep := blockRuns / 2
		if i == blockRuns {
			keep = blockRuns
		}
		right := append(make([]run, 0, blockRuns), block[keep:]...)
		s.blocks[b] = block[:keep]
		s.blocks = append(s.blocks, nil)
		copy(s.blocks[b+2:], s.blocks[b+1:])
		if i > keep || keep == blockRuns {
			b, i = b+1, i-keep
			s.blocks[b] = insertRun(right, i, r)
			return
		}
		s.blocks[b+1] = right
		block = s.blocks[b]
	}
	s.blocks[b] = insertRun(block, i, r)
}

func insertRun(block []run, i int, r run) []run {
	block = append(block, run{})
	copy(block[i+1:], block[i:])
	block[i] = r
	return block
}
