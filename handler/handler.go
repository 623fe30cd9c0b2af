// Package handler is CardFlow over HTTP: each route binds its request, authorises the caller, makes one call to the use
// cases, renders the answer. It decides nothing about cards and trades.
//
// Threat: everything here is written by strangers. So each route says in one table (route.go) who may call it, which
// query parameters it knows and what body it takes, and one wrapper holds it to that before the route's own code runs:
// size, type, depth and strictness of bodies (bind.go), sessions (session.go), rates (limit.go), wrong guesses
// (guard.go). A wrong trade code gets the same bytes in the same time whatever is wrong with it (guess.go). Logs carry
// route patterns, statuses and pseudonyms; never a path, a query, a body, a token, an ICCID (access.go).
package handler

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"cardflow/custody"
)

// Service is the use cases. Each part stands in the file of those who use it.
type Service interface {
	Accounts
	Acts
	Consumers
	RealNames
	Subscribers
	Approvers
	Cards
	Staff
	Carriers
	Regulators
	KeyKeepers
	Devices
	Terminals
	TerminalTraders
	Recoverers
	Health
}

// WeChat is the platform that draws mini-program codes.
type WeChat interface {
	// TradeQR draws the mini-program code that opens page ("" means the configured one) with scene.
	TradeQR(ctx context.Context, scene, page string) (image []byte, contentType string, err error)
}

// Clock tells the time and rings once after a while.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Config is what the HTTP surface needs. Zero durations and sizes mean their defaults.
type Config struct {
	Service Service
	Custody Custody
	Logins  Logins
	WeChat  WeChat
	AppID   string // of the mini-program whose users are provisioned
	// Templates are the subscription messages that the mini-program asks its users about: template IDs by transfer.MessageKinds.
	Templates map[string]string
	// Redis keeps sessions and counts.
	Redis     redis.UniversalClient
	KeyPrefix string // of every key; "" means "cardflow:"
	Limits    Limits
	Session   SessionTTL // defaults: 12 hours, 2 hours
	// PublicURL is how people reach the server, such as https://cards.example.com. QR codes carry it.
	PublicURL string
	// TrustedProxies are the networks (CIDR) whose X-Forwarded-For is believed.
	TrustedProxies []string
	BodyLimit      int64         // bytes of a JSON body; default 1 MiB
	ImportLimit    int64         // bytes of a card file; default 128 MiB
	Timeout        time.Duration // of a request's work; default 30 s. Event streams, uploads and downloads have their own
	// Mask is the time that every failing lookup of a trade code takes, or a multiple of it; default 400 ms. It must be
	// longer than a lookup that succeeds up to its last check.
	Mask time.Duration
	// Preview is the mini-program as it runs in a browser (see preview.go); nil shows none.
	Preview fs.FS
	// Messages are what a stand-in for WeChat has sent to somebody: the preview shows them. nil: there is none.
	Messages func(person string) any
	// TLS says that browsers reach the server over TLS: they are told to insist on it.
	TLS bool
	// LoginAge is how old a consumer's login may be for a write; 0 means any.
	LoginAge time.Duration
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Clock    Clock     // default: the machine's
	Random   io.Reader // default: crypto/rand
	// VerifyAudit holds custody's audit against its hashes, its head and the ledger's anchors; with scan it reads every block
	// for them. It may take minutes.
	VerifyAudit func(ctx context.Context, person string, scan bool) (custody.AuditReport, error)
	// Checks are what readiness needs beside what the service names itself, such as custody.
	Checks map[string]func(context.Context) error
	// Stopping closes when the server begins to shut down: event streams end, so that clients ask elsewhere. May be nil.
	Stopping <-chan struct{}
	// At is called at the points of point.go, for the crash suite; nil outside of it.
	At func(point string)
}

// server is the state behind all routes.
type server struct {
	Config
	sessions *sessions
	limits   limiter
	guard    *guard
	metrics  *metrics
	docs     *docs

	verifying sync.Mutex // held by who walks along the audit
}

// New checks c and returns the whole surface, ready to be served. The caller sets the timeouts of its http.Server:
// event streams, uploads and downloads move their own deadlines.
func New(c Config) (*echo.Echo, error) {
	var faults []error
	need := func(ok bool, name string) {
		if !ok {
			faults = append(faults, fmt.Errorf("handler: %s is missing", name))
		}
	}
	need(c.Service != nil, "Service")
	need(c.Custody != nil, "Custody")
	need(c.Logins != nil, "Logins")
	need(c.VerifyAudit != nil, "VerifyAudit")
	need(c.WeChat != nil, "WeChat")
	need(c.Redis != nil, "Redis")
	need(c.Registry != nil, "Registry")
	public, err := url.Parse(c.PublicURL)
	need(err == nil && public.Host != "" && (public.Scheme == "http" || public.Scheme == "https"), "PublicURL")
	address, err := addressOf(c.TrustedProxies)
	if err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	c.KeyPrefix = cmp.Or(c.KeyPrefix, "cardflow:")
	c.BodyLimit = cmp.Or(c.BodyLimit, 1<<20)
	c.ImportLimit = cmp.Or(c.ImportLimit, 128<<20)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Mask = cmp.Or(c.Mask, 400*time.Millisecond)
	c.Session.Staff = cmp.Or(c.Session.Staff, 12*time.Hour)
	c.Session.Idle = cmp.Or(c.Session.Idle, 2*time.Hour)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = machineClock{}
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	s := &server{Config: c, limits: newLimiter(c.Redis, c.KeyPrefix)}
	s.sessions = &sessions{redis: c.Redis, prefix: c.KeyPrefix, ttl: c.Session, clock: c.Clock, random: c.Random}
	if s.guard, err = newGuard(c.Redis, c.KeyPrefix, c.Random); err != nil {
		return nil, fmt.Errorf("handler: %w", err)
	}
	if s.metrics, err = newMetrics(c.Registry); err != nil {
		return nil, fmt.Errorf("handler: %w", err)
	}
	if err := c.Registry.Register(partMetrics{s}); err != nil {
		return nil, fmt.Errorf("handler: %w", err)
	}
	if s.docs, err = madeDocs(); err != nil {
		return nil, fmt.Errorf("handler: %w", err)
	}
	return s.echo(address), nil
}

func (s *server) echo(address echo.IPExtractor) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard) // echo's own lines quote what clients sent
	e.IPExtractor = address
	e.HTTPErrorHandler = func(err error, c echo.Context) { _ = fail(c, err) }
	e.Use(s.access, secure(s.TLS), rescue)
	for _, r := range routes {
		e.Add(r.method, r.echoPattern(), s.handle(&r))
	}
	if s.Preview != nil {
		s.servePreview(e)
	}
	return e
}

// addressOf says how to find a client's address. Without trusted proxies no header is believed; with some, the first
// address from the right that isn't one of them counts.
func addressOf(proxies []string) (echo.IPExtractor, error) {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect(), nil
	}
	// echo would trust every private network by itself.
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		_, network, err := net.ParseCIDR(p)
		if err != nil {
			return nil, fmt.Errorf("handler: TrustedProxies: %w", err)
		}
		options = append(options, echo.TrustIPRange(network))
	}
	return echo.ExtractIPFromXFFHeader(options...), nil
}

type machineClock struct{}

func (machineClock) Now() time.Time                         { return time.Now() }
func (machineClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
