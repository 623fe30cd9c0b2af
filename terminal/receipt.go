package terminal

import "cardflow/iccid"

// Receipt holds the goods that came in against what is offered.
type Receipt struct {
	expected iccid.Set
	pile     pile     // of expected cards, each once
	surplus  []string // printed ICCIDs of cards that are not expected, each once
	strange  map[iccid.Card]bool
	twice    []string
	turns    []turn
}

// turn is one scan: how much of each kind it added.
type turn struct{ steps, surplus, twice int }

// NewReceipt expects a set of cards.
func NewReceipt(expected iccid.Set) *Receipt {
	return &Receipt{expected: expected, pile: pile{rule: expected.Rule}, strange: map[iccid.Card]bool{}}
}

// maxNamed is how many cards of a box are named one by one; a box of strangers counts, but isn't spelt out.
const maxNamed = 1000

// Card takes one card in. Errors: those of [iccid.Rule.Parse]. A card that isn't expected, or was there before, is noted and no
// error.
func (r *Receipt) Card(code string) (Finding, error) { return r.Box(code, code) }

// Finding is what a scan turned out to be.
type Finding struct {
	New     uint64 // expected and there for the first time
	Surplus uint64
	Twice   uint64
}

// Box takes in all cards from the first label to the last. Errors: as Card, those of [iccid.Rule.Range], BOX_TOO_STRANGE if more
// than a thousand cards of it aren't expected or were there before.
func (r *Receipt) Box(first, last string) (Finding, error) {
	seg, err := r.expected.Rule.Range(first, last)
	if err != nil {
		return Finding{}, err
	}
	all, err := iccid.NewSet(r.expected.Rule, seg)
	if err != nil {
		return Finding{}, err
	}
	right, wrong := all.Intersect(r.expected), all.Minus(r.expected)
	var before iccid.Set
	if _, some := r.pile.holds(seg); some {
		seen, err := r.pile.set()
		if err != nil {
			return Finding{}, err
		}
		before = right.Intersect(seen)
		right = right.Minus(before)
	}
	if wrong.Count()+before.Count() > maxNamed {
		return Finding{}, Refusal("BOX_TOO_STRANGE").With("count", wrong.Count()+before.Count())
	}
	found := Finding{New: right.Count(), Twice: before.Count()}
	var t turn
	for _, s := range right.Segments() {
		r.pile.add(s)
		t.steps++
	}
	each(before, func(c iccid.Card) {
		r.twice = append(r.twice, r.expected.Rule.Format(c))
		t.twice++
	})
	each(wrong, func(c iccid.Card) {
		if r.strange[c] {
			found.Twice++
			r.twice = append(r.twice, r.expected.Rule.Format(c))
			t.twice++
			return
		}
		r.strange[c] = true
		found.Surplus++
		r.surplus = append(r.surplus, r.expected.Rule.Format(c))
		t.surplus++
	})
	r.turns = append(r.turns, t)
	return found, nil
}

// each visits the cards of a set that is small.
func each(set iccid.Set, do func(iccid.Card)) {
	for _, s := range set.Segments() {
		for c := s.First(); c.Tail <= s.Hi; c.Tail++ {
			do(c)
		}
	}
}

// Undo forgets the last scan; false if there was none.
func (r *Receipt) Undo() bool {
	n := len(r.turns)
	if n == 0 {
		return false
	}
	t := r.turns[n-1]
	r.turns = r.turns[:n-1]
	for range t.steps {
		r.pile.undo()
	}
	for _, printed := range r.surplus[len(r.surplus)-t.surplus:] {
		if c, err := r.expected.Rule.Parse(printed); err == nil {
			delete(r.strange, c)
		}
	}
	r.surplus, r.twice = r.surplus[:len(r.surplus)-t.surplus], r.twice[:len(r.twice)-t.twice]
	return true
}

// Count is how many of the expected cards are there.
func (r *Receipt) Count() uint64 { return r.pile.count }

// Missing are the expected cards that are not there.
func (r *Receipt) Missing() (iccid.Set, error) {
	if r.pile.count == 0 {
		return r.expected, nil
	}
	seen, err := r.pile.set()
	return r.expected.Minus(seen), err
}

// Surplus are cards that nobody has offered, as printed.
func (r *Receipt) Surplus() []string { return r.surplus }

// Twice are cards that were scanned more than once, as printed.
func (r *Receipt) Twice() []string { return r.twice }

// Right tells whether the goods are exactly what is offered. A card that was scanned twice is there all the same.
func (r *Receipt) Right() bool {
	return r.pile.count == r.expected.Count() && len(r.surplus) == 0
}
