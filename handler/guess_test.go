package handler_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/handler"
)

var (
	wrongCodes = handler.Rate{Count: 5, Per: 10 * time.Minute}
	requestID  = regexp.MustCompile(`"requestId":"[0-9a-f]{32}"`)
)

func limited(l handler.Limits) func(*handler.Config) {
	return func(c *handler.Config) { c.Limits = l }
}

// badCodes is everything that leads nowhere, with how long the use case takes to find out.
var badCodes = map[string]struct {
	code, last6 string
	takes       time.Duration
}{
	"unknown":              {"BBBBBBBB", oneLast6, 2 * time.Millisecond},
	"expired":              {"AAAA2222", oneLast6, 31 * time.Millisecond},
	"cancelled":            {"AAAA3333", oneLast6, 170 * time.Millisecond},
	"used":                 {"AAAA4444", oneLast6, 399 * time.Millisecond},
	"another card in hand": {oneCode, "000000", 12 * time.Millisecond},
	"too short":            {"7K3M", oneLast6, 0},
	"no code at all":       {"🀄️' OR 1=1 --", oneLast6, 0},
	"last six too long":    {oneCode, "89860112345678900016", time.Millisecond},
}

// TestBadCodesAreAllTheSame: the same bytes but for the request ID, the same headers, and the same time on the clock,
// whatever is wrong with a code, at lookup, confirm and decline.
func TestBadCodesAreAllTheSame(t *testing.T) {
	for _, path := range []string{"/trade-codes/lookup", "/trades/trade-1/confirm", "/trades/trade-1/decline"} {
		t.Run(path, func(t *testing.T) {
			answers, headers := map[string]string{}, map[string]string{}
			for name, bad := range badCodes {
				r := newRig(t)
				token := r.consumer("小王")
				r.service.slow[bad.code] = bad.takes
				body := fields{"code": bad.code, "iccidLast6": bad.last6}
				if strings.HasSuffix(path, "decline") {
					body["reason"] = "OTHER"
				}
				before := r.clock.Now()
				got := r.want(404, "TRADE_CODE_NOT_FOUND", r.wish(path, token, body))
				if took := r.clock.Now().Sub(before); took != 400*time.Millisecond {
					t.Errorf("%s took %s", name, took)
				}
				got.header.Del("X-Request-Id")
				answers[requestID.ReplaceAllString(string(got.body), "")] += name + ", "
				headers[fmt.Sprint(got.header)] += name + ", "
			}
			if len(answers) != 1 || len(headers) != 1 {
				t.Errorf("answers differ: %q %q", answers, headers)
			}
		})
	}
}

// TestSlowLookupShowsNoMore: what takes longer than the mask takes a multiple of it.
func TestSlowLookupShowsNoMore(t *testing.T) {
	r := newRig(t)
	token := r.consumer("小王")
	for _, takes := range []time.Duration{401 * time.Millisecond, 799 * time.Millisecond} {
		r.service.slow["BBBBBBBB"] = takes
		before := r.clock.Now()
		r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", token, fields{"code": "BBBBBBBB", "iccidLast6": oneLast6}))
		if took := r.clock.Now().Sub(before); took != 800*time.Millisecond {
			t.Errorf("a lookup of %s took %s", takes, took)
		}
	}
}

// TestRightCodeIsNotHeldUp: only failures wait.
func TestRightCodeIsNotHeldUp(t *testing.T) {
	r := newRig(t)
	token := r.consumer("小王")
	r.want(200, "", post("/trade-codes/lookup", token, fields{"code": oneCode, "iccidLast6": oneLast6}))
	r.want(202, "", r.wish("/trades/trade-1/confirm", token, fields{"code": oneCode, "iccidLast6": oneLast6}))
	if len(r.clock.slept) != 0 {
		t.Errorf("slept %v", r.clock.slept)
	}
}

