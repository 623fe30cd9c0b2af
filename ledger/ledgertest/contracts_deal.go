package ledgertest

import (
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// Deal is what a seller wants to offer.
type Deal struct {
	Seller     *Actor
	Receiver   *Actor // nil: BEARER
	Inputs     []Lot
	Outputs    []Lot // a trade each
	Remainders []Lot
	Expires    time.Duration // from now; a day if 0
	Reverses   string        // a trade: the deal is a return
}

// Trade is an offered trade with what only its two sides know.
type Trade struct {
	ID      string
	Mode    request.Mode
	Seller  string
	Lot     Lot
	Expires time.Time
	Code    request.CodeOpening // BEARER
}

// Offer signs an offer, or a return if the deal reverses a trade.
func (s *Stage) Offer(d Deal) (Signed, []Trade) {
	body, trades, openings := s.Body(d)
	var c Signed
	if d.Reverses != "" {
		c = s.Sign(request.Return{Offer: body, Reverses: d.Reverses}, d.Seller)
	} else {
		c = s.Sign(body, d.Seller)
	}
	c.Openings = openings
	return c, trades
}

// Body is a deal before it is signed: for tests that bend it.
func (s *Stage) Body(d Deal) (request.Offer, []Trade, request.Openings) {
	now := s.Now()
	if d.Expires == 0 {
		d.Expires = 24 * time.Hour
	}
	body := request.Offer{
		Seller: d.Seller.ID, Mode: request.Bearer, OfferedAt: now.UnixMilli(), ExpiresAt: now.Add(d.Expires).UnixMilli(),
		Inputs: Hashes(d.Inputs...), Remainders: Hashes(d.Remainders...),
	}
	if d.Receiver != nil {
		body.Mode, body.Receiver = request.Named, d.Receiver.ID
	}
	openings := Signed{}.With(d.Inputs...).With(d.Outputs...).With(d.Remainders...).Openings
	openings.Codes = map[string]request.CodeOpening{}
	var trades []Trade
	for _, l := range d.Outputs {
		t := Trade{ID: s.id(), Mode: body.Mode, Seller: d.Seller.ID, Lot: l, Expires: time.UnixMilli(body.ExpiresAt).UTC()}
		out := request.Output{Trade: t.ID, Lot: l.Hash}
		if t.Mode == request.Bearer {
			t.Code.Salt = s.bytes(16)
			t.Code.Code = request.TradeCode(body.OfferedAt, body.Seller, l.Hash, t.Code.Salt)
			out.CodeHash = request.CodeHash(t.ID, t.Code.Code, t.Code.Salt)
			openings.Codes[t.ID] = t.Code
		}
		body.Outputs = append(body.Outputs, out)
		trades = append(trades, t)
	}
	return body, trades, openings
}

// Confirm signs a receiver's confirmation, with code and ticket where the trade is BEARER.
func (s *Stage) Confirm(t Trade, receiver *Actor) Signed {
	return s.proven(t, receiver, s.Sign(request.Confirm{Trade: t.ID, Lot: t.Lot.Hash, Receiver: receiver.ID}, receiver))
}

// Decline signs a receiver's refusal.
func (s *Stage) Decline(t Trade, receiver *Actor, reason string) Signed {
	return s.proven(t, receiver, s.Sign(request.Decline{Trade: t.ID, Receiver: receiver.ID, Reason: reason}, receiver))
}

// proven adds what a receiver shows: the code and the platform's ticket.
func (s *Stage) proven(t Trade, receiver *Actor, c Signed) Signed {
	c = c.With(t.Lot)
	if t.Mode == request.Bearer {
		c.Openings.Codes = map[string]request.CodeOpening{t.ID: t.Code}
		ticket := s.Ticket(t.ID, receiver.ID)
		c.Proof.Ticket = &ticket
	}
	return c
}

// Ticket is the platform's word that its guards let a receiver at a trade.
func (s *Stage) Ticket(trade, receiver string) request.Signature {
	r := request.New(s.Ledger.Channel(), request.Ticket{Trade: trade, Receiver: receiver})
	return s.Signature(r, s.Platform, s.Now().Add(time.Hour))
}

// Issue signs the first registration of a lot.
func (s *Stage) Issue(carrier *Actor, l Lot, policy request.RetailPolicy, restrictions ...string) Signed {
	c := s.Sign(request.Issue{
		Lot: l.Hash, Carrier: carrier.ID, Rule: string(carrier.Rule), RetailPolicy: policy, Restrictions: restrictions,
	}, carrier).With(l)
	c.Openings.IssueKey = s.IssueKey
	return c
}

// Merge signs a merge of lots into one.
func (s *Stage) Merge(owner *Actor, out Lot, in ...Lot) Signed {
	return s.Sign(request.Merge{Owner: owner.ID, Inputs: Hashes(in...), Output: out.Hash}, owner).With(in...).With(out)
}

// Stock issues cards with the policy OPEN.
func (s *Stage) Stock(t T, carrier *Actor, set iccid.Set) Lot {
	t.Helper()
	l := s.Lot(set)
	s.Must(t, s.Issue(carrier, l, request.Open))
	return l
}

// Sell offers a deal, which has to commit.
func (s *Stage) Sell(t T, d Deal) []Trade {
	t.Helper()
	c, trades := s.Offer(d)
	s.Must(t, c)
	return trades
}

// Hand sells all of a lot by name, has it confirmed, and returns the trade: its lot holds the same cards.
func (s *Stage) Hand(t T, seller, receiver *Actor, l Lot) Trade {
	t.Helper()
	trades := s.Sell(t, Deal{Seller: seller, Receiver: receiver, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
	s.Must(t, s.Confirm(trades[0], receiver))
	return trades[0]
}

// Approve signs a carrier's real-name approval of a consumer for 30 days: person says who the consumer is, whatever his
// account.
func (s *Stage) Approve(carrier, consumer *Actor, person string, version int) Signed {
	return s.Sign(request.Approve{
		Carrier: carrier.ID, Consumer: consumer.ID, Commitment: Commitment(person),
		ValidUntil: s.Now().Add(30 * 24 * time.Hour).UnixMilli(), Version: version,
	}, carrier)
}

// Commitment stands in for the platform's keyed hash of a person's ID number.
func Commitment(person string) string { return request.IssueKeyCommitment([]byte(person)) }

// LotState is a lot as the ledger has it.
func (s *Stage) LotState(t T, l Lot) contract.Lot {
	t.Helper()
	var state contract.Lot
	s.Query(t, &state, request.Ownership, "GetLot", l.Hash)
	return state
}

// TradeState is a trade as the ledger has it.
func (s *Stage) TradeState(t T, trade Trade) contract.Trade {
	t.Helper()
	var state contract.Trade
	s.Query(t, &state, request.Ownership, "GetTrade", trade.ID)
	return state
}

// At names a lot at the version it has now, and the two parts it is to be split into, if any.
func (s *Stage) At(t T, l Lot, parts ...Lot) request.LotAct {
	t.Helper()
	at := request.LotAct{Lot: l.Hash, Version: s.LotState(t, l).Version}
	if len(parts) == 2 {
		at.Subset, at.Rest = parts[0].Hash, parts[1].Hash
	}
	return at
}
