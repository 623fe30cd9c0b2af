package wechat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/wechat"
	"cardflow/wechat/sandbox"
)

// documented are WeChat's numbers, what each becomes, and whether asking again may help.
var documented = []struct {
	errcode   int
	code      string
	retryable bool
}{
	{-1, "WECHAT_BUSY", true},
	{40029, "WECHAT_CODE_INVALID", false},
	{41008, "WECHAT_CODE_INVALID", false},
	{40163, "WECHAT_CODE_USED", false},
	{45011, "WECHAT_TOO_FREQUENT", true},
	{40226, "WECHAT_USER_BLOCKED", false},
	{43101, "WECHAT_REFUSED", false},
	{45009, "WECHAT_QUOTA", true},
	{41030, "WECHAT_PAGE_UNPUBLISHED", false},
	{40169, "WECHAT_SCENE_INVALID", false},
	{40003, "WECHAT_RECIPIENT_INVALID", false},
	{40037, "WECHAT_TEMPLATE_INVALID", false},
	{47003, "WECHAT_MESSAGE_INVALID", false},
	{40001, "WECHAT_TOKEN_REJECTED", true},
	{40014, "WECHAT_TOKEN_REJECTED", true},
	{42001, "WECHAT_TOKEN_REJECTED", true},
	{40013, "WECHAT_MISCONFIGURED", false},
	{40125, "WECHAT_MISCONFIGURED", false},
	{40164, "WECHAT_MISCONFIGURED", false},
	{48001, "WECHAT_MISCONFIGURED", false},
	{99999, "WECHAT_UNEXPECTED_ERROR", false},
}

// The library tells WeChat's number three ways: a typed error for messages, a field of the result for code2session, in
// text only for images. Here it arrives the same way from all.
func TestEveryErrcodeHasItsClassOnEveryCall(t *testing.T) {
	w := start(t)
	for path, call := range operations {
		for _, d := range documented {
			t.Run(fmt.Sprint(path, " ", d.errcode), func(t *testing.T) {
				w.script(t, sandbox.Fault{Path: path, ErrCode: d.errcode, Times: -1})
				defer del(t, w)
				e := wantError(t, call(t.Context(), w, w.Platform), d.code)
				if e.WeChat != d.errcode || e.Retryable != d.retryable {
					t.Errorf("errcode %d, retryable %v", e.WeChat, e.Retryable)
				}
			})
		}
	}
}

