package contract

import (
	"encoding/json"
	"time"

	"cardflow/ledger/request"
)

// LotVersion is a lot as one transaction left it.
type LotVersion struct {
	TxID string    `json:"txId"`
	Time time.Time `json:"time"`
	Lot  Lot       `json:"lot"`
}

// lotHistory is every state of a lot, newest first.
func lotHistory(stub Stub, args [][]byte) ([]LotVersion, error) {
	id, err := texts(args, 1)
	if err != nil {
		return nil, err
	}
	list, err := stub.History(lotKey(id[0]))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, refuse(LotUnknown, "%s", id[0])
	}
	out := make([]LotVersion, len(list))
	for i, m := range list {
		out[i] = LotVersion{TxID: m.TxID, Time: m.Time}
		if err := json.Unmarshal(m.Value, &out[i].Lot); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Hop is one step in the life of a lot's cards (paper §2.4.4).
type Hop struct {
	Kind        string `json:"kind"` // ISSUE, TRADE, RETURN, MERGE, SPLIT
	Lot         string `json:"lot"`
	Trade       string `json:"trade,omitempty"`
	State       string `json:"state,omitempty"` // of the trade
	From        string `json:"from,omitempty"`
	To          string `json:"to,omitempty"`
	OfferTx     string `json:"offerTx"`
	OfferedAt   int64  `json:"offeredAt"` // ms
	OfferDevice string `json:"offerDevice,omitempty"`
	EndTx       string `json:"endTx,omitempty"`
	EndedAt     int64  `json:"endedAt,omitempty"` // ms
	EndDevice   string `json:"endDevice,omitempty"`
}

// trace walks from a lot up to its issue and answers the hops that the requester may see, oldest first: a consumer the
// one that brought the cards to him, a regulator all, everyone else those of which he was a side, one up and one down.
func trace(stub Stub, args [][]byte) ([]Hop, error) {
	names, err := texts(args, 2)
	if err != nil {
		return nil, err
	}
	requester, err := ask[Participant](stub, "GetParticipant", []byte(names[1]))
	if err != nil {
		return nil, err
	}
	var hops []Hop
	seen := map[string]bool{}
	// Parents come before their children. Times would not do: they are set by gateways, within minutes of the truth.
	var visit func(hash string) error
	visit = func(hash string) error {
		if seen[hash] || len(seen) >= maxLineage {
			return nil
		}
		seen[hash] = true
		var l Lot
		if found, err := load(stub, lotKey(hash), &l); err != nil {
			return err
		} else if !found {
			return refuse(LotUnknown, "%s", hash)
		}
		for _, parent := range l.Parents {
			if err := visit(parent); err != nil {
				return err
			}
		}
		h, err := hopOf(stub, l)
		if err == nil && visible(requester, h) {
			hops = append(hops, h)
		}
		return err
	}
	if err := visit(names[0]); err != nil {
		return nil, err
	}
	if requester.Role == request.Consumer && len(hops) > 1 {
		hops = hops[len(hops)-1:]
	}
	return hops, nil
}

// hopOf says how a lot came to be.
func hopOf(stub Stub, l Lot) (Hop, error) {
	h := Hop{Lot: l.Hash, To: l.Owner, OfferTx: l.TxID, OfferedAt: l.Time, OfferDevice: l.Device}
	switch {
	case l.Trade != "":
		var t Trade
		if found, err := load(stub, tradeKey(l.Trade), &t); err != nil {
			return h, err
		} else if !found {
			return h, refuse(TradeUnknown, "%s", l.Trade)
		}
		h.Kind, h.Trade, h.State, h.From, h.To = "TRADE", t.ID, string(t.State), t.Seller, t.Receiver
		h.OfferedAt, h.OfferDevice, h.EndTx, h.EndedAt, h.EndDevice = t.OfferedAt, t.OfferDevice, t.EndTx, t.EndedAt, t.EndDevice
		if t.Reverses != "" {
			h.Kind = "RETURN"
		}
	case len(l.Parents) == 0:
		h.Kind, h.To = "ISSUE", l.Issuer
	case len(l.Parents) == 1:
		h.Kind = "SPLIT"
	default:
		h.Kind = "MERGE"
	}
	return h, nil
}

func visible(p Participant, h Hop) bool {
	switch p.Role {
	case request.Regulator:
		return true
	case request.Consumer:
		return h.To == p.ID && h.State == string(TradeConfirmed)
	default:
		return h.From == p.ID || h.To == p.ID
	}
}
