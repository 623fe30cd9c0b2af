package transfer_test

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// acts counts all acts there are.
func (r *rig) acts() (n int64) {
	r.t.Helper()
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		counts, err := tx.CountActs()
		for n = 0; len(counts) > 0; {
			for state, k := range counts {
				n += k
				delete(counts, state)
			}
		}
		return err
	}))
	return n
}

// reworded is a submission whose offer a terminal has changed before it signed.
func (d *terminal) reworded(sub protocol.Submit, change func(o *request.Offer)) protocol.Submit {
	d.r.t.Helper()
	var o request.Offer
	check(d.r.t, request.Decode([]byte(sub.Args), &o))
	change(&o)
	sub.Args = string(request.Encode(o))
	return d.signedUntil(sub, d.r.clock.now().Add(24*time.Hour))
}

// drawn draws a lot of cards, and says how it is opened.
func drawn(t *testing.T, a, b int, openings *request.Openings) string {
	t.Helper()
	seg, issuer, err := iccid.DefaultPlan().Range(id(a), id(b))
	check(t, err)
	set, err := iccid.NewSet(issuer.Rule, seg)
	check(t, err)
	var salt [32]byte
	_, _ = rand.Read(salt[:])
	hash, o := request.OpeningOf(set, salt)
	openings.Lots[hash] = o
	return hash
}

// union draws the lot of all cards of others.
func union(t *testing.T, openings *request.Openings, lots ...request.LotOpening) string {
	t.Helper()
	var all iccid.Set
	for _, o := range lots {
		set, _, err := o.Set()
		check(t, err)
		all, err = all.Union(set)
		check(t, err)
	}
	hash, o := request.OpeningOf(all, [32]byte{1})
	openings.Lots[hash] = o
	return hash
}

