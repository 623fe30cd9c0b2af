package ledgertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

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
