package transfer_test

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// What a console's offer has set aside a terminal's leaves alone, and the other way round; a lot that one of them has in hand
// the other waits for.
func TestTerminalsAndConsolesShareTheirStock(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	shop := r.terminal(retailer)
	ask := func(a, b int) protocol.RecentHash {
		return protocol.RecentHash{Segments: boxed(a, b), Mode: request.Bearer}
	}
	early, _ := shop.drafted(ask(21, 30)) // before anything is set aside
	same, _ := shop.drafted(ask(11, 20))

	var gate atomic.Pointer[chan struct{}] // shut while the channel in it is open
	shut := func() chan struct{} { c := make(chan struct{}); gate.Store(&c); return c }
	held := shut()
	f.next("Offer", 1_000, func(x try) (ledger.Commit, error) { // each try, also of whoever has come by a lease that ran out
		select {
		case <-*gate.Load():
			return x.through()
		case <-x.ctx.Done():
			return ledger.Commit{}, failure(ledger.NotSent)
		}
	})
	done := make(chan transfer.OfferResult, 1)
	go func() {
		o, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(11, 20)})
		if err != nil {
			t.Error(err)
		}
		done <- o
	}()
	r.until("the console's offer is at the ledger", func() bool { return f.tries("Offer") > 0 })

	_, err := r.TransRecentHash(r.ctx, shop.Caller, ask(15, 25))
	wants(t, "a draft of cards that are set aside", err, "CARDS_RESERVED")
	_, err = r.TransRecentHash(r.ctx, shop.Caller, ask(21, 30))
	wants(t, "a draft of a lot that is in hand", err, "LOT_BUSY")
	shop.refused("cards that are set aside", same, "LOT_BUSY")
	shop.refused("a lot that is in hand", early, "LOT_BUSY")
	stock, err := r.TerminalStock(r.ctx, shop.Caller, "", 10)
	check(t, err)
	if len(stock.Lots) != 0 {
		t.Errorf("in stock, with its only lot in hand: %+v", stock.Lots)
	}
	close(held)
	<-done
	r.noneUnfinished()
	shop.refused("what was drafted before", early, "INPUT_SPENT")

	held = shut()
	tries := f.tries("Offer")
	late, offer := shop.drafted(ask(21, 30))
	end := make(chan protocol.Submitted, 1)
	go func() {
		got, err := r.SubmitSigned(r.ctx, shop.Caller, late)
		if err != nil {
			t.Error(err)
		}
		end <- got
	}()
	r.until("the terminal's offer is at the ledger", func() bool { return f.tries("Offer") > tries })
	if v := r.trade(shop.Caller, offer.Outputs[0].Trade); v.State != "offering" {
		t.Errorf("the trade is %s", v.State)
	}
	_, err = r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(30, 40)})
	wants(t, "the console, of the same cards", err, "CARDS_RESERVED")
	go func() {
		o, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(31, 40)})
		if err != nil {
			t.Error(err)
		}
		done <- o
	}()
	close(held)
	if got := <-end; got.State != "committed" {
		t.Errorf("the terminal's offer became %+v", got)
	}
	r.offered(retailer, (<-done).Trades[0])
	r.noneUnfinished()
	r.fsck()
}

