package ledgertest

import (
	"errors"
	"slices"
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

// offerCodes: the contract computes each code again, so nobody offers with a code of his own choice.
func offerCodes(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	l := s.Stock(t, c, c.Cards(0, 9))
	deal := Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))}}
	try := func(code string, bend func(*request.Offer, map[string]request.CodeOpening)) {
		t.Helper()
		body, _, openings := s.Body(deal)
		bend(&body, openings.Codes)
		signed := s.Sign(body, c)
		signed.Openings = openings
		s.Refused(t, code, signed)
	}
	chosen := func(salt []byte, code func(b *request.Offer, o request.Output) string) func(*request.Offer, map[string]request.CodeOpening) {
		return func(b *request.Offer, codes map[string]request.CodeOpening) {
			o := &b.Outputs[0]
			opening := request.CodeOpening{Salt: salt, Code: code(b, *o)}
			codes[o.Trade] = opening
			o.CodeHash = request.CodeHash(o.Trade, opening.Code, opening.Salt)
		}
	}
	right := func(salt []byte) func(*request.Offer, request.Output) string {
		return func(b *request.Offer, o request.Output) string {
			return request.TradeCode(b.OfferedAt, b.Seller, o.Lot, salt)
		}
	}
	try(contract.CodeWrong, chosen(s.bytes(16), func(*request.Offer, request.Output) string { return "00000000" }))
	try(contract.CodeWrong, chosen(nil, right(nil)))
	short, long := s.bytes(15), s.bytes(17)
	try(contract.CodeWrong, chosen(short, right(short)))
	try(contract.CodeWrong, chosen(long, right(long)))
	salt := s.bytes(16)
	try(contract.CodeWrong, chosen(salt, func(b *request.Offer, o request.Output) string { return strings.ToLower(right(salt)(b, o)) }))
	try(contract.CodeWrong, chosen(salt, func(b *request.Offer, o request.Output) string {
		return request.TradeCode(b.OfferedAt, shop.ID, o.Lot, salt)
	}))
	try(contract.CodeWrong, chosen(salt, func(b *request.Offer, o request.Output) string {
		return request.TradeCode(b.OfferedAt+1, b.Seller, o.Lot, salt)
	}))
	try(contract.CodeWrong, func(b *request.Offer, _ map[string]request.CodeOpening) { b.Outputs[0].CodeHash = "" })
	try(contract.CodeWrong, func(b *request.Offer, _ map[string]request.CodeOpening) {
		b.Outputs[0].CodeHash, b.Outputs[1].CodeHash = b.Outputs[1].CodeHash, b.Outputs[0].CodeHash
	})
	try(contract.OpeningMissing, func(b *request.Offer, codes map[string]request.CodeOpening) { delete(codes, b.Outputs[1].Trade) })
	try(contract.TradeExists, func(b *request.Offer, _ map[string]request.CodeOpening) { b.Outputs[1].Trade = b.Outputs[0].Trade })
	named, _, openings := s.Body(Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
	named.Outputs[0].CodeHash = Commitment("a code")
	signed := s.Sign(named, c)
	signed.Openings = openings
	s.Refused(t, contract.BadArguments, signed)

	offer, trades := s.Offer(deal)
	s.Must(t, offer)
	other := s.Stock(t, c, c.Cards(20, 29))
	body, _, openings := s.Body(Deal{Seller: c, Receiver: shop, Inputs: []Lot{other}, Outputs: []Lot{s.Lot(other.Set)}})
	body.Outputs[0].Trade = trades[0].ID
	signed = s.Sign(body, c)
	signed.Openings = openings
	s.Refused(t, contract.TradeExists, signed)
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

func confirmBearer(t *testing.T, s *Stage) {
	c, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Consumer)
	l := s.Stock(t, c, c.Cards(0, 9))
	trades := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))}})
	trade, sibling := trades[0], trades[1]
	good := s.Confirm(trade, buyer)
	code := func(o request.CodeOpening) Signed {
		x := good
		x.Openings.Codes = map[string]request.CodeOpening{trade.ID: o}
		return x
	}
	s.Refused(t, contract.CodeWrong, code(request.CodeOpening{Salt: trade.Code.Salt, Code: "00000000"}))
	s.Refused(t, contract.CodeWrong, code(request.CodeOpening{Salt: trade.Code.Salt, Code: strings.ToLower(trade.Code.Code) + "x"}))
	s.Refused(t, contract.CodeWrong, code(request.CodeOpening{Salt: s.bytes(16), Code: trade.Code.Code}))
	s.Refused(t, contract.CodeWrong, code(request.CodeOpening{}))
	s.Refused(t, contract.CodeWrong, code(sibling.Code))
	none := good
	none.Openings.Codes = nil
	if got := s.Refused(t, contract.OpeningMissing, none); got.Details["trade"] != trade.ID {
		t.Errorf("details %v", got.Details)
	}
	none.Openings.Codes = map[string]request.CodeOpening{sibling.ID: trade.Code}
	s.Refused(t, contract.OpeningMissing, none)
	s.Refused(t, contract.SelfTrade, s.Confirm(trade, c))
	done := s.Must(t, good)
	if got := s.TradeState(t, trade); got.Receiver != buyer.ID || got.EndDevice != "WECHAT" {
		t.Errorf("trade %+v", got)
	}
	if !s.deletes(t, done, "C/"+trade.ID) {
		t.Error("the code record outlives its trade")
	}
}

