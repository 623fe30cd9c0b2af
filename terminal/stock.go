package terminal

import (
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"cardflow/iccid"
	"cardflow/terminal/protocol"
)

// Lot is a lot of the stock, opened.
type Lot struct {
	protocol.StockLot
	Cards iccid.Set
}

// openLot holds a lot against its hash and reads its cards. Errors: STOCK_WRONG.
func openLot(l protocol.StockLot) (Lot, error) {
	set, hash, err := l.Opening.Set()
	if err != nil || hash != l.Lot {
		return Lot{}, failf("STOCK_WRONG", "the opening of a lot doesn't give its hash")
	}
	return Lot{l, set}, nil
}

// Stock is what the terminal knows of its organisation's cards, without the lots that a request in the queue spends.
func (s *State) Stock() ([]Lot, error) {
	known, err := all[protocol.StockLot](s, bucketStock)
	if err != nil {
		return nil, err
	}
	queue, err := s.Queue()
	if err != nil {
		return nil, err
	}
	spent := map[string]bool{}
	for _, e := range queue {
		if !e.Ended() {
			for _, h := range e.Spends {
				spent[h] = true
			}
		}
	}
	lots := make([]Lot, 0, len(known))
	for _, k := range known {
		if spent[k.Lot] {
			continue
		}
		l, err := openLot(k)
		if err != nil {
			return nil, err
		}
		lots = append(lots, l)
	}
	return lots, nil
}

// SetStock puts what the platform told in the place of what was known.
func (s *State) SetStock(lots []Lot, at int64) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketStock); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucketStock)
		if err != nil {
			return err
		}
		for _, l := range lots {
			if err := put(b, []byte(l.Lot), l.StockLot); err != nil {
				return err
			}
		}
		var p Profile
		profiles := tx.Bucket(bucketProfile)
		if _, err := get(profiles, profileKey, &p); err != nil {
			return err
		}
		p.StockAt = at
		return put(profiles, profileKey, p)
	})
}

// move takes spent lots out of the stock and puts others in. What is in there already stays as it is.
func move(tx *bbolt.Tx, spends []string, gains []protocol.StockLot) error {
	b := tx.Bucket(bucketStock)
	for _, h := range spends {
		if err := b.Delete([]byte(h)); err != nil {
			return err
		}
	}
	for _, l := range gains {
		if err := put(b, []byte(l.Lot), l); err != nil {
			return err
		}
	}
	return nil
}

// cover chooses the lots that hold the cards, in the order of their hashes. Errors: NOT_IN_STOCK, SEVERAL_ISSUERS,
// TOO_MANY_LOTS.
func cover(stock []Lot, cards iccid.Set) ([]Lot, error) {
	var chosen []Lot
	rest := cards
	for _, l := range stock {
		if l.Cards.Rule != cards.Rule || l.Cards.Intersect(cards).Empty() {
			continue
		}
		chosen, rest = append(chosen, l), rest.Minus(l.Cards)
	}
	if !rest.Empty() {
		return nil, Refusal("NOT_IN_STOCK").With("count", rest.Count()).With("card", rest.Rule.Format(rest.Segments()[0].First()))
	}
	slices.SortFunc(chosen, func(a, b Lot) int { return strings.Compare(a.Lot, b.Lot) })
	for _, l := range chosen {
		if l.Issuer.ID != chosen[0].Issuer.ID {
			return nil, Refusal("SEVERAL_ISSUERS")
		}
	}
	if len(chosen) > maxLots {
		return nil, Refusal("TOO_MANY_LOTS").With("limit", maxLots)
	}
	return chosen, nil
}
