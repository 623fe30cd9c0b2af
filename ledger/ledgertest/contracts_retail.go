package ledgertest

import (
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

var retailScenes = []scene{
	{"who approves whom", false, approvals},
	{"real names", false, realNames},
	{"an approval runs out", true, approvalExpires},
	{"the cap", false, capHolds},
	{"the cap is one person's, whatever his accounts", false, capOfAPerson},
	{"retiring frees the cap", false, capAndRetire},
	{"consumers who sell on", false, capAndResale},
	{"lots of several persons", false, personsDiffer},
}

func approvals(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	get := func() (a contract.Approval) {
		t.Helper()
		s.Query(t, &a, request.Ownership, "GetApproval", c.ID, buyer.ID)
		return a
	}
	if got := get(); got.Version != 0 || got.ValidUntil != 0 {
		t.Errorf("approval of nobody %+v", got)
	}
	body := func(bend func(*request.Approve)) request.Approve {
		b := request.Approve{Carrier: c.ID, Consumer: buyer.ID, Commitment: Commitment("Li Lei"), ValidUntil: s.Now().Add(time.Hour).UnixMilli()}
		bend(&b)
		return b
	}
	as := func(id string) func(*request.Approve) { return func(b *request.Approve) { b.Carrier = id } }
	s.Refused(t, contract.SignatureMissing, s.Sign(body(func(*request.Approve) {}), shop))
	s.Refused(t, contract.RoleForbidden, s.Sign(body(as(shop.ID)), shop))
	s.Refused(t, contract.RoleForbidden, s.Sign(body(as(s.Regulator.ID)), s.Regulator))
	s.Refused(t, contract.RoleForbidden, s.Sign(body(func(b *request.Approve) { b.Consumer = shop.ID }), c))
	s.Refused(t, contract.ParticipantUnknown, s.Sign(body(func(b *request.Approve) { b.Consumer = "nobody" }), c))
	for _, id := range []string{"", "a\x00b", "客户"} {
		s.Refused(t, contract.BadArguments, s.Sign(body(func(b *request.Approve) { b.Consumer = id }), c))
	}
	s.Refused(t, contract.BadArguments, s.Sign(body(func(b *request.Approve) { b.Commitment = "110101199003070011" }), c)) // in the clear
	s.Refused(t, contract.BadArguments, s.Sign(body(func(b *request.Approve) { b.ValidUntil = s.Now().Add(-time.Minute).UnixMilli() }), c))
	s.Refused(t, contract.VersionMismatch, s.Sign(body(func(b *request.Approve) { b.Version = 1 }), c))
	revoke := func(version int) request.RevokeApproval {
		return request.RevokeApproval{Carrier: c.ID, Consumer: buyer.ID, Version: version}
	}
	s.Refused(t, contract.TransitionForbidden, s.Sign(revoke(0), c))
	s.Must(t, s.Sign(body(func(*request.Approve) {}), c))
	s.Refused(t, contract.VersionMismatch, s.Sign(revoke(0), c))
	s.Must(t, s.Sign(revoke(1), c))
	if got := get(); !got.Revoked || got.Version != 2 {
		t.Errorf("approval %+v", got)
	}
	s.Refused(t, contract.TransitionForbidden, s.Sign(revoke(2), c))
	s.Refused(t, contract.VersionMismatch, s.Approve(c, buyer, "Li Lei", 1))
	s.Must(t, s.Approve(c, buyer, "Li Lei", 2))
	if got := get(); got.Revoked || got.Version != 3 {
		t.Errorf("approval %+v", got)
	}
}

// strictStock issues cards that demand real names, and hands them to a shop.
func strictStock(t T, s *Stage, c, shop *Actor, bounds ...uint32) Lot {
	t.Helper()
	l := s.Lot(c.Cards(bounds...))
	s.Must(t, s.Issue(c, l, request.RealName))
	return s.Hand(t, c, shop, l).Lot
}

func realNames(t *testing.T, s *Stage) {
	c, d, shop, buyer := s.Carrier(t, iccid.Serial), s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	l := strictStock(t, s, c, shop, 0, 9)
	bearer := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(c.Cards(0, 4))}, Remainders: []Lot{s.Lot(c.Cards(5, 9))}})[0]
	if got := s.Refused(t, contract.RealNameRequired, s.Confirm(bearer, buyer)); got.Details["carrier"] != c.ID {
		t.Errorf("details %v", got.Details)
	}
	s.Must(t, s.Approve(d, buyer, "Li Lei", 0)) // another carrier's word is none
	s.Refused(t, contract.RealNameRequired, s.Confirm(bearer, buyer))
	s.Must(t, s.Approve(c, buyer, "Li Lei", 0))
	s.Must(t, s.Sign(request.RevokeApproval{Carrier: c.ID, Consumer: buyer.ID, Version: 1}, c))
	s.Refused(t, contract.RealNameRequired, s.Confirm(bearer, buyer))
	s.Must(t, s.Approve(c, buyer, "Li Lei", 2))
	missing := s.Confirm(bearer, buyer)
	missing.Openings.Lots = nil // the cards are counted, so they have to be shown
	s.Refused(t, contract.OpeningMissing, missing)
	s.Must(t, s.Confirm(bearer, buyer))
	if got := s.LotState(t, bearer.Lot); got.Counted != Commitment("Li Lei") {
		t.Errorf("lot %+v", got)
	}
	// By name it takes an approval as well: a named consumer is a consumer.
	stranger := s.Join(t, request.Consumer)
	l = strictStock(t, s, c, shop, 20, 29)
	named := s.Sell(t, Deal{Seller: shop, Receiver: stranger, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
	s.Refused(t, contract.RealNameRequired, s.Confirm(named, stranger))
	s.Must(t, s.Decline(named, stranger, "OTHER")) // to refuse cards takes none
}

func approvalExpires(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	l := strictStock(t, s, c, shop, 0, 9)
	trade := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
	s.Must(t, s.Sign(request.Approve{
		Carrier: c.ID, Consumer: buyer.ID, Commitment: Commitment("Li Lei"), ValidUntil: s.Now().Add(time.Hour).UnixMilli(),
	}, c))
	s.Later(time.Hour)
	s.Refused(t, contract.RealNameRequired, s.Confirm(trade, buyer))
	s.Must(t, s.Approve(c, buyer, "Li Lei", 1))
	s.Must(t, s.Confirm(trade, buyer))
}

func capHolds(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	s.Must(t, s.Approve(c, buyer, "Han Meimei", 0))
	l := strictStock(t, s, c, shop, 0, 99)
	cut := []Lot{s.Lot(c.Cards(0, 10)), s.Lot(c.Cards(20, 25)), s.Lot(c.Cards(30, 34)), s.Lot(c.Cards(40, 43)), s.Lot(c.Cards(50, 50))}
	rest := s.Lot(c.Cards(11, 19, 26, 29, 35, 39, 44, 49, 51, 99))
	trades := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{l}, Outputs: cut, Remainders: []Lot{rest}})
	eleven, six, five, four, one := trades[0], trades[1], trades[2], trades[3], trades[4]
	over := func(trade Trade, held float64) {
		t.Helper()
		if got := s.Refused(t, contract.CapExceeded, s.Confirm(trade, buyer)); got.Details["limit"] != 10.0 || got.Details["held"] != held {
			t.Errorf("details %v", got.Details)
		}
	}
	over(eleven, 0)
	s.Must(t, s.Confirm(six, buyer))
	over(five, 6)
	s.Must(t, s.Confirm(four, buyer))
	over(one, 10)
	// Another carrier's cards are another count, and cards without a policy are none.
	d := s.Carrier(t, iccid.Serial)
	s.Must(t, s.Approve(d, buyer, "Han Meimei", 0))
	s.Hand(t, shop, buyer, strictStock(t, s, d, shop, 0, 9))
	s.Hand(t, shop, buyer, s.Hand(t, c, shop, s.Stock(t, c, c.Cards(1000, 1099))).Lot)
	// Cards that go back make room, once they are back.
	back, returns := s.Offer(Deal{Seller: buyer, Receiver: shop, Inputs: []Lot{six.Lot}, Outputs: []Lot{s.Lot(c.Cards(20, 23))}, Remainders: []Lot{s.Lot(c.Cards(24, 25))}, Reverses: six.ID})
	s.Must(t, back)
	over(one, 10)
	missing := s.Confirm(returns[0], shop)
	missing.Openings.Lots = nil
	s.Refused(t, contract.OpeningMissing, missing)
	s.Must(t, s.Confirm(returns[0], shop))
	if got := s.LotState(t, returns[0].Lot); got.Counted != "" {
		t.Errorf("lot %+v", got)
	}
	over(five, 6)
	s.SetPolicy(t, request.PolicyRealNameCap, 11)
	s.Must(t, s.Confirm(five, buyer))
	s.SetPolicy(t, request.PolicyRealNameCap, 10)
	over(one, 11)
}

