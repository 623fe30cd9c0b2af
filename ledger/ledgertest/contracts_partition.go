package ledgertest

import (
	"fmt"
	"slices"
	"testing"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

func lyingOpenings(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	l, other := s.Stock(t, c, c.Cards(0, 9)), s.Lot(c.Cards(20, 29))
	good, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
	as := func(o request.LotOpening) Signed { return good.With(Lot{Hash: l.Hash, Opening: o}) }
	change := func(bend func(*request.LotOpening)) request.LotOpening {
		o := l.Opening
		bend(&o)
		return o
	}
	s.Refused(t, contract.OpeningMismatch, as(other.Opening))
	s.Refused(t, contract.OpeningMismatch, as(change(func(o *request.LotOpening) { o.Salt = s.bytes(32) })))
	s.Refused(t, contract.OpeningMismatch, as(change(func(o *request.LotOpening) { o.Salt = o.Salt[:31] })))
	s.Refused(t, contract.OpeningMismatch, as(change(func(o *request.LotOpening) { o.Salt = nil })))
	s.Refused(t, contract.OpeningMismatch, as(change(func(o *request.LotOpening) { o.Canonical = other.Opening.Canonical })))
	s.Refused(t, contract.OpeningMismatch, as(change(func(o *request.LotOpening) { o.Rule = string(iccid.Luhn); o.Canonical = luhnForm(t) })))
	s.Refused(t, iccid.CodeEmpty, as(change(func(o *request.LotOpening) { o.Canonical = "" })))
	s.Refused(t, iccid.CodeRuleUnknown, as(change(func(o *request.LotOpening) { o.Rule = "ROMAN" })))
	s.Refused(t, iccid.CodeNotCanonical, as(change(func(o *request.LotOpening) { o.Canonical = o.Canonical[:20] + "-" + o.Canonical[:20] })))

	missing := good
	missing.Openings.Lots = map[string]request.LotOpening{l.Hash: l.Opening}
	if got := s.Refused(t, contract.OpeningMissing, missing); got.Details["lot"] == l.Hash || got.Details["lot"] == nil {
		t.Errorf("details %v", got.Details)
	}
	missing.Openings = request.Openings{}
	s.Refused(t, contract.OpeningMissing, missing)

	p, err := s.Ledger.Prepare(good.Request.Contract, good.Request.Function, [][]byte{good.Request.Args, good.Proof.Encode()})
	if err != nil {
		t.Fatal(err)
	}
	for _, transient := range []string{"", "[]", `{"lots":1}`, `{"x":{}}`} {
		_, err = s.Ledger.Submit(t.Context(), p, map[string][]byte{request.TransientOpenings: []byte(transient)}, nil)
		mustRefuse(t, "openings "+transient, contract.OpeningMismatch, err)
	}
	_, err = s.Ledger.Submit(t.Context(), p, nil, nil)
	mustRefuse(t, "no openings", contract.OpeningMissing, err)
	s.Must(t, good)
}

func luhnForm(t *testing.T) string {
	set, err := iccid.SetOf(iccid.Luhn, "89882390001334701795")
	if err != nil {
		t.Fatal(err)
	}
	return set.Canonical()
}

// partition has a seller sign outputs that are not exactly his inputs.
func partition(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	l := s.Stock(t, c, c.Cards(0, 99))
	l2 := s.Stock(t, c, c.Cards(200, 299))
	luhn := s.Carrier(t, iccid.Luhn)
	lot := func(bounds ...uint32) Lot { return s.Lot(c.Cards(bounds...)) }
	for name, d := range map[string]Deal{
		"a card lost":                 {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 98)}},
		"a card lost between":         {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 49)}, Remainders: []Lot{lot(51, 99)}},
		"a card added":                {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 100)}},
		"a card swapped":              {Inputs: []Lot{l}, Outputs: []Lot{lot(1, 100)}},
		"a card in two outputs":       {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 50), lot(50, 99)}},
		"a card sold and kept":        {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 50)}, Remainders: []Lot{lot(50, 99)}},
		"one lot sold twice":          {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 99), lot(0, 99)}},
		"a remainder twice":           {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 49)}, Remainders: []Lot{lot(50, 99), lot(50, 99)}},
		"the cards of a lot not used": {Inputs: []Lot{l}, Outputs: []Lot{lot(200, 299)}},
		"more than the inputs":        {Inputs: []Lot{l}, Outputs: []Lot{lot(0, 99, 200, 299)}},
		"less than the inputs":        {Inputs: []Lot{l, l2}, Outputs: []Lot{lot(0, 99)}},
		"another rule":                {Inputs: []Lot{l}, Outputs: []Lot{s.Lot(luhn.Cards(0, 99))}},
	} {
		t.Run(name, func(t *testing.T) {
			d.Seller = c
			offer, _ := s.Offer(d)
			s.Refused(t, contract.PartitionWrong, offer)
		})
	}
	s.Refused(t, contract.PartitionWrong, s.Merge(c, lot(0, 99), l, l2))
	s.Refused(t, contract.PartitionWrong, s.Merge(c, lot(0, 99, 200, 300), l, l2))
	split := func(parts ...Lot) Signed {
		return s.Sign(request.Freeze{LotAct: s.At(t, l, parts...)}, s.Regulator).With(l).With(parts...)
	}
	s.Refused(t, contract.PartitionWrong, split(lot(0, 9), lot(11, 99)))
	s.Refused(t, contract.PartitionWrong, split(lot(0, 9), lot(9, 99)))
	s.Refused(t, contract.PartitionWrong, split(lot(0, 9), lot(10, 100)))

	// The honest cut, all ways at once.
	s.Sell(t, Deal{Seller: c, Inputs: []Lot{l, l2}, Outputs: []Lot{lot(0, 0), lot(50, 99, 200, 249)}, Remainders: []Lot{lot(1, 49), lot(250, 299)}})
}