// A draft of others' cards doesn't tell whose they are, nor whether there are any.
func TestDraftOfOthersCards(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop := r.terminal(retailer)
	for _, c := range []struct {
		name string
		in   protocol.RecentHash
		code string
	}{
		{"the distributor's", protocol.RecentHash{Segments: boxed(20_000, 20_000), Mode: request.Bearer}, "CARDS_NOT_OWNED"},
		{"the carrier's", protocol.RecentHash{Segments: boxed(60_000, 60_000), Mode: request.Bearer}, "CARDS_NOT_OWNED"},
		{"nobody's", protocol.RecentHash{Segments: boxed(700_000, 700_000), Mode: request.Bearer}, "CARDS_NOT_OWNED"},
		{"some of them", protocol.RecentHash{Segments: boxed(9_999, 10_001), Mode: request.Bearer}, "CARDS_NOT_OWNED"},
		{"none", protocol.RecentHash{Mode: request.Bearer}, "CARDS_REQUIRED"},
		{"no cards", protocol.RecentHash{Segments: []protocol.Span{{Start: "12345"}}, Mode: request.Bearer}, "ICCID_FORMAT"},
		{"a card twice", protocol.RecentHash{Segments: append(boxed(1, 5), boxed(5, 6)...), Mode: request.Bearer}, "ICCID_DUPLICATE"},
		{"to nobody", protocol.RecentHash{Segments: boxed(1, 5), Mode: request.Named}, "RECEIVER_UNKNOWN"},
		{"to a regulator", protocol.RecentHash{Segments: boxed(1, 5), Mode: request.Named, To: regulator.Participant}, "RECEIVER_UNKNOWN"},
		{"for a moment", protocol.RecentHash{Segments: boxed(1, 5), Mode: request.Bearer, ExpiresIn: 1}, "EXPIRY_INVALID"},
		{"for ever", protocol.RecentHash{Segments: boxed(1, 5), Mode: request.Bearer, ExpiresIn: 1<<63 - 1}, "EXPIRY_INVALID"},
		{"since yesterday", protocol.RecentHash{Segments: boxed(1, 5), Mode: request.Bearer, ExpiresIn: -1}, "EXPIRY_INVALID"},
		{"back, of a trade of others", protocol.RecentHash{Segments: boxed(1, 5), Mode: request.Named, Reverses: "00112233445566778899aabbccddeeff"}, "TRADE_NOT_FOUND"},
	} {
		_, err := r.TransRecentHash(r.ctx, shop.Caller, c.in)
		wants(t, c.name, err, c.code)
	}
}

// A terminal may stop its own key, or put another one in its place, and no other terminal's.
func TestTerminalsOwnKey(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop, other := r.terminal(retailer), r.terminal(retailer)
	old, version := shop.key.Public().KeyID(), must2(r.ledgerParticipant(shop.Participant))(t).Version
	next := *shop
	next.key = must2(gm.GenerateKey(rand.Reader))(t)
	rotate := shop.signed(request.RotateKey{Participant: shop.Participant, Version: version, OldKey: old, Key: next.newKey()})
	other.refused("another's rotation", other.signed(request.RotateKey{Participant: shop.Participant, Version: version, OldKey: old, Key: next.newKey()}), "FORBIDDEN")
	end := shop.committed(rotate)
	if again := next.committed(rotate); again != end {
		t.Errorf("asked again, the rotation is %+v", again)
	}
	shop.refused("the old key", shop.signed(request.Cancel{Trade: old}), "KEY_INACTIVE")
	next.offers("", 1, 1)
	stop := next.signed(request.RevokeKey{KeyAct: request.KeyAct{Key: next.key.Public().KeyID(), Version: 1}})
	next.committed(stop)
	next.committed(stop)
	next.refused("the revoked key", next.signed(request.Cancel{Trade: old}), "KEY_INACTIVE")
	r.fsck()
}

// A terminal that is stopped while its request is on the way doesn't get through, and its cards are free again.
func TestStoppedOnTheWay(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	shop, other := r.terminal(retailer), r.terminal(retailer)
	sub, _ := shop.drafted(protocol.RecentHash{Segments: boxed(1, 5), Mode: request.Bearer})
	stop := shop.signed(request.SuspendKey{KeyAct: request.KeyAct{Key: shop.key.Public().KeyID(), Version: 1}})
	var once sync.Once
	f.next("Offer", 1_000, func(x try) (ledger.Commit, error) { // whoever has come by a lease that ran out waits, too
		once.Do(func() {
			if _, err := r.SubmitSigned(r.ctx, shop.Caller, stop); err != nil {
				t.Error(err)
			}
		})
		return x.through()
	})
	shop.refused("a stopped terminal's offer", sub, "KEY_INACTIVE")
	other.offers("", 1, 5)
	r.noneUnfinished()
	r.fsck()
}

