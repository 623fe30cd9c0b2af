package transfer_test

import (
	"testing"

	"cardflow/transfer"
)

// The main flow, from issue to a traced, receipted ownership.
func TestStory(t *testing.T) {
	r := newRig(t)
	r.organisations()
	r.issue(1, 1000)
	r.sell(carrier, distributor, 1, 1000)
	r.sell(distributor, retailer, 1, 500)
	trade := r.offer(retailer, 42, 42)
	ann := r.consumer("ann")

	seen, err := r.Lookup(r.ctx, ann, trade.Code, id(42)[14:])
	check(t, err)
	if seen.TradeID != trade.TradeID || seen.SellerName != "小店" || seen.Count != 1 || seen.Segments[0].Start != id(42) {
		t.Fatalf("looked up %+v", seen)
	}
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, id(42)[14:])
	check(t, err)
	end := r.await(act, "")
	if end.TxID == "" || end.BlockNumber == 0 {
		t.Fatalf("confirmed %+v", end)
	}
	cards, err := r.MyCards(r.ctx, ann, "", 10)
	check(t, err)
	if len(cards.Items) != 1 || cards.Items[0].ICCID != id(42) || cards.Items[0].SellerName != "小店" || cards.Items[0].ReturnableUntil == nil {
		t.Fatalf("my cards: %+v", cards.Items)
	}
	tr, err := r.Trace(r.ctx, ann, cards.Items[0].CardID)
	check(t, err)
	if len(tr.Hops) != 1 || tr.Hops[0].From != "小店" || tr.Hops[0].EndDevice != "WECHAT" {
		t.Fatalf("the consumer's trace: %+v", tr.Hops)
	}
	tr, err = r.Trace(r.ctx, regulator, cards.Items[0].CardID)
	check(t, err)
	if kinds(tr.Hops) != "ISSUE:>中国移动 TRADE:中国移动>华联物联 TRADE:华联物联>小店 TRADE:小店>个人用户 " {
		t.Fatalf("the regulator's trace: %s", kinds(tr.Hops))
	}
	receipt, err := r.Receipt(r.ctx, ann, end.ID)
	check(t, err)
	if receipt.TxID != end.TxID || receipt.BlockHash == "" || receipt.Canonical != id(42) {
		t.Fatalf("receipt %+v", receipt)
	}
	rep := r.fsck()
	if rep.Cards != 1000 {
		t.Fatalf("%d cards are live, not 1000", rep.Cards)
	}
}

func kinds(hops []transfer.Hop) string {
	s := ""
	for _, h := range hops {
		s += h.Kind + ":" + h.From + ">" + h.To + " "
	}
	return s
}
