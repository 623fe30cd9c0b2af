package ledgertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

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
