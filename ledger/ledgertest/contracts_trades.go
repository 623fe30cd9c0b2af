package ledgertest

import (
	"strings"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

var tradeScenes = []scene{
	{"who sells to whom", false, sellers},
	{"offer times", false, offerTimes},
	{"codes of an offer", false, offerCodes},
	{"confirm by name", false, confirmNamed},
	{"confirm by code", false, confirmBearer},
	{"tickets", false, tickets},
	{"decline", false, decline},
	{"cancel", false, cancel},
	{"expiry", true, expiry},
	{"an ended trade", true, endedTrade},
	{"trades that aren't there", false, noTrade},
	{"return", false, giveBack},
	{"return too late", true, returnTooLate},
	{"one winner", false, oneWinner},
	{"500 trades at once", false, fiveHundred},
	{"trace", false, trace},
	{"trace of what happened in one moment", true, traceOneMoment},
}

func sellers(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	cast := map[request.Role]*Actor{request.Platform: s.Platform, request.Regulator: s.Regulator, request.Carrier: s.Carrier(t, iccid.Serial)}
	for _, r := range []request.Role{request.Distributor, request.Retailer, request.Consumer} {
		cast[r] = s.Join(t, r)
	}
	next := uint32(0)
	lot := func() Lot {
		next += 10
		return s.Stock(t, c, c.Cards(next, next+9))
	}
	for role, a := range cast {
		receives := role != request.Platform && role != request.Regulator
		l := lot()
		named, trades := s.Offer(Deal{Seller: c, Receiver: a, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
		if !receives {
			s.Refused(t, contract.RoleForbidden, named)
			bearer := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
			confirm := s.Sign(request.Confirm{Trade: bearer.ID, Lot: bearer.Lot.Hash, Receiver: a.ID}, a)
			s.Refused(t, contract.RoleForbidden, s.proven(bearer, a, confirm))
			if role == request.Platform { // its keys sign no offer of its own, and would be refused if they did
				l := lot()
				offer, _ := s.Offer(Deal{Seller: a, Receiver: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
				s.Refused(t, contract.RoleForbidden, offer)
			}
			continue
		}
		s.Must(t, named)
		s.Must(t, s.Confirm(trades[0], a))
		sell, _ := s.Offer(Deal{Seller: a, Inputs: []Lot{trades[0].Lot}, Outputs: []Lot{s.Lot(l.Set)}})
		if role == request.Consumer {
			s.Refused(t, contract.RoleForbidden, sell)
			s.SetPolicy(t, request.PolicyConsumerSells, 1)
			s.Must(t, sell)
			s.SetPolicy(t, request.PolicyConsumerSells, 0)
		} else {
			s.Must(t, sell)
		}
	}
	l := lot()
	for code, bend := range map[string]func(*request.Offer){
		contract.SelfTrade:          func(b *request.Offer) { b.Receiver = c.ID },
		contract.ParticipantUnknown: func(b *request.Offer) { b.Receiver = "nobody" },
		contract.BadArguments:       func(b *request.Offer) { b.Mode = request.Bearer }, // which names nobody
		contract.RoleForbidden:      func(b *request.Offer) { b.Receiver = s.Admins[0].ID },
		contract.SignatureMissing:   func(b *request.Offer) { b.Seller = cast[request.Retailer].ID },
	} {
		body, _, openings := s.Body(Deal{Seller: c, Receiver: cast[request.Retailer], Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
		bend(&body)
		signed := s.Sign(body, c)
		signed.Openings = openings
		s.Refused(t, code, signed)
	}
	for _, mode := range []request.Mode{"", "named"} {
		body, _, openings := s.Body(Deal{Seller: c, Receiver: cast[request.Retailer], Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
		body.Mode = mode
		signed := s.Sign(body, c)
		signed.Openings = openings
		s.Refused(t, contract.BadArguments, signed)
	}
}

func offerTimes(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	l := s.Stock(t, c, c.Cards(0, 9))
	for _, x := range []struct {
		code             string
		offered, expires time.Duration // from now
	}{
		{contract.BadArguments, 5 * time.Minute, 24 * time.Hour},
		{contract.BadArguments, -8 * 24 * time.Hour, 24 * time.Hour},
		{contract.TradeExpired, 0, -time.Minute},
		{contract.BadArguments, 0, 31 * 24 * time.Hour},
		{contract.BadArguments, 0, 200 * 365 * 24 * time.Hour},
		{"", -6 * 24 * time.Hour, 29 * 24 * time.Hour}, // signed by a terminal that had no signal for days
	} {
		now := s.Now()
		body, _, openings := s.Body(Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
		body.OfferedAt, body.ExpiresAt = now.Add(x.offered).UnixMilli(), now.Add(x.expires).UnixMilli()
		for i, o := range body.Outputs {
			code := openings.Codes[o.Trade]
			code.Code = request.TradeCode(body.OfferedAt, body.Seller, o.Lot, code.Salt)
			openings.Codes[o.Trade] = code
			body.Outputs[i].CodeHash = request.CodeHash(o.Trade, code.Code, code.Salt)
		}
		signed := s.Sign(body, c)
		signed.Openings = openings
		if x.code == "" {
			s.Must(t, signed)
		} else {
			s.Refused(t, x.code, signed)
		}
	}
}

func confirmNamed(t *testing.T, s *Stage) {
	c, shop, other := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Retailer)
	l := s.Stock(t, c, c.Cards(0, 9))
	trade := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
	s.Refused(t, contract.NotReceiver, s.Confirm(trade, other))
	s.Refused(t, contract.SelfTrade, s.Confirm(trade, c))
	foreign := s.Sign(request.Confirm{Trade: trade.ID, Lot: trade.Lot.Hash, Receiver: shop.ID}, other)
	s.Refused(t, contract.SignatureMissing, foreign)
	s.Refused(t, contract.BadArguments, s.Sign(request.Confirm{Trade: trade.ID, Lot: l.Hash, Receiver: shop.ID}, shop))
	confirm := s.Confirm(trade, shop)
	confirm.Openings = request.Openings{} // none is needed: nothing is counted
	tx := s.Must(t, confirm).TxID
	lot, state := s.LotState(t, trade.Lot), s.TradeState(t, trade)
	if lot.Owner != shop.ID || lot.Status != contract.StatusOwned || lot.Acquired != trade.ID || lot.Version != 2 {
		t.Errorf("lot %+v", lot)
	}
	if state.State != contract.TradeConfirmed || state.Receiver != shop.ID || state.EndTx != tx || state.Mode != request.Named || len(state.EndDevice) != 64 {
		t.Errorf("trade %+v", state)
	}
	ended := s.Refused(t, contract.TradeEnded, s.Confirm(trade, other))
	if ended.Details["txId"] != tx || ended.Details["state"] != string(contract.TradeConfirmed) {
		t.Errorf("details %v", ended.Details)
	}
}

func decline(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	l := s.Stock(t, c, c.Cards(0, 9))
	named := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
	s.Refused(t, contract.NotReceiver, s.Decline(named, buyer, "OTHER"))
	s.Refused(t, contract.SelfTrade, s.Decline(named, c, "OTHER"))
	for _, reason := range []string{"", "other", "电话打不通"} {
		s.Refused(t, contract.BadArguments, s.Decline(named, shop, reason))
	}
	s.Must(t, s.Decline(named, shop, "DAMAGED"))
	lot, state := s.LotState(t, named.Lot), s.TradeState(t, named)
	if lot.Owner != c.ID || lot.Status != contract.StatusOwned || state.State != contract.TradeDeclined || state.Reason != "DAMAGED" || state.Receiver != shop.ID {
		t.Errorf("lot %+v, trade %+v", lot, state)
	}
	s.Refused(t, contract.TradeEnded, s.Confirm(named, shop))

	bearer := s.Sell(t, Deal{Seller: c, Inputs: []Lot{named.Lot}, Outputs: []Lot{s.Lot(l.Set)}})[0]
	wrong := s.Decline(bearer, buyer, "OTHER")
	wrong.Openings.Codes = map[string]request.CodeOpening{bearer.ID: {Salt: bearer.Code.Salt, Code: "00000000"}}
	s.Refused(t, contract.CodeWrong, wrong)
	if done := s.Must(t, s.Decline(bearer, buyer, "CHANGED_MIND")); !s.deletes(t, done, "C/"+bearer.ID) {
		t.Error("the code record outlives its trade")
	}
	s.Refused(t, contract.TradeEnded, s.Confirm(bearer, buyer))
	s.Hand(t, c, shop, bearer.Lot) // it can be sold again
}

func cancel(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	l := s.Stock(t, c, c.Cards(0, 9))
	trade := s.Sell(t, Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
	for _, by := range [][]*Actor{{shop}, {s.Regulator}, {c, shop}, {shop, c}} {
		s.Refused(t, contract.NotSeller, s.Sign(request.Cancel{Trade: trade.ID}, by...))
	}
	s.Must(t, s.Sign(request.Cancel{Trade: trade.ID}, c))
	if got := s.TradeState(t, trade); got.State != contract.TradeCancelled {
		t.Errorf("trade %+v", got)
	}
	s.Refused(t, contract.TradeEnded, s.Confirm(trade, shop))
	s.Refused(t, contract.TradeEnded, s.Decline(trade, shop, "OTHER"))
	s.Hand(t, c, shop, trade.Lot)
}

func expiry(t *testing.T, s *Stage) {
	c, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	l := s.Stock(t, c, c.Cards(0, 9))
	trades := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))}, Expires: time.Hour})
	s.Refused(t, contract.TradeNotExpired, s.Sign(request.Release{Trade: trades[0].ID}, s.Platform))
	s.Later(time.Hour - time.Millisecond)
	s.Refused(t, contract.TradeNotExpired, s.Sign(request.Release{Trade: trades[0].ID}, s.Platform))
	s.Later(time.Millisecond) // from now on there is one answer: expired, and may be released
	s.Refused(t, contract.TradeExpired, s.Confirm(trades[0], buyer))
	s.Refused(t, contract.TradeExpired, s.Decline(trades[0], buyer, "OTHER"))
	for i, done := range []ledger.Commit{
		s.Must(t, s.Sign(request.Release{Trade: trades[0].ID}, shop)), // anyone registered
		s.Must(t, s.Sign(request.Cancel{Trade: trades[1].ID}, c)),     // or the seller
	} {
		if !s.deletes(t, done, "C/"+trades[i].ID) {
			t.Error("the code record outlives its trade")
		}
	}
	for _, each := range trades {
		if got := s.LotState(t, each.Lot); got.Owner != c.ID || got.Status != contract.StatusOwned {
			t.Errorf("lot %+v", got)
		}
	}
	if got := s.TradeState(t, trades[0]); got.State != contract.TradeReleased || got.Receiver != "" {
		t.Errorf("trade %+v", got)
	}
}

// endedTrade: whatever ended a trade, nothing else can.
func endedTrade(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	next := uint32(0)
	for _, end := range []string{"Confirm", "Decline", "Cancel", "Release"} {
		acts := func(trade Trade) map[string]Signed {
			return map[string]Signed{
				"Confirm": s.Confirm(trade, shop), "Decline": s.Decline(trade, shop, "OTHER"),
				"Cancel": s.Sign(request.Cancel{Trade: trade.ID}, c), "Release": s.Sign(request.Release{Trade: trade.ID}, shop),
			}
		}
		next += 10
		l := s.Stock(t, c, c.Cards(next, next+9))
		trade := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}, Expires: time.Minute})[0]
		if end == "Release" {
			s.Later(time.Minute)
		}
		tx := s.Must(t, acts(trade)[end]).TxID
		for name, act := range acts(trade) {
			want := contract.TradeEnded
			if name == end {
				want = contract.AlreadyApplied
			}
			if got := s.Refused(t, want, act); got.Details["txId"] != tx {
				t.Errorf("%s after %s: details %v", name, end, got.Details)
			}
		}
	}
}

func noTrade(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	for id, code := range map[string]string{
		strings.Repeat("0", 32): contract.TradeUnknown, "x": contract.TradeUnknown, "a\x00b": contract.BadArguments,
		"单号": contract.BadArguments, strings.Repeat("a", 2000): contract.BadArguments,
	} {
		for _, body := range []request.Body{
			request.Confirm{Trade: id, Receiver: c.ID}, request.Decline{Trade: id, Receiver: c.ID, Reason: "OTHER"},
			request.Cancel{Trade: id}, request.Release{Trade: id},
		} {
			s.Refused(t, code, s.Sign(body, c))
		}
	}
}

func giveBack(t *testing.T, s *Stage) {
	c, shop, consumer, other := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer), s.Join(t, request.Retailer)
	l := s.Hand(t, c, shop, s.Stock(t, c, c.Cards(0, 19)))
	bought := s.Hand(t, shop, consumer, l.Lot)
	back := func(to *Actor, reverses string, outputs ...Lot) Signed {
		r, _ := s.Offer(Deal{Seller: consumer, Receiver: to, Inputs: []Lot{bought.Lot}, Outputs: outputs, Reverses: reverses})
		return r
	}
	all := s.Lot(bought.Lot.Set)
	s.Refused(t, contract.NotReturnable, back(other, bought.ID, all))                                           // to someone else
	s.Refused(t, contract.NotReturnable, back(c, bought.ID, all))                                               // past the seller
	s.Refused(t, contract.NotReturnable, back(c, l.ID, all))                                                    // another trade, not his
	s.Refused(t, contract.NotReturnable, back(nil, bought.ID, all))                                             // to the bearer
	s.Refused(t, contract.NotReturnable, back(shop, "none", all))                                               // no trade
	s.Refused(t, contract.BadArguments, back(shop, "a\x00", all))                                               // no ID
	s.Refused(t, contract.NotReturnable, back(shop, bought.ID, s.Lot(c.Cards(0, 9)), s.Lot(c.Cards(10, 19))))   // two outputs
	s.Refused(t, contract.PartitionWrong, back(shop, bought.ID, s.Lot(c.Cards(0, 9))))                          // cards lost on the way
	plain, _ := s.Offer(Deal{Seller: consumer, Receiver: shop, Inputs: []Lot{bought.Lot}, Outputs: []Lot{all}}) // as a sale
	s.Refused(t, contract.RoleForbidden, plain)

	// Half of it goes back, twice: what is left still came by that trade.
	first, rest := s.Lot(c.Cards(0, 9)), s.Lot(c.Cards(10, 19))
	r, trades := s.Offer(Deal{Seller: consumer, Receiver: shop, Inputs: []Lot{bought.Lot}, Outputs: []Lot{first}, Remainders: []Lot{rest}, Reverses: bought.ID})
	s.Must(t, r)
	if got := s.TradeState(t, trades[0]); got.Reverses != bought.ID {
		t.Errorf("trade %+v", got)
	}
	s.Must(t, s.Confirm(trades[0], shop))
	again, trades := s.Offer(Deal{Seller: consumer, Receiver: shop, Inputs: []Lot{rest}, Outputs: []Lot{s.Lot(rest.Set)}, Reverses: bought.ID})
	s.Must(t, again)
	s.Must(t, s.Decline(trades[0], shop, "OTHER")) // and it can be offered again
	third, trades := s.Offer(Deal{Seller: consumer, Receiver: shop, Inputs: []Lot{trades[0].Lot}, Outputs: []Lot{s.Lot(rest.Set)}, Reverses: bought.ID})
	s.Must(t, third)
	s.Must(t, s.Confirm(trades[0], shop))
	if got := s.LotState(t, trades[0].Lot); got.Owner != shop.ID {
		t.Errorf("lot %+v", got)
	}

	// After a partial resale only what is still there can go back, and only by the trade it came by.
	stock := s.Hand(t, c, shop, s.Stock(t, c, c.Cards(100, 109)))
	sold, kept := s.Lot(c.Cards(100, 104)), s.Lot(c.Cards(105, 109))
	resale := s.Sell(t, Deal{Seller: shop, Receiver: other, Inputs: []Lot{stock.Lot}, Outputs: []Lot{sold}, Remainders: []Lot{kept}})[0]
	s.Must(t, s.Confirm(resale, other))
	whole, _ := s.Offer(Deal{Seller: shop, Receiver: c, Inputs: []Lot{stock.Lot}, Outputs: []Lot{s.Lot(stock.Lot.Set)}, Reverses: stock.ID})
	s.Refused(t, contract.InputSpent, whole)
	foreign, _ := s.Offer(Deal{Seller: other, Receiver: c, Inputs: []Lot{sold}, Outputs: []Lot{s.Lot(sold.Set)}, Reverses: stock.ID})
	s.Refused(t, contract.NotReturnable, foreign)
	left, _ := s.Offer(Deal{Seller: shop, Receiver: c, Inputs: []Lot{kept}, Outputs: []Lot{s.Lot(kept.Set)}, Reverses: stock.ID})
	s.Must(t, left)
	// A trade that was not confirmed brought nothing.
	open := s.Sell(t, Deal{Seller: other, Receiver: shop, Inputs: []Lot{sold}, Outputs: []Lot{s.Lot(sold.Set)}})[0]
	early, _ := s.Offer(Deal{Seller: shop, Receiver: other, Inputs: []Lot{open.Lot}, Outputs: []Lot{s.Lot(sold.Set)}, Reverses: open.ID})
	s.Refused(t, contract.NotOwner, early)
}
