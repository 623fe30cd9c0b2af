package wechat_test

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/wechat"
	"cardflow/wechat/sandbox"

	"github.com/redis/go-redis/v9"
	"github.com/silenceper/wechat/v2/util"
)

// noRedis is a client without a server: every command fails at once.
func noRedis() redis.UniversalClient {
	return redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
}

func TestNewReportsAllFaultsAtOnce(t *testing.T) {
	_, err := wechat.New(wechat.Config{AppID: "x&y", AppSecret: "short&secret", BaseURL: "ftp://", Timeout: time.Hour, MiniPage: "/x", EnvVersion: "beta"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, field := range []string{"AppID", "AppSecret", "BaseURL", "Timeout", "MiniPage", "EnvVersion", "Redis"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s isn't named in: %v", field, err)
		}
	}
	if strings.Contains(err.Error(), "short&secret") {
		t.Errorf("the secret is quoted: %v", err)
	}
}

// The library's own memory cache crashes under concurrent use, so that there is no way without Redis.
func TestNewRefusesToRunWithoutRedis(t *testing.T) {
	c := start(t).config()
	c.Redis = nil
	if _, err := wechat.New(c); err == nil {
		t.Error("accepted")
	}
}

func TestASandboxIsOnLoopbackOnly(t *testing.T) {
	c := start(t).config()
	for base, ok := range map[string]bool{
		"http://127.0.0.1:8080":         true,
		"http://127.0.0.1:8080/":        true,
		"http://[::1]:8080":             true,
		"http://localhost:8080":         true,
		"http://10.0.0.1:8080":          false,
		"http://example.com":            false,
		"http://127.0.0.1.example.com":  false,
		"http://localhost.example.com":  false,
		"http://u:p@127.0.0.1:8080":     false,
		"http://127.0.0.1:8080/x":       false,
		"http://127.0.0.1:8080?x=1":     false,
		"https://127.0.0.1:8080":        false,
		"http://0.0.0.0:8080":           false,
		"127.0.0.1:8080":                false,
		"http://api.weixin.qq.com@evil": false,
	} {
		c.BaseURL = base
		if _, err := wechat.New(c); (err == nil) != ok {
			t.Errorf("%s: %v", base, err)
		}
	}
}

func TestTheRealPlatformWantsARealAppIDAndSecret(t *testing.T) {
	c := start(t).config()
	c.BaseURL = ""
	if _, err := wechat.New(c); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"demo", "wx123", "wx1234567890abcdeg", "wx1234567890abcdef&", ""} {
		bad := c
		bad.AppID = id
		if _, err := wechat.New(bad); err == nil {
			t.Errorf("AppID %q accepted", id)
		}
	}
	for _, s := range []wechat.Secret{"", "secret", secret + "0", wechat.Secret(secret[1:] + "&")} {
		bad := c
		bad.AppSecret = s
		if _, err := wechat.New(bad); err == nil {
			t.Error("a bad secret is accepted")
		}
	}
}

func TestTheSecretPrintsAsSecret(t *testing.T) {
	w := start(t)
	c := w.config()
	c.Logger, c.Metrics, c.Redis = nil, nil, nil
	asJSON, err := json.Marshal(struct{ S wechat.Secret }{c.AppSecret})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", c.AppSecret, "config", c, "platform", w.Platform)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "secret", c.AppSecret, "platform", w.Platform)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&b, verb+" "+verb+" "+verb+" "+verb+"\n", c.AppSecret, c, &c, w.Platform)
	}
	shown := b.String() + string(asJSON)
	hex := fmt.Sprintf("%x", secret)
	if strings.Contains(shown, secret) || strings.Contains(strings.ToLower(shown), hex) {
		t.Errorf("the secret is shown:\n%s", shown)
	}
	if strings.Count(shown, "[secret]") < 25 {
		t.Errorf("[secret] isn't shown:\n%s", shown)
	}
}

// The library has one HTTP client for the process. Two Platforms keep apart all the same: each asks its own server,
// with its own app id and its own tokens, at the same time.
func TestTwoPlatformsInOneProcess(t *testing.T) {
	const otherID, otherSecret = "wxfedcba0987654321", "ffffffffffffffffffffffffffffffff"
	a := start(t)
	b := startOn(t, sandbox.New(sandbox.Config{AppID: otherID, AppSecret: otherSecret}), func(c *wechat.Config) {
		c.AppID, c.AppSecret = otherID, otherSecret
	})
	var wg sync.WaitGroup
	for _, w := range []*world{a, b} {
		for range 20 {
			wg.Go(func() {
				s, err := w.Login(t.Context(), "demo:李雷")
				if err != nil || s.OpenID != w.sandbox.OpenID("李雷") {
					t.Errorf("login: %+v, %v", s, err)
				}
				for path, call := range operations {
					if err := call(t.Context(), w, w.Platform); err != nil {
						t.Errorf("%s: %v", path, err)
					}
				}
			})
		}
	}
	wg.Wait()
	if a.sandbox.OpenID("李雷") == b.sandbox.OpenID("李雷") {
		t.Error("the test can't tell them apart")
	}
	for _, w := range []*world{a, b} {
		if n := len(w.sandbox.Messages("")); n != 20 {
			t.Errorf("%d messages", n)
		}
		if n := w.seen.of(tokenPath); n != 1 {
			t.Errorf("%d token fetches for %d calls at once", n, 60)
		}
	}
}

// The library's URI modifier is never used: images go past it. Here every kind of request reaches the server of its
// Platform, because the client itself routes.
func TestEveryRequestReachesItsServer(t *testing.T) {
	w := start(t)
	for path, call := range operations {
		if err := call(t.Context(), w, w.Platform); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{loginPath, tokenPath, imagePath, phonePath, notifyPath} {
		if w.seen.of(path) != 1 {
			t.Errorf("%s: %d requests", path, w.seen.of(path))
		}
	}
}

// Whoever else in the process uses the library, by mistake, reaches nobody through our client.
func TestARequestOfNobodyIsRefused(t *testing.T) {
	start(t)
	if util.DefaultHTTPClient == http.DefaultClient || util.DefaultHTTPClient.Timeout == 0 {
		t.Fatal("the library's client has no timeout")
	}
	for _, url := range []string{"https://api.weixin.qq.com/cgi-bin/token?appid=x", "https://api.weixin.qq.com/x?access_token=ticket-1", "http://127.0.0.1:1/"} {
		_, err := util.HTTPGetContext(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), "belongs to no call") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// The library's root package turns logrus to debug on stdout for the whole process, as soon as it is imported; its
// encryptor panics on what anybody may send; its caches crash or are of another go-redis. None of them is imported.
func TestDangerousPartsOfTheLibraryAreNotImported(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	const root = "github.com/silenceper/wechat/v2"
	found := 0
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(path, root) {
				found++
			}
			switch path {
			case root, root + "/miniprogram", root + "/miniprogram/encryptor", root + "/cache":
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
	if found == 0 {
		t.Error("no import of the library was seen: this test looks in the wrong place")
	}
}
