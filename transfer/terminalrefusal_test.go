package transfer_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// told is all that an organisation's terminal is told of a refusal: the answer of the API but for the request's ID.
func told(t *testing.T, err error) string {
	t.Helper()
	var refusal *transfer.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("no refusal: %v", err)
	}
	return string(must2(json.Marshal(map[string]any{"code": refusal.Code, "details": refusal.Details, "message": transfer.MessageOf(refusal.Code)}))(t))
}

// Whether cards are another's, nobody's, frozen, retired, in a trade or set aside there: who hasn't them is told the same, word for
// word, whatever way he asks.
func TestOthersCardsAreAllAlike(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	var made []transfer.TradeView
	for n, to := range []string{carrier.Participant, "", carrier.Participant} {
		made = append(made, dealer.offers(to, 20_001+10*n, 20_005+10*n))
	}
	inTrade, coded, frozen := made[0], made[1], made[2]
	act, err := r.Cancel(r.ctx, distributor, idem("cancel"), frozen.TradeID)
	check(t, err)
	r.await(act, "")
	free := frozen.LotHash
	act, err = r.Freeze(r.ctx, carrier, idem("freeze"), r.lotOf(60_000), span(60_000, 60_010))
	check(t, err)
	r.await(act, "")
	act, err = r.Freeze(r.ctx, carrier, idem("freeze"), r.lotOf(30_000), span(30_000, 30_010))
	check(t, err)
	r.await(act, "")
	act, err = r.Retire(r.ctx, carrier, idem("retire"), r.lotOf(70_000), span(70_000, 70_010))
	check(t, err)
	r.await(act, "")
	frozenLot := r.lotOf(30_000)

	alike := func(way, code string, all map[string]func() error) {
		t.Helper()
		first, same := "", ""
		for name, do := range all {
			err := do()
			wants(t, way+": "+name, err, code)
			if got := told(t, err); same == "" {
				first, same = name, got
			} else if got != same {
				t.Errorf("%s: of %s one is told %s, of %s %s", way, name, got, first, same)
			}
		}
	}
	draft := func(spans []protocol.Span) func() error {
		return func() error {
			_, err := r.TransRecentHash(r.ctx, shop.Caller, protocol.RecentHash{Segments: spans, Mode: request.Bearer})
			return err
		}
	}
	alike("a draft", "CARDS_NOT_OWNED", map[string]func() error{
		"free cards": draft(boxed(20_500, 20_501)), "nobody's": draft(boxed(700_000, 700_001)), "frozen ones": draft(boxed(60_000, 60_001)),
		"frozen ones of a dealer": draft(boxed(30_000, 30_001)), "retired ones": draft(boxed(70_000, 70_001)), "ones in a trade": draft(boxed(20_001, 20_002)),
		"ones behind a code": draft(boxed(20_011, 20_012)), "some of his own with them": draft(append(boxed(1, 2), boxed(30_000, 30_001)...)),
	})
	sub, _ := shop.drafted(protocol.RecentHash{Segments: boxed(1, 2), Mode: request.Named, To: distributor.Participant})
	submit := func(input string) func() error {
		return func() error {
			_, err := r.SubmitSigned(r.ctx, shop.Caller, shop.reworded(sub, func(o *request.Offer) { o.Inputs = []string{input} }))
			return err
		}
	}
	alike("a submission", "CARDS_NOT_OWNED", map[string]func() error{
		"a free lot": submit(free), "no lot": submit(fmt.Sprintf("%064d", 7)), "a frozen one": submit(frozenLot), "one in a trade": submit(inTrade.LotHash), "one behind a code": submit(coded.LotHash),
	})
	confirm := func(in protocol.ConfirmAsk) func() error {
		return func() error { _, err := r.TransConfirm(r.ctx, shop.Caller, in); return err }
	}
	alike("a trade", "TRADE_NOT_FOUND", map[string]func() error{
		"another's": confirm(protocol.ConfirmAsk{Trade: inTrade.TradeID}), "none": confirm(protocol.ConfirmAsk{Trade: fmt.Sprintf("%032d", 7)}),
		"one behind a code": confirm(protocol.ConfirmAsk{Trade: coded.TradeID}), "one that has ended": confirm(protocol.ConfirmAsk{Trade: frozen.TradeID}),
	})
	trace := func(card int) func() error {
		return func() error { _, err := r.TerminalTrace(r.ctx, shop.Caller, id(card)); return err }
	}
	alike("a trace", "CARD_NOT_FOUND", map[string]func() error{
		"the carrier's card": trace(50_500), "nobody's": trace(700_000), "a frozen one": trace(60_000), "a retired one": trace(70_000),
	})
}

// A draft takes so many runs of cards; what is more is refused by name, and so is a day's work of single cards.
func TestDraftOfManyRuns(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop := r.terminal(retailer)
	apart := func(n int) (spans []protocol.Span) { // no two of them side by side
		for i := range n {
			spans = append(spans, protocol.Span{Start: id(1 + 2*(i%5000))})
		}
		return spans
	}
	draft, err := r.TransRecentHash(r.ctx, shop.Caller, protocol.RecentHash{Segments: apart(1000), Mode: request.Bearer})
	if err != nil || draft.Count != 1000 {
		t.Errorf("%d cards, %v", draft.Count, err)
	}
	for _, n := range []int{1001, 10_000} {
		_, err := r.TransRecentHash(r.ctx, shop.Caller, protocol.RecentHash{Segments: apart(n), Mode: request.Bearer})
		wants(t, fmt.Sprint(n, " runs"), err, "TOO_MANY_CARDS")
		if got, want := told(t, err), `{"code":"TOO_MANY_CARDS","details":{"limit":1000},"message":"一次提交的卡太多，请分批提交"}`; got != want {
			t.Errorf("%d runs: %s", n, got)
		}
	}
}

