package contract

import (
	"cardflow/iccid"
	"cardflow/ledger/request"
)

// LotStatus is the state of a lot.
type LotStatus string

// The states of a lot. OWNED ⇄ IN_TRADE; OWNED → SPENT, RETIRED. SPENT and RETIRED are final.
const (
	StatusOwned   LotStatus = "OWNED"
	StatusInTrade LotStatus = "IN_TRADE"
	StatusSpent   LotStatus = "SPENT"
	StatusRetired LotStatus = "RETIRED"
)

// Lot is a set of cards with one owner (物权), named by the salted hash of its canonical form. The ledger never sees
// the cards themselves.
type Lot struct {
	Hash         string               `json:"hash"`
	Issuer       string               `json:"issuer"` // the carrier; one per lot
	Rule         string               `json:"rule"`
	Owner        string               `json:"owner"`
	Status       LotStatus            `json:"status"`
	Frozen       []request.Role       `json:"frozen,omitempty"` // who froze it, sorted
	RetailPolicy request.RetailPolicy `json:"retailPolicy"`
	Restrictions []string             `json:"restrictions,omitempty"`
	Parents      []string             `json:"parents,omitempty"`
	Children     []string             `json:"children,omitempty"`
	Trade        string               `json:"trade,omitempty"`    // the trade it was made for
	Acquired     string               `json:"acquired,omitempty"` // the confirmed trade that brought its cards to the owner
	Counted      string               `json:"counted,omitempty"`  // the person (commitment) against whose cap its cards count
	Device       string               `json:"device,omitempty"`   // through what its maker acted
	TxID         string               `json:"txId"`               // the transaction that made it
	Time         int64                `json:"time"`               // of that transaction, ms
	Version      int                  `json:"version"`
}

// TradeState is the state of a trade.
type TradeState string

// The states of a trade: OPEN, and one of four ends.
const (
	TradeOpen      TradeState = "OPEN"
	TradeConfirmed TradeState = "CONFIRMED"
	TradeDeclined  TradeState = "DECLINED"
	TradeCancelled TradeState = "CANCELLED"
	TradeReleased  TradeState = "RELEASED"
)

// Trade is one transfer of one lot to one receiver.
type Trade struct {
	ID          string       `json:"id"`
	Lot         string       `json:"lot"`
	Seller      string       `json:"seller"`
	Mode        request.Mode `json:"mode"`
	Receiver    string       `json:"receiver,omitempty"` // NAMED: from the start; BEARER: who ended it
	State       TradeState   `json:"state"`
	Reason      string       `json:"reason,omitempty"`   // DECLINED
	Reverses    string       `json:"reverses,omitempty"` // a return names the trade it undoes
	ExpiresAt   int64        `json:"expiresAt"`          // ms
	OfferTx     string       `json:"offerTx"`
	OfferedAt   int64        `json:"offeredAt"` // the offering transaction's time, ms
	OfferDevice string       `json:"offerDevice"`
	EndTx       string       `json:"endTx,omitempty"`
	EndedAt     int64        `json:"endedAt,omitempty"` // ms
	EndDevice   string       `json:"endDevice,omitempty"`
}

func lotKey(hash string) string        { return "L/" + hash }
func tradeKey(id string) string        { return "T/" + id }
func codeKey(trade string) string      { return "C/" + trade }
func markKey(mark string) string       { return "B/" + mark }
func approvalKey(c, p string) string   { return "A/" + c + "/" + p }
func countKey(c, person string) string { return "N/" + c + "/" + person }
func frozenKey(p string) string        { return "F/" + p }

// cards is a lot's opening, checked: the hash that the opening gives is the lot's.
func (a *act) cards(openings request.Openings, hash string) (iccid.Set, error) {
	o, ok := openings.Lots[hash]
	if !ok {
		return iccid.Set{}, refuse(OpeningMissing, "no opening of lot %s", hash).With("lot", hash)
	}
	set, got, err := o.Set()
	if err != nil {
		return iccid.Set{}, refuseICCID(err)
	}
	if got != hash {
		return iccid.Set{}, refuse(OpeningMismatch, "the opening is not that of lot %s", hash).With("lot", hash)
	}
	return set, nil
}

// lot loads a lot that must exist.
func (a *act) lot(hash string) (Lot, error) {
	var l Lot
	found, err := a.get(lotKey(hash), &l)
	if err == nil && !found {
		err = refuse(LotUnknown, "%s", hash).With("lot", hash)
	}
	return l, err
}

