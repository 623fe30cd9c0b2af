package handler_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func TestIdempotencyKeyIsRequired(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	body := fields{"mode": "BEARER", "segments": []fields{{"iccid": oneCard}}}
	for name, c := range map[string]struct{ key, code string }{
		"missing":     {"", "IDEMPOTENCY_KEY_REQUIRED"},
		"7 letters":   {"1234567", "IDEMPOTENCY_KEY_INVALID"},
		"129 letters": {strings.Repeat("a", 129), "IDEMPOTENCY_KEY_INVALID"},
		"a space":     {"1234 5678", "IDEMPOTENCY_KEY_INVALID"},
		"Chinese":     {"卡流转卡流转卡流转", "IDEMPOTENCY_KEY_INVALID"},
		"a control":   {"12345678\x7f", "IDEMPOTENCY_KEY_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			a := post("/trades", token, body)
			a.key = c.key
			r.want(400, c.code, a)
		})
	}
	r.t = t
	req := r.request(r.wish("/trades", token, body))
	req.Header.Add("Idempotency-Key", "another-one")
	if got := r.serve(req); got.code(t) != "IDEMPOTENCY_KEY_INVALID" {
		t.Errorf("two keys: %s", got.body)
	}
	for _, key := range []string{"12345678", strings.Repeat("!", 128), "~~~~~~~~"} {
		a := post("/trades", token, body)
		a.key = key
		r.want(201, "", a)
	}
	if n := r.service.called("Offer"); n != 3 {
		t.Errorf("%d offers", n)
	}
}

// TestIdempotencyKeyWithAnotherBody: the same key and body ask for the same act; with another body, or only other
// bytes, it is a mistake.
func TestIdempotencyKeyWithAnotherBody(t *testing.T) {
	r := newRig(t)
	token := r.consumer("小王")
	a := r.wish("/trades/trade-1/confirm", token, fields{"code": oneCode, "iccidLast6": oneLast6})
	var first, second struct{ ConfirmationID string }
	r.want(202, "", a).into(t, &first)
	r.want(202, "", a).into(t, &second)
	if first.ConfirmationID == "" || first != second {
		t.Errorf("%v, then %v", first, second)
	}
	a.body = `{"code": "` + oneCode + `", "iccidLast6": "` + oneLast6 + `"}`
	r.want(422, "IDEMPOTENCY_KEY_REUSED", a)
	if len(r.service.acts) != 1 {
		t.Errorf("%d acts", len(r.service.acts))
	}
}

// TestIdempotencyOfTwoTrades: the same key and the same, empty, body for another trade is another wish.
func TestIdempotencyOfTwoTrades(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	a := r.wish("/trades/trade-1/cancel", token, nil)
	b := a
	b.path = strings.Replace(a.path, "trade-1", "trade-2", 1)
	var one, two struct{ TradeID string }
	r.want(202, "", a).into(t, &one)
	r.want(202, "", b).into(t, &two)
	if one.TradeID != "trade-1" || two.TradeID != "trade-2" {
		t.Errorf("%v %v", one, two)
	}
	empty := sha256.Sum256(nil)
	for key, w := range r.service.wishes {
		if !strings.Contains(key, "|POST /trades/trade-") || w.digest != hex.EncodeToString(empty[:]) {
			t.Errorf("%s %v", key, w)
		}
	}
}

// TestIdempotencyIsThePersons: two people may choose the same key.
func TestIdempotencyIsThePersons(t *testing.T) {
	r := newRig(t)
	a := r.wish("/trades/trade-1/confirm", r.consumer("小王"), fields{"code": oneCode, "iccidLast6": oneLast6})
	b := a
	b.token = r.consumer("小李")
	r.want(202, "", a)
	r.want(202, "", b)
	if len(r.service.acts) != 2 {
		t.Errorf("%d acts", len(r.service.acts))
	}
}

func TestImportMayHaveAKey(t *testing.T) {
	r := newRig(t)
	token := r.staff("carrier")
	body, kind := form("cards.csv", "x")
	a := r.uploadAsk(token, "", body, kind)
	a.key = "short"
	r.want(400, "IDEMPOTENCY_KEY_INVALID", a)
	a.key = "long enough"
	r.want(400, "IDEMPOTENCY_KEY_INVALID", a)
	a.key = "long-enough"
	r.want(202, "", a)
	if len(r.service.uploads) != 1 {
		t.Errorf("%d uploads", len(r.service.uploads))
	}
}
