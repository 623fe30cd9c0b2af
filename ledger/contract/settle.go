package contract

import (
	"cardflow/ledger/request"
)

// open loads a trade that must be open, and its lot.
func (a *act) open(id string) (Trade, Lot, error) {
	var t Trade
	found, err := a.get(tradeKey(id), &t)
	if err != nil {
		return t, Lot{}, err
	}
	if !found {
		return t, Lot{}, refuse(TradeUnknown, "%s", id).With("trade", id)
	}
	if t.State != TradeOpen {
		return t, Lot{}, refuse(TradeEnded, "trade %s is %s", id, t.State).With("state", string(t.State)).With("txId", t.EndTx)
	}
	l, err := a.lot(t.Lot)
	return t, l, err
}

// end stages the end of a trade: its state, and the code record gone for ever.
func (a *act) end(t Trade, state TradeState, device string) {
	t.State, t.EndTx, t.EndedAt, t.EndDevice = state, a.stub.TxID(), a.now, device
	a.put(tradeKey(t.ID), t)
	if t.Mode == request.Bearer {
		a.delete(codeKey(t.ID))
	}
}

// receiverProof checks who may take or refuse a trade: NAMED, the one who is named; BEARER, whoever opens the code and
// has the platform's ticket. It is the same for Confirm and Decline, so refusing tells nobody more than taking does.
func (a *act) receiverProof(t Trade, receiver string, openings request.Openings) (Signer, error) {
	s, err := a.signer(receiver, t.ExpiresAt)
	if err != nil {
		return s, err
	}
	switch {
	case receiver == t.Seller:
		return s, refuse(SelfTrade, "receiver and seller are one")
	case !receives(s.Role):
		return s, refuse(RoleForbidden, "a %s does not receive cards", s.Role)
	case a.now >= t.ExpiresAt:
		return s, refuse(TradeExpired, "trade %s expired", t.ID)
	}
	if t.Mode == request.Named {
		if t.Receiver != receiver {
			return s, refuse(NotReceiver, "trade %s is for someone else", t.ID)
		}
		return s, nil
	}
	if a.proof.Ticket == nil {
		return s, refuse(TicketMissing, "a BEARER trade takes a ticket")
	}
	ticket := request.New(a.stub.Channel(), request.Ticket{Trade: t.ID, Receiver: receiver})
	by, err := askVerify(a.stub, ticket, []request.Signature{*a.proof.Ticket}, t.ExpiresAt)
	if err != nil {
		return s, err
	}
	if by[0].Role != request.Platform {
		return s, refuse(TicketMissing, "a ticket is the platform's")
	}
	return s, a.codeOpens(t.ID, openings)
}

// confirm is the transfer-in: the lot becomes the receiver's.
func (c *Ownership) confirm(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Confirm
	a, openings, err := c.begin(stub, "Confirm", args, &b)
	if err != nil {
		return nil, err
	}
	t, l, err := a.open(b.Trade)
	if err != nil {
		return nil, err
	}
	s, err := a.receiverProof(t, b.Receiver, openings)
	if err != nil {
		return nil, err
	}
	if b.Lot != t.Lot {
		return nil, refuse(BadArguments, "lot %s is not the one in trade %s", b.Lot, t.ID)
	}
	if len(l.Frozen) > 0 {
		return nil, refuse(LotFrozen, "lot %s is frozen", l.Hash).With("lot", l.Hash)
	}
	for _, p := range []string{t.Seller, b.Receiver} {
		if err := a.notFrozen(p); err != nil {
			return nil, err
		}
	}
	if err := a.recount(&l, s, openings); err != nil {
		return nil, err
	}
	l.Owner, l.Status, l.Acquired = b.Receiver, StatusOwned, t.ID
	a.saveLot(l)
	t.Receiver = b.Receiver
	a.end(t, TradeConfirmed, s.Device())
	return a.apply(t.ID, l.Hash)
}

