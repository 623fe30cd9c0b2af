package iccid

import (
	"fmt"
	"log/slog"
	"slices"
)

// MaxSegments bounds a set that comes from outside, and so what one lot can cost
// everybody who checks it: about 410 KB of canonical form.
const MaxSegments = 10_000

// Set is a set of cards under one numbering rule, held as disjoint segments none of
// which continues another, so that equal sets are equal in memory. Sets don't
// change; copies may share memory. The zero Set is empty.
type Set struct {
	Rule Rule
	segs []Segment // by compareTrack; disjoint; merged; each passed Rule.check
}

// NewSet joins segments, in any order, however split.
//
// Errors: ICCID_EMPTY, ICCID_DUPLICATE if two share a card, ICCID_TOO_MANY_SEGMENTS
// if more than MaxSegments remain when neighbours are joined, ICCID_RULE_UNKNOWN;
// ICCID_FORMAT or ICCID_RANGE_REVERSED for a segment that is none.
func NewSet(rule Rule, segs ...Segment) (Set, error) {
	if !rule.known() {
		return Set{}, rule.unknown()
	}
	for _, s := range segs {
		if err := rule.check(s); err != nil {
			return Set{}, err
		}
	}
	if len(segs) == 0 {
		return Set{}, emptyError()
	}
	joined, err := join(rule, slices.Clone(segs))
	if err != nil {
		return Set{}, err
	}
	return bounded(Set{rule, joined})
}

// SetOf is NewSet of single cards in any spelling. Errors: also those of [Rule.Parse].
func SetOf(rule Rule, cards ...string) (Set, error) {
	b := Builder{Rule: rule}
	for _, s := range cards {
		c, err := rule.Parse(s)
		if err != nil {
			return Set{}, err
		}
		b.Add(c)
	}
	return b.Set()
}

// Builder collects cards one by one, as from a file. Cards that arrive in order
// take the memory of their segments.
type Builder struct {
	Rule Rule
	segs []Segment
}

// Add takes one card. Whether it is valid and new is told by Set.
func (b *Builder) Add(c Card) {
	if n := len(b.segs); n > 0 {
		last := &b.segs[n-1]
		if last.Head == c.Head && last.Width == c.Width && last.Hi < c.Tail && c.Tail-last.Hi == 1 {
			last.Hi = c.Tail
			return
		}
	}
	b.segs = append(b.segs, Segment{Head: c.Head, Width: c.Width, Lo: c.Tail, Hi: c.Tail})
}

// Runs is the number of runs so far: an upper bound of the segments of the set, by
// which a caller can close one set and begin the next.
func (b *Builder) Runs() int { return len(b.segs) }

// Set returns the cards added so far. Errors: those of [NewSet].
func (b *Builder) Set() (Set, error) { return NewSet(b.Rule, b.segs...) }

