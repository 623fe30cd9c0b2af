package ledgertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

var lotScenes = []scene{
	{"issue", false, issue},
	{"who may issue what", false, issueForbidden},
	{"no card is issued twice", false, issueTwice},
	{"openings that lie", false, lyingOpenings},
	{"outputs partition inputs", false, partition},
	{"what can't be an input", false, inputs},
	{"merge", false, merge},
	{"lots that can't be merged", false, mergeDiffering},
	{"segments of a lot", false, segments},
	{"nothing loosens", false, nothingLoosens},
	{"queries of lots", false, lotQueries},
}

func issue(t *testing.T, s *Stage) {
	for _, rule := range []iccid.Rule{iccid.Serial, iccid.Luhn} {
		c := s.Carrier(t, rule)
		l := s.Lot(c.Cards(0, 99, 200, 299))
		tx := s.Must(t, s.Issue(c, l, request.RealName, "NO_SMS", "NO_VOICE")).TxID
		got := s.LotState(t, l)
		if got.Issuer != c.ID || got.Owner != c.ID || got.Rule != string(rule) || got.Status != contract.StatusOwned || got.TxID != tx ||
			got.RetailPolicy != request.RealName || !slices.Equal(got.Restrictions, []string{"NO_SMS", "NO_VOICE"}) || got.Version != 1 ||
			len(got.Device) != 64 || len(got.Parents)+len(got.Children)+len(got.Frozen) != 0 {
			t.Errorf("issued %+v", got)
		}
	}
}

func issueForbidden(t *testing.T, s *Stage) {
	c, d, shop := s.Carrier(t, iccid.Serial), s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	l := s.Lot(c.Cards(0, 9))
	good := s.Issue(c, l, request.Open)
	body := func(bend func(*request.Issue)) request.Issue {
		b := request.Issue{Lot: l.Hash, Carrier: c.ID, Rule: string(c.Rule), RetailPolicy: request.Open}
		bend(&b)
		return b
	}
	try := func(code string, openings request.Openings, b request.Issue, by ...*Actor) {
		t.Helper()
		signed := s.Sign(b, by...)
		signed.Openings = openings
		s.Refused(t, code, signed)
	}
	open := good.Openings
	try(contract.SignatureMissing, open, body(func(*request.Issue) {}), d)
	try(contract.SignatureMissing, open, body(func(*request.Issue) {}), c, d)
	try(contract.RoleForbidden, open, body(func(b *request.Issue) { b.Carrier = d.ID }), d) // a foreign prefix
	try(contract.RoleForbidden, open, body(func(b *request.Issue) { b.Carrier = shop.ID }), shop)
	for _, policy := range []request.RetailPolicy{"", "open", "CLOSED"} {
		try(contract.BadArguments, open, body(func(b *request.Issue) { b.RetailPolicy = policy }), c)
	}
	for _, list := range [][]string{{""}, {"B", "A"}, {"A", "A"}, {"no_sms"}, {"NO SMS"}, {"Ü"}, {"A23456789012345678901234567890123"}, manyNames(17)} {
		try(contract.BadArguments, open, body(func(b *request.Issue) { b.Restrictions = list }), c)
	}
	try(contract.OpeningMismatch, open, body(func(b *request.Issue) { b.Rule = string(iccid.Luhn) }), c)
	for _, hash := range []string{"", "L/" + l.Hash, strings.ToUpper(l.Hash), l.Hash + "0", strings.Repeat("a", 100_000)} {
		try(contract.BadArguments, open, body(func(b *request.Issue) { b.Lot = hash }), c)
	}
	long := s.Sign(body(func(b *request.Issue) { b.RetailPolicy = request.RetailPolicy(strings.Repeat("策", 100_000)) }), c)
	if got := s.Refused(t, contract.BadArguments, long); len(got.Message) > 300 || !utf8.ValidString(got.Message) {
		t.Errorf("a message of %d bytes", len(got.Message))
	}
	try(contract.OpeningMissing, request.Openings{IssueKey: s.IssueKey}, body(func(*request.Issue) {}), c)

	noKey := good
	noKey.Openings.IssueKey = nil
	s.Refused(t, contract.IssueKeyWrong, noKey)
	noKey.Openings.IssueKey = s.bytes(32)
	s.Refused(t, contract.IssueKeyWrong, noKey)

	// One foreign card among own ones.
	mixed, err := c.Cards(0, 4).Union(d.Cards(5, 5))
	if err != nil {
		t.Fatal(err)
	}
	s.Refused(t, contract.RoleForbidden, s.Issue(c, s.Lot(mixed), request.Open))
	unknown := &Actor{ID: c.ID, Role: c.Role, Key: c.Key, Prefix: "8999999999", Rule: c.Rule}
	s.Refused(t, contract.IssuerUnknown, s.Issue(c, s.Lot(unknown.Cards(0, 9)), request.Open))
	otherRule := &Actor{ID: c.ID, Role: c.Role, Key: c.Key, Prefix: c.Prefix, Rule: iccid.Luhn}
	s.Refused(t, contract.RoleForbidden, s.Issue(otherRule, s.Lot(otherRule.Cards(0, 9)), request.Open))
	s.Must(t, good)
}