// TestWhoHangsUpIsCounted: leaving during the mask does not undo the guess.
func TestWhoHangsUpIsCounted(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: handler.Rate{Count: 1, Per: time.Minute}}))
	token := r.consumer("小王")
	r.clock.auto, r.clock.rung = false, make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	a := post("/trade-codes/lookup", token, fields{"code": "BBBBBBBB", "iccidLast6": oneLast6})
	a.ctx = ctx
	done := make(chan answer)
	go func() { done <- r.do(a) }()
	<-r.clock.rung
	cancel()
	if got := <-done; got.status != 499 {
		t.Errorf("%d", got.status)
	}
	r.want(429, "LOOKUP_LIMIT", post("/trade-codes/lookup", token, fields{"code": oneCode, "iccidLast6": oneLast6}))
}

func wrong(i int) fields { return fields{"code": fmt.Sprintf("BBBB%04d", i), "iccidLast6": oneLast6} }

// TestFiveWrongCodes: the sixth try, right or wrong, has to wait until the first is ten minutes old. A right code in
// between forgives nothing.
func TestFiveWrongCodes(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: wrongCodes}))
	token := r.consumer("小王")
	right := post("/trade-codes/lookup", token, fields{"code": oneCode, "iccidLast6": oneLast6})
	for i := range 5 {
		r.want(200, "", right)
		r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", token, wrong(i)))
		r.advance(30 * time.Second)
	}
	got := r.want(429, "LOOKUP_LIMIT", post("/trade-codes/lookup", token, wrong(5)))
	wait, err := strconv.Atoi(got.header.Get("Retry-After"))
	if err != nil || wait < 440 || wait > 450 {
		t.Errorf("Retry-After %q, want what is left of ten minutes", got.header.Get("Retry-After"))
	}
	asked := r.service.called("Lookup")
	r.want(429, "LOOKUP_LIMIT", right)
	r.want(429, "LOOKUP_LIMIT", r.wish("/trades/trade-1/confirm", token, fields{"code": oneCode, "iccidLast6": oneLast6}))
	if r.service.called("Lookup") != asked || r.service.called("Confirm") != 0 {
		t.Error("the use case was asked")
	}
	// Somebody else is free.
	other := r.consumer("小李")
	r.want(200, "", post("/trade-codes/lookup", other, fields{"code": oneCode, "iccidLast6": oneLast6}))
	// Just before the first wrong one leaves the window, and after: one more try, not five.
	r.advance(time.Duration(wait-1) * time.Second)
	r.want(429, "LOOKUP_LIMIT", right)
	r.advance(2 * time.Second)
	r.want(200, "", right)
	r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", token, wrong(6)))
	r.want(429, "LOOKUP_LIMIT", right)
}

// TestTheSameWrongCodeCounts each time.
func TestTheSameWrongCodeCounts(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: wrongCodes}))
	token := r.consumer("小王")
	for range 5 {
		r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", token, wrong(0)))
	}
	r.want(429, "LOOKUP_LIMIT", post("/trade-codes/lookup", token, wrong(0)))
}

// TestParallelGuesses: fifty different guesses at once get no more tries than fifty in a row.
func TestParallelGuesses(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: wrongCodes}))
	token := r.consumer("小王")
	statuses := r.parallel(50, func(i int) ask { return post("/trade-codes/lookup", token, wrong(i)) })
	if n := r.service.called("Lookup"); n > 5 || statuses[404] != n || statuses[429] != 50-n {
		t.Errorf("%d guesses reached the use case; %v", n, statuses)
	}
}

// TestParallelRightCodes: fifty taps on the same button are one guess, and nobody is locked out.
func TestParallelRightCodes(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: wrongCodes}))
	token := r.consumer("小王")
	a := r.wish("/trades/trade-1/confirm", token, fields{"code": oneCode, "iccidLast6": oneLast6})
	if statuses := r.parallel(50, func(int) ask { return a }); statuses[202] != 50 || len(r.service.acts) != 1 {
		t.Errorf("%v, %d acts", statuses, len(r.service.acts))
	}
}

