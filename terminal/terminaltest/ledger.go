package terminaltest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// Applied is a request that the ledger has carried out.
type Applied struct {
	Tx    protocol.Transaction
	Times int // that it was submitted
	Bytes []string
}

type lot struct {
	owner   string
	opening request.LotOpening
	set     iccid.Set
	spent   bool
	trade   string // open trade that holds it
}

type trade struct {
	id, seller, receiver, lot, state string
	code                             request.CodeOpening
	offer                            request.Offer
}

func hexDecode(into []byte, text string) (int, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return 0, err
	}
	copy(into, b)
	return len(b), nil
}

// Give gives an organisation a lot of cards, and answers its hash.
func (g *Gateway) Give(of, first, last string, rule iccid.Rule) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	seg, err := rule.Range(first, last)
	if err != nil {
		g.t.Fatal(err)
	}
	set, err := iccid.NewSet(rule, seg)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.make(of, set)
}

func (g *Gateway) make(of string, set iccid.Set) string {
	hash, opening := request.OpeningOf(set, salt())
	g.lots[hash] = &lot{owner: of, opening: opening, set: set}
	return hash
}

func salt() (s [32]byte) {
	_, _ = rand.Read(s[:])
	return s
}

// Ledger answers what was applied, by request ID.
func (g *Gateway) Ledger() map[string]Applied {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]Applied{}
	for id, a := range g.applied {
		out[id] = a
	}
	return out
}

// Owned are the cards that an organisation has, and that no trade holds.
func (g *Gateway) Owned(of string) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := uint64(0)
	for _, l := range g.lots {
		if l.owner == of && !l.spent && l.trade == "" {
			n += l.set.Count()
		}
	}
	return n
}

// Spend spends a lot behind everybody's back.
func (g *Gateway) Spend(hash string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lots[hash].spent = true
}

// draft is a draft of its own making: one lot in, one out, and the rest.
func (g *Gateway) draft(d *device, in protocol.RecentHash) (any, *refusal) {
	cards, rule := iccid.Set{}, iccid.Luhn
	for _, s := range in.Segments {
		end := s.End
		if end == "" {
			end = s.Start
		}
		seg, err := rule.Range(s.Start, end)
		if err != nil {
			return nil, refuse(400, "ICCID_FORMAT")
		}
		one, err := iccid.NewSet(rule, seg)
		if err != nil {
			return nil, refuse(400, "ICCID_FORMAT")
		}
		if cards, err = cards.Union(one); err != nil {
			return nil, refuse(400, "ICCID_DUPLICATE")
		}
	}
	o := request.Offer{Seller: d.Participant.ID, Mode: in.Mode, Receiver: in.To, OfferedAt: g.Now().UnixMilli()}
	o.ExpiresAt = o.OfferedAt + 24*60*60*1000
	if in.ExpiresIn > 0 {
		o.ExpiresAt = o.OfferedAt + in.ExpiresIn
	}
	openings := request.Openings{Lots: map[string]request.LotOpening{}, Codes: map[string]request.CodeOpening{}}
	hash, opening := request.OpeningOf(cards, salt())
	openings.Lots[hash] = opening
	s := salt()
	out := request.Output{Trade: hex.EncodeToString(s[:16]), Lot: hash}
	if in.Mode == request.Bearer {
		code := request.CodeOpening{Salt: s[16:], Code: request.TradeCode(o.OfferedAt, o.Seller, hash, s[16:])}
		openings.Codes[out.Trade], out.CodeHash = code, request.CodeHash(out.Trade, code.Code, code.Salt)
	}
	o.Outputs = []request.Output{out}
	rest := cards
	for h, l := range g.lots {
		if l.owner != d.Participant.ID || l.spent || l.trade != "" || l.set.Intersect(cards).Empty() {
			continue
		}
		o.Inputs, openings.Lots[h], rest = append(o.Inputs, h), l.opening, rest.Minus(l.set)
		if left := l.set.Minus(cards); !left.Empty() {
			lh, lo := request.OpeningOf(left, salt())
			o.Remainders, openings.Lots[lh] = append(o.Remainders, lh), lo
		}
	}
	if !rest.Empty() {
		return nil, refuse(409, "CARDS_NOT_OWNED")
	}
	var body request.Body = o
	if in.Reverses != "" {
		body = request.Return{Offer: o, Reverses: in.Reverses}
	}
	r := request.New(Channel, body)
	draft := protocol.Draft{Contract: r.Contract, Function: r.Function, Args: string(r.Args), RequestID: r.ID(), Openings: openings, Count: cards.Count()}
	if g.Alter != nil {
		g.Alter(&draft)
	}
	return draft, nil
}