// recount moves the cards of a lot from the person they counted against to the receiver, if he is a consumer and the
// lot demands real names; there it checks his approval and the cap.
func (a *act) recount(l *Lot, receiver Signer, openings request.Openings) error {
	person := ""
	if receiver.Role == request.Consumer && l.RetailPolicy == request.RealName {
		var ap Approval
		found, err := a.get(approvalKey(l.Issuer, receiver.Participant), &ap)
		if err != nil {
			return err
		}
		if !found || ap.Revoked || a.now >= ap.ValidUntil {
			return refuse(RealNameRequired, "%s has no valid approval by %s", receiver.Participant, l.Issuer).With("carrier", l.Issuer)
		}
		person = ap.Commitment
	}
	if person == l.Counted {
		return nil
	}
	set, err := a.cards(openings, l.Hash)
	if err != nil {
		return err
	}
	n := int64(set.Count())
	if l.Counted != "" {
		if err := a.count(l.Issuer, l.Counted, -n); err != nil {
			return err
		}
	}
	if person != "" {
		if err := a.count(l.Issuer, person, n); err != nil {
			return err
		}
	}
	l.Counted = person
	return nil
}

// count changes how many cards of a carrier a person holds.
func (a *act) count(carrier, person string, by int64) error {
	var n int64
	if _, err := a.get(countKey(carrier, person), &n); err != nil {
		return err
	}
	n += by
	if by > 0 {
		most, err := a.policy(request.PolicyRealNameCap)
		if err != nil {
			return err
		}
		if n > most {
			return refuse(CapExceeded, "a person holds at most %d cards of one carrier", most).With("limit", most).With("held", n-by)
		}
	}
	a.put(countKey(carrier, person), n)
	return nil
}

// back gives a lot back to its seller; it stays frozen if it was.
func (a *act) back(l Lot) {
	l.Status = StatusOwned
	a.saveLot(l)
}

func (c *Ownership) decline(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Decline
	a, openings, err := c.begin(stub, "Decline", args, &b)
	if err != nil {
		return nil, err
	}
	if !request.Reasons[b.Reason] {
		return nil, refuse(BadArguments, "reason %q", b.Reason)
	}
	t, l, err := a.open(b.Trade)
	if err != nil {
		return nil, err
	}
	s, err := a.receiverProof(t, b.Receiver, openings)
	if err != nil {
		return nil, err
	}
	a.back(l)
	t.Receiver, t.Reason = b.Receiver, b.Reason
	a.end(t, TradeDeclined, s.Device())
	return a.apply(t.ID, l.Hash)
}

func (c *Ownership) cancel(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Cancel
	a, _, err := c.begin(stub, "Cancel", args, &b)
	if err != nil {
		return nil, err
	}
	t, l, err := a.open(b.Trade)
	if err != nil {
		return nil, err
	}
	s, err := a.signers(t.ExpiresAt)
	if err != nil {
		return nil, err
	}
	if len(s) != 1 || s[0].Participant != t.Seller {
		return nil, refuse(NotSeller, "trade %s is cancelled by its seller", t.ID)
	}
	a.back(l)
	a.end(t, TradeCancelled, s[0].Device())
	return a.apply(t.ID, l.Hash)
}

// release ends a trade that has expired. Anyone registered may ask: it can only give the seller what is his.
func (c *Ownership) release(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Release
	a, _, err := c.begin(stub, "Release", args, &b)
	if err != nil {
		return nil, err
	}
	t, l, err := a.open(b.Trade)
	if err != nil {
		return nil, err
	}
	s, err := a.signers(0)
	if err != nil {
		return nil, err
	}
	if a.now < t.ExpiresAt {
		return nil, refuse(TradeNotExpired, "trade %s has not expired", t.ID)
	}
	a.back(l)
	a.end(t, TradeReleased, s[0].Device())
	return a.apply(t.ID, l.Hash)
}
