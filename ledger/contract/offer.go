package contract

import (
	"crypto/hmac"

	"cardflow/ledger/request"
)

// clockAhead is how far, in ms, the offer time inside a request may lie ahead of the transaction's time: what the
// peers' own time check tolerates.
const clockAhead = 2 * 60 * 1000

// offer is the transfer-out. body is what was signed, b the offer inside it; reverses is set for a return.
func (c *Ownership) offer(stub Stub, function string, args [][]byte, body request.Body, b *request.Offer, reverses string) ([]byte, error) {
	a, openings, err := c.begin(stub, function, args, body)
	if err != nil {
		return nil, err
	}
	if r, ok := body.(*request.Return); ok {
		reverses = r.Reverses // decoded only now
		if reverses == "" {
			// It would be an offer to anyone, by a key that may sign returns only.
			return nil, refuse(NotReturnable, "a return names the trade that it reverses")
		}
	}
	s, err := a.signer(b.Seller, 0)
	if err != nil {
		return nil, err
	}
	if err := a.maySell(s, reverses != ""); err != nil {
		return nil, err
	}
	if err := a.receiverFits(b); err != nil {
		return nil, err
	}
	if err := a.offerTimes(b); err != nil {
		return nil, err
	}
	if len(b.Inputs) == 0 || len(b.Inputs) > maxInputs || len(b.Outputs) == 0 || len(b.Outputs) > request.MaxOutputs || len(b.Remainders) > maxInputs {
		return nil, refuse(BadArguments, "1 to %d inputs, 1 to %d outputs, at most %d remainders", maxInputs, request.MaxOutputs, maxInputs)
	}
	var outputs []string
	for _, o := range b.Outputs {
		outputs = append(outputs, o.Lot)
	}
	inputs, err := a.spend(b.Inputs, b.Seller, openings, [][]string{outputs, b.Remainders}, a.fewSegments)
	if err != nil {
		return nil, err
	}
	if reverses != "" {
		if err := a.returnable(b, inputs, reverses); err != nil {
			return nil, err
		}
	}
	rest, err := inherit(inputs)
	if err != nil {
		return nil, err
	}
	rest.Device = s.Device()
	for _, h := range b.Remainders {
		l := rest
		l.Hash = h
		if err := a.addLot(l); err != nil {
			return nil, err
		}
	}
	var subjects []string
	for _, o := range b.Outputs {
		l := rest
		l.Hash, l.Status, l.Trade = o.Lot, StatusInTrade, o.Trade
		if err := a.addLot(l); err != nil {
			return nil, err
		}
		if err := a.addTrade(b, o, reverses, s, openings); err != nil {
			return nil, err
		}
		subjects = append(subjects, o.Trade)
	}
	return a.apply(subjects...)
}

// addTrade stages one trade of an offer, and for a BEARER trade its code hash. The contract computes the code again
// from the opening, so a seller's side can't choose one that it can predict or that a bystander can.
func (a *act) addTrade(b *request.Offer, o request.Output, reverses string, s Signer, openings request.Openings) error {
	if !isHex(o.Trade, 32) {
		return refuse(BadArguments, "trade ID")
	}
	var old Trade
	if found, err := a.get(tradeKey(o.Trade), &old); err != nil {
		return err
	} else if found {
		return refuse(TradeExists, "%s", o.Trade).With("trade", o.Trade)
	}
	if b.Mode == request.Bearer {
		code, ok := openings.Codes[o.Trade]
		if !ok {
			return refuse(OpeningMissing, "no opening of the code of trade %s", o.Trade).With("trade", o.Trade)
		}
		if len(code.Salt) != 16 || request.TradeCode(b.OfferedAt, b.Seller, o.Lot, code.Salt) != code.Code ||
			request.CodeHash(o.Trade, code.Code, code.Salt) != o.CodeHash {
			return refuse(CodeWrong, "the code of trade %s is not the one its opening gives", o.Trade).With("trade", o.Trade)
		}
		a.stage(codeKey(o.Trade), []byte(o.CodeHash))
	} else if o.CodeHash != "" {
		return refuse(BadArguments, "a NAMED trade has no code")
	}
	a.put(tradeKey(o.Trade), Trade{
		ID: o.Trade, Lot: o.Lot, Seller: b.Seller, Mode: b.Mode, Receiver: b.Receiver, State: TradeOpen, Reverses: reverses,
		ExpiresAt: b.ExpiresAt, OfferTx: a.stub.TxID(), OfferedAt: a.now, OfferDevice: s.Device(),
	})
	return nil
}

