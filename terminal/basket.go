package terminal

import "cardflow/iccid"

// Basket collects what goes out. Every scan is held against the known stock at once: a card that isn't there, or is scanned
// twice, is named while it is still in the hand.
type Basket struct {
	stock  []Lot
	rules  []iccid.Rule
	issuer string
	pile   pile
}

// NewBasket is an empty one over the stock.
func NewBasket(stock []Lot) *Basket {
	b := &Basket{stock: stock}
	seen := map[iccid.Rule]bool{}
	for _, l := range stock {
		if !seen[l.Cards.Rule] {
			b.rules, seen[l.Cards.Rule] = append(b.rules, l.Cards.Rule), true
		}
	}
	return b
}

// Card puts one card in. Errors: those of [iccid.Rule.Parse], NOT_IN_STOCK, SCANNED_TWICE, SEVERAL_ISSUERS.
func (b *Basket) Card(code string) error { return b.Box(code, code) }

// Box puts in all cards from the first label to the last. Errors: as Card, and those of [iccid.Rule.Range].
func (b *Basket) Box(first, last string) error {
	seg, lot, err := b.find(first, last)
	if err != nil {
		return err
	}
	rule := lot.Cards.Rule
	if b.pile.count > 0 && (lot.Issuer.ID != b.issuer || rule != b.pile.rule) {
		return Refusal("SEVERAL_ISSUERS")
	}
	if twice, ok := b.pile.holds(seg); ok {
		return Refusal("SCANNED_TWICE").With("card", rule.Format(twice))
	}
	b.issuer, b.pile.rule = lot.Issuer.ID, rule
	b.pile.add(seg)
	return nil
}

// find reads a run of cards under the rule by which the stock has them. All of them must be there.
func (b *Basket) find(first, last string) (iccid.Segment, Lot, error) {
	var absent, unread error
	for _, rule := range b.rules {
		seg, err := rule.Range(first, last)
		if err != nil {
			unread = err
			continue
		}
		lot, err := b.covering(rule, seg)
		if err == nil {
			return seg, lot, nil
		}
		absent = err
	}
	switch {
	case absent != nil:
		return iccid.Segment{}, Lot{}, absent
	case unread != nil:
		return iccid.Segment{}, Lot{}, unread
	}
	return iccid.Segment{}, Lot{}, Refusal("NOT_IN_STOCK").With("count", uint64(1)).With("card", first)
}

// covering finds the lots that hold a segment together, and answers the first.
func (b *Basket) covering(rule iccid.Rule, seg iccid.Segment) (Lot, error) {
	if seg.Count() == 1 { // ten thousand times
		for _, l := range b.stock {
			if l.Cards.Rule == rule && l.Cards.Contains(seg.First()) {
				return l, nil
			}
		}
		return Lot{}, Refusal("NOT_IN_STOCK").With("count", uint64(1)).With("card", rule.Format(seg.First()))
	}
	set, err := iccid.NewSet(rule, seg)
	if err != nil {
		return Lot{}, err
	}
	lots, err := cover(b.stock, set)
	if err != nil {
		return Lot{}, err
	}
	return lots[0], nil
}

// Undo takes the last scan out again, and says how many cards that were; 0 if there was none.
func (b *Basket) Undo() uint64 {
	seg, ok := b.pile.undo()
	if !ok {
		return 0
	}
	return seg.Count()
}

// Count is the number of cards.
func (b *Basket) Count() uint64 { return b.pile.count }

// Cards are all of them. Errors: NOTHING_SCANNED, ICCID_TOO_MANY_SEGMENTS.
func (b *Basket) Cards() (iccid.Set, error) {
	if b.pile.count == 0 {
		return iccid.Set{}, Refusal("NOTHING_SCANNED")
	}
	return b.pile.set()
}
