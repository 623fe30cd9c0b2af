package ledgertest

import (
	"errors"
	"slices"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// control freezes, unfreezes or retires a lot or a part of one.
func (h *history) control() {
	list := slices.DeleteFunc(slices.Clone(h.lots), func(l Lot) bool { return h.lotState[l.Hash].Status == contract.StatusSpent })
	if frozen := slices.DeleteFunc(slices.Clone(list), func(l Lot) bool { return len(h.lotState[l.Hash].Frozen) == 0 }); len(frozen) > 0 && h.chance(2, "a frozen one") {
		list = frozen
	}
	if h.chance(8, "any lot") {
		list = h.lots
	}
	l, ok := one(h, list, "lot")
	if !ok {
		return
	}
	c, alive := h.of(l)
	by := h.actor([]*Actor{h.now(&Actor{ID: c.issuer}), h.Regulator, h.Platform}, "who rules")
	if h.chance(6, "anyone rules") {
		by = h.actor(append(slices.Clip(h.people), h.Regulator, h.Platform), "anyone")
	}
	why := reasons{}
	functions := []string{"Freeze", "Freeze", "Freeze", "Retire", "Unfreeze"}
	if c.frozen[by.Role] {
		functions = []string{"Unfreeze", "Unfreeze", "Unfreeze", "Retire", "Freeze"}
	}
	function := pick(h, functions, "function")
	owner := h.now(&Actor{ID: h.lotState[l.Hash].Owner})
	switch by.Role {
	case request.Carrier:
		why.add(c.issuer != by.ID, contract.RoleForbidden)
	case request.Platform:
		why.add(owner.Role != request.Consumer, contract.RoleForbidden)
	case request.Regulator:
	default:
		why.add(true, contract.RoleForbidden)
	}
	at := request.LotAct{Lot: l.Hash, Version: h.lotState[l.Hash].Version}
	if h.chance(10, "an old version") {
		at.Version--
		why.add(true, contract.VersionMismatch)
	}
	parts := []Lot{l}
	if p := h.cut([]Lot{l}, 2); len(p) == 2 {
		parts = p
		at.Subset, at.Rest = p[0].Hash, p[1].Hash
		why.add(c.status == contract.StatusInTrade, contract.LotInTrade)
		why.add(c.status == contract.StatusRetired, contract.LotRetired)
	}
	why.add(!alive, contract.InputSpent)
	var body request.Body
	var effect func(*card)
	switch function {
	case "Freeze":
		body, effect = request.Freeze{LotAct: at}, func(c *card) { c.frozen[by.Role] = true }
		why.add(c.frozen[by.Role], contract.AlreadyFrozen)
		why.add(c.status == contract.StatusRetired, contract.LotRetired)
	case "Unfreeze":
		body, effect = request.Unfreeze{LotAct: at}, func(c *card) { delete(c.frozen, by.Role) }
		why.add(!c.frozen[by.Role], contract.NotFrozen)
	case "Retire":
		body, effect = request.Retire{LotAct: at}, func(c *card) { c.status, c.counted = contract.StatusRetired, "" }
		why.add(by.Role != request.Carrier, contract.RoleForbidden)
		why.add(c.status == contract.StatusRetired, contract.LotRetired)
		why.add(c.status == contract.StatusInTrade, contract.LotInTrade)
		why.add(c.frozen[request.Regulator] || c.frozen[request.Platform], contract.LotFrozen)
	}
	signed := h.Sign(body, by).With(l).With(parts...)
	h.play(signed, h.unapplied(signed, why), func() {
		if len(parts) == 2 {
			joined := h.join([]Lot{l})
			for _, p := range parts {
				h.lots = append(h.lots, p)
				h.become(p, joined)
			}
		}
		h.change(parts[0], effect)
	})
}

func (h *history) approval() {
	c, who := h.actor(h.carriers, "carrier"), h.actor(h.consumers, "consumer")
	key := [2]string{c.ID, who.ID}
	a := h.approvals[key]
	why := reasons{}
	version := a.version
	if h.chance(10, "an old version") {
		version++
		why.add(true, contract.VersionMismatch)
	}
	if h.chance(5, "revoke") {
		why.add(a.version == 0 || a.revoked, contract.TransitionForbidden)
		h.play(h.Sign(request.RevokeApproval{Carrier: c.ID, Consumer: who.ID, Version: version}, c), why, func() {
			a.revoked, a.version = true, a.version+1
			h.approvals[key] = a
		})
		return
	}
	person := pick(h, persons, "person")
	until := h.Now().Add(pick(h, []time.Duration{2 * time.Hour, 3 * 24 * time.Hour, 90 * 24 * time.Hour}, "valid for"))
	h.play(h.Sign(request.Approve{
		Carrier: c.ID, Consumer: who.ID, Commitment: Commitment(person), ValidUntil: until.UnixMilli(), Version: version,
	}, c), why, func() {
		h.approvals[key] = approval{person: person, until: until, version: a.version + 1}
	})
}

func (h *history) person() {
	by, who := h.actor([]*Actor{h.Regulator, h.Regulator, h.Platform, h.carriers[0]}, "who rules"), h.actor(h.people, "whom")
	for _, p := range h.people { // most freezes end soon, or nobody would be left to trade
		if len(h.census.frozen[p.ID]) > 0 && !h.chance(3, "someone else") {
			who = p
			if by = h.Regulator; !h.census.frozen[p.ID][request.Regulator] {
				by = h.Platform
			}
		}
	}
	frozen, version := h.census.frozen[who.ID], h.freezes[who.ID]
	at := request.ParticipantAct{Participant: who.ID, Version: version}
	why := reasons{}
	why.add(by.Role == request.Carrier || by.Role == request.Platform && who.Role != request.Consumer, contract.RoleForbidden)
	var body request.Body = request.UnfreezeParticipant{ParticipantAct: at}
	freeze := len(frozen) == 0 != h.chance(8, "the other way")
	if freeze {
		body = request.FreezeParticipant{ParticipantAct: at}
		why.add(frozen[by.Role], contract.AlreadyFrozen)
	} else {
		why.add(!frozen[by.Role], contract.NotFrozen)
	}
	h.play(h.Sign(body, by), why, func() {
		h.freezes[who.ID]++
		if freeze {
			if frozen == nil {
				frozen = map[request.Role]bool{}
				h.census.frozen[who.ID] = frozen
			}
			frozen[by.Role] = true
		} else {
			delete(frozen, by.Role)
		}
	})
}

func (h *history) setPolicy() {
	if h.chance(2, "cap") {
		h.most = 1 + h.below(40, "cards a person")
		h.SetPolicy(h.t, request.PolicyRealNameCap, int64(h.most))
		return
	}
	h.sells = !h.sells
	value := map[bool]int64{true: 1}[h.sells]
	h.SetPolicy(h.t, request.PolicyConsumerSells, value)
}

// keys suspends, resumes or rotates the key of someone whom the platform registered.
func (h *history) keys() {
	i := len(h.carriers) + h.below(len(h.people)-len(h.carriers), "whose key")
	who := h.people[i]
	id := who.Key.Public().KeyID()
	version := h.keyVersions[id] + 1
	at := request.KeyAct{Key: id, Version: version}
	why := reasons{}
	acts := []string{"suspend", "rotate", "rotate", "resume"}
	if h.suspended[id] > 0 {
		acts = []string{"suspend", "resume", "resume", "resume"}
	}
	switch pick(h, acts, "key act") {
	case "suspend":
		why.add(h.suspended[id] > 0, contract.TransitionForbidden)
		h.play(h.Sign(request.SuspendKey{KeyAct: at}, h.Platform), why, func() { h.suspended[id]++; h.keyVersions[id]++ })
	case "resume":
		why.add(h.suspended[id] == 0, contract.TransitionForbidden)
		h.play(h.Sign(request.ResumeKey{KeyAct: at}, h.Platform), why, func() { h.suspended[id]--; h.keyVersions[id]++ })
	case "rotate":
		next := who.WithKey(h.GenerateKey())
		body := request.RotateKey{Participant: who.ID, Version: h.Participant(h.t, who).Version, OldKey: id, Key: h.NewKey(next)}
		h.play(h.Sign(body, who), why, func() {
			h.suspended[id]++ // for ever: nothing resumes it, because nobody is left who signs with it
			h.people[i] = next
			for j, c := range h.consumers {
				if c.ID == who.ID {
					h.consumers[j] = next
				}
			}
		})
	}
}

// replay sends again what committed once, as it was or signed afresh.
func (h *history) replay() {
	c, ok := one(h, h.done, "request")
	if !ok {
		return
	}
	if h.chance(2, "by others") {
		c.Proof = request.Proof{Signatures: []request.Signature{h.Signature(c.Request, h.actor(h.people, "who"), h.Now().Add(time.Hour))}}
	}
	h.Refused(h.t, contract.AlreadyApplied, c)
}

// race lets two acts on one trade be endorsed before either is sent. The one that is sent first wins.
func (h *history) race() {
	open := slices.DeleteFunc(slices.Clone(h.trades), func(t *trade) bool { return t.state != contract.TradeOpen || !h.Now().Before(t.Expires) })
	t, ok := one(h, open, "trade")
	if !ok {
		return
	}
	who, seller := h.receiverOf(t), h.now(&Actor{ID: t.Seller})
	why := reasons{}
	person := h.takes(why, t, who)
	why.add(who.ID == t.Seller || t.receiver != nil && t.receiver.ID != who.ID, "wrong")
	why.add(h.suspended[who.Key.Public().KeyID()]+h.suspended[seller.Key.Public().KeyID()] > 0, "suspended")
	if len(why) > 0 {
		return // one of them would be refused before there is a race
	}
	confirm, cancel := h.Confirm(t.Trade, who), h.Sign(request.Cancel{Trade: t.ID}, seller)
	first, second, effect := confirm, cancel, h.confirmed(t, who, person)
	if h.chance(2, "cancel first") {
		first, second, effect = cancel, confirm, h.ended(t, contract.TradeCancelled)
	}
	_, err := h.SubmitWhile(second, func() error {
		h.Must(h.t, first)
		return nil
	})
	var f *ledger.Failure
	if !errors.As(err, &f) || f.Class != ledger.Conflict {
		h.t.Fatalf("the loser of a race got %v", err)
	}
	h.done = append(h.done, first)
	effect()
}
