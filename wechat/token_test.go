package wechat_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cardflow/wechat"
	"cardflow/wechat/sandbox"
)

// tokenKey is where the library looks.
const tokenKey = "cardflow:wechat:sandbox:gowechat_miniprogram__stable_access_token_" + appID

var tokenCalls = []string{imagePath, phonePath, notifyPath}

func TestAllServersShareOneToken(t *testing.T) {
	w := start(t)
	other := w.another(t)
	for _, path := range tokenCalls {
		for _, p := range []*wechat.Platform{w.Platform, other} {
			if err := operations[path](t.Context(), w, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := w.seen.of(tokenPath); n != 1 {
		t.Errorf("%d token fetches", n)
	}
	if token := w.redis.Get(tokenKey); len(token) < 512 {
		t.Errorf("in Redis: %d characters", len(token))
	}
	if ttl := w.redis.TTL(tokenKey); ttl <= 0 || ttl.Hours() > 2 {
		t.Errorf("it lives for %s", ttl)
	}
}

func TestARejectedTokenIsFetchedAgainOnce(t *testing.T) {
	for _, path := range tokenCalls {
		for _, errcode := range []int{40001, 40014, 42001} {
			t.Run(path+" "+strconv.Itoa(errcode), func(t *testing.T) {
				w := start(t)
				w.script(t, sandbox.Fault{Path: path, ErrCode: errcode, Times: 1})
				if err := operations[path](t.Context(), w, w.Platform); err != nil {
					t.Fatal(err)
				}
				if calls, fetches := w.seen.of(path), w.seen.of(tokenPath); calls != 2 || fetches != 2 {
					t.Errorf("%d calls, %d token fetches, want 2 and 2", calls, fetches)
				}
			})
		}
	}
}

func TestARejectedTokenIsNotChasedInALoop(t *testing.T) {
	for _, path := range tokenCalls {
		t.Run(path, func(t *testing.T) {
			w := start(t)
			w.script(t, sandbox.Fault{Path: path, ErrCode: 40001, Times: -1})
			wantError(t, operations[path](t.Context(), w, w.Platform), wechat.CodeTokenRejected)
			if calls, fetches := w.seen.of(path), w.seen.of(tokenPath); calls != 2 || fetches != 2 {
				t.Errorf("%d calls, %d token fetches, want 2 and 2", calls, fetches)
			}
		})
	}
}

// Another system forces a new token: the cached one is dead. The call mends itself, and leaves the good one for all.
func TestATokenThatDiedElsewhereIsReplacedForAllServers(t *testing.T) {
	w := start(t)
	if err := operations[phonePath](t.Context(), w, w.Platform); err != nil {
		t.Fatal(err)
	}
	force(t, w)
	dead := w.redis.Get(tokenKey)
	if err := operations[phonePath](t.Context(), w, w.Platform); err != nil {
		t.Fatal(err)
	}
	live := w.redis.Get(tokenKey)
	if live == "" || live == dead {
		t.Error("the dead token is still cached")
	}
	fetches := w.seen.of(tokenPath)
	if err := operations[notifyPath](t.Context(), w, w.another(t)); err != nil {
		t.Fatal(err)
	}
	if n := w.seen.of(tokenPath) - fetches; n != 0 {
		t.Errorf("the other server fetched %d tokens", n)
	}
}

func force(t *testing.T, w *world) {
	t.Helper()
	body := `{"grant_type":"client_credential","appid":"` + appID + `","secret":"` + secret + `","force_refresh":true}`
	answer, err := http.Post(w.url+tokenPath, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
}

// A token that another server has put there since must not be thrown away with the dead one.
func TestOnlyTheRejectedTokenIsDropped(t *testing.T) {
	fresh := strings.Repeat("f", 512)
	w := start(t)
	var swapped atomic.Bool
	platform := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == tokenPath:
			_, _ = out.Write([]byte(`{"access_token":"dead","expires_in":7200}`))
		case r.URL.Query().Get("access_token") == fresh:
			_, _ = out.Write([]byte(`{"errcode":0}`))
		default: // the other server is quicker than the answer
			swapped.Store(true)
			w.redis.Set(tokenKey, fresh)
			_, _ = out.Write([]byte(`{"errcode":40001}`))
		}
	}))
	defer platform.Close()
	p := w.another(t, func(c *wechat.Config) { c.BaseURL = platform.URL })
	if err := operations[notifyPath](t.Context(), w, p); err != nil || !swapped.Load() {
		t.Errorf("%v", err)
	}
	if got := w.redis.Get(tokenKey); got != fresh {
		t.Errorf("cached: %q", got)
	}
}

// The library subtracts 300 s from a token's life. In a stable token's last minutes nothing is left: the token must
// still do for this call.
func TestATokenInItsLastMinutesIsUsedAndNotKept(t *testing.T) {
	for _, life := range []string{"300", "299", "1", "0"} {
		w := start(t)
		platform := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			if r.URL.Path == tokenPath {
				_, _ = out.Write([]byte(`{"access_token":"old","expires_in":` + life + `}`))
				return
			}
			_, _ = out.Write([]byte(`{"errcode":0}`))
		}))
		p := w.another(t, func(c *wechat.Config) { c.BaseURL = platform.URL })
		if err := operations[notifyPath](t.Context(), w, p); err != nil {
			t.Errorf("%s s: %v", life, err)
		}
		if w.redis.Exists(tokenKey) {
			t.Errorf("%s s: kept", life)
		}
		platform.Close()
	}
}

func TestWithoutRedisCallsStillWork(t *testing.T) {
	w := start(t)
	w.redis.SetDown(true)
	for path, call := range operations {
		if err := call(t.Context(), w, w.Platform); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if !strings.Contains(w.logs.String(), "wechat cache unavailable") {
		t.Error("nothing was logged")
	}
	if strings.Contains(w.logs.String(), "is down") {
		t.Error("Redis's error text was logged: it may quote a command")
	}
}

// A hundred people and a slow token: each waits no longer than he wants to, and there is one fetch.
func TestWaitingForATokenEndsWithTheCaller(t *testing.T) {
	w := start(t)
	w.script(t, sandbox.Fault{Path: tokenPath, Delay: "1h", Times: -1})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			err := operations[notifyPath](ctx, w, w.Platform)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	<-w.seen.arrived[tokenPath]
	cancel()
	wg.Wait()
	if n := w.seen.of(tokenPath); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// A process without Redis keeps its token in memory, and lets go of one that is rejected.
func TestATokenInMemory(t *testing.T) {
	w := start(t, func(c *wechat.Config) { c.InMemory = true })
	for _, path := range tokenCalls {
		if err := operations[path](t.Context(), w, w.Platform); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.seen.of(tokenPath); n != 1 {
		t.Errorf("%d token fetches", n)
	}
	force(t, w)
	if err := operations[notifyPath](t.Context(), w, w.Platform); err != nil {
		t.Fatal(err)
	}
	if n := w.seen.of(tokenPath); n != 3 {
		t.Errorf("%d token fetches, with the one that was forced", n)
	}
	if keys := w.redis.Keys(); len(keys) > 0 {
		t.Errorf("Redis has %d keys", len(keys))
	}
	if strings.Contains(w.logs.String(), "cache unavailable") {
		t.Error("it misses a cache")
	}
}