// submit applies a request once, and checks it as the contract does.
func (g *Gateway) submit(d *device, in protocol.Submit) (any, *refusal) {
	r := request.Request{Channel: Channel, Contract: in.Contract, Function: in.Function, Args: []byte(in.Args)}
	id := r.ID()
	raw, _ := json.Marshal(in)
	if a, ok := g.applied[id]; ok {
		a.Times++
		a.Bytes = append(a.Bytes, string(raw))
		g.applied[id] = a
		return committed(id, a), nil
	}
	if gm.Verify(d.public, r.SigningBytes(in.Signature.KeyID, in.Signature.NotAfter), in.Signature.Bytes) != nil || in.Signature.KeyID != d.KeyID {
		return nil, refuse(400, "REQUEST_SIGNATURE_WRONG")
	}
	if in.Signature.NotAfter < g.Now().UnixMilli() {
		return nil, refuse(409, "REQUEST_EXPIRED")
	}
	if no := g.apply(d, in); no != nil {
		return nil, no
	}
	g.block++
	a := Applied{Times: 1, Bytes: []string{string(raw)}, Tx: protocol.Transaction{
		TxID: fmt.Sprintf("%064x", g.block), BlockNumber: g.block, Time: g.Now().UnixMilli(), Contract: in.Contract, Function: in.Function,
		Args: json.RawMessage(in.Args), RequestID: id, Signers: []string{in.Signature.KeyID}, Validation: "VALID",
	}}
	g.applied[id] = a
	return committed(id, a), nil
}

func committed(id string, a Applied) protocol.Submitted {
	return protocol.Submitted{RequestID: id, State: "committed", TxID: a.Tx.TxID, BlockNumber: a.Tx.BlockNumber}
}

func (g *Gateway) apply(d *device, in protocol.Submit) *refusal {
	switch in.Function {
	case "Offer":
		var o request.Offer
		if request.Decode([]byte(in.Args), &o) != nil {
			return refuse(400, "REQUEST_INVALID")
		}
		return g.offer(d, in, o)
	case "Confirm":
		var b request.Confirm
		if request.Decode([]byte(in.Args), &b) != nil {
			return refuse(400, "REQUEST_INVALID")
		}
		return g.end(d, in, b.Trade, b.Receiver, "CONFIRMED")
	case "Decline":
		var b request.Decline
		if request.Decode([]byte(in.Args), &b) != nil {
			return refuse(400, "REQUEST_INVALID")
		}
		return g.end(d, in, b.Trade, b.Receiver, "DECLINED")
	case "Cancel":
		var b request.Cancel
		if request.Decode([]byte(in.Args), &b) != nil {
			return refuse(400, "REQUEST_INVALID")
		}
		return g.cancel(d, b.Trade)
	}
	return refuse(403, "KEY_FUNCTION")
}

func (g *Gateway) offer(d *device, in protocol.Submit, o request.Offer) *refusal {
	if o.Seller != d.Participant.ID || in.Openings == nil || len(o.Outputs) == 0 {
		return refuse(409, "NOT_OWNER")
	}
	var before, after []iccid.Set
	for _, h := range o.Inputs {
		l, ok := g.lots[h]
		switch {
		case !ok || l.owner != o.Seller:
			return refuse(409, "CARDS_NOT_OWNED")
		case l.spent:
			return refuse(409, "INPUT_SPENT")
		}
		before = append(before, l.set)
	}
	made := map[string]*lot{}
	names := slices.Clone(o.Remainders)
	for _, out := range o.Outputs {
		names = append(names, out.Lot)
	}
	for _, h := range names {
		opening := in.Openings.Lots[h]
		set, got, err := opening.Set()
		if err != nil || got != h {
			return refuse(409, "OPENING_WRONG")
		}
		after, made[h] = append(after, set), &lot{owner: o.Seller, opening: opening, set: set}
	}
	if iccid.Partition(before, after) != nil {
		return refuse(409, "PARTITION_WRONG")
	}
	for _, out := range o.Outputs {
		t := &trade{id: out.Trade, seller: o.Seller, receiver: o.Receiver, lot: out.Lot, state: "OPEN", offer: o}
		if o.Mode == request.Bearer {
			t.code = in.Openings.Codes[out.Trade]
			if request.CodeHash(out.Trade, t.code.Code, t.code.Salt) != out.CodeHash || t.code.Code != request.TradeCode(o.OfferedAt, o.Seller, out.Lot, t.code.Salt) {
				return refuse(409, "OPENING_WRONG")
			}
		}
		made[out.Lot].trade = out.Trade
		g.trades[out.Trade] = t
	}
	for _, h := range o.Inputs {
		g.lots[h].spent = true
	}
	for h, l := range made {
		g.lots[h] = l
	}
	return nil
}

// end confirms or declines a trade.
func (g *Gateway) end(d *device, in protocol.Submit, id, receiver, state string) *refusal {
	t, ok := g.trades[id]
	switch {
	case !ok || receiver != d.Participant.ID:
		return refuse(404, "TRADE_NOT_FOUND")
	case t.receiver != "" && t.receiver != receiver, t.receiver == "" && in.Code != t.code.Code:
		return refuse(404, "TRADE_NOT_FOUND")
	case t.state != "OPEN":
		return refuse(409, "TRADE_ENDED")
	}
	t.state = state
	l := g.lots[t.lot]
	if l.trade = ""; state == "CONFIRMED" {
		l.owner = receiver
	}
	return nil
}

// cancel gives the seller his cards back.
func (g *Gateway) cancel(d *device, id string) *refusal {
	t, ok := g.trades[id]
	switch {
	case !ok || t.seller != d.Participant.ID:
		return refuse(404, "TRADE_NOT_FOUND")
	case t.state != "OPEN":
		return refuse(409, "TRADE_ENDED")
	}
	t.state, g.lots[t.lot].trade = "CANCELLED", ""
	return nil
}
