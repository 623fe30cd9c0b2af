package wechat_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/handler/redistest"
	"cardflow/wechat"
	"cardflow/wechat/sandbox"

	"github.com/redis/go-redis/v9"
)

const (
	appID  = "wx1234567890abcdef"
	secret = "5ec7e70123456789abcdef0123456789"
)

// world is a Platform on a sandbox of its own, whose requests are counted by path.
type world struct {
	*wechat.Platform
	sandbox *sandbox.Sandbox
	redis   *redistest.Server
	client  *redis.Client
	url     string
	logs    *safeBuffer
	metrics *outcomes
	seen    *requests
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type outcomes struct {
	mu   sync.Mutex
	list []string
}

func (o *outcomes) hear(op, outcome string, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, op+" "+outcome)
}

func (o *outcomes) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.list, ", ")
}

// requests counts what arrived, by path.
type requests struct {
	mu      sync.Mutex
	n       map[string]int
	arrived map[string]chan struct{}
}

func newRequests() *requests {
	q := &requests{n: map[string]int{}, arrived: map[string]chan struct{}{}}
	for _, path := range []string{loginPath, tokenPath, imagePath, phonePath, notifyPath} {
		q.arrived[path] = make(chan struct{})
	}
	return q
}

func (q *requests) add(path string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n[path]++; q.n[path] == 1 && q.arrived[path] != nil {
		close(q.arrived[path])
	}
}

func (q *requests) of(path string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n[path]
}

const (
	loginPath  = "/sns/jscode2session"
	tokenPath  = "/cgi-bin/stable_token"
	imagePath  = "/wxa/getwxacodeunlimit"
	phonePath  = "/wxa/business/getuserphonenumber"
	notifyPath = "/cgi-bin/message/subscribe/send"
)

func start(t *testing.T, change ...func(*wechat.Config)) *world {
	t.Helper()
	return startOn(t, sandbox.New(sandbox.Config{AppID: appID, AppSecret: secret}), change...)
}

