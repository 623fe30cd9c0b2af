package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The second half of the story: what holds once a card is sold.

func (s *story) twice() {
	path, proof := s.chen.base+"/trades/"+s.sold.TradeID+"/confirm", shows(s.sold)
	const key = "Idempotency-Key"
	first := s.chen.raw(http.MethodPost, path, proof, key, "one-wish-of-his")
	again := s.chen.raw(http.MethodPost, path, proof, key, "one-wish-of-his")
	// He has confirmed it before, under another key: that act is the answer, and stays it.
	id := `"confirmationId":"` + s.confirmed.ConfirmationID + `"`
	if first.status != 202 || !strings.Contains(string(first.body), id) || string(again.body) != string(first.body) {
		s.t.Errorf("confirmed again: %d %s; and again: %d %s", first.status, first.body, again.status, again.body)
	}
	proof["iccidLast6"] = "000000"
	if other := s.chen.raw(http.MethodPost, path, proof, key, "one-wish-of-his"); other.status != 422 || !strings.Contains(string(other.body), "IDEMPOTENCY_KEY_REUSED") {
		s.t.Errorf("another body under the same key: %d %s", other.status, other.body)
	}
	if none := s.chen.raw(http.MethodPost, path, shows(s.sold)); none.status != 400 || !strings.Contains(string(none.body), "IDEMPOTENCY_KEY_REQUIRED") {
		s.t.Errorf("without a key: %d %s", none.status, none.body)
	}
	var seen struct{ TradeID, ConfirmationID string }
	s.chen.post("/trade-codes/lookup", shows(s.sold), &seen)
	if seen.ConfirmationID != s.confirmed.ConfirmationID {
		s.t.Errorf("his used code leads him to %+v", seen)
	}
	other := s.consumer("小周")
	other.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trade-codes/lookup", shows(s.sold))
	other.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trades/"+s.sold.TradeID+"/confirm", shows(s.sold))
}

func (s *story) receipt() {
	var r receipt
	s.chen.get("/me/receipts/"+s.confirmed.ConfirmationID, &r)
	var block struct{ Hash string }
	s.regulator.get(fmt.Sprintf("/blocks/%d", r.BlockNumber), &block)
	if r.TradeID != s.sold.TradeID || r.TxID != s.confirmed.TxID || r.BlockNumber != s.confirmed.BlockNumber || r.BlockHash != block.Hash ||
		r.Seller.Name != "小王通讯店" || r.Count != 3 || !slices.Equal(r.Segments, s.sold.Segments) {
		s.t.Errorf("the receipt is %+v", r)
	}
	proves(s.t, s.Ledger, r)
	s.shop.refused(403, "FORBIDDEN", http.MethodGet, "/me/receipts/"+s.confirmed.ConfirmationID, nil)
	s.consumer("小周").refused(404, "NOT_FOUND", http.MethodGet, "/me/receipts/"+s.confirmed.ConfirmationID, nil)
}

// ownedCard is a line of "my cards".
type ownedCard struct {
	CardID, ICCID, TradeID, Status string
	Seller                         struct{ Name string }
	Restrictions                   []string
	ReturnableUntil                string
}

// owns lists the cards of a consumer, two at a time.
func (v *visitor) owns() (all []ownedCard) {
	v.t.Helper()
	query := "?limit=2"
	for {
		var page items[ownedCard]
		v.get("/me/cards"+query, &page)
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			return all
		}
		query = "?limit=2&cursor=" + page.NextCursor
	}
}

func numbers(cards []ownedCard) []string {
	var out []string
	for _, c := range cards {
		out = append(out, c.ICCID)
	}
	return out
}

func (s *story) myCards() {
	mine := s.chen.owns()
	if got, want := numbers(mine), []string{card(10), card(11), card(20)}; !slices.Equal(got, want) {
		s.t.Fatalf("he owns %v, want %v", got, want)
	}
	for _, c := range mine {
		if c.Seller.Name != "小王通讯店" || c.Status != "OWNED" || c.TradeID != s.sold.TradeID || c.ReturnableUntil == "" || !slices.Equal(c.Restrictions, []string{"DATA_ONLY"}) {
			s.t.Errorf("his card: %+v", c)
		}
	}
	if other := s.consumer("小周").owns(); len(other) != 0 {
		s.t.Errorf("another owns %+v", other)
	}
}

