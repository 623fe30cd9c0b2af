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
	// A supervisor may freeze a card out of the middle of a lot that has as many segments as it may have.
	full := s.Stock(t, c, c.Cards(100, 109, 120, 129, 140, 149))
	card, rest := s.Lot(c.Cards(125, 125)), s.Lot(c.Cards(100, 109, 120, 124, 126, 129, 140, 149))
	s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, full, card, rest)}, c).With(full, card, rest))
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