// deletes reports whether a transaction deleted a record of the ownership contract.
func (s *Stage) deletes(t *testing.T, done ledger.Commit, key string) bool {
	t.Helper()
	tx, err := s.Ledger.Transaction(t.Context(), done.TxID)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(tx.Writes, func(w ledger.Write) bool {
		return w.Contract == request.Ownership && w.Key == key && w.Deleted
	})
}

// tickets: the platform's word is for one trade and one receiver, and nobody else can give it.
func tickets(t *testing.T, s *Stage) {
	c, shop, buyer, other := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer), s.Join(t, request.Consumer), s.Join(t, request.Consumer)
	l := s.Stock(t, c, c.Cards(0, 9))
	trades := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))}})
	trade, sibling := trades[0], trades[1]
	soon := s.Now().Add(time.Hour)
	good := s.Confirm(trade, buyer)
	with := func(ticket request.Signature) Signed {
		x := good
		x.Proof.Ticket = &ticket
		return x
	}
	none := good
	none.Proof.Ticket = nil
	s.Refused(t, contract.TicketMissing, none)
	s.Refused(t, contract.SignatureInvalid, with(s.Ticket(sibling.ID, buyer.ID)))
	s.Refused(t, contract.SignatureInvalid, with(s.Ticket(trade.ID, other.ID)))
	s.Refused(t, contract.SignatureInvalid, with(good.Proof.Signatures[0])) // the receiver's own signature
	body := request.New(s.Ledger.Channel(), request.Ticket{Trade: trade.ID, Receiver: buyer.ID})
	for _, by := range []*Actor{c, shop, buyer, s.Regulator, s.Admins[0]} {
		s.Refused(t, contract.TicketMissing, with(s.Signature(body, by, soon)))
	}
	s.Refused(t, contract.KeyUnknown, with(s.Signature(body, s.Stranger(request.Platform), soon)))
	s.Refused(t, contract.RequestExpired, with(s.Signature(body, s.Platform, s.Now().Add(-time.Minute))))
	s.Refused(t, contract.NotAfterTooFar, with(s.Signature(body, s.Platform, s.Now().Add(60*24*time.Hour))))
	elsewhere := body
	elsewhere.Channel = "other"
	s.Refused(t, contract.SignatureInvalid, with(s.Signature(elsewhere, s.Platform, soon)))
	noTickets := s.Platform.WithKey(s.GenerateKey())
	k := s.NewKey(noTickets)
	k.Functions = []string{"Register"}
	s.Must(t, s.Sign(request.PublishKey{Participant: s.Platform.ID, Version: s.Participant(t, s.Platform).Version, Key: k}, s.Platform))
	s.Refused(t, contract.KeyFunction, with(s.Signature(body, noTickets, soon)))
	// A ticket lets nobody in without the receiver, and his signature is not replaced by it.
	impostor := good
	impostor.Proof.Signatures = []request.Signature{*good.Proof.Ticket}
	s.Refused(t, contract.SignatureInvalid, impostor)
	// The ticket is no function that could be called.
	s.Refused(t, contract.UnknownFunction, Signed{Request: body, Proof: request.Proof{Signatures: []request.Signature{*good.Proof.Ticket}}})
	declined := s.Decline(trade, buyer, "NOT_MINE")
	declined.Proof.Ticket = nil
	s.Refused(t, contract.TicketMissing, declined)
	s.Must(t, good)
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

