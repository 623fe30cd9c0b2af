package handler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/model"
	"cardflow/transfer"
)

func TestSessionEndsWhenIdle(t *testing.T) {
	r := newRig(t)
	token := r.consumer("小王")
	for range 5 { // used, it lives
		r.advance(119 * time.Minute)
		r.want(200, "", get("/me", token))
	}
	r.advance(121 * time.Minute)
	r.want(401, "UNAUTHENTICATED", get("/me", token))
}

func TestSessionEndsAbsolutely(t *testing.T) {
	for who, lives := range map[string]time.Duration{"consumer": 7 * 24 * time.Hour, "retailer": 12 * time.Hour} {
		t.Run(who, func(t *testing.T) {
			r := newRig(t)
			var token string
			if who == "consumer" {
				token = r.consumer("小王")
			} else {
				token = r.staff(who)
			}
			for passed := time.Hour; passed < lives; passed += time.Hour {
				r.advance(time.Hour)
				r.want(200, "", get("/me", token))
			}
			r.advance(time.Hour)
			r.want(401, "UNAUTHENTICATED", get("/me", token))
		})
	}
}

func TestSessionSaysWhenItEnds(t *testing.T) {
	r := newRig(t)
	var v struct{ ExpiresAt time.Time }
	r.want(200, "", get("/me", r.staff("retailer"))).into(t, &v)
	if !v.ExpiresAt.Equal(start.Add(12 * time.Hour)) {
		t.Errorf("%s", v.ExpiresAt)
	}
}

func TestLogoutEndsOneSession(t *testing.T) {
	r := newRig(t)
	here, there := r.staff("retailer"), r.staff("retailer")
	r.want(204, "", post("/auth/logout", here, nil))
	r.want(401, "UNAUTHENTICATED", get("/me", here))
	r.want(401, "UNAUTHENTICATED", post("/auth/logout", here, nil))
	r.want(200, "", get("/me", there))
}

// TestPasswordChangeEndsAllSessions of the account, and of no other; the answer has a token that works.
func TestPasswordChangeEndsAllSessions(t *testing.T) {
	r := newRig(t)
	here, there, other := r.staff("retailer"), r.staff("retailer"), r.staff("carrier")
	var v struct{ Token string }
	r.want(200, "", post("/me/password", here, fields{"oldPassword": passwordOf("retailer"), "newPassword": "a longer password"})).into(t, &v)
	r.want(401, "UNAUTHENTICATED", get("/me", here))
	r.want(401, "UNAUTHENTICATED", get("/me", there))
	r.want(200, "", get("/me", v.Token))
	r.want(200, "", get("/me", other))
	r.want(401, "LOGIN_FAILED", post("/auth/login", "", fields{"username": "retailer", "password": passwordOf("retailer")}))
	r.want(200, "", post("/auth/login", "", fields{"username": "retailer", "password": "a longer password"}))
	// Not even when Redis has forgotten the change, and there was another.
	r.advance(11 * time.Hour)
	r.want(401, "UNAUTHENTICATED", get("/me", there))
}

func TestPasswordChangeRefuses(t *testing.T) {
	r := newRig(t, limited(handler.Limits{LoginsPerAccount: handler.Rate{Count: 3, Per: time.Minute}}))
	token := r.staff("retailer")
	r.want(403, "PASSWORD_WRONG", post("/me/password", token, fields{"oldPassword": "wrong", "newPassword": "a longer password"}))
	r.want(400, "PASSWORD_WEAK", post("/me/password", token, fields{"oldPassword": passwordOf("retailer"), "newPassword": "short"}))
	r.want(400, "PASSWORD_SAME", post("/me/password", token, fields{"oldPassword": passwordOf("retailer"), "newPassword": passwordOf("retailer")}))
	r.want(400, "FIELD_INVALID", post("/me/password", token, fields{"oldPassword": passwordOf("retailer")}))
	r.want(400, "FIELD_INVALID", post("/me/password", token, fields{"oldPassword": "x", "newPassword": strings.Repeat("x", 1025)}))
	for range 2 {
		r.want(403, "PASSWORD_WRONG", post("/me/password", token, fields{"oldPassword": "wrong", "newPassword": "a longer password"}))
	}
	r.want(429, "RATE_LIMITED", post("/me/password", token, fields{"oldPassword": passwordOf("retailer"), "newPassword": "a longer password"}))
	r.want(200, "", get("/me", token))
}

