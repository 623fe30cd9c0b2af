package transfer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"cardflow/transfer"
)

// Asking again is harmless, whatever the key; another body under the same key is a mistake of the caller's program.
func TestConfirmTwice(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	trade, other := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
	key := idem("POST /trades/{id}/confirm")
	ask := func(key transfer.Idem) (transfer.Act, error) {
		return r.Confirm(r.ctx, ann, key, trade.TradeID, trade.Code, last6(1))
	}
	first, err := ask(key)
	check(t, err)
	again, err := ask(key) // a double tap
	check(t, err)
	phone, err := ask(idem("POST /trades/{id}/confirm")) // his other phone
	check(t, err)
	if again.ID != first.ID || phone.ID != first.ID {
		t.Errorf("one wish has the acts %s, %s, %s", first.ID, again.ID, phone.ID)
	}
	reused := key
	reused.BodyDigest = "y"
	_, err = ask(reused)
	wants(t, "the same key, another body", err, "IDEMPOTENCY_KEY_REUSED")
	_, err = r.Confirm(r.ctx, ann, reused, other.TradeID, other.Code, last6(2))
	wants(t, "the same key, another trade", err, "IDEMPOTENCY_KEY_REUSED")
	_, err = ask(transfer.Idem{Route: "POST /trades/{id}/confirm", BodyDigest: "x"})
	wants(t, "no key", err, "IDEMPOTENCY_KEY_REQUIRED")

	end := r.await(first, "")
	for _, k := range []transfer.Idem{key, idem("POST /trades/{id}/confirm")} {
		late, err := ask(k) // and long afterwards
		check(t, err)
		if late.ID != first.ID || late.State != "committed" || late.TxID != end.TxID {
			t.Errorf("asked again afterwards: %+v", late)
		}
	}
	// A key is one person's: another one's is none of his business.
	act, err := r.Confirm(r.ctx, bob, key, other.TradeID, other.Code, last6(2))
	check(t, err)
	if act.ID == first.ID {
		t.Error("bob got ann's act by using her key")
	}
	r.await(act, "")
	r.onLedger("Confirm", 2)
	r.fsck()
}

// Two people, one card: the second is told, and nothing of it is left on the ledger.
func TestConfirmByTwoPeople(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	trade := r.offer(retailer, 1, 1)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	if _, err := r.Confirm(r.ctx, bob, idem("confirm"), trade.TradeID, trade.Code, last6(1)); err == nil {
		t.Fatal("two people confirmed one trade")
	} else if code := transfer.CodeOf(err); code != "TRADE_BUSY" && code != "TRADE_CODE_NOT_FOUND" {
		t.Fatalf("the second one: %v", err)
	}
	if _, err := r.Act(r.ctx, bob, act.ID); transfer.CodeOf(err) != "NOT_FOUND" {
		t.Errorf("bob looks at ann's act: %v", err)
	}
	r.await(act, "")
	_, err = r.Receipt(r.ctx, bob, act.ID)
	wants(t, "bob asks for ann's receipt", err, "NOT_FOUND")
	r.onLedger("Confirm", 1)
	r.fsck()
}