func capOfAPerson(t *testing.T, s *Stage) {
	c, shop, first, second := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer), s.Join(t, request.Consumer)
	for _, account := range []*Actor{first, second} {
		s.Must(t, s.Approve(c, account, "Jim Green", 0))
	}
	l := strictStock(t, s, c, shop, 0, 19)
	trades := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(c.Cards(0, 7)), s.Lot(c.Cards(8, 19))}})
	s.Must(t, s.Confirm(trades[0], first))
	s.Refused(t, contract.CapExceeded, s.Confirm(trades[1], second))
	// What was counted against a person stays so when his approval names another.
	s.Must(t, s.Approve(c, first, "Someone Else", 1))
	s.Refused(t, contract.CapExceeded, s.Confirm(trades[1], second))
}

func capAndRetire(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	s.Must(t, s.Approve(c, buyer, "Lucy", 0))
	l := strictStock(t, s, c, shop, 0, 19)
	trades := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(c.Cards(0, 9)), s.Lot(c.Cards(10, 13)), s.Lot(c.Cards(14, 19))}})
	s.Must(t, s.Confirm(trades[0], buyer))
	s.Refused(t, contract.CapExceeded, s.Confirm(trades[1], buyer))
	broken, rest := s.Lot(c.Cards(0, 3)), s.Lot(c.Cards(4, 9))
	retire := s.Sign(request.Retire{LotAct: s.At(t, trades[0].Lot, broken, rest)}, c)
	s.Refused(t, contract.OpeningMissing, retire)
	s.Must(t, retire.With(trades[0].Lot, broken, rest))
	s.Must(t, s.Confirm(trades[1], buyer))
	s.Refused(t, contract.CapExceeded, s.Confirm(trades[2], buyer))
	whole := s.Sign(request.Retire{LotAct: s.At(t, rest)}, c)
	s.Refused(t, contract.OpeningMissing, whole)
	s.Must(t, whole.With(rest))
	s.Must(t, s.Confirm(trades[2], buyer))
}

