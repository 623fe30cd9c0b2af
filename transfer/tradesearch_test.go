package transfer_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/transfer"
)

// A shop finds a sale by what it has at hand: the code, a card or the end of its number, the day.
func TestTradesAreFoundByCodeAndCard(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	box, single, sold := r.offer(retailer, 100, 119), r.offer(retailer, 200, 200), r.offer(retailer, 300, 300)
	r.confirm(ann, sold, 300)
	noon := r.clock.now().Add(time.Minute)
	r.clock.forward(2 * time.Minute)
	late := r.offer(retailer, 400, 400)

	for name, c := range map[string]struct {
		who    transfer.Caller
		filter transfer.TradeFilter
		want   []transfer.TradeView // newest first
	}{
		"by code":                      {retailer, transfer.TradeFilter{Code: single.Code}, []transfer.TradeView{single}},
		"by a code as people type it":  {retailer, transfer.TradeFilter{Code: strings.ToLower(single.Code[:4]) + " " + single.Code[4:]}, []transfer.TradeView{single}},
		"by a code that is used":       {retailer, transfer.TradeFilter{Code: sold.Code}, []transfer.TradeView{sold}},
		"by somebody else's code":      {distributor, transfer.TradeFilter{Code: single.Code}, nil},
		"by what is no code":           {retailer, transfer.TradeFilter{Code: "U"}, nil},
		"by a card of a box":           {retailer, transfer.TradeFilter{Card: id(107)}, []transfer.TradeView{box}},
		"by a card that is not in one": {retailer, transfer.TradeFilter{Card: id(107), Code: single.Code}, nil},
		"by a card and its code":       {retailer, transfer.TradeFilter{Card: id(107), Code: box.Code}, []transfer.TradeView{box}},
		"by the end of a number":       {retailer, transfer.TradeFilter{Card: last6(119)}, []transfer.TradeView{box}},
		"by an end before the box":     {retailer, transfer.TradeFilter{Card: last6(99)}, nil},
		"by an end after the box":      {retailer, transfer.TradeFilter{Card: last6(120)}, nil},
		"by the card of a sale":        {retailer, transfer.TradeFilter{Card: last6(300), State: "confirmed"}, []transfer.TradeView{sold}},
		"in another state":             {retailer, transfer.TradeFilter{Card: last6(300), State: "offered"}, nil},
		"until noon":                   {retailer, transfer.TradeFilter{State: "offered", To: noon}, []transfer.TradeView{single, box}},
		"the day after":                {retailer, transfer.TradeFilter{From: noon}, []transfer.TradeView{late}},
	} {
		c.filter.Side = "seller"
		for _, limit := range []int{0, 1} {
			var got []string
			for f := c.filter; ; {
				f.Limit = limit
				page, err := r.Trades(r.ctx, c.who, f)
				check(t, err)
				for _, v := range page.Items {
					got = append(got, v.TradeID)
				}
				if f.Cursor = page.Next; f.Cursor == "" {
					break
				}
				if len(page.Items) == 0 {
					t.Fatalf("%s: an empty page that is not the last", name)
				}
			}
			var want []string
			for _, v := range c.want {
				want = append(want, v.TradeID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d at once: %v, want %v", name, limit, got, want)
			}
		}
	}
	for _, odd := range []string{"12345", "1234567", "六位数字", "898604B71922702740"} {
		_, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Card: odd})
		if code := transfer.CodeOf(err); !strings.HasPrefix(code, "ICCID_") {
			t.Errorf("%s: %v", odd, err)
		}
	}
}