// What a transaction did is settled for whoever names it, and told to those whose it is.
func TestTransSuccess(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop, dealer, maker := r.terminal(retailer), r.terminal(distributor), r.terminal(carrier)
	v := dealer.offers(shop.Participant, 20_001, 20_010)
	end := shop.committed(shop.takes(v, "", ""))
	for range 2 {
		for _, d := range []*terminal{shop, dealer, maker} {
			got, err := r.TransSuccess(r.ctx, d.Caller, end.TxID)
			check(t, err)
			_, err = r.TerminalTransaction(r.ctx, d.Caller, end.TxID)
			if d == maker {
				wants(t, "others' transaction", err, "NOT_FOUND")
				if len(got.Lots)+len(got.Trades) > 0 {
					t.Errorf("others see %+v", got)
				}
				continue
			}
			check(t, err)
			want := protocol.Settled{
				TxID: end.TxID, BlockNumber: end.BlockNumber, Lots: []protocol.SettledLot{{Lot: v.LotHash, Status: "OWNED", Mine: d == shop}},
				Trades: []protocol.SettledTrade{{Trade: v.TradeID, State: "CONFIRMED", Lot: v.LotHash}},
			}
			if a, b := must2(json.Marshal(got))(t), must2(json.Marshal(want))(t); string(a) != string(b) {
				t.Errorf("settled %s\nwant    %s", a, b)
			}
		}
	}
	for name, id := range map[string]string{"no transaction": "", "one that there isn't": "ab", "half a book": string(make([]byte, 1000))} {
		_, err := r.TransSuccess(r.ctx, shop.Caller, id)
		wants(t, name, err, "NOT_FOUND")
	}
	tx, err := r.TerminalTransaction(r.ctx, shop.Caller, end.TxID)
	check(t, err)
	if tx.Function != "Confirm" || tx.RequestID != end.RequestID || !slices.Equal(tx.Signers, []string{shop.key.Public().KeyID()}) {
		t.Errorf("the transaction is %+v", tx)
	}
	r.fsck()
}

// A listener that is behind doesn't keep a terminal from what the ledger has: it is settled for it.
func TestTransSuccessBeforeTheListener(t *testing.T) {
	t.Parallel()
	deaf := &deafLedger{}
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { deaf.Ledger = l; return deaf }, nil)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	v := dealer.offers(shop.Participant, 20_001, 20_010)
	take := shop.takes(v, "", "")
	r.caughtUp()
	deaf.deaf.Store(true)
	p, err := r.file.Prepare(take.Contract, take.Function, [][]byte{[]byte(take.Args), request.Proof{Signatures: []request.Signature{take.Signature}}.Encode()})
	check(t, err)
	c, err := r.file.Submit(r.ctx, p, nil, func() error { return nil }) // by another gateway
	check(t, err)
	got, err := r.TransSuccess(r.ctx, shop.Caller, c.TxID)
	check(t, err)
	if len(got.Trades) != 1 || r.trade(dealer.Caller, v.TradeID).State != "confirmed" {
		t.Errorf("settled %+v; the trade is %s", got, r.trade(dealer.Caller, v.TradeID).State)
	}
	deaf.deaf.Store(false)
	r.caughtUp()
	if again := shop.committed(take); again.TxID != c.TxID {
		t.Errorf("submitted here, it is %+v", again)
	}
	r.fsck()
}