func (r *rig) parallel(n int, make func(int) ask) map[int]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range n {
		a := make(i)
		wg.Go(func() {
			got := r.do(a)
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
		})
	}
	wg.Wait()
	return statuses
}

// TestWrongCodesOfAnAddress: many people behind one address share its count; another address has its own.
func TestWrongCodesOfAnAddress(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodesPerAddress: handler.Rate{Count: 3, Per: time.Minute}}))
	for i := range 3 {
		r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", r.consumer(fmt.Sprint("人", i)), wrong(i)))
	}
	token := r.consumer("小王")
	right := post("/trade-codes/lookup", token, fields{"code": oneCode, "iccidLast6": oneLast6})
	if got := r.want(429, "LOOKUP_LIMIT", right); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	r.address = "192.0.2.2"
	r.want(200, "", right)
	r.address = "192.0.2.1"
	r.advance(21 * time.Second) // one every 20 s
	r.want(200, "", right)
}

// TestWrongCodesOfEverybody slow everybody down.
func TestWrongCodesOfEverybody(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodesPlatform: handler.Rate{Count: 4, Per: time.Minute}}))
	for i := range 4 {
		r.address = fmt.Sprintf("192.0.2.%d", i+1)
		r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", r.consumer(fmt.Sprint("人", i)), wrong(i)))
	}
	r.address = "192.0.2.99"
	r.want(429, "LOOKUP_LIMIT", post("/trade-codes/lookup", r.consumer("小王"), wrong(9)))
}

// TestLookupsAreLimited, right ones too: by address and for everybody.
func TestLookupsAreLimited(t *testing.T) {
	r := newRig(t, limited(handler.Limits{LookupsPerAddress: handler.Rate{Count: 3, Per: time.Minute}, LookupsPlatform: handler.Rate{Count: 5, Per: time.Minute}}))
	right := post("/trade-codes/lookup", r.consumer("小王"), fields{"code": oneCode, "iccidLast6": oneLast6})
	for range 3 {
		r.want(200, "", right)
	}
	r.want(429, "RATE_LIMITED", right)
	r.address = "192.0.2.2"
	r.want(200, "", right)
	r.want(200, "", right)
	r.address = "192.0.2.3"
	r.want(429, "RATE_LIMITED", right)
	r.advance(time.Minute)
	r.want(200, "", right)
}

// TestNamedReceiverIsNotGuessing: without code and card there is nothing to guess, and no guard.
func TestNamedReceiverIsNotGuessing(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: handler.Rate{Count: 1, Per: time.Hour}}))
	token := r.staff("distributor")
	for range 3 {
		r.want(404, "TRADE_NOT_FOUND", r.wish("/trades/trade-9/confirm", token, nil))
	}
	r.want(202, "", r.wish("/trades/trade-named/confirm", token, nil))
	r.want(202, "", r.wish("/trades/trade-named/decline", token, fields{"reason": "DAMAGED"}))
	r.want(400, "REASON_INVALID", r.wish("/trades/trade-named/decline", token, fields{"reason": "BAD_MOOD"}))
	r.want(400, "FIELD_INVALID", r.wish("/trades/trade-named/decline", token, fields{}))
	if len(r.clock.slept) != 0 {
		t.Errorf("slept %v", r.clock.slept)
	}
}

// TestOtherFailuresAreNoGuesses: a database that is down costs nobody a try.
func TestOtherFailuresAreNoGuesses(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: handler.Rate{Count: 1, Per: time.Hour}}))
	token := r.consumer("小王")
	r.service.fail = errors.New("database gone")
	for range 3 {
		r.want(500, "INTERNAL", post("/trade-codes/lookup", token, wrong(1)))
	}
	r.service.fail = nil
	r.want(200, "", post("/trade-codes/lookup", token, fields{"code": oneCode, "iccidLast6": oneLast6}))
}
