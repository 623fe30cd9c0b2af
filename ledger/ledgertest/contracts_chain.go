package ledgertest

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// traceOne picks a card and follows it from its issue to its owner through the trace that a regulator gets.
func (h *history) traceOne() {
	if !h.chance(4, "trace") {
		return
	}
	l, ok := one(h, h.lots, "lot to trace")
	state, known := h.lotState[l.Hash]
	if !ok || !known {
		return
	}
	number := pick(h, h.cardsOf[l.Hash], "card to trace")

	// The lots that held it, newest first: exactly one parent of each holds the card.
	path := []string{l.Hash}
	for at := state; len(at.Parents) > 0; {
		var holding []string
		for _, p := range at.Parents {
			if slices.Contains(h.cardsOf[p], number) {
				holding = append(holding, p)
			}
		}
		if len(holding) != 1 {
			h.t.Fatalf("%d parents of a lot hold one of its cards", len(holding))
		}
		path = append(path, holding[0])
		at = h.lotState[holding[0]]
	}

	var hops []contract.Hop
	h.Query(h.t, &hops, request.Ownership, "Trace", l.Hash, h.Regulator.ID)
	owner := ""
	for _, hop := range hops {
		if len(path) == 0 || hop.Lot != path[len(path)-1] {
			continue // of other cards, which came to this lot by another way
		}
		path = path[:len(path)-1]
		switch {
		case owner == "" && hop.Kind == "ISSUE" && hop.To == state.Issuer:
			owner = hop.To
		case owner == "" || hop.Kind == "ISSUE":
			h.t.Fatalf("a chain begins with %+v, or begins again", hop)
		case hop.Kind == "TRADE" || hop.Kind == "RETURN":
			if hop.From != owner {
				h.t.Fatalf("%s had it, and %s sold it", owner, hop.From)
			}
			if hop.State == string(contract.TradeConfirmed) {
				owner = hop.To
			}
		case hop.To != owner:
			h.t.Fatalf("%s had it, and %s cut or joined it", owner, hop.To)
		}
	}
	if len(path) > 0 || owner != state.Owner {
		h.t.Fatalf("the chain ends with %q, the owner is %q, %d lots are missing in it", owner, state.Owner, len(path))
	}
}

// keepsSecrets looks for what must be nowhere on a ledger in everything that its blocks hold: card numbers, codes,
// salts, the issue key, names.
func (h *history) keepsSecrets() {
	secrets := h.secrets
	for n := range h.cards {
		secrets = append(secrets, n, n[:19])
	}
	begins := map[string][]string{} // by the first eight bytes
	for _, s := range secrets {
		begins[s[:8]] = append(begins[s[:8]], s)
	}
	for _, b := range h.raw {
		text := string(b)
		for i := 0; i+8 <= len(text); i++ {
			for _, s := range begins[text[i:i+8]] {
				if strings.HasPrefix(text[i:], s) {
					h.t.Fatalf("a secret of %d bytes is on the ledger, at %d of %d", len(s), i, len(text))
				}
			}
		}
	}
}

// forms are the ways in which bytes are usually written.
func forms(secret []byte) []string {
	return []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		base64.RawStdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
	}
}