func manyNames(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("R%02d", i))
	}
	return list
}

// issueTwice tries every way in which a range can meet one that was issued: the salt is another each time.
func issueTwice(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	s.Stock(t, c, c.Cards(1000, 1999, 3005, 3014, 5000, 5000))
	for _, bounds := range [][]uint32{
		{1000, 1999, 3005, 3014, 5000, 5000}, // the same
		{1000, 1999},                         // a segment of it
		{1500, 1500}, {1000, 1000}, {1999, 1999}, {5000, 5000},
		{1500, 1509}, {1990, 2009}, {995, 1004}, {1999, 2000}, {999, 1000},
		{0, 9999},                  // all around it
		{3000, 3009}, {3010, 3019}, // half a block
		{4999, 5001}, {0, 9_999_999}, // the whole tail
		{2000, 2999, 5000, 5000},      // new ones with one old
		{0, 99, 200, 299, 3014, 3014}, // other segments
	} {
		s.Refused(t, contract.AlreadyIssued, s.Issue(c, s.Lot(c.Cards(bounds...)), request.Open))
	}
	for _, bounds := range [][]uint32{{0, 999}, {2000, 3004}, {3015, 4999}, {5001, 9_999_999}} {
		s.Stock(t, c, c.Cards(bounds...))
	}
	// Luhn cards are one card with and without their check digit.
	luhn := s.Carrier(t, iccid.Luhn)
	s.Stock(t, luhn, luhn.Cards(0, 99))
	short := luhn.Rule.Format(luhn.Cards(50, 50).Segments()[0].First())[:19]
	set, err := iccid.SetOf(iccid.Luhn, short)
	if err != nil {
		t.Fatal(err)
	}
	s.Refused(t, contract.AlreadyIssued, s.Issue(luhn, s.Lot(set), request.Open))
}

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

func merge(t *testing.T, s *Stage) {
	c, shop, consumer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	a, b := s.Stock(t, c, c.Cards(0, 9)), s.Stock(t, c, c.Cards(10, 19))
	out := s.Lot(c.Cards(0, 19))
	for name, body := range map[string]request.Merge{
		"one lot":           {Owner: c.ID, Inputs: Hashes(a), Output: out.Hash},
		"one lot twice":     {Owner: c.ID, Inputs: Hashes(a, a), Output: out.Hash},
		"into itself":       {Owner: c.ID, Inputs: Hashes(a, b), Output: a.Hash},
		"too many":          {Owner: c.ID, Inputs: make([]string, 201), Output: out.Hash},
		"nothing to name":   {Owner: c.ID, Inputs: Hashes(a, b)},
		"a hash in capital": {Owner: c.ID, Inputs: Hashes(a, b), Output: "A" + out.Hash[1:]},
	} {
		t.Run(name, func(t *testing.T) { s.Refused(t, contract.BadArguments, s.Sign(body, c).With(a, b, out)) })
	}
	s.Refused(t, contract.NotOwner, s.Merge(shop, out, a, b))
	s.Refused(t, contract.SignatureMissing, s.Sign(request.Merge{Owner: c.ID, Inputs: Hashes(a, b), Output: out.Hash}, shop).With(a, b, out))
	s.Refused(t, contract.LotUnknown, s.Merge(c, out, a, s.Lot(b.Set)))
	s.Must(t, s.Merge(c, out, a, b))
	s.Refused(t, contract.InputSpent, s.Merge(c, s.Lot(out.Set), a, out))
	got := s.LotState(t, out)
	if !slices.Equal(got.Parents, Hashes(a, b)) || got.Owner != c.ID || got.Status != contract.StatusOwned {
		t.Errorf("merged %+v", got)
	}
	if a := s.LotState(t, a); a.Status != contract.StatusSpent || !slices.Equal(a.Children, Hashes(out)) {
		t.Errorf("input %+v", a)
	}
	// A merge forgets by which trade cards came, unless all came by one.
	trades := s.Sell(t, Deal{Seller: c, Receiver: consumer, Inputs: []Lot{out}, Outputs: []Lot{s.Lot(c.Cards(0, 9)), s.Lot(c.Cards(10, 19))}})
	for _, each := range trades {
		s.Must(t, s.Confirm(each, consumer))
	}
	both := s.Lot(out.Set)
	s.Must(t, s.Merge(consumer, both, trades[0].Lot, trades[1].Lot))
	if got := s.LotState(t, both); got.Acquired != "" {
		t.Errorf("acquired by %s", got.Acquired)
	}
	back, _ := s.Offer(Deal{Seller: consumer, Receiver: c, Inputs: []Lot{both}, Outputs: []Lot{s.Lot(both.Set)}, Reverses: trades[0].ID})
	s.Refused(t, contract.NotReturnable, back)
}

