package ledgertest

import (
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// census is what ought to be on the ledger, kept the naive way: card by card, with no hashes, no lineage and no openings.
type census struct {
	cards     map[string]*card // by printed number: everything that was issued
	approvals map[[2]string]approval
	frozen    map[string]map[request.Role]bool // participants
	freezes   map[string]int                   // versions of the freeze records
	most      int                              // cards of one carrier that a person may hold
	sells     bool                             // consumers may sell on
}

type card struct {
	issuer, owner string
	lot           string // the one live lot that holds it
	status        contract.LotStatus
	frozen        map[request.Role]bool
	strict        bool // real names
	restrictions  []string
	counted       string // person
	acquired      string // trade
}

type approval struct {
	person  string
	until   time.Time
	revoked bool
	version int
}

// reasons are the codes that a request could be refused with; none if it has to commit.
type reasons map[string]bool

func (r reasons) add(when bool, codes ...string) {
	for _, c := range codes {
		if when {
			r[c] = true
		}
	}
}

// numbers lists the cards of a set, printed.
func numbers(set iccid.Set) []string {
	var list []string
	for _, s := range set.Segments() {
		for n := s.Lo; n <= s.Hi; n++ {
			list = append(list, set.Rule.Format(iccid.Card{Head: s.Head, Width: s.Width, Tail: n}))
		}
	}
	return list
}

// setOf is the set of printed cards.
func setOf(rule iccid.Rule, list []string) iccid.Set {
	set, err := iccid.SetOf(rule, list...)
	if err != nil {
		panic(err)
	}
	return set
}

// of returns the cards of a lot, if it is alive: then they all say the same.
func (m *census) of(l Lot) (first *card, alive bool) {
	first = m.cards[numbers(l.Set)[0]]
	return first, first != nil && first.lot == l.Hash
}

// held counts the cards of a carrier that are counted against a person.
func (m *census) held(carrier, person string) (n int) {
	for _, c := range m.cards {
		if c.issuer == carrier && c.counted == person {
			n++
		}
	}
	return n
}

// spendable adds why lots can't be the inputs of an act of their owner.
func (m *census) spendable(why reasons, owner *Actor, lots []Lot) {
	first, _ := m.of(lots[0])
	for _, l := range lots {
		c, alive := m.of(l)
		why.add(!alive, contract.InputSpent, contract.NotOwner)
		why.add(c.owner != owner.ID, contract.NotOwner)
		why.add(c.status == contract.StatusInTrade, contract.LotInTrade)
		why.add(c.status == contract.StatusRetired, contract.LotRetired)
		why.add(len(c.frozen) > 0, contract.LotFrozen)
		why.add(c.issuer != first.issuer || c.counted != first.counted, contract.LotsDiffer)
	}
	why.add(len(m.frozen[owner.ID]) > 0, contract.ParticipantFrozen)
}

// join makes the cards of inputs one kind: what any output of them has.
func (m *census) join(inputs []Lot) card {
	first, _ := m.of(inputs[0])
	out := *first
	out.frozen, out.restrictions = map[request.Role]bool{}, nil
	for _, l := range inputs {
		c, _ := m.of(l)
		out.strict = out.strict || c.strict
		out.restrictions = append(out.restrictions, c.restrictions...)
		for r := range c.frozen {
			out.frozen[r] = true
		}
		if c.acquired != out.acquired {
			out.acquired = ""
		}
	}
	slices.Sort(out.restrictions)
	out.restrictions = slices.Compact(out.restrictions)
	return out
}

// become makes the cards of a lot what c says.
func (m *census) become(l Lot, c card) {
	c.lot = l.Hash
	for _, n := range numbers(l.Set) {
		each := c
		each.frozen = map[request.Role]bool{}
		for r := range c.frozen {
			each.frozen[r] = true
		}
		m.cards[n] = &each
	}
}

// change changes each card of a live lot.
func (m *census) change(l Lot, by func(*card)) {
	for _, n := range numbers(l.Set) {
		by(m.cards[n])
	}
}

func roles(set map[request.Role]bool) (list []request.Role) {
	for r := range set {
		list = append(list, r)
	}
	slices.Sort(list)
	return list
}