// TestFirstPasswordMustBeChanged: until then its owner can do nothing else.
func TestFirstPasswordMustBeChanged(t *testing.T) {
	r := newRig(t)
	token := r.staff("newcomer")
	r.want(403, "PASSWORD_CHANGE_REQUIRED", get("/lots", token))
	r.want(403, "PASSWORD_CHANGE_REQUIRED", post("/cards/find", token, fields{"iccid": oneCard}))
	var me struct{ MustChangePassword bool }
	r.want(200, "", get("/me", token)).into(t, &me)
	if !me.MustChangePassword {
		t.Error("me does not say so")
	}
	var v struct{ Token string }
	r.want(200, "", post("/me/password", token, fields{"oldPassword": passwordOf("newcomer"), "newPassword": "my own password"})).into(t, &v)
	r.want(200, "", get("/lots", v.Token))
	other := r.staffWith("newcomer", "my own password")
	r.want(204, "", post("/auth/logout", other, nil))
}

func (r *rig) staffWith(username, password string) string {
	r.t.Helper()
	var v struct{ Token string }
	r.want(200, "", post("/auth/login", "", fields{"username": username, "password": password})).into(r.t, &v)
	return v.Token
}

// TestTokensAreNotInRedis: a copy of Redis logs nobody in.
func TestTokensAreNotInRedis(t *testing.T) {
	r := newRig(t)
	tokens := []string{r.consumer("小王"), r.staff("retailer")}
	dump := r.redis.Dump()
	for _, token := range tokens {
		if len(token) != 43 {
			t.Errorf("a token of %d characters", len(token))
		}
		if strings.Contains(dump, token) {
			t.Error("the token is in Redis")
		}
	}
	if !strings.Contains(dump, "cardflow:session:") {
		t.Errorf("no session in %s", dump)
	}
}

func TestStrangeTokens(t *testing.T) {
	r := newRig(t)
	token := r.consumer("小王")
	for _, value := range []string{"", "Bearer", "Bearer ", "Basic " + token, token, "Bearer x", "Bearer " + token + "x", "Bearer " + token[:42], "Bearer " + strings.Repeat("A", 43),
		"Bearer  " + token, "Bearer " + strings.Repeat("x", 10_000)} {
		a := get("/me", "")
		a.header = map[string]string{"Authorization": value}
		got := r.want(401, "UNAUTHENTICATED", a)
		if got.header.Get("WWW-Authenticate") == "" {
			t.Error("no WWW-Authenticate")
		}
	}
	req := r.request(get("/me", token))
	req.Header.Add("Authorization", "Bearer "+token)
	if got := r.serve(req); got.status != 401 {
		t.Errorf("two tokens: %d", got.status)
	}
	a := get("/me", "")
	a.header = map[string]string{"Authorization": "bearer " + token}
	r.want(200, "", a)
}

// TestSessionOfAnotherShape: what Redis holds is not believed blindly.
func TestSessionOfAnotherShape(t *testing.T) {
	r := newRig(t)
	token := r.consumer("小王")
	for _, key := range r.redis.Keys() {
		if strings.HasPrefix(key, "cardflow:session:") {
			r.redis.Set(key, "not JSON")
		}
	}
	r.want(500, "INTERNAL", get("/me", token))
}

