package transfer_test

import (
	"testing"

	"cardflow/transfer"
)

// A buyer is told what became of each of his wishes, and of nobody else's.
func TestInbox(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	kept, refused := r.offer(retailer, 1, 2), r.offer(retailer, 3, 3)
	r.confirm(ann, kept, 1)
	r.confirm(bob, r.offer(retailer, 4, 4), 4)
	act, err := r.Decline(r.ctx, ann, idem("decline"), refused.TradeID, refused.Code, last6(3), "DAMAGED", "")
	check(t, err)
	r.await(act, "")

	back := func() string {
		act, err := r.Return(r.ctx, ann, idem("return"), kept.TradeID, "")
		check(t, err)
		r.await(act, "")
		page, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Side: "receiver", State: "offered"})
		check(t, err)
		if len(page.Items) != 1 {
			t.Fatalf("%d returns are offered", len(page.Items))
		}
		return page.Items[0].TradeID
	}
	first := back()
	act, err = r.Decline(r.ctx, retailer, idem("decline"), first, "", "", "WRONG_CARDS", "")
	check(t, err)
	r.await(act, "")
	second := back()

	type line struct{ function, state, reply, reason string }
	inbox := func(c transfer.Caller, limit int) (got []line) {
		for cursor := ""; ; {
			page, err := r.Inbox(r.ctx, c, cursor, limit)
			check(t, err)
			for _, n := range page.Items {
				if n.SellerName != "小店" || n.Count == 0 || n.At.IsZero() || n.Error != nil {
					t.Errorf("%+v", n)
				}
				got = append(got, line{n.Function, n.State, n.Reply, n.Reason})
			}
			if cursor = page.Next; cursor == "" {
				return got
			}
		}
	}
	want := []line{
		{"Return", "committed", "offered", ""}, {"Return", "committed", "declined", "WRONG_CARDS"}, {"Decline", "committed", "", ""}, {"Confirm", "committed", "", ""},
	}
	for _, limit := range []int{0, 1} {
		got := inbox(ann, limit)
		if len(got) != len(want) {
			t.Fatalf("%d at once: %v", limit, got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%d at once, line %d: %v, want %v", limit, i, got[i], want[i])
			}
		}
	}
	if got := inbox(bob, 0); len(got) != 1 || got[0].function != "Confirm" {
		t.Errorf("somebody else is told of %v", got)
	}
	act, err = r.Confirm(r.ctx, retailer, idem("confirm"), second, "", "")
	check(t, err)
	r.await(act, "")
	if got := inbox(ann, 1); got[0].reply != "confirmed" {
		t.Errorf("what was taken back: %v", got[0])
	}
	_, err = r.Inbox(r.ctx, ann, "broken", 0)
	wants(t, "a cursor of nobody's", err, "CURSOR_INVALID")
}