// The pages of what a terminal asks for.
func TestTerminalQueries(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	v := dealer.offers(shop.Participant, 20_001, 20_001)
	coded := dealer.offers("", 20_002, 20_002)
	dealer.offers(carrier.Participant, 20_003, 20_003)

	who, err := r.TerminalParticipants(r.ctx, shop.Caller)
	check(t, err)
	if len(who.Participants) != 2 || who.Participants[0].ID != carrier.Participant || who.Participants[1].Name != "华联物联" {
		t.Errorf("one can sell to %+v", who.Participants)
	}
	page, err := r.TerminalTrades(r.ctx, dealer.Caller, "", "seller", "", 2)
	check(t, err)
	if len(page.Trades) != 2 || page.Next == "" || page.Trades[1].Code != coded.Code || page.Trades[1].Receiver != nil {
		t.Errorf("offered are %+v", page)
	}
	page, err = r.TerminalTrades(r.ctx, dealer.Caller, "", "seller", page.Next, 2)
	check(t, err)
	if len(page.Trades) != 1 || page.Next != "" || page.Trades[0].Trade != v.TradeID || page.Trades[0].Receiver.ID != shop.Participant {
		t.Errorf("and %+v", page)
	}
	page, err = r.TerminalTrades(r.ctx, shop.Caller, "", "", "", 10)
	check(t, err)
	if len(page.Trades) != 1 || page.Trades[0].Code != "" {
		t.Errorf("the shop sees %+v", page)
	}
	_, err = r.TerminalTrades(r.ctx, shop.Caller, "", "both", "", 10)
	wants(t, "a side that is none", err, "BAD_REQUEST")
	_, err = r.TerminalStock(r.ctx, shop.Caller, "nonsense", 10)
	wants(t, "a cursor that is none", err, "CURSOR_INVALID")
	stock, err := r.TerminalStock(r.ctx, dealer.Caller, "", 10)
	check(t, err)
	var n uint64
	for _, l := range stock.Lots {
		if set, hash, err := l.Opening.Set(); err != nil || hash != l.Lot || set.Count() != l.Count || l.Issuer.ID != carrier.Participant {
			t.Errorf("in stock: %+v, %v", l, err)
		}
		n += l.Count
	}
	if n != 40_000-3 {
		t.Errorf("%d cards in stock", n)
	}
	_, err = r.TerminalTrace(r.ctx, shop.Caller, id(60_000))
	wants(t, "a trace of others' cards", err, "CARD_NOT_FOUND")

	for _, c := range []struct {
		name string
		by   *terminal
		in   protocol.ConfirmAsk
		code string
	}{
		{"others' trade", dealer, protocol.ConfirmAsk{Trade: v.TradeID}, "TRADE_NOT_FOUND"},
		{"no trade", shop, protocol.ConfirmAsk{Trade: "x"}, "TRADE_NOT_FOUND"},
		{"nothing", shop, protocol.ConfirmAsk{}, "TRADE_NOT_FOUND"},
		{"a code's trade by its ID", shop, protocol.ConfirmAsk{Trade: coded.TradeID}, "TRADE_NOT_FOUND"},
		{"a wrong code", shop, protocol.ConfirmAsk{Code: "00000000", ICCIDLast6: last6(20_002)}, "TRADE_CODE_NOT_FOUND"},
		{"a card of another", shop, protocol.ConfirmAsk{Code: coded.Code, ICCIDLast6: last6(20_001)}, "TRADE_CODE_NOT_FOUND"},
		{"a code for another trade", shop, protocol.ConfirmAsk{Trade: v.TradeID, Code: coded.Code, ICCIDLast6: last6(20_002)}, "TRADE_CODE_NOT_FOUND"},
		{"one's own", dealer, protocol.ConfirmAsk{Code: coded.Code, ICCIDLast6: last6(20_002)}, "TRADE_CODE_NOT_FOUND"},
		{"a code and its card", shop, protocol.ConfirmAsk{Code: coded.Code, ICCIDLast6: last6(20_002)}, ""},
	} {
		_, err := r.TransConfirm(r.ctx, c.by.Caller, c.in)
		wants(t, c.name, err, c.code)
	}
	r.clock.forward(2 * time.Hour)
	if _, err := r.TransConfirm(r.ctx, shop.Caller, protocol.ConfirmAsk{Trade: v.TradeID}); transfer.CodeOf(err) != "TRADE_EXPIRED" && transfer.CodeOf(err) != "TRADE_ENDED" {
		t.Errorf("a trade that is over: %v", err)
	}
}