// join sorts segs in place and merges neighbours. Errors: ICCID_DUPLICATE.
func join(rule Rule, segs []Segment) ([]Segment, error) {
	slices.SortFunc(segs, compareTrack)
	out := segs[:0]
	for _, s := range segs {
		if n := len(out); n > 0 && out[n-1].onTrack(s) {
			last := &out[n-1]
			if s.Lo <= last.Hi {
				return nil, newError(CodeDuplicate, "同一张卡出现了两次，请删去重复的号码或重叠的号段", rule.Format(s.First()))
			}
			if s.Lo == last.Hi+1 {
				last.Hi = s.Hi
				continue
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func bounded(s Set) (Set, error) {
	if len(s.segs) > MaxSegments {
		return Set{}, tooManyError()
	}
	return s, nil
}

func emptyError() *Error {
	return newError(CodeEmpty, "没有任何卡，请至少填写一个 ICCID 或号段", "")
}

func tooManyError() *Error {
	return newError(CodeTooManySegments, "不连续的号段太多（最多 10000 段），请分成几批处理", "")
}

// Segments returns the segments in canonical order: by the printed ICCID of their
// first card.
func (s Set) Segments() []Segment {
	segs := slices.Clone(s.segs)
	slices.SortFunc(segs, comparePrinted)
	return segs
}

// Empty reports whether there are no cards.
func (s Set) Empty() bool { return len(s.segs) == 0 }

// Len is the number of segments.
func (s Set) Len() int { return len(s.segs) }

// Count is the number of cards.
func (s Set) Count() uint64 {
	n := uint64(0)
	for _, seg := range s.segs {
		n += seg.Count()
	}
	return n
}

// Contains reports whether the card, read under the same rule, is in the set.
func (s Set) Contains(c Card) bool {
	at := Segment{Head: c.Head, Width: c.Width, Lo: c.Tail}
	i, found := slices.BinarySearchFunc(s.segs, at, compareTrack)
	return found || i > 0 && s.segs[i-1].onTrack(at) && c.Tail <= s.segs[i-1].Hi
}

// Equal reports whether both hold the same cards under the same rule. Empty sets are
// equal.
func (s Set) Equal(t Set) bool {
	return slices.Equal(s.segs, t.segs) && (s.Rule == t.Rule || s.Empty())
}

// Union returns the cards of both, which must have none in common. An empty set
// fits any rule. Errors: RULE_MISMATCH, ICCID_DUPLICATE, ICCID_TOO_MANY_SEGMENTS.
func (s Set) Union(t Set) (Set, error) {
	switch {
	case t.Empty():
		return s, nil
	case s.Empty():
		return t, nil
	case s.Rule != t.Rule:
		return Set{}, ruleMismatchError()
	}
	joined, err := join(s.Rule, slices.Concat(s.segs, t.segs))
	if err != nil {
		return Set{}, err
	}
	return bounded(Set{s.Rule, joined})
}

// Minus returns the cards of s that are not in t. Sets under different rules have no
// card in common. The result can have more than MaxSegments segments (see Len); such
// a set can be computed with, but not read back by ParseCanonical.
func (s Set) Minus(t Set) Set {
	if s.Rule != t.Rule {
		return s
	}
	out, j := Set{Rule: s.Rule}, 0
	for _, a := range s.segs {
		for j < len(t.segs) && before(t.segs[j], a) {
			j++
		}
		// t.segs[j] may reach into the next segment of s too: j stays.
		for k := j; k < len(t.segs) && t.segs[k].onTrack(a) && t.segs[k].Lo <= a.Hi; k++ {
			if hole := t.segs[k]; hole.Lo > a.Lo {
				out.segs = append(out.segs, Segment{a.Head, a.Width, a.Lo, hole.Lo - 1})
			}
			a.Lo = t.segs[k].Hi + 1
		}
		if a.Lo <= a.Hi {
			out.segs = append(out.segs, a)
		}
	}
	return out
}

// Intersect returns the cards that are in both; none if the rules differ. Like that
// of Minus, the result can have more than MaxSegments segments.
func (s Set) Intersect(t Set) Set {
	out := Set{Rule: s.Rule}
	if s.Rule != t.Rule {
		return out
	}
	for i, j := 0, 0; i < len(s.segs) && j < len(t.segs); {
		a, b := s.segs[i], t.segs[j]
		switch {
		case before(a, b):
			i++
		case before(b, a):
			j++
		default:
			out.segs = append(out.segs, Segment{a.Head, a.Width, max(a.Lo, b.Lo), min(a.Hi, b.Hi)})
			if a.Hi < b.Hi {
				i++
			} else {
				j++
			}
		}
	}
	return out
}

// Covers reports whether every card of t is in s.
func (s Set) Covers(t Set) bool { return t.Minus(s).Empty() }

// before reports whether all of a comes before all of b in track order.
func before(a, b Segment) bool {
	if a.onTrack(b) {
		return a.Hi < b.Lo
	}
	return compareTrack(a, b) < 0
}

// HasLast6 reports whether the printed ICCID of some card in the set ends in these
// six characters: how a person proves that he holds a card of a lot. Under Luhn a
// number printed without its check digit counts too. The work per segment is
// bounded, however many cards it has.
func (s Set) HasLast6(typed string) bool {
	want := Last6(typed)
	if want == "" {
		return false
	}
	for _, seg := range s.segs {
		if seg.hasEnd(want, func(Card) bool { return true }) {
			return true
		}
		// The last character is the check digit, the five before it end the body:
		// at most a hundred tails of seven digits end in them.
		if s.Rule == Luhn && seg.hasEnd(want[:5], func(c Card) bool { return Luhn.Format(c)[fullLen-1] == want[5] }) {
			return true
		}
	}
	return false
}

// hasEnd reports whether ok holds for some card of the segment whose body ends in
// end, which is at most tailDigits long.
func (s Segment) hasEnd(end string, ok func(Card) bool) bool {
	digits := min(len(end), int(s.Width)) // the rest of end stands in the head
	inHead, inTail := end[:len(end)-digits], end[len(end)-digits:]
	if s.Head[len(s.Head)-len(inHead):] != inHead || !isDigits(inTail) {
		return false
	}
	step, tail := pow10[digits], split(inTail).Tail
	if s.Lo > tail {
		tail += (s.Lo - tail + step - 1) / step * step
	}
	for ; tail <= s.Hi; tail += step {
		if ok(Card{s.Head, s.Width, tail}) {
			return true
		}
	}
	return false
}

// String tells the size and hides the numbers: it may end up in a log.
func (s Set) String() string {
	return fmt.Sprintf("[%s set of %d cards in %d segments]", s.Rule, s.Count(), s.Len())
}

// LogValue hides the numbers from structured logs.
func (s Set) LogValue() slog.Value { return slog.StringValue(s.String()) }