func TestSecretsPrintAsSuch(t *testing.T) {
	for _, verb := range []string{"%v", "%s", "%q", "%#v", "%x", "%d"} {
		if got := fmt.Sprintf(verb, handler.Token("abc")); got != "[secret]" {
			t.Errorf("token %s: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, handler.Password("abc")); got != "[secret]" {
			t.Errorf("password %s: %s", verb, got)
		}
	}
}

// TestLoginAge: a consumer whose login is old reads on, and logs in again before a write; staff are not asked.
func TestLoginAge(t *testing.T) {
	r := newRig(t, func(c *handler.Config) { c.LoginAge = time.Hour; c.Session.Idle = 24 * time.Hour })
	consumer, retailer := r.consumer("小王"), r.staff("retailer")
	r.advance(time.Hour)
	confirm := r.wish("/trades/trade-1/confirm", consumer, fields{"code": oneCode, "iccidLast6": oneLast6})
	r.want(202, "", confirm)
	r.advance(time.Second)
	r.want(401, "LOGIN_TOO_OLD", confirm)
	r.want(401, "LOGIN_TOO_OLD", r.wish("/trades/trade-1/return", consumer, fields{"reason": "买错了"}))
	r.want(200, "", get("/me/cards", consumer))
	r.want(202, "", r.wish("/trades/trade-1/cancel", retailer, nil))
	// The same wish after another login is the same act.
	confirm.token = r.consumer("小王")
	r.want(202, "", confirm)
}

// TestCustodyRefusesWhoAsks: what a use case makes of an error of custody's goes out, not that for which only engineers have a word.
func TestCustodyRefusesWhoAsks(t *testing.T) {
	r := newRig(t)
	consumer := r.consumer("小王")
	for code, x := range map[string]struct {
		status int
		causes []error
	}{
		"LOGIN_TOO_OLD": {401, []error{custody.ErrLoginOld, custody.ErrSessionOver}},
		"KEY_STOPPED":   {409, []error{custody.ErrKeyNotActive}},
		"UNAVAILABLE":   {503, []error{custody.ErrLoginForged}},
	} {
		for _, cause := range x.causes {
			r.service.fail = &transfer.Error{Code: code, Err: fmt.Errorf("authorise: %w", cause)}
			r.want(x.status, code, r.wish("/trades/trade-1/confirm", consumer, fields{"code": oneCode, "iccidLast6": oneLast6}))
		}
	}
}

// TestSessionOfADisabledPerson is worth nothing from the next request on; so is a role that somebody has lost. The sessions
// of others go on.
func TestSessionOfADisabledPerson(t *testing.T) {
	r := newRig(t)
	token, other := r.staff("ops"), r.staff("ops2")
	ways := func() []ask {
		return []ask{
			get("/custody/keys", token), get("/custody/proposals", token), post("/custody/keys/"+lotHash+"/suspend", token, nil),
			post("/custody/seal", token, nil), post("/custody/seal/unseal", token, nil), post("/custody/proposals/proposal-of-another/approve", token, nil),
			post("/custody/quotas", token, fields{"name": "platform", "daily": 1}),
		}
	}
	change := func(fn func(p *fakePerson)) {
		r.service.mu.Lock()
		defer r.service.mu.Unlock()
		fn(r.service.people["ops"])
	}
	r.want(200, "", get("/custody/proposals", token))
	change(func(p *fakePerson) { p.gone = true })
	for _, a := range ways() {
		r.want(401, "UNAUTHENTICATED", a)
	}
	r.want(200, "", get("/custody/proposals", other))
	change(func(p *fakePerson) { p.gone, p.caller.Roles = false, []string{"retailer"} })
	for _, a := range ways() {
		r.want(403, "FORBIDDEN", a)
	}
	if r.custody.seal.Sealed || r.service.called("SuspendKey") != 0 {
		t.Error("something was done for him")
	}
	r.want(204, "", post("/auth/logout", token, nil))
}

// TestNobodyCanBeLookedUp: without a database nobody of the staff is served, but for whoever stops this server's signing.
func TestNobodyCanBeLookedUp(t *testing.T) {
	r := newRig(t)
	token := r.staff("ops")
	r.service.lookups = fmt.Errorf("person: %w", model.ErrUnavailable)
	r.want(503, "UNAVAILABLE", get("/custody/proposals", token))
	r.want(503, "UNAVAILABLE", post("/custody/seal/unseal", token, nil))
	r.want(200, "", post("/custody/seal", token, nil))
	if !r.custody.seal.Sealed {
		t.Error("not stopped")
	}
}
