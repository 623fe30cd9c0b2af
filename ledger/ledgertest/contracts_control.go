package ledgertest

import (
	"fmt"
	"slices"
	"testing"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

var controlScenes = []scene{
	{"who may freeze lots", false, freezeRoles},
	{"only who froze unfreezes", false, unfreezeRoles},
	{"frozen lots move nowhere", false, frozenStays},
	{"freeze of what was sold on", false, freezeSpent},
	{"part of a lot", false, subsets},
	{"retire", false, retire},
	{"freeze of a participant", false, freezeParticipant},
}

func freezeRoles(t *testing.T, s *Stage) {
	c, d, shop, buyer := s.Carrier(t, iccid.Serial), s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	direct := s.Stranger(request.Consumer) // registered by administrators, so no platform's
	s.Must(t, s.Sign(request.Register{Registration: s.Registration(direct)}, s.Admins...))
	l := s.Hand(t, c, shop, s.Stock(t, c, c.Cards(0, 29)))
	parts := []Lot{s.Lot(c.Cards(0, 9)), s.Lot(c.Cards(10, 19))}
	trades := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{l.Lot}, Outputs: parts, Remainders: []Lot{s.Lot(c.Cards(20, 29))}})
	s.Must(t, s.Confirm(trades[0], buyer))
	s.Must(t, s.Confirm(trades[1], direct))
	his, directs := trades[0].Lot, trades[1].Lot
	shops := s.Hand(t, c, shop, s.Stock(t, c, c.Cards(100, 109))).Lot
	for _, x := range []struct {
		lot Lot
		by  *Actor
		ok  bool
	}{
		{shops, c, true}, {shops, s.Regulator, true}, {shops, d, false}, {shops, s.Platform, false}, {shops, shop, false}, {shops, buyer, false},
		{his, s.Platform, true}, {his, buyer, false}, {his, shop, false}, {his, s.Regulator, true}, {his, c, true},
		{directs, s.Platform, false}, {directs, s.Admins[0], false},
	} {
		freeze := s.Sign(request.Freeze{LotAct: s.At(t, x.lot)}, x.by)
		if x.ok {
			s.Must(t, freeze)
		} else {
			s.Refused(t, contract.RoleForbidden, freeze)
		}
	}
	if got := s.LotState(t, his); !slices.Equal(got.Frozen, []request.Role{request.Carrier, request.Platform, request.Regulator}) {
		t.Errorf("frozen by %v", got.Frozen)
	}
	s.Refused(t, contract.SignatureMissing, s.Sign(request.Freeze{LotAct: s.At(t, directs)}, c, s.Regulator))
	s.Refused(t, contract.LotUnknown, s.Sign(request.Freeze{LotAct: request.LotAct{Lot: Commitment("none")}}, c))
	s.Refused(t, contract.BadArguments, s.Sign(request.Freeze{LotAct: request.LotAct{Lot: "a\x00b"}}, c))
}

func unfreezeRoles(t *testing.T, s *Stage) {
	c, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Consumer)
	l := s.Hand(t, c, buyer, s.Stock(t, c, c.Cards(0, 9))).Lot
	froze := []*Actor{c, s.Platform, s.Regulator}
	for i, by := range froze {
		s.Refused(t, contract.NotFrozen, s.Sign(request.Unfreeze{LotAct: s.At(t, l)}, by))
		s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, l)}, by))
		s.Refused(t, contract.AlreadyFrozen, s.Sign(request.Freeze{LotAct: s.At(t, l)}, by))
		at := s.At(t, l)
		at.Version--
		if got := s.Refused(t, contract.VersionMismatch, s.Sign(request.Unfreeze{LotAct: at}, by)); got.Details["version"] != float64(at.Version+1) {
			t.Errorf("%d: details %v", i, got.Details)
		}
	}
	s.Refused(t, contract.RoleForbidden, s.Sign(request.Unfreeze{LotAct: s.At(t, l)}, buyer))
	second := s.Join(t, request.Regulator) // the role, not the person
	s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, l)}, second))
	s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, l)}, c))
	if got := s.LotState(t, l); !slices.Equal(got.Frozen, []request.Role{request.Platform}) {
		t.Errorf("frozen by %v", got.Frozen)
	}
	s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, l)}, s.Platform))
}