func mergeDiffering(t *testing.T, s *Stage) {
	a, b, luhn := s.Carrier(t, iccid.Serial), s.Carrier(t, iccid.Serial), s.Carrier(t, iccid.Luhn)
	shop := s.Join(t, request.Retailer)
	mine := func(c *Actor) Lot { return s.Hand(t, c, shop, s.Stock(t, c, c.Cards(0, 9))).Lot }
	la, lb, lc := mine(a), mine(b), mine(luhn)
	both, err := la.Set.Union(lb.Set)
	if err != nil {
		t.Fatal(err)
	}
	s.Refused(t, contract.LotsDiffer, s.Merge(shop, s.Lot(both), la, lb))
	s.Refused(t, contract.LotsDiffer, s.Merge(shop, s.Lot(both), la, lc))
	offer, _ := s.Offer(Deal{Seller: shop, Inputs: []Lot{la, lb}, Outputs: []Lot{s.Lot(la.Set), s.Lot(lb.Set)}})
	s.Refused(t, contract.LotsDiffer, offer)
}

func segments(t *testing.T, s *Stage) {
	s.SetPolicy(t, request.PolicySegmentsMax, 3)
	defer s.SetPolicy(t, request.PolicySegmentsMax, request.Policies[request.PolicySegmentsMax])
	c := s.Carrier(t, iccid.Serial)
	if got := s.Refused(t, contract.TooManySegments, s.Issue(c, s.Lot(c.Cards(0, 1, 10, 11, 20, 21, 30, 31)), request.Open)); got.Details["limit"] != 3.0 {
		t.Errorf("details %v", got.Details)
	}
	a, b := s.Stock(t, c, c.Cards(0, 9, 20, 29, 40, 49)), s.Stock(t, c, c.Cards(60, 69))
	s.Refused(t, contract.TooManySegments, s.Merge(c, s.Lot(c.Cards(0, 9, 20, 29, 40, 49, 60, 69)), a, b))
	offer, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{b}, Outputs: []Lot{s.Lot(c.Cards(60, 60, 62, 62, 64, 64, 66, 66))}, Remainders: []Lot{s.Lot(c.Cards(61, 61, 63, 63, 65, 65))}})
	s.Refused(t, contract.TooManySegments, offer)
	// The limit is per lot: one offer may cut into more.
	s.Sell(t, Deal{Seller: c, Inputs: []Lot{a, b}, Outputs: []Lot{s.Lot(c.Cards(0, 9, 20, 29, 40, 49)), s.Lot(c.Cards(60, 64))}, Remainders: []Lot{s.Lot(c.Cards(65, 69))}})
}

// nothingLoosens: outputs have the strictest policy and all the restrictions of the inputs, whoever makes them.
func nothingLoosens(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	open, strict := s.Lot(c.Cards(0, 9)), s.Lot(c.Cards(10, 19))
	s.Must(t, s.Issue(c, open, request.Open, "NO_VOICE"))
	s.Must(t, s.Issue(c, strict, request.RealName, "NO_SMS", "NO_VOICE"))
	sold, kept := s.Lot(c.Cards(0, 14)), s.Lot(c.Cards(15, 19))
	trade := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{open, strict}, Outputs: []Lot{sold}, Remainders: []Lot{kept}})[0]
	s.Must(t, s.Confirm(trade, shop))
	again := s.Hand(t, shop, s.Join(t, request.Distributor), sold).Lot
	part, rest := s.Lot(c.Cards(15, 15)), s.Lot(c.Cards(16, 19))
	s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, kept, part, rest)}, c).With(kept, part, rest))
	for _, l := range []Lot{sold, kept, again, part, rest} {
		got := s.LotState(t, l)
		if got.RetailPolicy != request.RealName || !slices.Equal(got.Restrictions, []string{"NO_SMS", "NO_VOICE"}) || got.Issuer != c.ID {
			t.Errorf("%+v", got)
		}
	}
}

func lotQueries(t *testing.T, s *Stage) {
	s.QueryRefused(t, contract.UnknownFunction, request.Ownership, "Nothing")
	none := Commitment("no such lot")
	s.QueryRefused(t, contract.LotUnknown, request.Ownership, "GetLot", none)
	s.QueryRefused(t, contract.LotUnknown, request.Ownership, "History", none)
	s.QueryRefused(t, contract.LotUnknown, request.Ownership, "Trace", none, s.Regulator.ID)
	s.QueryRefused(t, contract.TradeUnknown, request.Ownership, "GetTrade", none[:32])
	for _, function := range []string{"GetLot", "GetTrade", "GetApproval", "GetFreeze", "History", "Trace"} {
		for _, args := range [][]string{{}, {""}, {"a", "b", "c"}, {"a\x00b", "c\x00d"}, {"\xff"}} {
			s.QueryRefused(t, contract.BadArguments, request.Ownership, function, args...)
		}
	}

	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	s.QueryRefused(t, contract.ParticipantUnknown, request.Ownership, "Trace", none, "nobody")
	l := s.Stock(t, c, c.Cards(0, 9))
	trade := s.Hand(t, c, shop, l)
	var list []contract.LotVersion
	s.Query(t, &list, request.Ownership, "History", trade.Lot.Hash)
	if len(list) != 2 || list[0].Lot.Owner != shop.ID || list[1].Lot.Status != contract.StatusInTrade || list[1].Lot.Owner != c.ID {
		t.Errorf("history %+v", list)
	}
}