// The terminal goes away while its request is on the way to the ledger: nobody hears the answer. What it does then is to send
// the same again, at whichever server, and the answer is the one that was lost.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newStockedWith(t, f.wrap, nil)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	v := r.offered(dealer.Caller, dealer.offers(shop.Participant, 20_001, 20_010))
	before := r.acts()
	take := shop.takes(v, "", "")
	gate := make(chan struct{})
	f.next("Confirm", 1_000, func(x try) (ledger.Commit, error) {
		select {
		case <-gate:
			return x.through()
		case <-x.ctx.Done():
			return ledger.Commit{}, failure(ledger.NotSent)
		}
	})
	ctx, cut := context.WithCancel(r.ctx)
	gone := make(chan error, 1)
	go func() {
		_, err := r.SubmitSigned(ctx, shop.Caller, take)
		gone <- err
	}()
	r.until("it is at the ledger", func() bool { return f.tries("Confirm") > 0 })
	cut()
	if err := <-gone; !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("cut off: %v", err)
	}
	close(gate)
	end := shop.committed(take)
	if again := shop.committed(take); again != end {
		t.Errorf("asked again it is %+v, and was %+v", again, end)
	}
	if asked, err := r.TerminalRequest(r.ctx, shop.Caller, end.RequestID); err != nil || asked != end {
		t.Errorf("asked for it is %+v, %v", asked, err)
	}
	if n := r.acts(); n != before+1 {
		t.Errorf("%d acts", n-before)
	}
	r.noneUnfinished()
	r.fsck()
}

// Two organisations have a trade's code and a card of it, and confirm at once: one has the cards, and the other is told that there
// is nothing.
func TestTwoConfirmOneTrade(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	dealer := r.terminal(distributor)
	rivals := []*terminal{r.terminal(retailer), r.terminal(carrier)}
	v := r.offered(dealer.Caller, dealer.offers("", 20_001, 20_010))
	var subs []protocol.Submit
	for _, d := range rivals {
		subs = append(subs, d.takes(v, v.Code, last6(20_003)))
	}
	var ends [2]protocol.Submitted
	var errs [2]error
	var both sync.WaitGroup
	for n, d := range rivals {
		both.Go(func() { ends[n], errs[n] = r.SubmitSigned(r.ctx, d.Caller, subs[n]) })
	}
	both.Wait()
	r.noneUnfinished()
	won := -1
	for n, d := range rivals {
		end, err := r.SubmitSigned(r.ctx, d.Caller, subs[n])
		switch {
		case err == nil && end.State == "committed" && won < 0:
			won = n
		case err == nil && end.State == "committed":
			t.Error("both have the cards")
		case err != nil && transfer.CodeOf(err) != "TRADE_CODE_NOT_FOUND":
			t.Errorf("the other is told: %v", err)
		}
	}
	if won < 0 {
		t.Fatalf("nobody has the cards: %+v, %v", ends, errs)
	}
	if now := r.trade(dealer.Caller, v.TradeID); now.State != "confirmed" || now.ReceiverID != rivals[won].Participant {
		t.Errorf("the trade is %s, and %s has the cards", now.State, now.ReceiverID)
	}
	r.fsck()
}

// What a terminal has signed for one thing is good for no other: an envelope's signature is none of a request, and one request's
// none of another, even where only the day on which it ends differs.
func TestSignaturesAreForOneThing(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	shop, dealer := r.terminal(retailer), r.terminal(distributor)
	first, second := dealer.offers(shop.Participant, 20_001, 20_001), dealer.offers(shop.Participant, 20_002, 20_002)
	good := shop.takes(first, "", "")
	other := shop.takes(second, "", "")
	used := func(change func(s *protocol.Submit)) protocol.Submit { s := good; change(&s); return s }
	envelope := protocol.Request{Channel: "test", Method: "POST", Path: protocol.PathSubmit, KeyID: good.Signature.KeyID, Time: r.clock.now().UnixMilli(), Body: []byte(good.Args)}
	for name, sub := range map[string]protocol.Submit{
		"its envelope's": used(func(s *protocol.Submit) {
			s.Signature.Bytes = must2(shop.key.Sign(rand.Reader, envelope.SigningBytes()))(t)
		}),
		"another trade's": used(func(s *protocol.Submit) { s.Signature.Bytes = other.Signature.Bytes }),
		"for another day": used(func(s *protocol.Submit) { s.Signature.NotAfter += time.Hour.Milliseconds() }),
		"for a refusal": used(func(s *protocol.Submit) {
			s.Signature = shop.signed(request.Decline{Trade: first.TradeID, Receiver: shop.Participant, Reason: "OTHER"}).Signature
		}),
	} {
		shop.refused(name, sub, "REQUEST_SIGNATURE_WRONG")
	}
	shop.committed(good)
	r.fsck()
}