func frozenStays(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	a, b := s.Stock(t, c, c.Cards(0, 9)), s.Stock(t, c, c.Cards(10, 19))
	freeze := func(l Lot) { s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, l)}, s.Regulator)) }
	thaw := func(l Lot) { s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, l)}, s.Regulator)) }
	freeze(a)
	offer, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{b, a}, Outputs: []Lot{s.Lot(c.Cards(0, 19))}})
	s.Refused(t, contract.LotFrozen, offer)
	s.Refused(t, contract.LotFrozen, s.Merge(c, s.Lot(c.Cards(0, 19)), b, a))
	thaw(a)
	s.Must(t, offer)

	// In a trade: it can't be confirmed, and goes back frozen, whatever ends the trade.
	bought := s.Hand(t, c, buyer, s.Stock(t, c, c.Cards(100, 109)))
	for _, end := range []string{"Decline", "Cancel"} {
		stock := s.Stock(t, c, c.Cards(uint32(200+len(end)), uint32(200+len(end))))
		trade := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{stock}, Outputs: []Lot{s.Lot(stock.Set)}})[0]
		freeze(trade.Lot)
		s.Refused(t, contract.LotFrozen, s.Confirm(trade, shop))
		if end == "Decline" {
			s.Must(t, s.Decline(trade, shop, "OTHER"))
		} else {
			s.Must(t, s.Sign(request.Cancel{Trade: trade.ID}, c))
		}
		if got := s.LotState(t, trade.Lot); got.Status != contract.StatusOwned || len(got.Frozen) != 1 {
			t.Errorf("%s: lot %+v", end, got)
		}
		next, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{trade.Lot}, Outputs: []Lot{s.Lot(stock.Set)}})
		s.Refused(t, contract.LotFrozen, next)
	}
	freeze(bought.Lot)
	back, _ := s.Offer(Deal{Seller: buyer, Receiver: c, Inputs: []Lot{bought.Lot}, Outputs: []Lot{s.Lot(bought.Lot.Set)}, Reverses: bought.ID})
	s.Refused(t, contract.LotFrozen, back)
	thaw(bought.Lot)
	s.Must(t, back)
}

func freezeSpent(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	l := s.Stock(t, c, c.Cards(0, 9))
	at := s.At(t, l)
	sold, kept := s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))
	s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{sold}, Remainders: []Lot{kept}})
	for _, body := range []request.Body{request.Freeze{LotAct: at}, request.Unfreeze{LotAct: at}, request.Retire{LotAct: at}, request.Freeze{LotAct: s.At(t, l)}} {
		got := s.Refused(t, contract.InputSpent, s.Sign(body, c))
		if fmt.Sprint(got.Details["children"]) != fmt.Sprint(sortedHashes(sold, kept)) || got.Details["lot"] != l.Hash {
			t.Errorf("details %v", got.Details)
		}
	}
	s.Refused(t, contract.RoleForbidden, s.Sign(request.Freeze{LotAct: s.At(t, l)}, shop)) // he learns nothing
}

