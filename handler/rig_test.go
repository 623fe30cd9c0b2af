package handler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"cardflow/handler"
	"cardflow/handler/redistest"
	"cardflow/wechat"
	"cardflow/wechat/sandbox"
)

// rig is the whole surface over a fake service, a real Redis protocol and a real WeChat protocol.
type rig struct {
	t       *testing.T
	service *fakeService
	custody *fakeCustody
	redis   *redistest.Server
	clock   *fakeClock
	logs    *logBuffer
	http    http.Handler
	wishes  int
	address string
}

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func newRig(t *testing.T, change ...func(*handler.Config)) *rig {
	t.Helper()
	r := &rig{t: t, redis: redistest.Start(t), clock: &fakeClock{now: start, auto: true}, logs: &logBuffer{}, address: "192.0.2.1"}
	r.service = newFakeService(r.clock)
	r.custody = newFakeCustody()
	r.serveWith(change)
	return r
}

// another is one more server on the same Redis and the same use cases.
func (r *rig) another(change ...func(*handler.Config)) *rig {
	r.t.Helper()
	o := &rig{t: r.t, redis: r.redis, service: r.service, custody: r.custody, clock: r.clock, logs: &logBuffer{}, address: r.address, wishes: 1_000_000}
	o.serveWith(change)
	return o
}

func (r *rig) serveWith(change []func(*handler.Config)) {
	t := r.t
	t.Helper()
	client := r.redis.Client()
	logger := slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	weChat := platform(t, client, logger)
	c := handler.Config{
		Service: r.service, Custody: r.custody, Logins: &fakeLogins{service: r.service, wechat: weChat}, WeChat: weChat, Templates: templates, Redis: client, PublicURL: "https://cards.example.com/",
		VerifyAudit: r.custody.verify,
		Logger:      logger, Registry: prometheus.NewRegistry(), Clock: r.clock, Random: &counterReader{n: seeds.Add(1) << 40},
		Checks: map[string]func(context.Context) error{"custody": func(context.Context) error { return r.service.custody }},
	}
	for _, f := range change {
		f(&c)
	}
	e, err := handler.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.http = e
}

// platform is the real client of WeChat, talking to the sandbox.
func platform(t *testing.T, client redis.UniversalClient, logger *slog.Logger) *wechat.Platform {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	url, _, err := sandbox.New(sandbox.Config{}).Serve(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := wechat.New(wechat.Config{
		AppID: "wx0000000000000000", AppSecret: wechat.Secret(strings.Repeat("0", 32)), BaseURL: url,
		MiniPage: "pages/trade/trade", Redis: client, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// advance moves every clock.
func (r *rig) advance(d time.Duration) {
	r.clock.advance(d)
	r.redis.Forward(d)
}

// ask is a request in the making.
type ask struct {
	method, path string
	token        string
	body         any // string or []byte as they are, else JSON
	key          string
	header       map[string]string
	ctx          context.Context
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	var b struct {
		Error struct{ Code, Message, RequestID string }
	}
	if err := json.Unmarshal(a.body, &b); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return b.Error.Code
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// do sends a request; whatever comes back must be as the document says. It may be called from several goroutines.
func (r *rig) do(a ask) answer {
	r.t.Helper()
	return r.serve(r.request(a))
}

func (r *rig) serve(req *http.Request) answer {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.http.ServeHTTP(w, req)
	got := answer{w.Code, w.Result().Header, w.Body.Bytes()}
	checkDocumented(r.t, req, got)
	return got
}

func (r *rig) request(a ask) *http.Request {
	r.t.Helper()
	var body io.Reader = http.NoBody
	kind := ""
	switch b := a.body.(type) {
	case nil:
	case string:
		body, kind = strings.NewReader(b), "application/json"
	case []byte:
		body, kind = bytes.NewReader(b), "application/json"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		body, kind = bytes.NewReader(text), "application/json"
	}
	ctx := a.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	req := httptest.NewRequest(a.method, a.path, body).WithContext(ctx)
	req.RemoteAddr = r.address + ":40000"
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.key != "" {
		req.Header.Set("Idempotency-Key", a.key)
	}
	for k, v := range a.header {
		req.Header.Set(k, v)
	}
	return req
}

// want sends and insists on a status; for an error also on its code.
func (r *rig) want(status int, code string, a ask) answer {
	r.t.Helper()
	got := r.do(a)
	if got.status != status {
		r.t.Fatalf("%s %s: %d %s, want %d %s", a.method, a.path, got.status, got.body, status, code)
	}
	if code != "" && got.code(r.t) != code {
		r.t.Fatalf("%s %s: %s, want %s", a.method, a.path, got.body, code)
	}
	return got
}

func get(path, token string) ask { return ask{method: "GET", path: "/api/v1" + path, token: token} }
func post(path, token string, body any) ask {
	return ask{method: "POST", path: "/api/v1" + path, token: token, body: body}
}

// wish is a POST with a fresh key.
func (r *rig) wish(path, token string, body any) ask {
	r.wishes++
	a := post(path, token, body)
	a.key = fmt.Sprintf("wish-%08d", r.wishes)
	return a
}

type fields map[string]any

// consumer logs a person in through WeChat.
func (r *rig) consumer(name string) string {
	r.t.Helper()
	var v struct{ Token string }
	r.want(200, "", post("/wechat/login", "", fields{"code": "demo:" + name})).into(r.t, &v)
	return v.Token
}

// staff logs a person in by password; the fake service knows one for each role.
func (r *rig) staff(username string) string {
	r.t.Helper()
	var v struct{ Token string }
	r.want(200, "", post("/auth/login", "", fields{"username": username, "password": passwordOf(username)})).into(r.t, &v)
	return v.Token
}

func passwordOf(username string) string { return username + "-password" }

// fakeClock moves when it is told to. With auto, whoever waits is served at once and the clock moves by what he waited.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	auto  bool
	slept []time.Duration
	bells []bell
	rung  chan struct{} // gets one for every bell that is hung up, when auto is off
}

type bell struct {
	at time.Time
	c  chan time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	out := make(chan time.Time, 1)
	if c.auto {
		c.now = c.now.Add(d)
		out <- c.now
		return out
	}
	c.bells = append(c.bells, bell{c.now.Add(d), out})
	if c.rung != nil {
		c.rung <- struct{}{}
	}
	return out
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	left := c.bells[:0]
	for _, b := range c.bells {
		if b.at.After(c.now) {
			left = append(left, b)
			continue
		}
		b.c <- c.now
	}
	c.bells = left
}

// seeds makes each server's randomness its own.
var seeds atomic.Uint64

// counterReader gives bytes that differ from each other; tests need no more.
type counterReader struct {
	mu sync.Mutex
	n  uint64
}

func (r *counterReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b {
		r.n = r.n*6364136223846793005 + 1442695040888963407
		b[i] = byte(r.n >> 56)
	}
	return len(b), nil
}

// logBuffer is a log that tests can read, and wait for.
type logBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{} // closed and replaced at every line
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrote != nil {
		close(l.wrote)
		l.wrote = nil
	}
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wait returns when the log has a text.
func (l *logBuffer) wait(text string) {
	for {
		l.mu.Lock()
		if strings.Contains(l.b.String(), text) {
			l.mu.Unlock()
			return
		}
		if l.wrote == nil {
			l.wrote = make(chan struct{})
		}
		wrote := l.wrote
		l.mu.Unlock()
		<-wrote
	}
}

// golden compares with a file under testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}