// steps writes the hops of a card's trace that somebody sees, and checks that the ledger has their transactions.
func (s *story) steps(v *visitor, iccid string) []string {
	s.t.Helper()
	var found struct{ CardID string }
	v.post("/cards/find", map[string]string{"iccid": iccid}, &found)
	var t struct {
		ICCID string
		Hops  []struct {
			Kind, From, To, EndDevice string
			TxIDs                     []string
		}
	}
	v.get("/cards/"+found.CardID+"/trace", &t)
	if t.ICCID != iccid {
		s.t.Errorf("the trace of another card")
	}
	var steps []string
	for _, h := range t.Hops {
		steps = append(steps, strings.TrimSpace(h.Kind+" "+h.From+">"+h.To+" "+h.EndDevice))
		for _, id := range h.TxIDs {
			var tx struct{ TxID, Validation string }
			s.regulator.get("/transactions/"+id, &tx)
			if tx.TxID != id || tx.Validation != "VALID" {
				s.t.Errorf("transaction %s of the trace is %+v", id, tx)
			}
		}
	}
	return steps
}

func (s *story) trace() {
	const (
		issued  = "ISSUE >中国移动"
		first   = "TRADE 中国移动>华联物联 ACCOUNT"
		second  = "TRADE 华联物联>小王通讯店 ACCOUNT"
		third   = "TRADE 小王通讯店>个人用户 WECHAT"
		thirdMe = "TRADE 小王通讯店>我 WECHAT"
	)
	for _, who := range []struct {
		v    *visitor
		want []string
	}{
		{s.regulator, []string{issued, first, second, third}},
		{s.carrier, []string{issued, first}},
		{s.distributor, []string{first, second}},
		{s.shop, []string{second, third}},
		{s.chen, []string{thirdMe}},
	} {
		if got := s.steps(who.v, card(10)); !slices.Equal(got, who.want) {
			s.t.Errorf("%s sees %q, want %q", who.v.name, got, who.want)
		}
	}
	other := s.consumer("小周")
	other.refused(404, "CARD_NOT_FOUND", http.MethodPost, "/cards/find", map[string]string{"iccid": card(10)})
	s.regulator.refused(400, "QUERY_UNKNOWN", http.MethodGet, "/cards?iccid="+card(10), nil)
}

func (s *story) decline() {
	free := s.inventory(s.shop)
	t := s.shop.offers("BEARER", "", cards(card(30), card(31)))
	if now := s.inventory(s.shop); now != free-2 {
		s.t.Errorf("%d cards were free, 2 are offered, %d are free", free, now)
	}
	other := s.consumer("小周")
	body := map[string]string{"reason": "WRONG_CARDS", "text": "卡号与包装不符"}
	maps.Copy(body, shows(t))
	end := other.done("/trades/"+t.TradeID+"/decline", body)
	var seen trade
	s.shop.get("/trades/"+t.TradeID, &seen)
	if seen.State != "declined" || seen.Reason != "WRONG_CARDS" || seen.ReasonText != "卡号与包装不符" || seen.Code != "" || seen.EndTx != end.TxID || seen.EndBlock != end.BlockNumber {
		s.t.Errorf("declined: %+v", seen)
	}
	other.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trade-codes/lookup", shows(t))
	if now := s.inventory(s.shop); now != free {
		s.t.Errorf("%d cards were free, and %d after a declined trade", free, now)
	}
}

func (s *story) cancel() {
	free := s.inventory(s.shop)
	t := s.shop.offers("BEARER", "", cards(card(30), card(32)))
	s.shop.refused(409, "CARDS_RESERVED", http.MethodPost, "/trades", map[string]any{"mode": "BEARER", "segments": []any{cards(card(32), card(33))}})
	s.distributor.refused(404, "TRADE_NOT_FOUND", http.MethodPost, "/trades/"+t.TradeID+"/cancel", nil)
	s.shop.done("/trades/"+t.TradeID+"/cancel", nil)
	s.shop.refused(409, "TRADE_ENDED", http.MethodPost, "/trades/"+t.TradeID+"/cancel", nil)
	s.shop.refused(409, "TRADE_CODE_HIDDEN", http.MethodGet, "/trades/"+t.TradeID+"/qr.png", nil)
	other := s.consumer("小周")
	other.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trade-codes/lookup", shows(t))
	other.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trades/"+t.TradeID+"/confirm", shows(t))
	if now := s.inventory(s.shop); now != free {
		s.t.Errorf("%d cards were free, and %d after a cancelled trade", free, now)
	}
}