func subsets(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	bought := s.Hand(t, c, buyer, s.Stock(t, c, c.Cards(0, 99)))
	l := bought.Lot
	bad, good := s.Lot(c.Cards(30, 39)), s.Lot(c.Cards(0, 29, 40, 99))
	freeze := s.Sign(request.Freeze{LotAct: s.At(t, l, bad, good)}, s.Platform)
	s.Refused(t, contract.OpeningMissing, freeze)
	for name, bend := range map[string]func(*request.LotAct){
		"no rest":     func(a *request.LotAct) { a.Rest = "" },
		"no subset":   func(a *request.LotAct) { a.Subset = "" },
		"twice":       func(a *request.LotAct) { a.Rest = a.Subset },
		"the lot":     func(a *request.LotAct) { a.Rest = a.Lot },
		"not a hash":  func(a *request.LotAct) { a.Subset = "x" },
		"upper case":  func(a *request.LotAct) { a.Subset = "A" + a.Subset[1:] },
		"NUL in hash": func(a *request.LotAct) { a.Subset = "\x00" + a.Subset[1:] },
	} {
		at := s.At(t, l, bad, good)
		bend(&at)
		t.Run(name, func(t *testing.T) {
			s.Refused(t, contract.BadArguments, s.Sign(request.Freeze{LotAct: at}, s.Regulator).With(l, bad, good))
		})
	}
	s.Must(t, freeze.With(l, bad, good))
	for _, x := range []struct {
		lot    Lot
		frozen int
	}{{bad, 1}, {good, 0}} {
		got := s.LotState(t, x.lot)
		if got.Owner != buyer.ID || got.Status != contract.StatusOwned || len(got.Frozen) != x.frozen || got.Acquired != bought.ID ||
			!slices.Equal(got.Parents, Hashes(l)) || got.Trade != "" {
			t.Errorf("lot %+v", got)
		}
	}
	if got := s.LotState(t, l); got.Status != contract.StatusSpent || !slices.Equal(got.Children, Hashes(bad, good)) {
		t.Errorf("lot %+v", got)
	}
	// What is left is his as before, the frozen part is not.
	back, _ := s.Offer(Deal{Seller: buyer, Receiver: c, Inputs: []Lot{good}, Outputs: []Lot{s.Lot(good.Set)}, Reverses: bought.ID})
	s.Must(t, back)
	stuck, _ := s.Offer(Deal{Seller: buyer, Receiver: c, Inputs: []Lot{bad}, Outputs: []Lot{s.Lot(bad.Set)}, Reverses: bought.ID})
	s.Refused(t, contract.LotFrozen, stuck)

	// Part of what is frozen is frozen further, and part of that let go: each part keeps what it had.
	a, rest := s.Lot(c.Cards(30, 31)), s.Lot(c.Cards(32, 39))
	s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, bad, a, rest)}, c).With(bad, a, rest))
	a1, a2 := s.Lot(c.Cards(30, 30)), s.Lot(c.Cards(31, 31))
	s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, a, a1, a2)}, s.Platform).With(a, a1, a2))
	for l, want := range map[*Lot][]request.Role{
		&rest: {request.Platform}, &a1: {request.Carrier}, &a2: {request.Carrier, request.Platform},
	} {
		if got := s.LotState(t, *l); !slices.Equal(got.Frozen, want) || got.Status != contract.StatusOwned || got.Owner != buyer.ID {
			t.Errorf("lot %+v, want frozen by %v", got, want)
		}
	}
	if got := s.LotState(t, bad); !slices.Equal(got.Frozen, []request.Role{request.Platform}) || got.Status != contract.StatusSpent {
		t.Errorf("lot %+v", got)
	}

	// A lot in a trade is frozen whole: its trade names its hash.
	stock := s.Stock(t, c, c.Cards(200, 209))
	trade := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{stock}, Outputs: []Lot{s.Lot(stock.Set)}})[0]
	x, y := s.Lot(c.Cards(200, 204)), s.Lot(c.Cards(205, 209))
	s.Refused(t, contract.LotInTrade, s.Sign(request.Freeze{LotAct: s.At(t, trade.Lot, x, y)}, c).With(trade.Lot, x, y))
	s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, trade.Lot)}, c))
	s.Must(t, s.Sign(request.Cancel{Trade: trade.ID}, c))
	// A part whose hash was used before: the same cards, cut and joined and cut again with the same salts.
	s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, trade.Lot)}, c))
	once := s.Sign(request.Freeze{LotAct: s.At(t, trade.Lot, x, y)}, c).With(trade.Lot, x, y)
	s.Must(t, once)
	s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, x)}, c))
	joined := s.Lot(stock.Set)
	s.Must(t, s.Merge(c, joined, x, y))
	s.Refused(t, contract.LotExists, s.Sign(request.Freeze{LotAct: s.At(t, joined, x, y)}, c).With(joined, x, y))
}

func retire(t *testing.T, s *Stage) {
	c, d, shop, buyer := s.Carrier(t, iccid.Serial), s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	l := s.Hand(t, c, buyer, s.Stock(t, c, c.Cards(0, 9))).Lot
	retire := func(l Lot, by *Actor, parts ...Lot) Signed {
		return s.Sign(request.Retire{LotAct: s.At(t, l, parts...)}, by).With(l).With(parts...)
	}
	for _, by := range []*Actor{d, buyer, shop, s.Regulator, s.Platform} {
		s.Refused(t, contract.RoleForbidden, retire(l, by))
	}
	s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, l)}, s.Regulator))
	s.Refused(t, contract.LotFrozen, retire(l, c)) // evidence
	s.Must(t, s.Sign(request.Unfreeze{LotAct: s.At(t, l)}, s.Regulator))
	dead, alive := s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))
	s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, l)}, c)) // its own freeze is no obstacle
	s.Must(t, retire(l, c, dead, alive))
	if got := s.LotState(t, dead); got.Status != contract.StatusRetired || got.Owner != buyer.ID {
		t.Errorf("lot %+v", got)
	}
	if got := s.LotState(t, alive); got.Status != contract.StatusOwned || len(got.Frozen) != 1 {
		t.Errorf("lot %+v", got)
	}
	s.Refused(t, contract.LotRetired, retire(dead, c))
	s.Refused(t, contract.LotRetired, s.Sign(request.Freeze{LotAct: s.At(t, dead)}, c))
	x, y := s.Lot(c.Cards(0, 1)), s.Lot(c.Cards(2, 4))
	s.Refused(t, contract.LotRetired, s.Sign(request.Unfreeze{LotAct: s.At(t, dead, x, y)}, c).With(dead, x, y))
	s.Refused(t, contract.LotRetired, s.Merge(buyer, s.Lot(l.Set), dead, alive))
	s.Refused(t, contract.AlreadyIssued, s.Issue(c, s.Lot(dead.Set), request.Open)) // never again

	stock := s.Stock(t, c, c.Cards(20, 29))
	trade := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{stock}, Outputs: []Lot{s.Lot(stock.Set)}})[0]
	s.Refused(t, contract.LotInTrade, retire(trade.Lot, c))
	s.Refused(t, contract.InputSpent, retire(stock, c))
	s.Must(t, s.Confirm(trade, shop))
	s.Must(t, retire(trade.Lot, c))
	gone, _ := s.Offer(Deal{Seller: shop, Inputs: []Lot{trade.Lot}, Outputs: []Lot{s.Lot(stock.Set)}})
	s.Refused(t, contract.LotRetired, gone)
}