// del removes all faults.
func del(t *testing.T, w *world) {
	t.Helper()
	r, err := http.NewRequest("DELETE", w.url+"/sandbox/faults", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
}

func TestErrCodesOfDemoLogins(t *testing.T) {
	w := start(t)
	_, err := w.Login(t.Context(), "err:40163")
	wantError(t, err, wechat.CodeUsed)
	_, err = w.Login(t.Context(), "err:-1")
	wantError(t, err, wechat.CodeBusy)
	_, err = w.PhoneNumber(t.Context(), "err:45009")
	wantError(t, err, wechat.CodeQuota)
}

// An empty object is a 200 without an errcode. Taken for a login it would put all such people into one account.
func TestAnAnswerWithoutAPersonIsNoLogin(t *testing.T) {
	w := start(t)
	for _, body := range []string{`{}`, `null`, `{"openid":""}`, `{"session_key":"k"}`, `{"openid":"o\u0000"}`, `{"openid":"a b"}`, `[]`, `"x"`, `1`, `{"openid":5}`, `{"errcode":"0"}`} {
		w.script(t, sandbox.Fault{Path: loginPath, Body: body})
		s, err := w.Login(t.Context(), "demo:李雷")
		wantError(t, err, wechat.CodeUnavailable)
		if s != (wechat.Session{}) {
			t.Errorf("%s logs in %+v", body, s)
		}
	}
}

// failures are the ways in which there is no answer.
var failures = map[string]sandbox.Fault{
	"502":             {Status: 502},
	"503":             {Status: 503},
	"404":             {Status: 404},
	"429":             {Status: 429},
	"hang-up":         {Drop: true},
	"truncated":       {Truncate: true},
	"garbage":         {Body: "<html>\x00"},
	"garbage JSON":    {Body: `{"errcode":`},
	"wrong type":      {Body: `{"errcode":"40029"}`},
	"too long":        {Body: `{"openid":"o1"}` + strings.Repeat(" ", 3<<20)},
	"slow":            {Delay: "1h"},
	"echoes":          {Body: `{"errcode":99999,"errmsg":"appid=` + appID + ` secret=` + secret + `, rid: 0123abcd-4567"}`},
	"busy":            {ErrCode: -1},
	"wrong secret":    {ErrCode: 40125},
	"token rejected":  {ErrCode: 40001},
	"404 for a token": {Status: 404, Path: tokenPath},
	"no token":        {Body: `{}`, Path: tokenPath},
	"token hang-up":   {Drop: true, Path: tokenPath},
	"token slow":      {Delay: "1h", Path: tokenPath},
	"token refused":   {ErrCode: 40164, Path: tokenPath},
}

func TestNoFailureShowsTheSecretOrAURLOrAPerson(t *testing.T) {
	for name, fault := range failures {
		for path, call := range operations {
			if fault.Path == tokenPath && path == loginPath {
				continue // a login needs no token
			}
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				fault := fault
				w := start(t, func(c *wechat.Config) {
					if fault.Delay != "" {
						c.Timeout = 30 * time.Millisecond
					}
				})
				if fault.Path == "" {
					fault.Path = path
				}
				fault.Times = -1
				w.script(t, fault)
				err := call(t.Context(), w, w.Platform)
				var e *wechat.Error
				if !errors.As(err, &e) {
					t.Fatalf("got %v", err)
				}
				if fault.ErrCode == 0 && name != "echoes" && e.Code != wechat.CodeUnavailable {
					t.Errorf("code %s", e.Code)
				}
				if fault.ErrCode == 0 && name != "echoes" && !e.Retryable {
					t.Error("not retryable")
				}
				if fault.Delay != "" && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("not a deadline: %v", err)
				}
				asJSON, _ := json.Marshal(e)
				shown := strings.Join([]string{err.Error(), fmt.Sprintf("%+v %#v %q", err, err, e.Message), string(asJSON), w.logs.String(), w.metrics.String()}, "\n")
				if !strings.Contains(w.logs.String(), "wechat call failed") {
					t.Errorf("nothing was logged: %s", w.logs)
				}
				if name == "echoes" && !strings.Contains(w.logs.String(), "rid=0123abcd-4567") {
					t.Errorf("WeChat's request id isn't logged: %s", w.logs)
				}
				for _, hidden := range []string{secret, w.sandbox.OpenID("李雷"), "李雷", "K7Q2M9XA", "://", "access_token", "js_code", "api.weixin", strings.TrimPrefix(w.url, "http://")} {
					if strings.Contains(shown, hidden) {
						t.Errorf("%q is shown:\n%s", hidden, shown)
					}
				}
				for _, key := range w.redis.Keys() {
					if token := w.redis.Get(key); len(token) > 500 && strings.Contains(shown, token) {
						t.Error("the access token is shown")
					}
				}
				if long := regexp.MustCompile(`[0-9a-f]{30,}`).FindString(shown); long != "" {
					t.Errorf("a code or token is shown: %s", long)
				}
			})
		}
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	w := start(t)
	p := w.another(t, func(c *wechat.Config) { c.BaseURL = "http://" + l.Addr().String() })
	for path, call := range operations {
		err := call(t.Context(), w, p)
		if wantError(t, err, wechat.CodeUnavailable); !strings.HasSuffix(err.Error(), ": connect") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A redirect would carry the secret to whoever is named in it, and a login code to the same platform twice.
func TestARedirectIsNotFollowed(t *testing.T) {
	w := start(t)
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer thief.Close()
	for _, to := range []string{thief.URL, "https://api.weixin.qq.com/again"} {
		var asked atomic.Int32
		platform := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			http.Redirect(out, r, to, http.StatusTemporaryRedirect)
		}))
		p := w.another(t, func(c *wechat.Config) { c.BaseURL = platform.URL })
		for path, call := range operations {
			asked.Store(0)
			wantError(t, call(t.Context(), w, p), wechat.CodeUnavailable)
			if n := asked.Load(); n != 1 {
				t.Errorf("%s: %d requests", path, n)
			}
		}
		platform.Close()
	}
}

// Images and messages take no context in the library; they end with it all the same.
func TestACallEndsWithItsContext(t *testing.T) {
	for path, call := range operations {
		t.Run(path, func(t *testing.T) {
			w := start(t)
			w.script(t, sandbox.Fault{Path: path, Delay: "1h"})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-w.seen.arrived[path]
				cancel()
			}()
			err := call(ctx, w, w.Platform)
			wantError(t, err, wechat.CodeUnavailable)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
}
