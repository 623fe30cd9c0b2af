package handler_test

import (
	"testing"
	"time"

	"cardflow/handler"
)

func TestRequestsOfAnAddress(t *testing.T) {
	r := newRig(t, limited(handler.Limits{RequestsPerAddress: handler.Rate{Count: 3, Per: time.Minute}}))
	for range 3 {
		r.want(401, "UNAUTHENTICATED", get("/me", ""))
	}
	got := r.want(429, "RATE_LIMITED", get("/me", ""))
	if got.header.Get("Retry-After") != "20" {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	// Who watches the server is never kept out.
	r.want(200, "", ask{method: "GET", path: "/healthz"})
	r.want(200, "", ask{method: "GET", path: "/readyz"})
	r.advance(20 * time.Second)
	r.want(401, "UNAUTHENTICATED", get("/me", ""))
	r.want(429, "RATE_LIMITED", get("/me", ""))
}

// TestForwardedAddresses: X-Forwarded-For counts only when a trusted proxy sends it, and then its last stranger counts.
func TestForwardedAddresses(t *testing.T) {
	rate := handler.Limits{RequestsPerAddress: handler.Rate{Count: 1, Per: time.Minute}}
	from := func(r *rig, peer, forwarded string) int {
		r.address = peer
		a := get("/me", "")
		a.header = map[string]string{"X-Forwarded-For": forwarded, "X-Real-Ip": "203.0.113.77"}
		return r.do(a).status
	}
	r := newRig(t, limited(rate))
	if from(r, "192.0.2.1", "203.0.113.1") != 401 || from(r, "192.0.2.1", "203.0.113.2") != 429 {
		t.Error("a header of a stranger was believed")
	}
	r = newRig(t, limited(rate), func(c *handler.Config) { c.TrustedProxies = []string{"10.0.0.0/8"} })
	if from(r, "10.0.0.1", "203.0.113.1") != 401 || from(r, "10.0.0.2", "203.0.113.1") != 429 {
		t.Error("one client behind two proxies has two counts")
	}
	if from(r, "10.0.0.1", "203.0.113.2") != 401 {
		t.Error("two clients behind a proxy share a count")
	}
	if from(r, "10.0.0.1", "198.51.100.9, 203.0.113.2") != 429 {
		t.Error("a client chose its own address")
	}
	if from(r, "192.168.0.1", "203.0.113.9") != 401 || from(r, "192.168.0.1", "203.0.113.10") != 429 {
		t.Error("a private network that is not listed was trusted")
	}
}

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "2001:db8:1:2::9": "2001:db8:1:2::",
		"fe80::1%eth0": "fe80::", "": "unknown", "nonsense": "unknown",
	} {
		if got := handler.AddressKey(in); got != want {
			t.Errorf("%q counts as %q, want %q", in, got, want)
		}
	}
}

// TestRedisGone: without counts and sessions nobody gets in, and is told to come back.
func TestRedisGone(t *testing.T) {
	r := newRig(t, limited(handler.Limits{RequestsPerAddress: handler.Rate{Count: 10, Per: time.Minute}, LoginsPerAddress: handler.Rate{Count: 10, Per: time.Minute}}))
	token := r.consumer("小王")
	r.redis.SetDown(true)
	r.want(503, "UNAVAILABLE", get("/me", token))
	r.want(503, "UNAVAILABLE", post("/auth/login", "", fields{"username": "retailer", "password": "x"}))
	got := r.want(503, "", ask{method: "GET", path: "/readyz"})
	var v struct {
		Status string
		Checks map[string]string
	}
	got.into(t, &v)
	if v.Status != "unready" || v.Checks["redis"] != "failed" || v.Checks["database"] != "ok" {
		t.Errorf("%+v", v)
	}
	r.redis.SetDown(false)
	r.want(200, "", get("/me", token))
}

// TestKeysHaveThePrefix: a Redis may be shared.
func TestKeysHaveThePrefix(t *testing.T) {
	one := handler.Rate{Count: 9, Per: time.Minute}
	r := newRig(t, limited(handler.Limits{WrongCodes: one, WrongCodesPerAddress: one, WrongCodesPlatform: one, LookupsPerAddress: one, LookupsPlatform: one,
		LoginsPerAddress: one, LoginsPerAccount: one, RequestsPerAddress: handler.Rate{Count: 99, Per: time.Minute}}), func(c *handler.Config) { c.KeyPrefix = "shop:" })
	token := r.consumer("小王")
	r.staff("newcomer")
	r.do(post("/trade-codes/lookup", token, wrong(1)))
	r.do(post("/auth/login", "", fields{"username": "retailer", "password": "wrong"}))
	r.want(200, "", post("/me/password", r.staff("retailer"), fields{"oldPassword": passwordOf("retailer"), "newPassword": "another password"}))
	keys := r.redis.Keys()
	if len(keys) < 10 {
		t.Errorf("only %q", keys)
	}
	for _, key := range keys {
		if len(key) < 5 || key[:5] != "shop:" {
			t.Errorf("%q", key)
		}
	}
}