func (s *story) giveBack() {
	free := s.inventory(s.shop)
	s.consumer("小周").refused(404, "TRADE_NOT_FOUND", http.MethodPost, "/trades/"+s.sold.TradeID+"/return", nil)
	s.chen.done("/trades/"+s.sold.TradeID+"/return", map[string]string{"reason": "买多了"})
	var waiting items[trade]
	s.shop.get("/trades?side=receiver&state=offered", &waiting)
	i := slices.IndexFunc(waiting.Items, func(t trade) bool { return t.Reverses == s.sold.TradeID })
	if i < 0 || waiting.Items[i].ReasonText != "买多了" || waiting.Items[i].Count != 3 {
		s.t.Fatalf("the shop does not see the return among %+v", waiting.Items)
	}
	if mine := s.chen.owns(); len(mine) != 3 || mine[0].Status != "IN_TRADE" {
		s.t.Errorf("until the shop takes them they are his: %+v", mine)
	}
	s.shop.done("/trades/"+waiting.Items[i].TradeID+"/confirm", nil)
	if mine := s.chen.owns(); len(mine) != 0 {
		s.t.Errorf("after the return he owns %+v", mine)
	}
	if now := s.inventory(s.shop); now != free+3 {
		s.t.Errorf("the shop had %d free cards, got 3 back, and has %d", free, now)
	}
	steps := s.steps(s.regulator, card(20))
	if last := steps[len(steps)-1]; len(steps) != 5 || last != "RETURN 个人用户>小王通讯店 ACCOUNT" {
		s.t.Errorf("the trace after the return: %q", steps)
	}
	s.chen.refused(409, "NOT_RETURNABLE", http.MethodPost, "/trades/"+s.sold.TradeID+"/return", nil)
}

func (s *story) stats() {
	var st struct {
		Sold, Received map[string]int
		Days           []struct{ Offered, Confirmed, Declined, Cancelled, CardsMoved int }
	}
	s.shop.get("/stats?days=2", &st)
	// Of the demo: two trades sold and one open, two received. Of this story: sold one, declined one, cancelled one;
	// received one and the return.
	if want := map[string]int{"confirmed": 3, "offered": 1, "declined": 1, "cancelled": 1}; !maps.Equal(st.Sold, want) {
		s.t.Errorf("sold %v, want %v", st.Sold, want)
	}
	if want := map[string]int{"confirmed": 4}; !maps.Equal(st.Received, want) {
		s.t.Errorf("received %v, want %v", st.Received, want)
	}
	sum := 0
	for _, d := range st.Days { // two, in case that midnight has passed
		sum += d.Declined + d.Cancelled
	}
	if len(st.Days) != 2 || sum != 2 {
		s.t.Errorf("the days are %+v", st.Days)
	}
	s.regulator.refused(400, "QUERY_INVALID", http.MethodGet, "/stats?days=0", nil)
}

func (s *story) ledger() {
	type block struct {
		Number       uint64
		Hash         string
		PreviousHash string
		Transactions []struct {
			TxID, Function, Validation string
			Signers                    []string
			Writes                     []struct{ Contract, Key string }
		}
	}
	var at block
	s.regulator.get(fmt.Sprintf("/blocks/%d", s.confirmed.BlockNumber), &at)
	found := false
	for _, tx := range at.Transactions {
		if tx.TxID == s.confirmed.TxID {
			found = true
			if tx.Function != "Confirm" || tx.Validation != "VALID" || len(tx.Signers) != 2 || len(tx.Writes) == 0 {
				s.t.Errorf("the confirmation on the ledger: %+v", tx)
			}
		}
	}
	if !found {
		s.t.Errorf("block %d lacks transaction %s", at.Number, s.confirmed.TxID)
	}
	for at.Number > 0 {
		var before block
		s.regulator.get(fmt.Sprintf("/blocks/%d", at.Number-1), &before)
		if before.Hash != at.PreviousHash {
			s.t.Fatalf("block %d names %s as the one before it, which has %s", at.Number, at.PreviousHash, before.Hash)
		}
		at = before
	}
	if at.PreviousHash != "" {
		s.t.Errorf("block 0 follows %s", at.PreviousHash)
	}
	s.regulator.refused(404, "NOT_FOUND", http.MethodGet, "/blocks/999999", nil)
	s.regulator.refused(404, "NOT_FOUND", http.MethodGet, "/transactions/"+strings.Repeat("0", 64), nil)
	s.chen.refused(403, "FORBIDDEN", http.MethodGet, "/blocks/1", nil)
}

func (s *story) logout() {
	phone := s.consumer("小陈")
	s.chen.post("/auth/logout", nil, nil)
	s.chen.refused(401, "UNAUTHENTICATED", http.MethodGet, "/me", nil)
	phone.get("/me", nil)
}

func (s *story) verdict() {
	if r := s.fsck(); r.Cards != 1300 {
		s.t.Errorf("%d cards are in live lots, want the demo's 1,000 and the story's 300", r.Cards)
	}
	metrics := s.visitor("prometheus").raw(http.MethodGet, s.URL+"/metrics", nil)
	for _, name := range []string{`cardflow_acts_total{function="Confirm",outcome="committed"}`, "cardflow_custody_sign_seconds_count", "cardflow_wechat_seconds_count"} {
		if !strings.Contains(string(metrics.body), name) {
			s.t.Errorf("no %s among the metrics", name)
		}
	}
}
