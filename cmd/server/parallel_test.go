package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// crowd is how many do the same thing at once.
const crowd = 50

// atOnce calls do for each of the crowd, all let go at the same moment.
func atOnce(do func(n int)) {
	var gate, all sync.WaitGroup
	gate.Add(1)
	for n := range crowd {
		all.Go(func() {
			gate.Wait()
			do(n)
		})
	}
	gate.Done()
	all.Wait()
}

// TestManyConfirm lets fifty people confirm the same trade with the same code at once: one gets the cards, and each of
// the others is told that he has not.
func TestManyConfirm(t *testing.T) {
	t.Parallel()
	s := openSite(t, demoWorld(t), crowded)
	shop := s.staff("xiaowang")
	offered := shop.offers("BEARER", "", cards("898604B7192270274010", "898604B7192270274012"))
	people := make([]*visitor, crowd)
	for n := range people {
		people[n] = s.visitor("wechat")
	}
	// Their accounts, keys and registrations are all being made when they confirm.
	logins := make([]error, crowd)
	atOnce(func(n int) { logins[n] = people[n].wechat(soon(t), fmt.Sprint("demo:买家", n)) })
	check(t, errors.Join(logins...))
	type outcome struct {
		end confirmation
		err error
	}
	outcomes := make([]outcome, crowd)
	atOnce(func(n int) {
		o := &outcomes[n]
		o.err = people[n].call(soon(t), http.MethodPost, "/trades/"+offered.TradeID+"/confirm", shows(offered), &o.end)
		if o.err == nil {
			o.end, o.err = people[n].await(soon(t), o.end.ConfirmationID)
		}
	})
	var winners []int
	codes := map[string]int{}
	for n, o := range outcomes {
		var refused *apiError
		switch {
		case o.err == nil && o.end.State == "committed":
			winners = append(winners, n)
		case errors.As(o.err, &refused) && chinese(refused.Message):
			codes[refused.Code]++
		default:
			t.Errorf("%d is told %+v, %v", n, o.end, o.err)
		}
	}
	if len(winners) != 1 {
		t.Fatalf("%v have won", winners)
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		if !slices.Contains([]string{"TRADE_BUSY", "TRADE_ENDED", "TRADE_CODE_NOT_FOUND"}, code) {
			t.Errorf("%d are told %s", codes[code], code)
		}
	}
	for n, v := range people {
		want := 0
		if n == winners[0] {
			want = 3
		}
		if mine := v.owns(); len(mine) != want {
			t.Errorf("%d owns %d cards, want %d", n, len(mine), want)
		}
	}
	var seen trade
	shop.get("/trades/"+offered.TradeID, &seen)
	if seen.State != "confirmed" || seen.EndTx != outcomes[winners[0]].end.TxID {
		t.Errorf("the seller sees %+v", seen)
	}
	if r := s.fsck(); r.Cards != 1000 {
		t.Errorf("%d cards are in live lots, want 1000", r.Cards)
	}
}

// TestManyTaps lets one person confirm fifty times at once, each a wish of its own: all are the same confirmation.
func TestManyTaps(t *testing.T) {
	t.Parallel()
	s := openSite(t, demoWorld(t), crowded)
	shop := s.staff("xiaowang")
	offered := shop.offers("BEARER", "", cards("898604B7192270274010", "898604B7192270274010"))
	li := s.consumer("小李")
	ids, errs := make([]string, crowd), make([]error, crowd)
	atOnce(func(n int) {
		var c confirmation
		errs[n] = li.call(soon(t), http.MethodPost, "/trades/"+offered.TradeID+"/confirm", shows(offered), &c)
		ids[n] = c.ConfirmationID
	})
	check(t, errors.Join(errs...))
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 1 {
		t.Fatalf("%d taps made the confirmations %v", crowd, ids)
	}
	_, err := li.await(soon(t), ids[0])
	check(t, err)
	if mine := li.owns(); len(mine) != 2 { // and the one of the demo
		t.Errorf("he owns %+v", mine)
	}
	if r := s.fsck(); r.Cards != 1000 {
		t.Errorf("%d cards are in live lots, want 1000", r.Cards)
	}
}