// 50 people at once: one gets the card, 49 a clear answer.
func TestFiftyPeopleAtOnce(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	trade := r.offer(retailer, 1, 1)
	const crowd = 50
	people := make([]transfer.Caller, crowd)
	for i := range people {
		people[i] = r.consumer(fmt.Sprint("person ", i))
	}
	acts, errs := make([]transfer.Act, crowd), make([]error, crowd)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i, p := range people {
		wg.Go(func() {
			<-start
			acts[i], errs[i] = r.Confirm(r.ctx, p, idem("confirm"), trade.TradeID, trade.Code, last6(1))
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch code := transfer.CodeOf(err); {
		case err == nil && winner >= 0:
			t.Fatalf("%d and %d both won", winner, i)
		case err == nil:
			winner = i
		case code != "TRADE_BUSY" && code != "TRADE_CODE_NOT_FOUND":
			t.Errorf("%d: %v", i, err)
		case transfer.MessageOf(code) == "":
			t.Errorf("%d: no words for %s", i, code)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	r.await(acts[winner], "")
	if v := r.trade(retailer, trade.TradeID); v.ReceiverID != people[winner].Participant {
		t.Errorf("the card is %s's", v.ReceiverID)
	}
	r.onLedger("Confirm", 1)
	r.fsck()
}

// One impatient person: 50 taps at once are one wish.
func TestFiftyTapsOfOnePerson(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	same := idem("confirm")
	ids := make([]string, 50)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			key := same
			if i%2 == 1 {
				key = idem("confirm") // a program that makes a new key for every tap
			}
			act, err := r.Confirm(r.ctx, ann, key, trade.TradeID, trade.Code, last6(1))
			if err != nil {
				t.Errorf("tap %d: %v", i, err)
				return
			}
			ids[i] = act.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("taps made acts %s and %s", ids[0], id)
		}
	}
	r.await(transfer.Act{ID: ids[0]}, "")
	r.onLedger("Confirm", 1)
	r.fsck()
}

// Whoever waits sees the act move, to its end and no further.
func TestWatchSeesTheActMove(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	trade := r.offer(retailer, 1, 1)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	if _, err := r.Watch(r.ctx, bob, act.ID); transfer.CodeOf(err) != "NOT_FOUND" {
		t.Errorf("bob watches ann's act: %v", err)
	}
	moves, err := r.Watch(r.ctx, ann, act.ID)
	check(t, err)
	order := "accepted signed submitted committed"
	var last transfer.Act
	for a := range moves {
		if strings.Index(order, a.State) < strings.Index(order, last.State) {
			t.Errorf("went from %s to %s", last.State, a.State)
		}
		last = a
	}
	if last.State != "committed" || last.TxID == "" || last.BlockNumber == 0 {
		t.Fatalf("the last word: %+v", last)
	}
	after, err := r.Watch(r.ctx, ann, act.ID)
	check(t, err)
	if a := <-after; a.State != "committed" {
		t.Errorf("watching an end shows %s", a.State)
	}
	if _, open := <-after; open {
		t.Error("watching an end does not end")
	}
}

// A consumer takes his return back as long as the shop has not answered it: the cards stay his, and he may return them later.
func TestReturnTakenBack(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.registered("bob")
	trade := r.offer(retailer, 1, 2)
	r.confirm(ann, trade, 1)
	back := func() string {
		t.Helper()
		act, err := r.Return(r.ctx, ann, idem("return"), trade.TradeID, "卡不能用")
		check(t, err)
		r.await(act, "")
		cards, err := r.MyCards(r.ctx, ann, "", 10)
		check(t, err)
		if len(cards.Items) != 2 || cards.Items[0].Return == "" || cards.Items[0].Return != cards.Items[1].Return || cards.Items[0].TradeID != trade.TradeID {
			t.Fatalf("she has %+v", cards.Items)
		}
		return cards.Items[0].Return
	}
	id := back()
	_, err := r.Cancel(r.ctx, bob, idem("cancel"), id)
	wants(t, "another consumer", err, "TRADE_NOT_FOUND")
	_, err = r.Cancel(r.ctx, ann, idem("cancel"), trade.TradeID)
	wants(t, "the shop's sale", err, "TRADE_NOT_FOUND")
	act, err := r.Cancel(r.ctx, ann, idem("cancel"), id)
	check(t, err)
	r.await(act, "")
	_, err = r.Confirm(r.ctx, retailer, idem("confirm"), id, "", "")
	wants(t, "the shop, too late", err, "TRADE_ENDED")
	cards, err := r.MyCards(r.ctx, ann, "", 10)
	check(t, err)
	if len(cards.Items) != 2 || cards.Items[0].Return != "" || cards.Items[0].Status != "OWNED" || cards.Items[0].ReturnableUntil == nil || cards.Items[0].Confirmation == "" {
		t.Errorf("she has %+v", cards.Items)
	}
	inbox, err := r.Inbox(r.ctx, ann, "", 1)
	check(t, err)
	if len(inbox.Items) != 1 || inbox.Items[0].Function != "Return" || inbox.Items[0].Reply != "cancelled" {
		t.Errorf("her inbox has %+v", inbox.Items)
	}
	// The shop is faster the second time.
	id = back()
	act, err = r.Confirm(r.ctx, retailer, idem("confirm"), id, "", "")
	check(t, err)
	r.await(act, "")
	_, err = r.Cancel(r.ctx, ann, idem("cancel"), id)
	wants(t, "she, too late", err, "TRADE_ENDED")
	r.fsck()
}