func returnTooLate(t *testing.T, s *Stage) {
	c, consumer := s.Carrier(t, iccid.Serial), s.Join(t, request.Consumer)
	bought := s.Hand(t, c, consumer, s.Stock(t, c, c.Cards(0, 9)))
	part, rest := s.Lot(c.Cards(0, 4)), s.Lot(c.Cards(5, 9))
	s.Later(7 * 24 * time.Hour)
	intime, _ := s.Offer(Deal{Seller: consumer, Receiver: c, Inputs: []Lot{bought.Lot}, Outputs: []Lot{part}, Remainders: []Lot{rest}, Reverses: bought.ID})
	s.Must(t, intime)
	s.Later(time.Millisecond)
	late, _ := s.Offer(Deal{Seller: consumer, Receiver: c, Inputs: []Lot{rest}, Outputs: []Lot{s.Lot(rest.Set)}, Reverses: bought.ID})
	if got := s.Refused(t, contract.NotReturnable, late); got.Details["days"] != 7.0 {
		t.Errorf("details %v", got.Details)
	}
	s.SetPolicy(t, request.PolicyReturnDays, 8)
	s.Must(t, late)
	s.SetPolicy(t, request.PolicyReturnDays, 7)
}

// oneWinner endorses two acts on one trade before either is sent: one of them conflicts, whichever it is.
func oneWinner(t *testing.T, s *Stage) {
	c, a, b := s.Carrier(t, iccid.Serial), s.Join(t, request.Consumer), s.Join(t, request.Consumer)
	next := uint32(0)
	race := func(name string, loser, winner func(Lot, Trade) Signed) {
		t.Run(name, func(t *testing.T) {
			next += 10
			l := s.Stock(t, c, c.Cards(next, next+9))
			trade := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
			_, err := s.SubmitWhile(loser(l, trade), func() error {
				s.Must(t, winner(l, trade))
				return nil
			})
			var f *ledger.Failure
			if !errors.As(err, &f) || f.Class != ledger.Conflict || f.Validation != ledger.ReadConflict {
				t.Fatalf("the loser got %v", err)
			}
		})
	}
	confirm := func(who *Actor) func(Lot, Trade) Signed {
		return func(_ Lot, trade Trade) Signed { return s.Confirm(trade, who) }
	}
	cancel := func(_ Lot, trade Trade) Signed { return s.Sign(request.Cancel{Trade: trade.ID}, c) }
	decline := func(_ Lot, trade Trade) Signed { return s.Decline(trade, b, "OTHER") }
	freeze := func(_ Lot, trade Trade) Signed {
		return s.Sign(request.Freeze{LotAct: s.At(t, trade.Lot)}, s.Regulator)
	}
	suspend := func(Lot, Trade) Signed {
		return s.Sign(request.FreezeParticipant{ParticipantAct: request.ParticipantAct{Participant: a.ID}}, s.Regulator)
	}
	race("two receivers", confirm(a), confirm(b))
	race("the same receiver twice", confirm(a), confirm(a))
	race("cancel wins", confirm(a), cancel)
	race("confirm wins", cancel, confirm(a))
	race("decline wins", confirm(a), decline)
	race("freeze wins", confirm(a), freeze)
	race("the receiver is frozen on the way", confirm(a), suspend)

	// A double sale of one input, and the same cards issued twice at once.
	l := s.Stock(t, c, c.Cards(1000, 1009))
	first, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
	second, _ := s.Offer(Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
	issue, around := s.Issue(c, s.Lot(c.Cards(2000, 2009)), request.Open), s.Issue(c, s.Lot(c.Cards(2005, 2005)), request.Open)
	for _, pair := range [][2]Signed{{first, second}, {issue, around}} {
		_, err := s.SubmitWhile(pair[0], func() error {
			s.Must(t, pair[1])
			return nil
		})
		if ledger.ClassOf(err) != ledger.Conflict {
			t.Errorf("%s twice at once: %v", pair[0].Request.Function, err)
		}
	}
	// A key that is revoked on the way signs nothing more.
	shop := s.Join(t, request.Retailer)
	lot := s.Hand(t, c, shop, s.Stock(t, c, c.Cards(3000, 3009))).Lot
	offer, _ := s.Offer(Deal{Seller: shop, Inputs: []Lot{lot}, Outputs: []Lot{s.Lot(lot.Set)}})
	_, err := s.SubmitWhile(offer, func() error {
		s.Must(t, s.Sign(request.RevokeKey{KeyAct: request.KeyAct{Key: shop.Key.Public().KeyID(), Version: 1}}, s.Platform))
		return nil
	})
	if ledger.ClassOf(err) != ledger.Conflict {
		t.Errorf("revoked on the way: %v", err)
	}
}

func fiveHundred(t *testing.T, s *Stage) {
	c, buyer := s.Carrier(t, iccid.Luhn), s.Join(t, request.Consumer)
	l := s.Stock(t, c, c.Cards(0, request.MaxOutputs))
	d := Deal{Seller: c, Inputs: []Lot{l}}
	for i := range uint32(request.MaxOutputs + 1) {
		d.Outputs = append(d.Outputs, s.Lot(c.Cards(i, i)))
	}
	many, _ := s.Offer(d)
	s.Refused(t, contract.BadArguments, many)
	d.Outputs, d.Remainders = d.Outputs[:request.MaxOutputs], d.Outputs[request.MaxOutputs:]
	trades := s.Sell(t, d)
	if len(trades) != 500 {
		t.Fatalf("%d trades", len(trades))
	}
	s.Must(t, s.Confirm(trades[499], buyer))
	if got := s.LotState(t, trades[499].Lot); got.Owner != buyer.ID {
		t.Errorf("lot %+v", got)
	}
	if got := s.TradeState(t, trades[0]); got.State != contract.TradeOpen {
		t.Errorf("trade %+v", got)
	}
}

// trace: a consumer sees one up, staff one up and one down of their own, a regulator all.
func trace(t *testing.T, s *Stage) {
	c, wholesale, shop, buyer := s.Carrier(t, iccid.Serial), s.Join(t, request.Distributor), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	l := s.Stock(t, c, c.Cards(0, 99))
	first := s.Hand(t, c, wholesale, l)
	sold, rest := s.Lot(c.Cards(0, 9)), s.Lot(c.Cards(10, 99))
	second := s.Sell(t, Deal{Seller: wholesale, Receiver: shop, Inputs: []Lot{first.Lot}, Outputs: []Lot{sold}, Remainders: []Lot{rest}})[0]
	s.Must(t, s.Confirm(second, shop))
	third := s.Sell(t, Deal{Seller: shop, Inputs: []Lot{sold}, Outputs: []Lot{s.Lot(sold.Set)}})[0]
	s.Must(t, s.Confirm(third, buyer))

	kinds := func(who *Actor, l Lot) (list []string) {
		var hops []contract.Hop
		s.Query(t, &hops, request.Ownership, "Trace", l.Hash, who.ID)
		for _, h := range hops {
			list = append(list, h.Kind+" "+h.From+">"+h.To)
			if h.OfferTx == "" || h.Kind == "TRADE" && (h.EndTx == "" || h.State != string(contract.TradeConfirmed)) {
				t.Errorf("hop %+v", h)
			}
		}
		return list
	}
	issued := "ISSUE >" + c.ID
	one, two, three := "TRADE "+c.ID+">"+wholesale.ID, "TRADE "+wholesale.ID+">"+shop.ID, "TRADE "+shop.ID+">"+buyer.ID
	for _, x := range []struct {
		who  *Actor
		lot  Lot
		want []string
	}{
		{s.Regulator, third.Lot, []string{issued, one, two, three}},
		{buyer, third.Lot, []string{three}},
		{shop, third.Lot, []string{two, three}},
		{wholesale, third.Lot, []string{one, two}},
		{c, third.Lot, []string{issued, one}},
		{buyer, sold, nil},
		{buyer, rest, nil},
		{s.Platform, third.Lot, nil},
		{s.Regulator, rest, []string{issued, one, "SPLIT >" + wholesale.ID}},
	} {
		if got := kinds(x.who, x.lot); strings.Join(got, ", ") != strings.Join(x.want, ", ") {
			t.Errorf("%s sees %q, want %q", x.who.ID, got, x.want)
		}
	}
}

// traceOneMoment: the clock stands still, so only the lineage says what came first.
func traceOneMoment(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	l := s.Stock(t, c, c.Cards(0, 9))
	want := []string{c.ID}
	for range 6 {
		shop := s.Join(t, request.Retailer)
		l = s.Hand(t, c, shop, l).Lot
		want = append(want, shop.ID, c.ID)
		l = s.Hand(t, shop, c, l).Lot
	}
	var hops []contract.Hop
	s.Query(t, &hops, request.Ownership, "Trace", l.Hash, s.Regulator.ID)
	if len(hops) != len(want) {
		t.Fatalf("%d hops, want %d", len(hops), len(want))
	}
	for i, h := range hops {
		if h.To != want[i] {
			t.Errorf("hop %d goes to %s, want %s", i, h.To, want[i])
		}
	}
}