// saveLot stages a change of a lot that stands.
func (a *act) saveLot(l Lot) {
	l.Version++
	a.put(lotKey(l.Hash), l)
}

// addLot stages a new lot. A hash is used once, ever.
func (a *act) addLot(l Lot) error {
	if !isHex(l.Hash, 64) {
		return refuse(BadArguments, "lot hash")
	}
	var old Lot
	if found, err := a.get(lotKey(l.Hash), &old); err != nil {
		return err
	} else if found {
		return refuse(LotExists, "%s", l.Hash).With("lot", l.Hash)
	}
	l.TxID, l.Time, l.Version = a.stub.TxID(), a.now, 1
	a.put(lotKey(l.Hash), l)
	return nil
}

// spendable checks that the signer may use a lot as an input.
func (a *act) spendable(l Lot, owner string) error {
	switch {
	case l.Owner != owner:
		return refuse(NotOwner, "lot %s is not %s's", l.Hash, owner).With("lot", l.Hash)
	case l.Status == StatusSpent:
		live, err := liveChildren(a.stub, l)
		if err != nil {
			return err
		}
		return refuse(InputSpent, "lot %s is spent", l.Hash).With("lot", l.Hash).With("children", live)
	case l.Status == StatusInTrade:
		return refuse(LotInTrade, "lot %s is in trade %s", l.Hash, l.Trade).With("lot", l.Hash)
	case l.Status != StatusOwned:
		return refuse(LotRetired, "lot %s is %s", l.Hash, l.Status).With("lot", l.Hash)
	case len(l.Frozen) > 0:
		return refuse(LotFrozen, "lot %s is frozen", l.Hash).With("lot", l.Hash)
	}
	return nil
}

// maxLineage bounds how many lots a walk along a lineage visits.
const maxLineage = 10000

// liveChildren walks down from a spent lot to the lots that hold its cards now.
func liveChildren(stub Stub, l Lot) ([]string, error) {
	var live []string
	seen := map[string]bool{l.Hash: true}
	queue := append([]string(nil), l.Children...)
	for len(queue) > 0 && len(seen) < maxLineage {
		h := queue[0]
		queue = queue[1:]
		if seen[h] {
			continue
		}
		seen[h] = true
		var c Lot
		if found, err := load(stub, lotKey(h), &c); err != nil {
			return nil, err
		} else if !found {
			continue
		}
		if c.Status == StatusSpent {
			queue = append(queue, c.Children...)
		} else {
			live = append(live, h)
		}
	}
	return sorted(live), nil
}

// inherit makes the lot that comes out of inputs: issuer, rule, owner, policy, restrictions are taken from them, never
// given. Several inputs must agree on issuer, rule and person, and give the strictest policy and all restrictions.
func inherit(inputs []Lot) (Lot, error) {
	first := inputs[0]
	out := Lot{
		Issuer: first.Issuer, Rule: first.Rule, Owner: first.Owner, Status: StatusOwned, RetailPolicy: first.RetailPolicy,
		Acquired: first.Acquired, Counted: first.Counted,
	}
	var frozen []string
	for _, l := range inputs {
		if l.Issuer != out.Issuer || l.Rule != out.Rule || l.Counted != out.Counted {
			return Lot{}, refuse(LotsDiffer, "inputs of several issuers, rules or persons")
		}
		if l.RetailPolicy == request.RealName {
			out.RetailPolicy = request.RealName
		}
		if l.Acquired != out.Acquired {
			out.Acquired = "" // cards of several trades: none of them can be named in a return
		}
		out.Restrictions = sorted(append(out.Restrictions, l.Restrictions...))
		out.Parents = append(out.Parents, l.Hash)
		for _, r := range l.Frozen {
			frozen = append(frozen, string(r))
		}
	}
	for _, r := range sorted(frozen) {
		out.Frozen = append(out.Frozen, request.Role(r))
	}
	return out, nil
}

// distinct reports whether hashes are well formed and no two of them equal.
func distinct(lists ...[]string) error {
	seen := map[string]bool{}
	for _, list := range lists {
		for _, h := range list {
			if !isHex(h, 64) {
				return refuse(BadArguments, "lot hash")
			}
			if seen[h] {
				return refuse(BadArguments, "lot %s twice", h)
			}
			seen[h] = true
		}
	}
	return nil
}
