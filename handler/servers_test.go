package handler_test

import (
	"testing"
	"time"

	"cardflow/handler"
)

// TestSessionsOnEachServer: who logs in at one server is logged in at the other, who logs out at one is out at both, and
// a new password ends what the old one opened, wherever.
func TestSessionsOnEachServer(t *testing.T) {
	one := newRig(t)
	two := one.another()
	for _, token := range []string{one.consumer("小王"), two.staff("retailer")} {
		one.want(200, "", get("/me", token))
		two.want(200, "", get("/me", token))
	}
	token := one.staff("retailer")
	two.want(204, "", post("/auth/logout", token, nil))
	one.want(401, "UNAUTHENTICATED", get("/me", token))

	here, there := one.staff("retailer"), two.staff("retailer")
	var v struct{ Token string }
	two.want(200, "", post("/me/password", there, fields{"oldPassword": passwordOf("retailer"), "newPassword": "a longer password"})).into(t, &v)
	one.want(401, "UNAUTHENTICATED", get("/me", here))
	one.want(401, "UNAUTHENTICATED", get("/me", there))
	one.want(200, "", get("/me", v.Token))
	two.want(200, "", get("/me", v.Token))
}

// TestLimitsCountOnAllServers: guesses are counted together, whichever server they are made at.
func TestLimitsCountOnAllServers(t *testing.T) {
	limits := limited(handler.Limits{
		WrongCodes: handler.Rate{Count: 4, Per: 10 * time.Minute}, RequestsPerAddress: handler.Rate{Count: 30, Per: time.Hour},
		LoginsPerAccount: handler.Rate{Count: 2, Per: 10 * time.Minute},
	})
	one := newRig(t, limits)
	two := one.another(limits)
	token := one.consumer("小王")
	for i, r := range []*rig{one, two, two, one} {
		r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", token, wrong(i)))
	}
	for _, r := range []*rig{one, two} {
		r.want(429, "LOOKUP_LIMIT", post("/trade-codes/lookup", token, fields{"code": oneCode, "iccidLast6": oneLast6}))
	}
	for _, r := range []*rig{one, two} {
		r.want(401, "LOGIN_FAILED", post("/auth/login", "", fields{"username": "retailer", "password": "wrong"}))
	}
	one.want(429, "RATE_LIMITED", post("/auth/login", "", fields{"username": "retailer", "password": passwordOf("retailer")}))
	for range 30 {
		two.do(get("/me", ""))
	}
	one.want(429, "RATE_LIMITED", get("/me", ""))
}

// TestRedisFlushed: people log in again, and nothing else is missing.
func TestRedisFlushed(t *testing.T) {
	one := newRig(t, limited(handler.Limits{WrongCodes: handler.Rate{Count: 5, Per: time.Minute}, RequestsPerAddress: handler.Rate{Count: 1000, Per: time.Minute}}))
	two := one.another()
	token := one.consumer("小王")
	one.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", token, wrong(1)))
	one.redis.Flush()
	for _, r := range []*rig{one, two} {
		r.want(401, "UNAUTHENTICATED", get("/me", token))
		again := r.consumer("小王")
		r.want(200, "", get("/me", again))
		r.want(404, "TRADE_CODE_NOT_FOUND", post("/trade-codes/lookup", again, wrong(2)))
		r.want(200, "", ask{method: "GET", path: "/readyz"})
	}
}

// TestRedisAway: whatever needs a login or counts guesses is refused, with word of when to come back; what needs neither
// is answered; and when it is back, everybody is still logged in.
func TestRedisAway(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: handler.Rate{Count: 5, Per: time.Minute}}))
	token := r.consumer("小王")
	lookup := post("/trade-codes/lookup", token, fields{"code": oneCode, "iccidLast6": oneLast6})
	r.want(200, "", lookup)
	r.redis.SetDown(true)
	for _, a := range []ask{get("/me", token), lookup, post("/auth/login", "", fields{"username": "retailer", "password": passwordOf("retailer")}), post("/wechat/login", "", fields{"code": "demo:小李"})} {
		if got := r.want(503, "UNAVAILABLE", a); got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no word of when to come back", a.method, a.path)
		}
	}
	r.want(200, "", ask{method: "GET", path: "/healthz"})
	r.want(503, "", ask{method: "GET", path: "/readyz"})
	r.redis.SetDown(false)
	r.want(200, "", lookup)
	r.want(200, "", ask{method: "GET", path: "/readyz"})
}
