package ledgertest

import (
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// lot makes a lot and remembers it, with what must stay secret of it.
func (h *history) lot(set iccid.Set) Lot {
	l := h.Lot(set)
	h.cardsOf[l.Hash] = numbers(set)
	h.secrets = append(h.secrets, forms(l.Opening.Salt)...)
	return l
}

func (h *history) actor(list []*Actor, label string) *Actor {
	return pick(h, list, label)
}

func (h *history) issue() {
	c := h.actor(h.carriers, "carrier")
	of, why := c, reasons{}
	if h.chance(8, "foreign cards") {
		of = h.actor(h.carriers, "whose")
		why.add(of != c, contract.RoleForbidden)
	}
	lo := uint32(h.below(400, "first card"))
	l := h.lot(of.Cards(lo, lo+uint32(h.below(12, "more cards"))))
	for _, n := range numbers(l.Set) {
		why.add(h.cards[n] != nil, contract.AlreadyIssued)
	}
	why.add(len(h.census.frozen[c.ID]) > 0, contract.ParticipantFrozen)
	strict := h.chance(2, "real names")
	policy := request.Open
	if strict {
		policy = request.RealName
	}
	restrictions := pick(h, [][]string{nil, {"NO_SMS"}, {"NO_SMS", "NO_VOICE"}, {"NO_VOICE"}}, "restrictions")
	signed := h.Issue(c, l, policy, restrictions...)
	if of != c { // signed by one carrier over another's numbers
		signed = h.Sign(request.Issue{Lot: l.Hash, Carrier: c.ID, Rule: string(of.Rule), RetailPolicy: policy, Restrictions: restrictions}, c).With(l)
		signed.Openings.IssueKey = h.IssueKey
	}
	h.play(signed, why, func() {
		h.lots = append(h.lots, l)
		h.become(l, card{issuer: c.ID, owner: c.ID, status: contract.StatusOwned, strict: strict, restrictions: restrictions})
	})
}

// owner draws someone who has something, usually.
func (h *history) owner(label string) *Actor {
	live := slices.DeleteFunc(slices.Clone(h.lots), func(l Lot) bool { return h.lotState[l.Hash].Status != contract.StatusOwned })
	if l, ok := one(h, live, label); ok && !h.chance(8, label+", anyone") {
		return h.now(&Actor{ID: h.lotState[l.Hash].Owner})
	}
	return h.actor(h.people, label)
}

// inputs draws lots of someone: usually ones that he may use.
func (h *history) inputs(owner *Actor, most int) []Lot {
	var his []Lot
	for _, l := range h.lots {
		if c, alive := h.of(l); alive && c.owner == owner.ID && c.status == contract.StatusOwned {
			his = append(his, l)
		}
	}
	if h.chance(8, "any lot") {
		his = h.lots
	}
	var in []Lot
	for range 1 + h.below(most, "inputs") {
		if l, ok := one(h, his, "input"); ok && !slices.ContainsFunc(in, func(x Lot) bool { return x.Hash == l.Hash }) {
			in = append(in, l)
		}
	}
	return in
}

// cut draws a partition of the cards of lots into at most n parts.
func (h *history) cut(in []Lot, n int) (parts []Lot) {
	rule := in[0].Set.Rule
	var all []string
	for _, l := range in {
		if l.Set.Rule != rule { // of two carriers: no part could hold them
			for _, l := range in {
				parts = append(parts, h.lot(l.Set))
			}
			return parts
		}
		all = append(all, numbers(l.Set)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	groups := make([][]string, 1+h.below(n, "parts"))
	for len(all) > 0 { // in runs, or every lot would soon be dust
		run := min(1+h.below(12, "run"), len(all))
		g := h.below(len(groups), "part")
		groups[g] = append(groups[g], all[:run]...)
		all = all[run:]
	}
	for _, g := range groups {
		if len(g) > 0 {
			parts = append(parts, h.lot(setOf(rule, g)))
		}
	}
	return parts
}

func (h *history) offer() {
	seller := h.owner("seller")
	in := h.inputs(seller, 3)
	if len(in) == 0 {
		return
	}
	d := Deal{Seller: seller, Inputs: in, Outputs: h.cut(in, 4), Expires: pick(h, []time.Duration{time.Minute, 24 * time.Hour, 7 * 24 * time.Hour}, "life")}
	why := reasons{}
	if n := len(d.Outputs); n > 1 && h.chance(2, "keeps some") {
		d.Outputs, d.Remainders = slices.Clip(d.Outputs[:n-1]), d.Outputs[n-1:]
	}
	if h.chance(2, "by name") {
		d.Receiver = h.actor(h.people, "receiver")
		why.add(d.Receiver == seller, contract.SelfTrade)
		why.add(len(h.census.frozen[d.Receiver.ID]) > 0, contract.ParticipantFrozen)
	}
	h.sell(d, why)
}

// sell offers a deal, sometimes with a lie about its cards, and tells the model.
func (h *history) sell(d Deal, why reasons) {
	if d.Seller.Role == request.Consumer && d.Reverses == "" && !h.sells {
		why.add(true, contract.RoleForbidden)
	}
	h.spendable(why, d.Seller, d.Inputs)
	if h.chance(8, "lie") {
		why.add(true, contract.PartitionWrong)
		last := &d.Outputs[len(d.Outputs)-1]
		list := numbers(last.Set)
		switch pick(h, []string{"lost", "added", "twice"}, "a card") {
		case "lost":
			if len(list) > 1 {
				*last = h.lot(setOf(last.Set.Rule, list[1:]))
			} else {
				d.Remainders = append(d.Remainders, h.lot(last.Set))
			}
		case "added":
			d.Outputs = append(d.Outputs, h.lot(h.carrierOf(last.Set).Cards(9_000_000, 9_000_000)))
		case "twice":
			d.Remainders = append(d.Remainders, h.lot(setOf(last.Set.Rule, list[:1])))
		}
	}
	signed, trades := h.Offer(d)
	for _, each := range trades {
		if each.Mode == request.Bearer {
			h.secrets = append(append(h.secrets, forms(each.Code.Salt)...), each.Code.Code)
		}
	}
	h.play(signed, why, func() {
		c := h.join(d.Inputs)
		for _, l := range append(slices.Clone(d.Outputs), d.Remainders...) {
			h.lots = append(h.lots, l)
			h.become(l, c)
		}
		for i, each := range trades {
			h.change(d.Outputs[i], func(c *card) { c.status = contract.StatusInTrade })
			h.trades = append(h.trades, &trade{Trade: each, receiver: d.Receiver, state: contract.TradeOpen})
		}
	})
}

func (h *history) carrierOf(set iccid.Set) *Actor {
	for _, c := range h.carriers {
		if c.Rule == set.Rule {
			return c
		}
	}
	panic("cards of no carrier")
}

// openOne draws a trade, usually an open one.
func (h *history) openOne() (*trade, bool) {
	list := h.trades
	if !h.chance(8, "any trade") {
		list = slices.DeleteFunc(slices.Clone(list), func(t *trade) bool { return t.state != contract.TradeOpen })
	}
	return one(h, list, "trade")
}

func (h *history) ended(t *trade, state contract.TradeState) func() {
	return func() {
		t.state, t.ended = state, h.Now()
		h.change(t.Lot, func(c *card) { c.status = contract.StatusOwned })
	}
}

// receiverOf draws who takes a trade, usually the one who may.
func (h *history) receiverOf(t *trade) *Actor {
	if t.receiver != nil && !h.chance(6, "someone else") {
		return h.now(t.receiver)
	}
	return h.actor(h.people, "who takes it")
}

// now is the actor as he signs now: his key may have been rotated since.
func (h *history) now(a *Actor) *Actor {
	for _, p := range h.people {
		if p.ID == a.ID {
			return p
		}
	}
	return a
}

// receiverProof adds why someone can't take or refuse a trade, and sometimes spoils his proof.
func (h *history) receiverProof(why reasons, t *trade, who *Actor, c *Signed) {
	why.add(t.state != contract.TradeOpen, contract.TradeEnded)
	why.add(who.ID == t.Seller, contract.SelfTrade)
	why.add(!h.Now().Before(t.Expires), contract.TradeExpired)
	why.add(t.receiver != nil && t.receiver.ID != who.ID, contract.NotReceiver)
	if t.receiver == nil && h.chance(6, "spoil") {
		switch pick(h, []string{"code", "salt", "no code", "no ticket", "a ticket for another"}, "proof") {
		case "code":
			c.Openings.Codes = map[string]request.CodeOpening{t.ID: {Salt: t.Code.Salt, Code: "ZZZZZZZZ"}}
			why.add(t.Code.Code != "ZZZZZZZZ", contract.CodeWrong)
		case "salt":
			c.Openings.Codes = map[string]request.CodeOpening{t.ID: {Salt: h.bytes(16), Code: t.Code.Code}}
			why.add(true, contract.CodeWrong)
		case "no code":
			c.Openings.Codes = nil
			why.add(true, contract.OpeningMissing)
		case "no ticket":
			c.Proof.Ticket = nil
			why.add(true, contract.TicketMissing)
		case "a ticket for another":
			ticket := h.Ticket(t.ID, "someone-else")
			c.Proof.Ticket = &ticket
			why.add(true, contract.SignatureInvalid)
		}
	}
}

// unapplied leaves out what this very act did before: it is answered with ALREADY_APPLIED, whatever else is wrong.
func (h *history) unapplied(c Signed, why reasons) reasons {
	if slices.ContainsFunc(h.done, func(d Signed) bool { return d.Request.ID() == c.Request.ID() }) {
		return reasons{contract.AlreadyApplied: true}
	}
	return why
}

func (h *history) confirm() {
	t, ok := h.openOne()
	if !ok {
		return
	}
	who, why := h.receiverOf(t), reasons{}
	signed := h.Confirm(t.Trade, who)
	h.receiverProof(why, t, who, &signed)
	person := h.takes(why, t, who)
	h.play(signed, h.unapplied(signed, why), h.confirmed(t, who, person))
}

// takes adds why a lot can't become someone's, and says against whom it counts if it does.
func (h *history) takes(why reasons, t *trade, who *Actor) (person string) {
	c := h.cards[h.cardsOf[t.Lot.Hash][0]]
	why.add(len(c.frozen) > 0, contract.LotFrozen)
	why.add(len(h.census.frozen[who.ID])+len(h.census.frozen[t.Seller]) > 0, contract.ParticipantFrozen)
	if who.Role != request.Consumer || !c.strict {
		return ""
	}
	a, ok := h.approvals[[2]string{c.issuer, who.ID}]
	if !ok || a.revoked || !h.Now().Before(a.until) {
		why.add(true, contract.RealNameRequired)
		return ""
	}
	why.add(a.person != c.counted && h.held(c.issuer, a.person)+len(h.cardsOf[t.Lot.Hash]) > h.most, contract.CapExceeded)
	return a.person
}

func (h *history) confirmed(t *trade, who *Actor, person string) func() {
	return func() {
		h.ended(t, contract.TradeConfirmed)()
		t.buyer = who
		h.change(t.Lot, func(c *card) { c.owner, c.acquired, c.counted = who.ID, t.ID, person })
	}
}

func (h *history) decline() {
	t, ok := h.openOne()
	if !ok {
		return
	}
	who, why := h.receiverOf(t), reasons{}
	signed := h.Decline(t.Trade, who, "OTHER")
	h.receiverProof(why, t, who, &signed)
	h.play(signed, h.unapplied(signed, why), h.ended(t, contract.TradeDeclined))
}

func (h *history) cancel() {
	t, ok := h.openOne()
	if !ok {
		return
	}
	who := h.now(&Actor{ID: t.Seller})
	if h.chance(5, "not the seller") {
		who = h.actor(h.people, "canceller")
	}
	why := reasons{}
	why.add(t.state != contract.TradeOpen, contract.TradeEnded)
	why.add(who.ID != t.Seller, contract.NotSeller)
	signed := h.Sign(request.Cancel{Trade: t.ID}, who)
	h.play(signed, h.unapplied(signed, why), h.ended(t, contract.TradeCancelled))
}

func (h *history) release() {
	t, ok := h.openOne()
	if !ok {
		return
	}
	why := reasons{}
	why.add(t.state != contract.TradeOpen, contract.TradeEnded)
	why.add(h.Now().Before(t.Expires), contract.TradeNotExpired)
	signed := h.Sign(request.Release{Trade: t.ID}, h.actor(append(slices.Clip(h.people), h.Platform, h.Regulator), "who releases"))
	h.play(signed, h.unapplied(signed, why), h.ended(t, contract.TradeReleased))
}

// giveBack returns part of a lot by the trade that brought it, or tries to by another.
func (h *history) giveBack() {
	t, ok := one(h, slices.DeleteFunc(slices.Clone(h.trades), func(t *trade) bool { return t.state != contract.TradeConfirmed }), "trade to reverse")
	if !ok {
		return
	}
	who := h.now(t.buyer)
	var his []Lot
	for _, l := range h.lots {
		if c, alive := h.of(l); alive && c.owner == who.ID && (c.acquired == t.ID || h.chance(20, "another lot")) {
			his = append(his, l)
		}
	}
	l, ok := one(h, his, "lot to give back")
	if !ok {
		return
	}
	to := h.now(&Actor{ID: t.Seller})
	if h.chance(10, "to someone else") {
		to = h.actor(h.people, "to whom")
	}
	d := Deal{Seller: who, Receiver: to, Inputs: []Lot{l}, Outputs: h.cut([]Lot{l}, 2), Reverses: t.ID}
	if len(d.Outputs) > 1 {
		d.Outputs, d.Remainders = slices.Clip(d.Outputs[:1]), d.Outputs[1:]
	}
	why := reasons{}
	c, _ := h.of(l)
	why.add(to.ID == who.ID, contract.SelfTrade)
	why.add(len(h.census.frozen[to.ID]) > 0, contract.ParticipantFrozen)
	why.add(c.acquired != t.ID || to.ID != t.Seller || h.Now().After(t.ended.Add(7*24*time.Hour)), contract.NotReturnable)
	if h.chance(2, "outputs lie") && len(d.Remainders) > 0 {
		why.add(true, contract.PartitionWrong)
		d.Remainders = nil
	}
	h.sell(d, why)
}

func (h *history) merge() {
	owner := h.owner("owner")
	in := h.inputs(owner, 4)
	if len(in) < 2 {
		return
	}
	why := reasons{}
	h.spendable(why, owner, in)
	rule, all := in[0].Set.Rule, []string(nil)
	for _, l := range in {
		if l.Set.Rule == rule {
			all = append(all, numbers(l.Set)...)
		}
	}
	slices.Sort(all)
	out := h.lot(setOf(rule, slices.Compact(all)))
	h.play(h.Stage.Merge(owner, out, in...), why, func() {
		c := h.join(in)
		h.lots = append(h.lots, out)
		h.become(out, c)
	})
}