func capAndResale(t *testing.T, s *Stage) {
	s.SetPolicy(t, request.PolicyConsumerSells, 1)
	defer s.SetPolicy(t, request.PolicyConsumerSells, 0)
	c, shop, a, b := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer), s.Join(t, request.Consumer)
	s.Must(t, s.Approve(c, a, "A", 0))
	s.Must(t, s.Approve(c, b, "B", 0))
	l := s.Hand(t, shop, a, strictStock(t, s, c, shop, 0, 9)).Lot
	l = s.Hand(t, a, b, l).Lot
	s.Hand(t, shop, a, strictStock(t, s, c, shop, 10, 19)) // a has room again
	more := strictStock(t, s, c, shop, 20, 20)
	trade := s.Sell(t, Deal{Seller: shop, Receiver: b, Inputs: []Lot{more}, Outputs: []Lot{s.Lot(more.Set)}})[0]
	s.Refused(t, contract.CapExceeded, s.Confirm(trade, b))
	s.Hand(t, b, shop, l)
	s.Must(t, s.Confirm(trade, b))
}

func personsDiffer(t *testing.T, s *Stage) {
	c, shop, a := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	s.Must(t, s.Approve(c, a, "one", 0))
	first := s.Hand(t, shop, a, strictStock(t, s, c, shop, 0, 4)).Lot
	s.Must(t, s.Approve(c, a, "two", 1))
	second := s.Hand(t, shop, a, strictStock(t, s, c, shop, 5, 9)).Lot
	s.Refused(t, contract.LotsDiffer, s.Merge(a, s.Lot(c.Cards(0, 9)), first, second))
}