// What a terminal can be told at once is told at once, and leaves nothing behind.
func TestRefusedSubmissions(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	named := func(a, b int) protocol.RecentHash {
		return protocol.RecentHash{Segments: boxed(a, b), Mode: request.Named, To: distributor.Participant}
	}
	offer, body := shop.drafted(named(100, 199))
	bearer, bearerBody := shop.drafted(protocol.RecentHash{Segments: boxed(100, 199), Mode: request.Bearer})
	foreign := dealer.offers(carrier.Participant, 20_001, 20_010)
	coded := dealer.offers("", 20_011, 20_020)
	mine := shop.offers(distributor.Participant, 300, 309)
	live := shop.offers("", 310, 310)
	stopped := r.terminal(retailer)
	stopped.committed(stopped.signed(request.SuspendKey{KeyAct: request.KeyAct{Key: stopped.key.Public().KeyID(), Version: 1}}))
	r.caughtUp()
	soon := r.clock.now().Add(time.Hour)

	spelt := func(change func(args string) string) protocol.Submit {
		sub := offer
		sub.Args = change(sub.Args)
		return shop.signedUntil(sub, soon)
	}
	opened := func(sub protocol.Submit, change func(o *request.Openings)) protocol.Submit {
		o := request.Openings{Lots: map[string]request.LotOpening{}, Codes: map[string]request.CodeOpening{}}
		for k, v := range sub.Openings.Lots {
			o.Lots[k] = v
		}
		for k, v := range sub.Openings.Codes {
			o.Codes[k] = v
		}
		change(&o)
		sub.Openings = &o
		return sub
	}
	confirm := func(trade, lot string) request.Confirm {
		return request.Confirm{Trade: trade, Lot: lot, Receiver: shop.Participant}
	}
	coding := func(code, card string) protocol.Submit {
		sub := shop.signed(confirm(coded.TradeID, coded.LotHash))
		sub.Code, sub.ICCIDLast6 = code, card
		return sub
	}
	forged := shop.signed(request.Cancel{Trade: mine.TradeID})
	forged.Signature.Bytes = must(t, gm.Signature(nil), nil)
	if sig, err := dealer.key.Sign(rand.Reader, []byte("something else")); err == nil {
		forged.Signature.Bytes = sig
	}
	uncovered := opened(offer, func(*request.Openings) {})
	short := drawn(t, 100, 198, uncovered.Openings) // a card less than was taken
	made, wider := opened(offer, func(*request.Openings) {}), ""
	wider = drawn(t, 100, 10_050, made.Openings) // cards of the distributor with them
	merged := protocol.Submit{Openings: &request.Openings{Lots: map[string]request.LotOpening{}}}
	both := drawn(t, 20_001, 20_020, merged.Openings)

	before := r.acts()
	for _, c := range []struct {
		name string
		by   *terminal
		sub  protocol.Submit
		code string
	}{
		{"a space in the body", shop, spelt(func(a string) string { return strings.Replace(a, ",", ", ", 1) }), "REQUEST_INVALID"},
		{"a member that nobody knows", shop, spelt(func(a string) string { return strings.Replace(a, "{", `{"more":1,`, 1) }), "REQUEST_INVALID"},
		{"no body", shop, spelt(func(string) string { return "" }), "REQUEST_INVALID"},
		{"null", shop, spelt(func(string) string { return "null" }), "REQUEST_INVALID"},
		{"another contract", shop, func() protocol.Submit { s := offer; s.Contract = "identity"; return s }(), "REQUEST_INVALID"},
		{"a function that is no terminal's", shop, shop.signed(request.Release{Trade: mine.TradeID}), "KEY_FUNCTION"},
		{"a function that there isn't", shop, func() protocol.Submit { s := offer; s.Function = "Steal"; return s }(), "KEY_FUNCTION"},
		{"a signature under something else", shop, forged, "REQUEST_SIGNATURE_WRONG"},
		{"the same under another name", shop, func() protocol.Submit { s := offer; s.Signature.NotAfter++; return s }(), "REQUEST_SIGNATURE_WRONG"},
		{"a key that isn't known", shop, func() protocol.Submit { s := offer; s.Signature.KeyID = strings.Repeat("0", 32); return s }(), "KEY_UNKNOWN"},
		{"somebody else's request", dealer, offer, "KEY_UNKNOWN"},
		{"an account's key", shop, func() protocol.Submit { s := offer; s.Signature.KeyID = r.keyOf(shop.Participant).ID; return s }(), "KEY_UNKNOWN"},
		{"a terminal that was stopped", stopped, stopped.signedUntil(offer, soon), "KEY_INACTIVE"},
		{"a signature that is over", shop, shop.signedUntil(offer, r.clock.now().Add(-time.Second)), "REQUEST_EXPIRED"},
		{"a signature for years", shop, shop.signedUntil(offer, r.clock.now().Add(8*24*time.Hour)), "NOT_AFTER_WRONG"},
		{"an offer of somebody else", shop, shop.reworded(offer, func(o *request.Offer) { o.Seller = distributor.Participant }), "NOT_OWNER"},
		{"an offer to nobody", shop, shop.reworded(offer, func(o *request.Offer) { o.Receiver = "nobody" }), "RECEIVER_UNKNOWN"},
		{"an offer to oneself", shop, shop.reworded(offer, func(o *request.Offer) { o.Receiver = shop.Participant }), "SELF_TRADE"},
		{"an offer without an end", shop, shop.reworded(offer, func(o *request.Offer) { o.ExpiresAt = 0 }), "EXPIRY_INVALID"},
		{"an offer for years", shop, shop.reworded(offer, func(o *request.Offer) { o.ExpiresAt += 1000 * 24 * 3_600_000 }), "EXPIRY_INVALID"},
		{"an offer of tomorrow", shop, shop.reworded(offer, func(o *request.Offer) { o.OfferedAt += 24 * 3_600_000; o.ExpiresAt += 24 * 3_600_000 }), "OFFER_TIME_WRONG"},
		{"an offer that is over", shop, shop.reworded(offer, func(o *request.Offer) { o.OfferedAt -= 24 * 3_600_000; o.ExpiresAt -= 24 * 3_600_000 }), "TRADE_EXPIRED"},
		{"no inputs", shop, shop.reworded(offer, func(o *request.Offer) { o.Inputs = nil }), "REQUEST_INVALID"},
		{"an input twice", shop, shop.reworded(offer, func(o *request.Offer) { o.Inputs = append(o.Inputs, o.Inputs[0]) }), "REQUEST_INVALID"},
		{"an input that nobody has", shop, shop.reworded(offer, func(o *request.Offer) { o.Inputs = []string{strings.Repeat("a", 64)} }), "CARDS_NOT_OWNED"},
		{"an input of others", shop, shop.reworded(offer, func(o *request.Offer) { o.Inputs = []string{foreign.LotHash} }), "CARDS_NOT_OWNED"},
		{"an input in a trade", shop, shop.reworded(offer, func(o *request.Offer) { o.Inputs = []string{mine.LotHash} }), "CARDS_RESERVED"},
		{"an input that is spent", shop, offer, "INPUT_SPENT"}, // by the offers above
		{"a lot that there is", shop, shop.reworded(offer, func(o *request.Offer) { o.Inputs, o.Outputs[0].Lot = r.free(shop), mine.LotHash }), "LOT_EXISTS"},
		{"a lot that nothing opens", shop, shop.reworded(opened(offer, func(o *request.Openings) { delete(o.Lots, body.Outputs[0].Lot) }), func(o *request.Offer) { o.Inputs = r.free(shop) }), "OPENING_WRONG"},
		{"another opening than was hashed", shop, shop.reworded(opened(offer, func(o *request.Openings) {
			x := o.Lots[body.Outputs[0].Lot]
			x.Canonical = strings.Replace(x.Canonical, "199", "198", 1)
			o.Lots[body.Outputs[0].Lot] = x
		}), func(o *request.Offer) { o.Inputs = r.free(shop) }), "OPENING_WRONG"},
		{"an opening of nothing", shop, shop.reworded(opened(offer, func(o *request.Openings) { o.Lots[strings.Repeat("b", 64)] = request.LotOpening{} }), func(o *request.Offer) { o.Inputs = r.free(shop) }), "OPENING_WRONG"},
		{"a card that is lost", shop, shop.reworded(uncovered, func(o *request.Offer) { o.Inputs, o.Outputs[0].Lot = r.free(shop), short }), "PARTITION_WRONG"},
		{"cards of others", shop, shop.reworded(made, func(o *request.Offer) { o.Inputs, o.Outputs[0].Lot, o.Remainders = r.free(shop), wider, nil }), "PARTITION_WRONG"},
		{"a NAMED trade with a code", shop, shop.fresh(named(100, 199), func(o *request.Offer, _ *request.Openings) { o.Outputs[0].CodeHash = strings.Repeat("a", 64) }), "REQUEST_INVALID"},
		{"a trade that there is", shop, shop.fresh(named(100, 199), func(o *request.Offer, _ *request.Openings) { o.Outputs[0].Trade = mine.TradeID }), "TRADE_EXISTS"},
		{"a trade with no name", shop, shop.fresh(named(100, 199), func(o *request.Offer, _ *request.Openings) { o.Outputs[0].Trade = "x" }), "REQUEST_INVALID"},
		{"a code that nothing opens", shop, shop.fresh(protocol.RecentHash{Segments: boxed(100, 199), Mode: request.Bearer}, func(_ *request.Offer, o *request.Openings) { clear(o.Codes) }), "OPENING_WRONG"},
		{"a code of one's own choice", shop, shop.fresh(protocol.RecentHash{Segments: boxed(100, 199), Mode: request.Bearer}, func(b *request.Offer, o *request.Openings) {
			c := request.CodeOpening{Code: "00000000", Salt: make([]byte, 16)}
			o.Codes[b.Outputs[0].Trade] = c
			b.Outputs[0].CodeHash = request.CodeHash(b.Outputs[0].Trade, c.Code, c.Salt)
		}), "OPENING_WRONG"},
		{"others' trade", shop, shop.signed(confirm(foreign.TradeID, foreign.LotHash)), "TRADE_NOT_FOUND"},
		{"a trade that there isn't", shop, shop.signed(confirm(strings.Repeat("c", 32), foreign.LotHash)), "TRADE_NOT_FOUND"},
		{"a code's trade without the code", shop, coding("", ""), "TRADE_NOT_FOUND"},
		{"a wrong code", shop, coding("00000000", last6(20_011)), "TRADE_CODE_NOT_FOUND"},
		{"a wrong card", shop, coding(coded.Code, last6(20_021)), "TRADE_CODE_NOT_FOUND"},
		{"the code of another trade", shop, func() protocol.Submit { s := coding(live.Code, last6(310)); return s }(), "TRADE_CODE_NOT_FOUND"},
		{"a receipt for somebody else", dealer, dealer.signed(request.Confirm{Trade: mine.TradeID, Lot: mine.LotHash, Receiver: shop.Participant}), "NOT_RECEIVER"},
		{"another lot than is offered", dealer, dealer.signed(request.Confirm{Trade: mine.TradeID, Lot: foreign.LotHash, Receiver: dealer.Participant}), "OPENING_WRONG"},
		{"a reason that is none", dealer, dealer.signed(request.Decline{Trade: mine.TradeID, Receiver: dealer.Participant, Reason: "BORED"}), "REASON_INVALID"},
		{"to cancel others' trade", shop, shop.signed(request.Cancel{Trade: foreign.TradeID}), "TRADE_NOT_FOUND"},
		{"to merge others' lots", shop, shop.signedUntil(mergeOf(shop, merged, both, foreign.LotHash, coded.LotHash), soon), "CARDS_NOT_OWNED"},
		{"to merge one lot", shop, shop.signedUntil(mergeOf(shop, merged, both, r.free(shop)...), soon), "REQUEST_INVALID"},
		{"to stop another's key", shop, shop.signed(request.RevokeKey{KeyAct: request.KeyAct{Key: dealer.key.Public().KeyID(), Version: 1}}), "FORBIDDEN"},
		{"to give back what nobody sold him", shop, shop.signed(request.Return{Offer: bearerBody, Reverses: foreign.TradeID}), "TRADE_NOT_FOUND"},
		{"to give back nothing in particular", shop, shop.signed(request.Return{Offer: bearerBody}), "REQUEST_INVALID"},
	} {
		c.by.refused(c.name, c.sub, c.code)
	}
	_ = bearer
	if n := r.acts(); n != before {
		t.Errorf("%d acts are left behind", n-before)
	}
	if page, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{State: "offering"}); err != nil || len(page.Items) > 0 {
		t.Errorf("trades are left behind: %+v, %v", page.Items, err)
	}
	r.fsck()
}