func startOn(t *testing.T, s *sandbox.Sandbox, change ...func(*wechat.Config)) *world {
	t.Helper()
	w := &world{sandbox: s, redis: redistest.Start(t), logs: &safeBuffer{}, metrics: &outcomes{}, seen: newRequests()}
	inner := s.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.seen.add(r.URL.Path)
		inner.ServeHTTP(out, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	options := w.redis.Options()
	options.MaxRetries = -1
	w.client = redis.NewClient(options)
	t.Cleanup(func() { _ = w.client.Close() })
	w.Platform = w.another(t, change...)
	return w
}

// another makes one more Platform, as another server would: the same sandbox, the same Redis.
func (w *world) another(t *testing.T, change ...func(*wechat.Config)) *wechat.Platform {
	t.Helper()
	c := w.config()
	for _, f := range change {
		f(&c)
	}
	p, err := wechat.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) config() wechat.Config {
	return wechat.Config{
		AppID:     appID,
		AppSecret: secret,
		BaseURL:   w.url,
		MiniPage:  "pages/trade/trade",
		Redis:     w.client,
		Logger:    slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics:   w.metrics.hear,
	}
}

func (w *world) script(t *testing.T, f sandbox.Fault) {
	t.Helper()
	if err := w.sandbox.Script(f); err != nil {
		t.Fatal(err)
	}
}

// operations are the four calls, each well-formed, by the path that each ends at.
var operations = map[string]func(ctx context.Context, w *world, p *wechat.Platform) error{
	loginPath: func(ctx context.Context, w *world, p *wechat.Platform) error {
		code, _ := w.sandbox.Mint("李雷", "login")
		_, err := p.Login(ctx, code)
		return err
	},
	imagePath: func(ctx context.Context, w *world, p *wechat.Platform) error {
		_, _, err := p.TradeQR(ctx, "c=K7Q2M9XA", "")
		return err
	},
	phonePath: func(ctx context.Context, w *world, p *wechat.Platform) error {
		code, _ := w.sandbox.Mint("李雷", "phone")
		_, err := p.PhoneNumber(ctx, code)
		return err
	},
	notifyPath: func(ctx context.Context, w *world, p *wechat.Platform) error {
		return p.Notify(ctx, w.sandbox.OpenID("李雷"), "T1", "pages/trade/trade?id=1", map[string]string{"thing1": "已到账"})
	},
}

// wantError checks that err is an Error of that code, fit for a person.
func wantError(t *testing.T, err error, code string) *wechat.Error {
	t.Helper()
	var e *wechat.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if e.Message == "" || strings.ContainsAny(e.Message, "abcdefghijklmnopqrstuvwxyz") {
		t.Errorf("%s: the message for the person is %q", code, e.Message)
	}
	return e
}

func TestLogin(t *testing.T) {
	w := start(t)
	code, _ := w.sandbox.Mint("李雷", "login")
	s, err := w.Login(t.Context(), code)
	if err != nil || s.OpenID != w.sandbox.OpenID("李雷") || s.UnionID != "" {
		t.Fatalf("%+v, %v", s, err)
	}
	_, err = w.Login(t.Context(), code)
	wantError(t, err, wechat.CodeUsed)
}

func TestLoginBringsTheUnionIDOfABoundAccount(t *testing.T) {
	w := startOn(t, sandbox.New(sandbox.Config{AppID: appID, AppSecret: secret, UnionIDs: true}))
	s, err := w.Login(t.Context(), "demo:李雷")
	if err != nil || s.UnionID == "" || s.UnionID == s.OpenID {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestDemoCodesWithChineseNamesArriveWhole(t *testing.T) {
	w := start(t)
	for _, name := range []string{"李雷", "买买提·吐尔逊", "O'Neil Jr.", "a_b-c", "张 三"} {
		for range 2 {
			if s, err := w.Login(t.Context(), "demo:"+name); err != nil || s.OpenID != w.sandbox.OpenID(name) {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
		}
	}
}

func TestTradeQRCanBeScanned(t *testing.T) {
	w := start(t)
	image, contentType, err := w.TradeQR(t.Context(), "c=K7Q2M9XA", "")
	if err != nil || contentType != "image/png" {
		t.Fatalf("%s, %v", contentType, err)
	}
	text, err := sandbox.Scan(image)
	if want := "pages/trade/trade?scene=c%3DK7Q2M9XA"; err != nil || text != want {
		t.Errorf("reads %q, %v, want %q", text, err, want)
	}
}

func TestTradeQRIsCachedByPageAndScene(t *testing.T) {
	w := start(t)
	draw := func(scene, page string) []byte {
		t.Helper()
		image, _, err := w.TradeQR(t.Context(), scene, page)
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	first := draw("c=1", "")
	if again := draw("c=1", "pages/trade/trade"); !bytes.Equal(first, again) || w.seen.of(imagePath) != 1 {
		t.Errorf("asked WeChat %d times for one image", w.seen.of(imagePath))
	}
	draw("c=2", "")
	draw("c=1", "pages/other/other")
	if n := w.seen.of(imagePath); n != 3 {
		t.Errorf("asked WeChat %d times for three images", n)
	}
	for _, key := range w.redis.Keys() {
		if strings.Contains(key, "c=1") {
			t.Errorf("the key %q tells the scene", key)
		}
		if w.redis.TTL(key) <= 0 {
			t.Errorf("the key %q never expires", key)
		}
	}
	w.redis.Forward(25 * time.Hour)
	draw("c=1", "")
	if n := w.seen.of(imagePath); n != 4 {
		t.Errorf("asked WeChat %d times, the image should have expired", n)
	}
}

func TestTradeQRChecksSceneAndPageBeforeAnyRequest(t *testing.T) {
	w := start(t)
	for _, tc := range []struct{ scene, page, want string }{
		{"", "", wechat.CodeSceneInvalid},
		{strings.Repeat("x", 33), "", wechat.CodeSceneInvalid},
		{"a%20b", "", wechat.CodeSceneInvalid},
		{"a b", "", wechat.CodeSceneInvalid},
		{"a\n", "", wechat.CodeSceneInvalid},
		{"交易", "", wechat.CodeSceneInvalid},
		{"x", "/pages/trade/trade", wechat.CodePageInvalid},
		{"x", "pages/trade/trade?a=b", wechat.CodePageInvalid},
		{"x", "pages//trade", wechat.CodePageInvalid},
		{"x", strings.Repeat("p", 129), wechat.CodePageInvalid},
	} {
		_, _, err := w.TradeQR(t.Context(), tc.scene, tc.page)
		wantError(t, err, tc.want)
	}
	if w.seen.of(imagePath)+w.seen.of(tokenPath) != 0 {
		t.Error("a request was made")
	}
	if _, _, err := w.TradeQR(t.Context(), "!#$&'()*+,/:;=?@-._~"+strings.Repeat("Z9", 6), ""); err != nil {
		t.Errorf("all characters that are allowed, 32 of them: %v", err)
	}
}

func TestOnlyReleaseChecksThatThePageIsPublished(t *testing.T) {
	s := sandbox.New(sandbox.Config{AppID: appID, AppSecret: secret, Pages: []string{"pages/index/index"}})
	for env, published := range map[string]bool{"": true, "release": true, "trial": false, "develop": false} {
		w := startOn(t, s, func(c *wechat.Config) { c.EnvVersion = env })
		_, _, err := w.TradeQR(t.Context(), "x", "pages/new/new")
		if !published {
			if err != nil {
				t.Errorf("%q: %v", env, err)
			}
			continue
		}
		if e := wantError(t, err, wechat.CodePageUnpublished); e.WeChat != 41030 {
			t.Errorf("errcode %d", e.WeChat)
		}
	}
}

func TestPhoneNumber(t *testing.T) {
	w := start(t)
	code, _ := w.sandbox.Mint("李雷", "phone")
	if number, err := w.PhoneNumber(t.Context(), code); err != nil || number != w.sandbox.Phone("李雷") {
		t.Fatalf("%s, %v", number, err)
	}
	_, err := w.PhoneNumber(t.Context(), code)
	wantError(t, err, wechat.CodeUsed)
}

func TestPhoneNumberOfAnotherMiniProgramOrNoneIsRefused(t *testing.T) {
	w := start(t)
	for _, body := range []string{
		`{"errcode":0,"phone_info":{"phoneNumber":"13800000000","watermark":{"appid":"wxffffffffffffffff"}}}`,
		`{"errcode":0,"phone_info":{"phoneNumber":"","watermark":{"appid":"` + appID + `"}}}`,
		`{"errcode":0,"phone_info":{"phoneNumber":"<b>","watermark":{"appid":"` + appID + `"}}}`,
		`{"errcode":0}`, `{}`, `null`, `[]`, `"x"`,
	} {
		w.script(t, sandbox.Fault{Path: phonePath, Body: body})
		number, err := w.PhoneNumber(t.Context(), "demo:李雷")
		wantError(t, err, wechat.CodeUnavailable)
		if number != "" {
			t.Errorf("%s: %q", body, number)
		}
	}
}

func TestNotify(t *testing.T) {
	w := start(t, func(c *wechat.Config) { c.EnvVersion = "trial" })
	to := w.sandbox.OpenID("李雷")
	if err := w.Notify(t.Context(), to, "T1", "pages/trade/trade?id=1", map[string]string{"thing1": "卡<已>到账&"}); err != nil {
		t.Fatal(err)
	}
	sent := w.sandbox.Messages(to)
	if len(sent) != 1 || sent[0].TemplateID != "T1" || sent[0].State != "trial" || sent[0].Page != "pages/trade/trade?id=1" || sent[0].Data["thing1"] != "卡<已>到账&" {
		t.Errorf("sent %+v", sent)
	}
}

func TestNotifyChecksBeforeAnyRequest(t *testing.T) {
	w := start(t)
	data := map[string]string{"thing1": "x"}
	wantError(t, w.Notify(t.Context(), "", "T1", "", data), wechat.CodeRecipient)
	wantError(t, w.Notify(t.Context(), "a b", "T1", "", data), wechat.CodeRecipient)
	wantError(t, w.Notify(t.Context(), "o1", "", "", data), wechat.CodeTemplate)
	wantError(t, w.Notify(t.Context(), "o1", "T1", "", nil), wechat.CodeMessage)
	if w.seen.of(tokenPath) != 0 {
		t.Error("a request was made")
	}
}

func TestARefusedMessageIsTold(t *testing.T) {
	w := start(t)
	w.script(t, sandbox.Fault{Path: notifyPath, ErrCode: 43101})
	err := operations[notifyPath](t.Context(), w, w.Platform)
	if !errors.Is(err, wechat.ErrRefusedByUser) {
		t.Errorf("got %v", err)
	}
	if errors.Is(wantError(t, err, wechat.CodeRefused), &wechat.Error{Code: wechat.CodeBusy}) {
		t.Error("matches another code")
	}
	if strings.Contains(w.logs.String(), "level=WARN") || strings.Contains(w.logs.String(), "level=ERROR") {
		t.Errorf("a normal refusal alarms: %s", w.logs)
	}
}

func TestMetricsHearEveryEnd(t *testing.T) {
	w := start(t)
	_, _ = w.Login(t.Context(), "demo:李雷")
	_, _ = w.Login(t.Context(), "err:40226")
	_, _, _ = w.TradeQR(t.Context(), "x", "")
	_, _, _ = w.TradeQR(t.Context(), "x", "")
	_, _ = w.PhoneNumber(t.Context(), "demo:李雷")
	want := "login ok, login WECHAT_USER_BLOCKED, token ok, qr ok, qr cached, token cached, phone ok"
	if got := w.metrics.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