func inputs(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	l := s.Stock(t, c, c.Cards(0, 99))
	offer := func(seller *Actor, in Lot) Signed {
		o, _ := s.Offer(Deal{Seller: seller, Inputs: []Lot{in}, Outputs: []Lot{s.Lot(in.Set)}})
		return o
	}
	s.Refused(t, contract.NotOwner, offer(shop, l))
	s.Refused(t, contract.LotUnknown, offer(c, s.Lot(l.Set)))

	first := s.Lot(c.Cards(0, 9))
	rest := s.Lot(c.Cards(10, 99))
	trade := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{first}, Remainders: []Lot{rest}})[0]
	// A double sale: the spent input, the lot in trade, the lot of the buyer.
	spent := s.Refused(t, contract.InputSpent, offer(c, l))
	if got := fmt.Sprint(spent.Details["children"]); got != fmt.Sprint(sortedHashes(first, rest)) {
		t.Errorf("children %v, want %v", got, sortedHashes(first, rest))
	}
	s.Refused(t, contract.LotInTrade, offer(c, first))
	s.Refused(t, contract.LotInTrade, s.Merge(c, s.Lot(l.Set), first, rest))
	s.Refused(t, contract.NotOwner, offer(shop, first))
	s.Must(t, s.Confirm(trade, shop))
	s.Refused(t, contract.NotOwner, offer(c, first))
	// The children of a spent lot are followed to where its cards are now.
	tiny := s.Lot(c.Cards(10, 10))
	rest2 := s.Lot(c.Cards(11, 99))
	s.Sell(t, Deal{Seller: c, Inputs: []Lot{rest}, Outputs: []Lot{tiny}, Remainders: []Lot{rest2}})
	spent = s.Refused(t, contract.InputSpent, offer(c, l))
	if got := fmt.Sprint(spent.Details["children"]); got != fmt.Sprint(sortedHashes(first, tiny, rest2)) {
		t.Errorf("children %v, want %v", got, sortedHashes(first, tiny, rest2))
	}
	// Hashes are used once, each in one place.
	for name, bend := range map[string]func(*request.Offer){
		"an input twice":         func(b *request.Offer) { b.Inputs = append(b.Inputs, b.Inputs[0]) },
		"output and remainder":   func(b *request.Offer) { b.Remainders = []string{b.Outputs[0].Lot} },
		"output is the input":    func(b *request.Offer) { b.Outputs[0].Lot = b.Inputs[0] },
		"no hash":                func(b *request.Offer) { b.Outputs[0].Lot = "x" },
		"upper case":             func(b *request.Offer) { b.Inputs[0] = "A" + b.Inputs[0][1:] },
		"no inputs":              func(b *request.Offer) { b.Inputs = nil },
		"no outputs":             func(b *request.Offer) { b.Outputs = nil },
		"too many inputs":        func(b *request.Offer) { b.Inputs = make([]string, 201) },
		"too many outputs":       func(b *request.Offer) { b.Outputs = make([]request.Output, request.MaxOutputs+1) },
		"too many remainders":    func(b *request.Offer) { b.Remainders = make([]string, 201) },
		"trade ID is no ID":      func(b *request.Offer) { b.Outputs[0].Trade = "T1" },
		"trade ID in upper case": func(b *request.Offer) { b.Outputs[0].Trade = "ABCDEF00ABCDEF00ABCDEF00ABCDEF00" },
	} {
		t.Run(name, func(t *testing.T) {
			body, _, openings := s.Body(Deal{Seller: c, Receiver: shop, Inputs: []Lot{rest2}, Outputs: []Lot{s.Lot(rest2.Set)}})
			bend(&body)
			signed := s.Sign(body, c)
			signed.Openings = openings
			s.Refused(t, contract.BadArguments, signed)
		})
	}
	// An output whose hash another lot has used: the same cards with the same salt.
	back := s.Hand(t, shop, c, first).Lot
	again, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{back}, Outputs: []Lot{first}})
	s.Refused(t, contract.LotExists, again)
	kept, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{back}, Outputs: []Lot{s.Lot(c.Cards(0, 4))}, Remainders: []Lot{s.Lot(c.Cards(5, 9))}})
	s.Must(t, kept)
}

func sortedHashes(lots ...Lot) []string {
	out := Hashes(lots...)
	slices.Sort(out)
	return out
}
