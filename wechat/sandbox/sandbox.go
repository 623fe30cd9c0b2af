// Package sandbox is a stand-in for api.weixin.qq.com, which offers no sandbox of its own: an HTTP server that speaks
// WeChat's wire format, for development, demonstrations and tests.
//
// Promise: what passes here passes there. It checks app id, secret, access tokens, scenes and pages as WeChat does,
// its codes work once and for five minutes, its errors are WeChat's numbers. Whatever else can go wrong on the way is
// scripted (see Fault).
//
// Threat: whoever reaches it logs in as anybody. [Sandbox.Serve] therefore listens on loopback only, and a server in
// production must refuse to start on it.
//
// WeChat's side:
//
//	GET  /sns/jscode2session                  code → openid, session_key
//	GET  /cgi-bin/token                       access token, a new one each time
//	POST /cgi-bin/stable_token                access token, the same until it expires or force_refresh
//	POST /wxa/getwxacodeunlimit               PNG of a QR code: <page>?scene=<scene, escaped>
//	POST /wxa/business/getuserphonenumber     code → phone number
//	POST /cgi-bin/message/subscribe/send      keeps the message
//
// A code is "demo:<name>" (the person of that name, as often as one likes: people type it), "err:<number>" (that
// error), or one that was minted.
//
// The other side:
//
//	POST   /sandbox/codes     {"name", "kind": "login"|"phone"} → {"code", "openid", "expiresAt"}
//	POST   /sandbox/faults    a Fault
//	DELETE /sandbox/faults
//	GET    /sandbox/messages  {"items": [Message…]}, ?openid= for one person's
package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const maxBody = 64 << 10 // bytes of a request

// Config says whom the sandbox takes for its mini-program. The zero Config works.
type Config struct {
	AppID     string // "" means "wx0000000000000000"
	AppSecret string // "" means 32 zeros
	// Pages are the published pages; with none, every page counts as published.
	Pages []string
	// UnionIDs says whether the mini-program is bound to an Open Platform account: only then has a login a unionid.
	UnionIDs bool
	// Now is the clock by which codes and tokens expire; nil means time.Now.
	Now func() time.Time
	// Rand makes codes, tokens and session keys; nil means crypto/rand.
	Rand io.Reader
}

// Sandbox is one pretended mini-program. It is safe for concurrent use.
type Sandbox struct {
	c   Config
	mux *http.ServeMux

	mu       sync.Mutex
	codes    map[string]*mintedCode
	stable   token
	plain    token // of /cgi-bin/token: a world of its own, as with WeChat
	faults   []*Fault
	messages []Message
	requests uint64
}

// New makes a Sandbox.
func New(c Config) *Sandbox {
	c.AppID = cmp.Or(c.AppID, "wx0000000000000000")
	c.AppSecret = cmp.Or(c.AppSecret, strings.Repeat("0", 32))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	s := &Sandbox{c: c, mux: http.NewServeMux(), codes: map[string]*mintedCode{}}
	for route, api := range map[string]api{
		"GET /sns/jscode2session":               s.login,
		"GET /cgi-bin/token":                    s.plainToken,
		"POST /cgi-bin/stable_token":            s.stableToken,
		"POST /wxa/getwxacodeunlimit":           s.withToken(s.wxacode),
		"POST /wxa/business/getuserphonenumber": s.withToken(s.phone),
		"POST /cgi-bin/message/subscribe/send":  s.withToken(s.send),
	} {
		s.mux.Handle(route, s.faulty(api))
	}
	s.mux.HandleFunc("POST /sandbox/codes", s.postCode)
	s.mux.HandleFunc("POST /sandbox/faults", s.postFault)
	s.mux.HandleFunc("DELETE /sandbox/faults", s.deleteFaults)
	s.mux.HandleFunc("GET /sandbox/messages", s.getMessages)
	return s
}

// Handler serves both sides.
func (s *Sandbox) Handler() http.Handler { return s.mux }

