package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cardflow/transfer"
)

// snapshot is all that people can see of a site, as JSON by who sees what.
func (s *site) snapshot(consumers ...transfer.Caller) map[string]string {
	s.t.Helper()
	ctx, all := soon(s.t), map[string]string{}
	keep := func(name string, v any, err error) {
		s.t.Helper()
		check(s.t, err)
		b, err := json.Marshal(v)
		check(s.t, err)
		all[name] = string(b)
	}
	for _, o := range demoOrganisations {
		who := o.caller()
		lots, err := s.Service.Lots(ctx, who, "", 100)
		keep(o.ID+"'s lots", lots, err)
		trades, err := s.Service.Trades(ctx, who, transfer.TradeFilter{Limit: 100})
		keep(o.ID+"'s trades", trades, err)
		stats, err := s.Service.Stats(ctx, who, 7)
		keep(o.ID+"'s statistics", stats, err)
	}
	for _, who := range consumers {
		cards, err := s.Service.MyCards(ctx, who, "", 100)
		keep(who.Participant+"'s cards", cards, err)
		for _, c := range cards.Items {
			trace, err := s.Service.Trace(ctx, who, c.CardID)
			keep(c.CardID+"'s trace", trace, err)
		}
	}
	height, err := s.Ledger.Height(ctx)
	check(s.t, err)
	for n := range height {
		b, err := s.Service.LedgerBlock(ctx, n)
		keep("block "+b.Hash, b, err)
	}
	return all
}

// consumerCaller is who the use cases take a WeChat user of the sandbox for.
func (s *site) consumerCaller(name string) transfer.Caller {
	s.t.Helper()
	c, err := s.Service.ConsumerFor(soon(s.t), s.Config.WeChat.AppID, s.Sandbox.OpenID(name))
	check(s.t, err)
	return c
}

// TestRestart starts a server a second time on the data of the first. All is as it was, but people must log in again:
// the Redis in process forgets.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	first := openSite(t, dir)
	shop, li := first.staff("xiaowang"), first.consumer("小李")
	open := shop.offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	sold := shop.offers("BEARER", "", cards("898604B7192270274030", "898604B7192270274030"))
	bought := li.done("/trades/"+sold.TradeID+"/confirm", shows(sold))
	var mine receipt
	li.get("/me/receipts/"+bought.ConfirmationID, &mine)
	check(t, first.Service.CatchUp(soon(t)))
	before := first.snapshot(first.consumerCaller("小李"))
	first.close(t)

	second := openSite(t, dir)
	after := second.snapshot(second.consumerCaller("小李"))
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != before[name] {
			t.Errorf("%s was\n%s\nand is, after the restart,\n%s", name, before[name], after[name])
		}
	}
	for name, text := range after {
		// The first server anchored its audit when it was told to stop, perhaps the second one when it began.
		if _, ok := before[name]; !ok && !strings.Contains(text, `"Function":"Anchor"`) {
			t.Errorf("%s is new: %s", name, text)
		}
	}
	for _, v := range []*visitor{shop, li} {
		v.base = second.URL + "/api/v1"
		v.refused(401, "UNAUTHENTICATED", http.MethodGet, "/me", nil)
	}
	li = second.consumer("小李")
	var same receipt
	li.get("/me/receipts/"+bought.ConfirmationID, &same)
	if got, want := asJSON(t, same), asJSON(t, mine); got != want {
		t.Errorf("the receipt was\n%s\nand is\n%s", want, got)
	}
	// The code that was open before still sells.
	li.done("/trades/"+open.TradeID+"/confirm", shows(open))
	if got := numbers(li.owns()); !slices.Equal(got, []string{"898604B7192270274020", "898604B7192270274021", "898604B7192270274030", soldCard}) {
		t.Errorf("he owns %v", got)
	}
	if r := second.fsck(); r.Cards != 1000 {
		t.Errorf("%d cards are in live lots, want 1000", r.Cards)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	check(t, err)
	return string(b)
}