func freezeParticipant(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	at := func(a *Actor, version int) request.ParticipantAct {
		return request.ParticipantAct{Participant: a.ID, Version: version}
	}
	freeze := func(a *Actor, version int, by ...*Actor) Signed {
		return s.Sign(request.FreezeParticipant{ParticipantAct: at(a, version)}, by...)
	}
	thaw := func(a *Actor, version int, by ...*Actor) Signed {
		return s.Sign(request.UnfreezeParticipant{ParticipantAct: at(a, version)}, by...)
	}
	for _, by := range []*Actor{c, buyer, s.Platform, s.Admins[0]} { // the platform: only consumers
		s.Refused(t, contract.RoleForbidden, freeze(shop, 0, by))
	}
	s.Refused(t, contract.SignatureMissing, freeze(shop, 0, s.Regulator, s.Platform))
	s.Refused(t, contract.ParticipantUnknown, freeze(s.Stranger(request.Retailer), 0, s.Regulator))
	s.Refused(t, contract.BadArguments, freeze(&Actor{ID: "a\x00b"}, 0, s.Regulator))
	s.Refused(t, contract.VersionMismatch, freeze(shop, 1, s.Regulator))
	s.Refused(t, contract.NotFrozen, thaw(shop, 0, s.Regulator))

	mine := s.Hand(t, c, shop, s.Stock(t, c, c.Cards(0, 19))).Lot
	toShop := s.Stock(t, c, c.Cards(100, 109))
	incoming := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{toShop}, Outputs: []Lot{s.Lot(toShop.Set)}})[0]
	parts := []Lot{s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))}
	rest := s.Lot(c.Cards(10, 19))
	outgoing := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{mine}, Outputs: parts, Remainders: []Lot{rest}})
	s.Must(t, freeze(shop, 0, s.Regulator))
	var f contract.Freeze
	s.Query(t, &f, request.Ownership, "GetFreeze", shop.ID)
	if !slices.Equal(f.Frozen, []request.Role{request.Regulator}) || f.Version != 1 {
		t.Errorf("freeze %+v", f)
	}
	s.Refused(t, contract.AlreadyFrozen, freeze(shop, 1, s.Regulator))

	frozen := func(c Signed) {
		t.Helper()
		if got := s.Refused(t, contract.ParticipantFrozen, c); got.Details["participant"] != shop.ID {
			t.Errorf("details %v", got.Details)
		}
	}
	offer, _ := s.Offer(Deal{Seller: shop, Inputs: []Lot{rest}, Outputs: []Lot{s.Lot(rest.Set)}})
	frozen(offer)
	l := s.Stock(t, c, c.Cards(200, 209))
	toHim, _ := s.Offer(Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
	frozen(toHim)
	frozen(s.Confirm(incoming, shop))
	frozen(s.Confirm(outgoing[0], buyer))
	frozen(s.Merge(shop, s.Lot(mine.Set), parts[0], rest))
	s.Must(t, s.Sign(request.Cancel{Trade: outgoing[1].ID}, shop)) // what only brings cards back to where they were
	s.Must(t, s.Decline(incoming, shop, "OTHER"))
	s.Must(t, thaw(shop, 1, s.Regulator))
	s.Must(t, s.Confirm(outgoing[0], buyer))
	s.Must(t, offer)

	s.Must(t, freeze(buyer, 0, s.Platform))
	s.Must(t, freeze(buyer, 1, s.Regulator))
	s.Must(t, thaw(buyer, 2, s.Platform))
	s.Refused(t, contract.NotFrozen, thaw(buyer, 3, s.Platform))
	back, _ := s.Offer(Deal{Seller: buyer, Receiver: shop, Inputs: []Lot{parts[0]}, Outputs: []Lot{s.Lot(parts[0].Set)}, Reverses: outgoing[0].ID})
	s.Refused(t, contract.ParticipantFrozen, back)
	s.Must(t, thaw(buyer, 3, s.Regulator))
	s.Must(t, back)

	s.Must(t, freeze(c, 0, s.Regulator))
	s.Refused(t, contract.ParticipantFrozen, s.Issue(c, s.Lot(c.Cards(300, 309)), request.Open))
}
