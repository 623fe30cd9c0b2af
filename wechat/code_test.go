package wechat_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cardflow/wechat"
)

var hostileCodes = []string{
	"", "short", "abc&appid=evil", "abc12345&appid=evil&js_code=zzz", "abc12345#fragment", "abc12345?x=1", "abc12345%26appid=evil",
	"abc12345+x", "abc 12345", "abc12345\n", "\nabc12345", "abc12345\x00", "abc12345;x=1", "abc12345/../token", "авсдефгх", "登录凭证登录凭证",
	"abc12345\u200b", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", strings.Repeat("a", 129), strings.Repeat("a", 1<<20),
	"demo:a&appid=evil", "demo:", "demo: a", "demo:a ", "demo:a\n", "demo:a#", "demo:a%26", "demo:a=b", "demo:\xff", "demo:a\u202eb",
	"demo:" + strings.Repeat("长", 33), "err:", "err:x", "err:1&appid=evil", "err:--1", "err:12345678901", "err:1 ",
}

func TestCodeInjectionIsRefusedWithoutARequest(t *testing.T) {
	w := start(t)
	for _, code := range hostileCodes {
		_, err := w.Login(t.Context(), code)
		wantError(t, err, wechat.CodeInvalid)
		_, err = w.PhoneNumber(t.Context(), code)
		wantError(t, err, wechat.CodeInvalid)
	}
	if n := w.seen.of(loginPath) + w.seen.of(phonePath) + w.seen.of(tokenPath); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// The codes that people type are for the sandbox: the real platform gets none of them. The test is sure to send
// nothing there, because every code is refused before.
func TestTheRealPlatformGetsNoDemoCodes(t *testing.T) {
	w := start(t)
	real := w.another(t, func(c *wechat.Config) { c.BaseURL = "" })
	if real.Sandbox() || !w.Sandbox() {
		t.Fatal("which is which?")
	}
	for _, code := range append([]string{"demo:李雷", "demo:a", "err:40163", "err:-1"}, hostileCodes...) {
		_, err := real.Login(t.Context(), code)
		if e := wantError(t, err, wechat.CodeInvalid); e.WeChat != 0 {
			t.Errorf("%q was sent to WeChat", code)
		}
	}
}

// A code may be used up when the answer is lost. net/http repeats a GET by itself on a kept connection that breaks, so
// the connection is warmed up first.
func TestALoginCodeIsSentOnceWhateverHappens(t *testing.T) {
	for name, fault := range failures {
		if fault.Path != "" || fault.Delay != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := start(t)
			for range 3 {
				if _, err := w.Login(t.Context(), "demo:李雷"); err != nil {
					t.Fatal(err)
				}
			}
			code, _ := w.sandbox.Mint("李雷", "login")
			fault.Path, fault.After = loginPath, true
			w.script(t, fault)
			if _, err := w.Login(t.Context(), code); err == nil {
				t.Error("no error")
			}
			if n := w.seen.of(loginPath); n != 4 {
				t.Errorf("the code was sent %d times", n-3)
			}
			_, err := w.Login(t.Context(), code)
			wantError(t, err, wechat.CodeUsed)
		})
	}
}

// FuzzLoginCode holds that a request, if one is made at all, carries the code whole and as one parameter, beside the
// right app id and secret, and nothing else.
func FuzzLoginCode(f *testing.F) {
	for _, code := range hostileCodes {
		if len(code) < 1000 {
			f.Add(code)
		}
	}
	f.Add("demo:李雷")
	f.Add("err:40029")
	f.Add("0e3XGh000MhkbT1xBp200wTjdb0XGh0k")
	var mu sync.Mutex
	var got url.Values
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got, _ = url.ParseQuery(r.URL.RawQuery)
		_, _ = w.Write([]byte(`{"openid":"o1"}`))
	}))
	f.Cleanup(server.Close)
	w := newWorldForFuzz(f, server.URL)
	f.Fuzz(func(t *testing.T, code string) {
		mu.Lock()
		got = nil
		mu.Unlock()
		_, err := w.Login(t.Context(), code)
		mu.Lock()
		defer mu.Unlock()
		if got == nil {
			wantError(t, err, wechat.CodeInvalid)
			return
		}
		want := url.Values{"appid": {appID}, "secret": {secret}, "js_code": {code}, "grant_type": {"authorization_code"}}
		if got.Encode() != want.Encode() {
			t.Errorf("%q was sent as %v", code, got)
		}
	})
}

func newWorldForFuzz(f *testing.F, baseURL string) *wechat.Platform {
	f.Helper()
	p, err := wechat.New(wechat.Config{AppID: appID, AppSecret: secret, BaseURL: baseURL, Redis: noRedis()})
	if err != nil {
		f.Fatal(err)
	}
	return p
}

// The sandbox and the Platform must agree on which names are names.
func TestEveryNameThatLoginTakesIsAPersonOfTheSandbox(t *testing.T) {
	w := start(t)
	for _, name := range []string{"李", strings.Repeat("长", 32), "é", "नमस्ते", "7"} {
		if s, err := w.Login(t.Context(), "demo:"+name); err != nil || s.OpenID != w.sandbox.OpenID(name) {
			t.Errorf("%q: %+v, %v", name, s, err)
		}
	}
}
