package wechat

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/silenceper/wechat/v2/util"
)

// The library sends everything through one package-global client and to hard-coded addresses; two of its calls
// (images, messages) take no context. Yet several Platforms live in one process, each with its own address and
// timeout. So the one client gets a transport that asks of each request: whose are you?
//
//   - A request of a call with a context (code2session, token fetch) carries its *call in that context.
//   - Every other request carries an access token, and the token that the library was given is a ticket: a number
//     under which the call is registered while it runs.
//
// A request that is neither belongs to nobody and is refused.
//
// The library's own hook, util.SetURIModifier, is no way out: it is global too, and images go past it.

const (
	platformHost = "api.weixin.qq.com"
	loginPath    = "/sns/jscode2session"
	imagePath    = "/wxa/getwxacodeunlimit"

	// maxAnswer bounds what is read of one answer, in bytes. An image has about 100 KB.
	maxAnswer = 2 << 20
)

var installClient = sync.OnceFunc(func() {
	util.DefaultHTTPClient = &http.Client{
		// A call's own deadline is always earlier; this is for a request that nobody would bound.
		Timeout:   2 * maxTimeout,
		Transport: router{},
		// WeChat's API redirects nobody. Following one would hand the secret in the URL to a stranger, as the
		// Referer or with the request itself.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
})

var (
	wire = newWire(false)
	// loginWire opens a connection for each login. On a kept one, net/http repeats a GET by itself when the server
	// hangs up without an answer; the code may be used by then, and the person would read that he logged in already.
	loginWire = newWire(true)
)

func newWire(once bool) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = once
	t.MaxIdleConnsPerHost = 16
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return t
}

// call is one use of the library: what the transport must know of it, and what it saw. It is used by one goroutine.
type call struct {
	p     *Platform
	ctx   context.Context // always with a deadline; holds this call
	token string          // the real access token, or ""

	sent    bool
	status  int
	errcode int
	rid     string
	reason  string // why there is no answer, or ""
}

type callKey struct{}

func (p *Platform) call(ctx context.Context) *call {
	c := &call{p: p}
	c.ctx = context.WithValue(ctx, callKey{}, c)
	return c
}

var (
	tickets sync.Map // ticket → *call, while it runs
	issued  atomic.Uint64
)

// admit registers c and gives its ticket. A ticket is no secret: it means something only inside this process, and only
// between admit and leave.
func (c *call) admit(token string) ticket {
	c.token = token
	t := ticket("ticket-" + strconv.FormatUint(issued.Add(1), 10))
	tickets.Store(t, c)
	return t
}

func (c *call) leave(t ticket) { tickets.Delete(t) }

func callOf(r *http.Request) *call {
	if c, ok := r.Context().Value(callKey{}).(*call); ok {
		return c
	}
	if c, ok := tickets.Load(ticket(r.URL.Query().Get("access_token"))); ok {
		return c.(*call)
	}
	return nil
}

var (
	errStray    = errors.New("wechat: a request that belongs to no call")
	errNoAnswer = errors.New("wechat: no answer") // what is known of it stands in the call
)

// router is the transport of the library's client.
type router struct{}

// RoundTrip sends r where its Platform lives, in the call's context, and reads the whole answer.
func (router) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callOf(r)
	if c == nil || r.URL.Scheme != "https" || r.URL.Host != platformHost {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, errStray
	}
	c.sent = true
	out := r.Clone(c.ctx)
	if c.token != "" {
		q := out.URL.Query()
		q.Set("access_token", c.token)
		out.URL.RawQuery = q.Encode()
	}
	if base := c.p.base; base != nil {
		out.URL.Scheme, out.URL.Host, out.Host = base.Scheme, base.Host, base.Host
	}
	via := wire
	if r.URL.Path == loginPath {
		via = loginWire
	}
	answer, err := via.RoundTrip(out)
	if err != nil {
		c.reason = reasonOf(err)
		return nil, errNoAnswer
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	_ = answer.Body.Close()
	if err == nil && len(body) > maxAnswer {
		err = errors.New("too long")
	}
	if err != nil {
		c.reason = reasonOf(err)
		return nil, errNoAnswer
	}
	c.read(answer.StatusCode, body)
	if r.URL.Path == imagePath && isImage(body) {
		// The library takes an image only under exactly this name, where WeChat also sends PNG.
		answer.Header.Set("Content-Type", "image/jpeg")
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, nil
}

var ridPattern = regexp.MustCompile(`rid: ([0-9a-f-]{8,64})`)

// read takes WeChat's verdict from an answer. It's done here for all calls alike, because the library tells it three
// ways: as a typed error (messages), as a field of the result (code2session), as text only (images).
func (c *call) read(status int, body []byte) {
	c.status = status
	if status != http.StatusOK || len(body) == 0 || body[0] != '{' {
		return
	}
	var answer struct {
		ErrCode int    `json:"errcode"`
		ErrMsg  string `json:"errmsg"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		c.reason = "unreadable"
		return
	}
	c.errcode = answer.ErrCode
	// Of WeChat's text only the request id is kept: the rest may quote what was sent.
	if m := ridPattern.FindStringSubmatch(answer.ErrMsg); m != nil {
		c.rid = m[1]
	}
}

// verdict says how the call ended, nil if well. Of the library's error it uses that there is one, and not a word:
// those words contain the URL, and the URL the secret.
func (c *call) verdict(libErr error) *Error {
	switch {
	case c.reason == "" && c.errcode != 0:
		e := fromErrcode(c.errcode)
		e.rid = c.rid
		return e
	case libErr == nil && c.reason == "":
		return nil
	case c.ctx.Err() != nil:
		return unavailable(interruption(c.ctx.Err()), c.ctx.Err())
	case c.reason != "":
		return unavailable(c.reason, nil)
	case c.sent && c.status != http.StatusOK:
		return unavailable("status "+strconv.Itoa(c.status), nil)
	}
	return unavailable("unreadable", nil)
}

func interruption(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return "canceled"
}

// reasonOf puts a network error into one word. Its text stays inside: it may quote bytes of the other side, and those
// may quote ours.
func reasonOf(err error) string {
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
		ne   net.Error
	)
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, &cert):
		return "certificate"
	case errors.As(err, &op) && op.Op == "dial":
		return "connect"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "truncated"
	}
	return "broken"
}

func isImage(body []byte) bool { return strings.HasPrefix(http.DetectContentType(body), "image/") }
