package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/wechat/sandbox"
)

const (
	appID  = "wx1234567890abcdef"
	secret = "0123456789abcdef0123456789abcdef"
)

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type bench struct {
	*testing.T
	*sandbox.Sandbox
	clock *clock
	url   string
}

func start(t *testing.T) bench {
	t.Helper()
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s := sandbox.New(sandbox.Config{AppID: appID, AppSecret: secret, Pages: []string{"pages/trade/trade"}, UnionIDs: true, Now: c.Now})
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return bench{t, s, c, server.URL}
}

// send returns status, content type and body.
func (b bench) send(method, path string, body any) (int, string, []byte) {
	b.Helper()
	var in io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(b.Context(), method, b.url+path, in)
	if err != nil {
		b.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	out, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("Content-Type"), out
}

// ask sends, and gives the answer as an object.
func (b bench) ask(method, path string, body any) map[string]any {
	b.Helper()
	status, _, out := b.send(method, path, body)
	var object map[string]any
	if err := json.Unmarshal(out, &object); status != http.StatusOK || err != nil {
		b.Fatalf("%s %s: status %d, %v: %.200s", method, path, status, err, out)
	}
	return object
}

func (b bench) wantErrcode(object map[string]any, want int) {
	b.Helper()
	got, _ := object["errcode"].(float64)
	if int(got) != want {
		b.Errorf("got %v, want errcode %d", object, want)
	}
}

func loginPath(code string) string {
	return "/sns/jscode2session?" + url.Values{"appid": {appID}, "secret": {secret}, "js_code": {code}, "grant_type": {"authorization_code"}}.Encode()
}

func (b bench) mint(name, kind string) string {
	b.Helper()
	return b.ask("POST", "/sandbox/codes", map[string]string{"name": name, "kind": kind})["code"].(string)
}

func stableBody(force bool) map[string]any {
	return map[string]any{"grant_type": "client_credential", "appid": appID, "secret": secret, "force_refresh": force}
}

func (b bench) token() string {
	b.Helper()
	return b.ask("POST", "/cgi-bin/stable_token", stableBody(false))["access_token"].(string)
}

func TestDemoCodeLogsInThePersonOfThatName(t *testing.T) {
	b := start(t)
	first := b.ask("GET", loginPath("demo:李雷"), nil)
	again := b.ask("GET", loginPath("demo:李雷"), nil)
	other := b.ask("GET", loginPath("demo:韩梅梅"), nil)
	if first["openid"] != b.OpenID("李雷") || first["openid"] != again["openid"] || first["openid"] == other["openid"] {
		t.Errorf("openids: %v, %v, %v", first["openid"], again["openid"], other["openid"])
	}
	if n := len(first["openid"].(string)); n != 28 {
		t.Errorf("openid of %d characters, WeChat's have 28", n)
	}
	if first["session_key"] == "" || first["session_key"] == again["session_key"] {
		t.Errorf("session keys: %v, %v", first["session_key"], again["session_key"])
	}
	if first["unionid"] == nil || first["unionid"] == first["openid"] {
		t.Errorf("unionid %v", first["unionid"])
	}
	b.wantErrcode(b.ask("GET", loginPath("demo:"), nil), 40029)
	b.wantErrcode(b.ask("GET", loginPath("demo:"+strings.Repeat("长", 33)), nil), 40029)
}

func TestMintedCodeWorksOnce(t *testing.T) {
	b := start(t)
	code := b.mint("李雷", "login")
	if got := b.ask("GET", loginPath(code), nil); got["openid"] != b.OpenID("李雷") {
		t.Fatalf("got %v", got)
	}
	b.wantErrcode(b.ask("GET", loginPath(code), nil), 40163)
}

func TestMintedCodeIsUsedByOneOfMany(t *testing.T) {
	b := start(t)
	code := b.mint("李雷", "login")
	var wg sync.WaitGroup
	answers := make([]map[string]any, 20)
	for i := range answers {
		wg.Go(func() {
			answer, err := http.Get(b.url + loginPath(code))
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			if err := json.NewDecoder(answer.Body).Decode(&answers[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	won := 0
	for _, a := range answers {
		if a["openid"] != nil {
			won++
		} else {
			b.wantErrcode(a, 40163)
		}
	}
	if won != 1 {
		t.Errorf("%d logins with one code", won)
	}
}

func TestMintedCodeExpiresAfterFiveMinutes(t *testing.T) {
	b := start(t)
	early, late := b.mint("李雷", "login"), b.mint("李雷", "login")
	b.clock.add(5*time.Minute - time.Nanosecond)
	if got := b.ask("GET", loginPath(early), nil); got["openid"] == nil {
		t.Errorf("just before: %v", got)
	}
	b.clock.add(time.Nanosecond)
	b.wantErrcode(b.ask("GET", loginPath(late), nil), 40029)
	b.clock.add(2 * time.Hour)
	b.mint("李雷", "login") // sweeps
	b.wantErrcode(b.ask("GET", loginPath(early), nil), 40029)
}

func TestLoginChecksWhatWeChatChecks(t *testing.T) {
	b := start(t)
	phoneCode := b.mint("李雷", "phone")
	good := url.Values{"appid": {appID}, "secret": {secret}, "js_code": {"demo:a"}, "grant_type": {"authorization_code"}}
	for _, tc := range []struct {
		key, value string
		want       int
	}{
		{"appid", "", 41002},
		{"appid", "wx0", 40013},
		{"secret", "", 41004},
		{"secret", "x", 40125},
		{"grant_type", "x", 40002},
		{"js_code", "", 41008},
		{"js_code", "nobody-minted-this", 40029},
		{"js_code", phoneCode, 40029},
		{"js_code", "err:40163", 40163},
		{"js_code", "err:-1", -1},
		{"js_code", "err:45011", 45011},
		{"js_code", "err:99999", 99999},
		{"js_code", "err:0", 40029},
		{"js_code", "err:x", 40029},
	} {
		t.Run(tc.key+"="+tc.value, func(t *testing.T) {
			q := url.Values{}
			for k, v := range good {
				q[k] = v
			}
			q.Set(tc.key, tc.value)
			b.wantErrcode(b.ask("GET", "/sns/jscode2session?"+q.Encode(), nil), tc.want)
		})
	}
	b.wantErrcode(b.ask("GET", loginPath("demo:a")+"&appid="+appID, nil), 40013)
	b.wantErrcode(b.ask("GET", loginPath("demo:a")+"&js_code=demo:b", nil), 40013)
}

func TestErrorsLookLikeWeChats(t *testing.T) {
	b := start(t)
	status, contentType, body := b.send("GET", loginPath("err:40029"), nil)
	if status != 200 || contentType != "text/plain" || !bytes.Contains(body, []byte(`"errmsg":"invalid code, rid: `)) {
		t.Errorf("%d %s %s", status, contentType, body)
	}
}

func TestStableTokenStaysUntilItExpiresOrIsForced(t *testing.T) {
	b := start(t)
	first := b.token()
	if len(first) < 512 {
		t.Errorf("a token of %d characters doesn't test that there is room for 512", len(first))
	}
	b.clock.add(time.Hour)
	if b.token() != first {
		t.Error("another token within its time")
	}
	send := "/cgi-bin/message/subscribe/send?access_token="
	b.wantErrcode(b.ask("POST", send+first, "{}"), 40003) // the token is good, the message isn't
	b.clock.add(time.Hour)
	b.wantErrcode(b.ask("POST", send+first, "{}"), 42001)
	second := b.token()
	if second == first {
		t.Error("the same token after its time")
	}
	third := b.ask("POST", "/cgi-bin/stable_token", stableBody(true))["access_token"].(string)
	b.wantErrcode(b.ask("POST", send+second, "{}"), 40001)
	b.wantErrcode(b.ask("POST", send+third, "{}"), 40003)
}

func TestPlainTokenPushesTheFormerOut(t *testing.T) {
	b := start(t)
	get := func() string {
		return b.ask("GET", "/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret, nil)["access_token"].(string)
	}
	send := "/cgi-bin/message/subscribe/send?access_token="
	stable, first, second := b.token(), get(), get()
	b.wantErrcode(b.ask("POST", send+first, "{}"), 40003)
	b.clock.add(5 * time.Minute)
	b.wantErrcode(b.ask("POST", send+first, "{}"), 40001)
	b.wantErrcode(b.ask("POST", send+second, "{}"), 40003)
	b.wantErrcode(b.ask("POST", send+stable, "{}"), 40003)
}

func TestTokensAreGivenToTheMiniProgramOnly(t *testing.T) {
	b := start(t)
	for path, want := range map[string]int{
		"?grant_type=client_credential&appid=" + appID + "&secret=x":  40125,
		"?grant_type=client_credential&appid=x&secret=" + secret:      40013,
		"?grant_type=x&appid=" + appID + "&secret=" + secret:          40002,
		"?grant_type=client_credential&appid=" + appID + "&secret=":   41004,
		"?grant_type=client_credential&appid=" + "&secret=" + secret:  41002,
		"?grant_type=client_credential&secret=" + secret + "&appids=": 41002,
	} {
		b.wantErrcode(b.ask("GET", "/cgi-bin/token"+path, nil), want)
	}
	wrong := stableBody(false)
	wrong["secret"] = "x"
	b.wantErrcode(b.ask("POST", "/cgi-bin/stable_token", wrong), 40125)
	b.wantErrcode(b.ask("POST", "/cgi-bin/stable_token", "{"), 47001)
	for _, path := range []string{"/wxa/getwxacodeunlimit", "/wxa/business/getuserphonenumber", "/cgi-bin/message/subscribe/send"} {
		b.wantErrcode(b.ask("POST", path, "{}"), 41001)
		b.wantErrcode(b.ask("POST", path+"?access_token=guess", "{}"), 40001)
		b.wantErrcode(b.ask("POST", path+"?access_token="+b.token()+"&access_token="+b.token(), "{}"), 40001)
	}
}

func TestPhoneCodeWorksOnce(t *testing.T) {
	b := start(t)
	path := "/wxa/business/getuserphonenumber?access_token=" + b.token()
	code := b.mint("李雷", "phone")
	info := b.ask("POST", path, map[string]string{"code": code})["phone_info"].(map[string]any)
	if info["phoneNumber"] != b.Phone("李雷") || info["watermark"].(map[string]any)["appid"] != appID {
		t.Errorf("got %v", info)
	}
	b.wantErrcode(b.ask("POST", path, map[string]string{"code": code}), 40163)
	b.wantErrcode(b.ask("POST", path, map[string]string{"code": b.mint("李雷", "login")}), 40029)
	b.wantErrcode(b.ask("POST", path, map[string]string{}), 41008)
	if b.Phone("李雷") == b.Phone("韩梅梅") || len(b.Phone("李雷")) != 11 {
		t.Errorf("numbers %s, %s", b.Phone("李雷"), b.Phone("韩梅梅"))
	}
}

func TestMessagesAreKeptAndListed(t *testing.T) {
	b := start(t)
	path := "/cgi-bin/message/subscribe/send?access_token=" + b.token()
	message := func(name, value string) map[string]any {
		return map[string]any{"touser": b.OpenID(name), "template_id": "T1", "page": "pages/trade/trade?id=1",
			"miniprogram_state": "formal", "data": map[string]any{"thing1": map[string]any{"value": value}}}
	}
	b.wantErrcode(b.ask("POST", path, message("李雷", "已到账")), 0)
	b.wantErrcode(b.ask("POST", path, message("韩梅梅", "已取消")), 0)
	if all := b.ask("GET", "/sandbox/messages", nil)["items"].([]any); len(all) != 2 {
		t.Errorf("%d messages", len(all))
	}
	his := b.ask("GET", "/sandbox/messages?openid="+b.OpenID("李雷"), nil)["items"].([]any)
	if len(his) != 1 || his[0].(map[string]any)["data"].(map[string]any)["thing1"] != "已到账" {
		t.Errorf("his messages: %v", his)
	}
	for want, spoil := range map[int]func(map[string]any){
		40003: func(m map[string]any) { m["touser"] = "nobody" },
		40037: func(m map[string]any) { m["template_id"] = "" },
		41030: func(m map[string]any) { m["page"] = "pages/secret/secret" },
		47003: func(m map[string]any) { m["data"] = map[string]any{} },
	} {
		m := message("李雷", "x")
		spoil(m)
		b.wantErrcode(b.ask("POST", path, m), want)
	}
	b.wantErrcode(b.ask("POST", path, message("李雷", strings.Repeat("长", 21))), 47003)
	if n := len(b.Messages("")); n != 2 {
		t.Errorf("%d messages after refusals", n)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	b := start(t)
	path := "/cgi-bin/message/subscribe/send?access_token=" + b.token()
	for i := range 1005 {
		b.ask("POST", path, fmt.Sprintf(`{"touser":%q,"template_id":"T","data":{"number1":{"value":%d}}}`, b.OpenID("a"), i))
	}
	all := b.Messages("")
	if len(all) != 1000 || all[0].Data["number1"] != "5" {
		t.Errorf("%d messages, the first %v", len(all), all[0].Data)
	}
}

func TestServeListensOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "192.0.2.1:80", "[::]:0", "example.com:80", "localhost", ""} {
		if url, _, err := sandbox.New(sandbox.Config{}).Serve(t.Context(), addr); err == nil {
			t.Errorf("%q: serves at %s", addr, url)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	url, wait, err := sandbox.New(sandbox.Config{}).Serve(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(url + "/sandbox/messages")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", answer, err)
	}
	answer.Body.Close()
	cancel()
	if err := wait(); err != nil {
		t.Errorf("wait: %v", err)
	}
	if _, err := http.Get(url + "/sandbox/messages"); err == nil {
		t.Error("still serving")
	}
}