// maySell: carriers, distributors and retailers sell; a consumer only gives back, unless policy lets him sell on.
func (a *act) maySell(s Signer, isReturn bool) error {
	switch s.Role {
	case request.Carrier, request.Distributor, request.Retailer:
	case request.Consumer:
		if !isReturn {
			may, err := a.policy(request.PolicyConsumerSells)
			if err != nil {
				return err
			}
			if may == 0 {
				return refuse(RoleForbidden, "consumers do not sell on")
			}
		}
	default:
		return refuse(RoleForbidden, "a %s does not trade", s.Role)
	}
	return a.notFrozen(s.Participant)
}

func (a *act) receiverFits(b *request.Offer) error {
	switch b.Mode {
	case request.Bearer:
		if b.Receiver != "" {
			return refuse(BadArguments, "a BEARER offer names no receiver")
		}
		return nil
	case request.Named:
		if b.Receiver == b.Seller {
			return refuse(SelfTrade, "receiver and seller are one")
		}
		p, err := ask[Participant](a.stub, "GetParticipant", []byte(b.Receiver))
		if err != nil {
			return err
		}
		if !receives(p.Role) {
			return refuse(RoleForbidden, "a %s does not receive cards", p.Role)
		}
		return a.notFrozen(p.ID)
	}
	return refuse(BadArguments, "mode %q", b.Mode)
}

// receives says which roles can own cards.
func receives(r request.Role) bool {
	switch r {
	case request.Carrier, request.Distributor, request.Retailer, request.Consumer:
		return true
	}
	return false
}

func (a *act) offerTimes(b *request.Offer) error {
	skew, err := a.policy(request.PolicyClockSkew)
	if err != nil {
		return err
	}
	longest, err := a.policy(request.PolicyExpiryMax)
	if err != nil {
		return err
	}
	switch {
	case b.OfferedAt > a.now+clockAhead || b.OfferedAt < a.now-skew:
		return refuse(BadArguments, "offer time is too far from the transaction's")
	case b.ExpiresAt <= a.now:
		return refuse(TradeExpired, "the offer has expired")
	case b.ExpiresAt > a.now+longest:
		return refuse(BadArguments, "expiry is too far away")
	}
	return nil
}

// giveBack is Return: an offer to the former seller.
func (c *Ownership) giveBack(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Return
	return c.offer(stub, "Return", args, &b, &b.Offer, "")
}

// returnable checks that the cards came to their owner by the trade that is to be reversed, from the one who is to get
// them, and not too long ago.
func (a *act) returnable(b *request.Offer, inputs []Lot, reverses string) error {
	var t Trade
	found, err := a.get(tradeKey(reverses), &t)
	if err != nil {
		return err
	}
	if !found || t.State != TradeConfirmed || t.Receiver != b.Seller || b.Mode != request.Named || t.Seller != b.Receiver || len(b.Outputs) != 1 {
		return refuse(NotReturnable, "trade %s is not one that this return reverses", reverses)
	}
	for _, l := range inputs {
		if l.Acquired != reverses {
			return refuse(NotReturnable, "lot %s did not come by trade %s", l.Hash, reverses)
		}
	}
	days, err := a.policy(request.PolicyReturnDays)
	if err != nil {
		return err
	}
	if a.now > t.EndedAt+days*24*60*60*1000 {
		return refuse(NotReturnable, "more than %d days ago", days).With("days", days)
	}
	return nil
}

// codeOpens reports whether an opening opens the code record of a trade.
func (a *act) codeOpens(trade string, openings request.Openings) error {
	stored, err := a.stub.Get(codeKey(trade))
	if err != nil {
		return err
	}
	o, ok := openings.Codes[trade]
	if !ok {
		return refuse(OpeningMissing, "no opening of the code of trade %s", trade).With("trade", trade)
	}
	if !hmac.Equal([]byte(request.CodeHash(trade, o.Code, o.Salt)), stored) {
		return refuse(CodeWrong, "the code does not open trade %s", trade)
	}
	return nil
}