// Serve listens on addr, which must be a loopback address such as "127.0.0.1:0", and returns as soon as it does. The
// sandbox then serves at baseURL until ctx ends; wait returns when it has stopped.
func (s *Sandbox) Serve(ctx context.Context, addr string) (baseURL string, wait func() error, err error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return "", nil, fmt.Errorf("sandbox: %q is not a loopback address with a port, and anybody who reaches the sandbox logs in as anybody", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("sandbox: %w", err)
	}
	server := &http.Server{Handler: s.mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	return "http://" + l.Addr().String(), sync.OnceValue(func() error {
		defer stop()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}), nil
}

// api answers a call of WeChat's: an object, or a wxError, or a picture.
type api func(r *http.Request) (any, error)

// picture is an answer that is no JSON.
type picture []byte

// wxError is how WeChat says no: with status 200.
type wxError struct {
	ErrCode int    `json:"errcode"`
	ErrMsg  string `json:"errmsg"`
}

func (e wxError) Error() string { return fmt.Sprintf("%d %s", e.ErrCode, e.ErrMsg) }

// errmsgs are WeChat's words. A number that is missing here is answered all the same, when a fault or an err: code asks for it.
var errmsgs = map[int]string{
	-1:    "system error",
	40001: "invalid credential, access_token is invalid or not latest",
	40002: "invalid grant_type",
	40003: "invalid openid",
	40013: "invalid appid",
	40014: "invalid access_token",
	40029: "invalid code",
	40037: "invalid template_id",
	40125: "invalid appsecret",
	40163: "code been used",
	40164: "invalid ip 127.0.0.1, not in whitelist",
	40169: "invalid length for scene, or the data is not json string",
	40226: "code blocked",
	41001: "access_token missing",
	41002: "appid missing",
	41004: "appsecret missing",
	41008: "missing code",
	41030: "invalid page",
	42001: "access_token expired",
	43101: "user refuse to accept the msg",
	45009: "reach max api daily quota limit",
	45011: "api minute-quota reach limit, must slower, retry next minute",
	47001: "data format error",
	47003: "argument invalid",
}

func fail(code int) wxError { return wxError{code, cmp.Or(errmsgs[code], "error")} }

// answer is what goes over the wire.
type answer struct {
	status      int
	contentType string
	body        []byte
}

func (a answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// render puts an api's result the way WeChat does: the login as text/plain, images under their type, errors with
// status 200 and a request id in their text.
func (s *Sandbox) render(path string, result any, err error) answer {
	if e := (wxError{}); errors.As(err, &e) {
		s.mu.Lock()
		s.requests++
		e.ErrMsg += fmt.Sprintf(", rid: %08x-%08x-%08x", s.c.Now().Unix(), s.requests, len(path))
		s.mu.Unlock()
		result = e
	} else if err != nil {
		return answer{http.StatusInternalServerError, "text/plain", []byte(err.Error())}
	}
	if b, ok := result.(picture); ok {
		return answer{http.StatusOK, "image/png", b}
	}
	contentType := "application/json; charset=UTF-8"
	if strings.HasPrefix(path, "/sns/") {
		contentType = "text/plain"
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	_ = e.Encode(result) // of our own structs: it can't fail
	return answer{http.StatusOK, contentType, body.Bytes()}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(v) // fails only if the client has gone
}

// one gives the value of a query parameter that must not be there twice: a second one is an injection.
func one(r *http.Request, name string) (string, bool) {
	values := r.URL.Query()[name]
	return strings.Join(values, ""), len(values) < 2
}

// read decodes a request's body.
func read(r *http.Request, v any) error {
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(v); err != nil {
		return fail(47001)
	}
	return nil
}

func (s *Sandbox) credentials(appID, secret string) error {
	switch {
	case appID == "":
		return fail(41002)
	case secret == "":
		return fail(41004)
	case appID != s.c.AppID:
		return fail(40013)
	case secret != s.c.AppSecret:
		return fail(40125)
	}
	return nil
}

// random gives n random bytes in hex. It is called with s.mu held: Rand need not be safe for concurrent use.
func (s *Sandbox) random(n int) string {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.c.Rand, b); err != nil {
		panic(fmt.Sprintf("sandbox: no randomness: %v", err)) // a code that can be guessed is worse than no sandbox
	}
	return hex.EncodeToString(b)
}

func (s *Sandbox) published(page string) bool {
	return len(s.c.Pages) == 0 || slices.Contains(s.c.Pages, page)
}
