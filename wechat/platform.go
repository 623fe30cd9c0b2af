// Package wechat is CardFlow's only door to the WeChat platform: log a person in, draw the mini-program code of a
// trade, read a phone number, send a subscribe message.
//
// Promise: nothing that leaves this package — an error, a log line, a metric — holds a URL, the app secret, an access
// token, a login code or an openid. A call ends when its context or [Config.Timeout] does, whatever WeChat does. A
// login code is sent once and never again.
//
// Threat: the library beneath (silenceper/wechat) puts the app secret into URLs and those URLs into its errors, pastes
// the login code into a URL unescaped, keeps one HTTP client without a timeout for the whole process, and takes no
// context where images and messages are made. Each of these is answered in the file named here:
//
//   - transport.go: the one HTTP client, its routing to the right Platform, what an answer means
//   - token.go: access tokens, shared by all servers through Redis, renewed once when WeChat rejects one
//   - cache.go: Redis (go-redis v9), or memory, as the library's cache
//   - code.go: what a login code may look like
//   - error.go: WeChat's numbers as stable codes and Chinese sentences
//
// The library's root package is never imported: its init points logrus at stdout on debug level for the whole process.
package wechat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/silenceper/wechat/v2/credential"
	"golang.org/x/sync/singleflight"
)

const (
	defaultTimeout = 5 * time.Second
	// maxTimeout stays below the library client's own last-resort timeout, so that ours always decides.
	maxTimeout = 30 * time.Second

	defaultKeyPrefix = "cardflow:wechat:"
)

// Secret is a string that no formatter, logger or encoder shows. string(s) is the value.
type Secret string

// Format implements [fmt.Formatter]: every verb, %x and %q too, prints [secret].
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// MarshalText implements [encoding.TextMarshaler], for JSON, YAML and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Config says which mini-program this is and what its Platform leans on.
type Config struct {
	AppID     string
	AppSecret Secret
	// BaseURL is "" for the real platform, else the address of a sandbox: http, on loopback only, so that no
	// configuration mistake can send the secret across a network in the clear.
	BaseURL string
	// Timeout bounds each call as a whole, retries and token renewal included. 0 means 5 s; at most 30 s.
	Timeout time.Duration
	// MiniPage is the page that a trade's code opens when TradeQR is given none, such as "pages/trade/trade".
	MiniPage string
	// EnvVersion is "release" (also ""), "trial" or "develop": the build of the mini-program that codes and messages
	// open. Only "release" lets WeChat check that a code's page is published.
	EnvVersion string
	// Redis keeps access tokens and images. Losing it costs WeChat calls, nothing else.
	Redis redis.UniversalClient
	// InMemory is for a process that has no Redis: its own memory keeps access tokens, and nothing keeps images.
	InMemory bool
	// KeyPrefix opens every Redis key; "" means "cardflow:wechat:".
	KeyPrefix string
	// Logger may be nil.
	Logger *slog.Logger
	// Metrics, if set, hears the end of each operation (login, qr, phone, notify, token) with "ok", "cached" or an
	// [Error.Code]. It may be called from any goroutine.
	Metrics func(op, outcome string, d time.Duration)
}

// Platform is one mini-program on WeChat. It is safe for concurrent use; a process may hold several.
type Platform struct {
	appID      string
	secret     Secret
	base       *url.URL // nil: the real platform
	timeout    time.Duration
	miniPage   string
	envVersion string
	redis      redis.UniversalClient // nil: none
	store      tokenStore
	prefix     string
	log        *slog.Logger
	metrics    func(op, outcome string, d time.Duration)

	tokens credential.AccessTokenContextHandle // the library's: fetches, caches
	flight singleflight.Group                  // one token fetch at a time
}

// Format implements [fmt.Formatter], because fmt reads unexported fields without asking [Secret].
func (p *Platform) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "wechat("+p.appID+")") }

var (
	realAppID    = regexp.MustCompile(`^wx[0-9a-f]{16}$`)
	realSecret   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	sandboxIdent = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	miniPage     = regexp.MustCompile(`^[0-9A-Za-z_-]+(/[0-9A-Za-z_-]+)*$`)
)

// New checks c and reports all its faults at once; no fault quotes the secret. It sends nothing.
func New(c Config) (*Platform, error) {
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf("wechat: "+format, a...)) }

	base, err := sandboxURL(c.BaseURL)
	if err != nil {
		faults = append(faults, err)
	}
	// The library pastes both into a URL unescaped, so what they may be is not a formality.
	okID, okSecret := realAppID, realSecret
	if c.BaseURL != "" {
		okID, okSecret = sandboxIdent, sandboxIdent
	}
	if !okID.MatchString(c.AppID) {
		fault("AppID must match %s", okID)
	}
	if !okSecret.MatchString(string(c.AppSecret)) {
		fault("AppSecret must match %s", okSecret)
	}
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		fault("Timeout must be between 0 and %s", maxTimeout)
	}
	if c.MiniPage != "" && !validPage(c.MiniPage) {
		fault("MiniPage must be a page path without leading slash or parameters")
	}
	env := cmp.Or(c.EnvVersion, "release")
	if _, ok := messageState[env]; !ok {
		fault(`EnvVersion must be "release", "trial" or "develop"`)
	}
	if c.Redis == nil && !c.InMemory {
		// There is a memory cache in the library, but it crashes under concurrent use.
		fault("Redis is missing")
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}

	installClient()
	p := &Platform{
		appID:      c.AppID,
		secret:     c.AppSecret,
		base:       base,
		timeout:    cmp.Or(c.Timeout, defaultTimeout),
		miniPage:   c.MiniPage,
		envVersion: env,
		redis:      c.Redis,
		prefix:     cmp.Or(c.KeyPrefix, defaultKeyPrefix),
		log:        c.Logger,
		metrics:    c.Metrics,
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.metrics == nil {
		p.metrics = func(string, string, time.Duration) {}
	}
	if base != nil {
		// A sandbox's tokens must never meet the real platform, should both share a Redis and an AppID.
		p.prefix += "sandbox:"
	}
	p.store = &redisCache{p.redis, p.prefix, p.log}
	if c.InMemory {
		p.store, p.redis = &memory{kept: map[string]kept{}}, nil
	}
	p.tokens = credential.NewStableAccessToken(p.appID, string(p.secret), credential.CacheKeyMiniProgramPrefix, p.store)
	return p, nil
}

// Sandbox reports whether p talks to a sandbox instead of WeChat.
func (p *Platform) Sandbox() bool { return p.base != nil }

func sandboxURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	bad := errors.New("wechat: BaseURL must be empty (the real platform) or http://<loopback address>:<port> (a sandbox)")
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, bad
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, bad
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func validPage(page string) bool { return len(page) <= 128 && miniPage.MatchString(page) }

// run bounds one operation, then logs and counts its end. It is the only way from a public method to the library.
func (p *Platform) run(ctx context.Context, op string, do func(context.Context) (outcome string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	start := time.Now()
	outcome, err := do(ctx)
	if e := (*Error)(nil); errors.As(err, &e) {
		outcome = e.Code
		p.log.LogAttrs(ctx, e.level(), "wechat call failed", slog.String("op", op), slog.String("code", e.Code),
			slog.Int("errcode", e.WeChat), slog.String("reason", e.reason), slog.String("rid", e.rid))
	}
	p.metrics(op, outcome, time.Since(start))
	return err
}
