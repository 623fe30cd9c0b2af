package handler_test

import (
	"strings"
	"testing"
	"time"

	"cardflow/handler"
)

// TestWeChatLogin goes to the sandbox, which speaks WeChat's wire format.
func TestWeChatLogin(t *testing.T) {
	r := newRig(t)
	var v struct {
		Token, RealName string
		ExpiresAt       time.Time
		Participant     struct{ ID, Role string }
	}
	r.want(200, "", post("/wechat/login", "", fields{"code": "demo:小王"})).into(t, &v)
	if v.Token == "" || v.RealName != "none" || v.Participant.Role != "consumer" || !v.ExpiresAt.Equal(start.Add(7*24*time.Hour)) {
		t.Errorf("%+v", v)
	}
	var me struct {
		Participant struct{ ID string }
		Roles       []string
		RealName    string
	}
	r.want(200, "", get("/me", v.Token)).into(t, &me)
	if me.Participant.ID != v.Participant.ID || me.Roles[0] != "consumer" || me.RealName != "none" {
		t.Errorf("%+v", me)
	}
}

// TestWeChatCodesThatAreNone: above all one that would add a parameter to WeChat's URL.
func TestWeChatCodesThatAreNone(t *testing.T) {
	r := newRig(t)
	for _, code := range []string{"0123456789abcdef&appid=wxevil", "0123456789abcdef#", "0123456789abcdef?x", "short", "demo:", "demo:a&b", "../../x/y/z", strings.Repeat("a", 200)} {
		r.want(400, "WECHAT_CODE_INVALID", post("/wechat/login", "", fields{"code": code}))
	}
	r.want(400, "FIELD_INVALID", post("/wechat/login", "", fields{"code": ""}))
	r.want(400, "FIELD_INVALID", post("/wechat/login", "", fields{"code": strings.Repeat("a", 300)}))
	if n := r.service.called("ConsumerFor"); n != 0 {
		t.Errorf("%d accounts were looked for", n)
	}
}

// TestWeChatErrors: each reaches the person as what it is; those that ops must mend tell nothing.
func TestWeChatErrors(t *testing.T) {
	for code, want := range map[string]struct {
		status int
		code   string
	}{
		"err:40029": {400, "WECHAT_CODE_INVALID"}, "err:40163": {400, "WECHAT_CODE_USED"}, "err:45011": {429, "WECHAT_TOO_FREQUENT"},
		"err:40226": {403, "WECHAT_USER_BLOCKED"}, "err:-1": {503, "WECHAT_BUSY"}, "err:40125": {500, "INTERNAL"}, "err:99999": {500, "INTERNAL"},
	} {
		r := newRig(t)
		got := r.want(want.status, want.code, post("/wechat/login", "", fields{"code": code}))
		if want.status == 429 && got.header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
		}
	}
}

func TestStaffLogin(t *testing.T) {
	r := newRig(t)
	var v struct {
		Roles              []string
		MustChangePassword bool
		Participant        struct{ ID, Role, Name string }
		Person             struct{ Username string }
	}
	r.want(200, "", post("/auth/login", "", fields{"username": "carrier", "password": passwordOf("carrier")})).into(t, &v)
	if v.Roles[0] != "carrier" || v.MustChangePassword || v.Participant.ID != "carrier-1" || v.Participant.Name == "" || v.Person.Username != "carrier" {
		t.Errorf("%+v", v)
	}
	// Nobody learns which of the two was wrong.
	one := r.want(401, "LOGIN_FAILED", post("/auth/login", "", fields{"username": "carrier", "password": "wrong"}))
	two := r.want(401, "LOGIN_FAILED", post("/auth/login", "", fields{"username": "nobody", "password": "wrong"}))
	if requestID.ReplaceAllString(string(one.body), "") != requestID.ReplaceAllString(string(two.body), "") {
		t.Errorf("%s %s", one.body, two.body)
	}
	r.want(400, "FIELD_INVALID", post("/auth/login", "", fields{"username": "carrier"}))
	r.want(400, "FIELD_INVALID", post("/auth/login", "", fields{"username": "carrier", "password": strings.Repeat("x", 1025)}))
}

// TestLoginsOfAnAccount: failures count against the account, from wherever they come and however its name is written;
// a right password forgives none.
func TestLoginsOfAnAccount(t *testing.T) {
	r := newRig(t, limited(handler.Limits{LoginsPerAccount: handler.Rate{Count: 3, Per: 15 * time.Minute}}))
	for i, name := range []string{"retailer", "Retailer", " RETAILER "} {
		r.address = "192.0.2." + string(rune('1'+i))
		r.want(401, "LOGIN_FAILED", post("/auth/login", "", fields{"username": name, "password": "wrong" + name}))
		if i < 2 {
			r.staff("retailer")
		}
	}
	asked := r.service.called("Login")
	got := r.want(429, "RATE_LIMITED", post("/auth/login", "", fields{"username": "retailer", "password": passwordOf("retailer")}))
	if got.header.Get("Retry-After") != "900" || r.service.called("Login") != asked {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	r.staff("carrier")
	r.advance(15*time.Minute + time.Second)
	r.staff("retailer")
}

// TestParallelLogins: fifty passwords at once get no more tries than fifty in a row.
func TestParallelLogins(t *testing.T) {
	r := newRig(t, limited(handler.Limits{LoginsPerAccount: handler.Rate{Count: 4, Per: 15 * time.Minute}}))
	statuses := r.parallel(50, func(i int) ask {
		return post("/auth/login", "", fields{"username": "retailer", "password": strings.Repeat("x", i+1)})
	})
	if n := r.service.called("Login"); n > 4 || statuses[401] != n {
		t.Errorf("%d tries, %v", n, statuses)
	}
}

func TestLoginsOfAnAddress(t *testing.T) {
	r := newRig(t, limited(handler.Limits{LoginsPerAddress: handler.Rate{Count: 2, Per: time.Minute}}))
	r.consumer("小王")
	r.staff("retailer")
	r.want(429, "RATE_LIMITED", post("/auth/login", "", fields{"username": "carrier", "password": passwordOf("carrier")}))
	r.want(429, "RATE_LIMITED", post("/wechat/login", "", fields{"code": "demo:小王"}))
	r.address = "192.0.2.2"
	r.consumer("小王")
}
