package terminal

import "cardflow/iccid"

// pile is what has been scanned, in the order of the scans: single cards by the ten thousand, and boxes.
type pile struct {
	rule    iccid.Rule
	singles map[iccid.Card]bool
	boxes   []iccid.Segment
	steps   []iccid.Segment
	count   uint64
}

// holds tells a card of a segment that is in the pile already.
func (p *pile) holds(s iccid.Segment) (iccid.Card, bool) {
	for _, b := range p.boxes {
		if b.Head == s.Head && b.Width == s.Width && b.Lo <= s.Hi && s.Lo <= b.Hi {
			at := s.First()
			at.Tail = max(b.Lo, s.Lo)
			return at, true
		}
	}
	if s.Count() == 1 {
		return s.First(), p.singles[s.First()]
	}
	if s.Count() > uint64(len(p.singles)) {
		for c := range p.singles {
			if c.Head == s.Head && c.Width == s.Width && s.Lo <= c.Tail && c.Tail <= s.Hi {
				return c, true
			}
		}
		return iccid.Card{}, false
	}
	for at := s.First(); at.Tail <= s.Hi; at.Tail++ {
		if p.singles[at] {
			return at, true
		}
	}
	return iccid.Card{}, false
}

// add puts a segment on the pile of which it holds no card yet.
func (p *pile) add(s iccid.Segment) {
	if s.Count() == 1 {
		if p.singles == nil {
			p.singles = map[iccid.Card]bool{}
		}
		p.singles[s.First()] = true
	} else {
		p.boxes = append(p.boxes, s)
	}
	p.steps, p.count = append(p.steps, s), p.count+s.Count()
}

// undo takes the last segment off again.
func (p *pile) undo() (iccid.Segment, bool) {
	n := len(p.steps)
	if n == 0 {
		return iccid.Segment{}, false
	}
	s := p.steps[n-1]
	if p.steps, p.count = p.steps[:n-1], p.count-s.Count(); s.Count() == 1 {
		delete(p.singles, s.First())
	} else {
		p.boxes = p.boxes[:len(p.boxes)-1]
	}
	return s, true
}

// set is the whole pile. Errors: those of [iccid.NewSet].
func (p *pile) set() (iccid.Set, error) { return iccid.NewSet(p.rule, p.steps...) }