// free are the terminal's lots that are free.
func (r *rig) free(d *terminal) []string {
	r.t.Helper()
	stock, err := r.TerminalStock(r.ctx, d.Caller, "", 200)
	check(r.t, err)
	var lots []string
	for _, l := range stock.Lots {
		if l.Count > 1000 {
			lots = append(lots, l.Lot)
		}
	}
	return lots
}

// fresh is an offer that was drafted just now, and changed.
func (d *terminal) fresh(in protocol.RecentHash, change func(o *request.Offer, openings *request.Openings)) protocol.Submit {
	d.r.t.Helper()
	sub, _ := d.drafted(in)
	return d.reworded(sub, func(o *request.Offer) { change(o, sub.Openings) })
}

func mergeOf(d *terminal, sub protocol.Submit, output string, inputs ...string) protocol.Submit {
	req := request.New("test", request.Merge{Owner: d.Participant, Inputs: slices.Clone(inputs), Output: output})
	sub.Contract, sub.Function, sub.Args = req.Contract, req.Function, string(req.Args)
	return sub
}

// A request is one act however often, wherever and by whoever of its organisation it is submitted; the first signature stays.
func TestSubmittedAgain(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	r := newStockedWith(t, nil, func(c *transfer.Config) { shared = *c })
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })
	shop, dealer, second := r.terminal(retailer), r.terminal(distributor), r.terminal(distributor)

	sub, offer := shop.drafted(protocol.RecentHash{Segments: boxed(1, 50), Mode: request.Named, To: dealer.Participant})
	var answers [6]protocol.Submitted
	var wg sync.WaitGroup
	all := func(do func(n int, s *transfer.Service) (protocol.Submitted, error)) {
		t.Helper()
		for n := range answers {
			wg.Go(func() {
				var err error
				if answers[n], err = do(n, []*transfer.Service{r.Service, other}[n%2]); err != nil {
					t.Errorf("answer %d: %v", n, err)
				}
			})
		}
		wg.Wait()
		for n, a := range answers {
			if a.State != "committed" || a != answers[0] {
				t.Errorf("answer %d is %+v, the first one %+v", n, a, answers[0])
			}
		}
	}
	before := r.acts()
	all(func(_ int, s *transfer.Service) (protocol.Submitted, error) {
		return s.SubmitSigned(r.ctx, shop.Caller, sub)
	})

	// Two terminals of one organisation confirm one trade, at two servers.
	confirm := request.Confirm{Trade: offer.Outputs[0].Trade, Lot: offer.Outputs[0].Lot, Receiver: dealer.Participant}
	subs := []protocol.Submit{dealer.signed(confirm), second.signed(confirm)}
	all(func(n int, s *transfer.Service) (protocol.Submitted, error) {
		return s.SubmitSigned(r.ctx, dealer.Caller, subs[n/2%2])
	})

	if n := r.acts(); n != before+2 {
		t.Errorf("%d acts, not 2", n-before)
	}
	if got := shop.committed(shop.signedUntil(sub, r.clock.now().Add(time.Hour))); got.TxID == "" {
		t.Errorf("another signature, when it is over: %+v", got)
	}
	again := dealer.committed(subs[1])
	asked, err := r.TerminalRequest(r.ctx, second.Caller, again.RequestID)
	check(t, err)
	if asked != again {
		t.Errorf("asked, it is %+v", asked)
	}
	if _, err := r.TerminalRequest(r.ctx, shop.Caller, again.RequestID); transfer.CodeOf(err) != "NOT_FOUND" {
		t.Errorf("others are told of it: %v", err)
	}
	r.onLedger("Offer", 3) // with two of the world that the tests begin in
	r.noneUnfinished()
	r.fsck()
}
