package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

// maxAnswer bounds an answer, in bytes: a page of 200 lots of a thousand segments each stays below it.
const maxAnswer = 64 << 20

// Client speaks to the gateway. It signs each request afresh, and lets no answer in that a pinned gateway key hasn't signed for
// that very request: without one, there was no answer.
type Client struct {
	base    string
	channel string
	http    *http.Client
	element Element
	pins    []gm.PublicKey
	now     func() time.Time
	recent  recent
}

// serverURL reads where the gateway is: https, or this very machine, since signatures don't hide card numbers. Errors:
// SERVER_INVALID, SERVER_INSECURE.
func serverURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" || u.Scheme != "http" && u.Scheme != "https" {
		return "", Refusal("SERVER_INVALID")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", Refusal("SERVER_INSECURE")
	}
	return u.Scheme + "://" + u.Host, nil
}

// newClient makes a client. It follows no redirection: another address has signed nothing.
func newClient(server, channel string, element Element, pins []gm.PublicKey, now func() time.Time) (*Client, error) {
	base, err := serverURL(server)
	if err != nil {
		return nil, err
	}
	return &Client{base: base, channel: channel, element: element, pins: pins, now: now, http: &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// answer is what came back, checked.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// post sends a body as JSON and reads the answer into out. Errors: OFFLINE if nothing came back; those of check; and what the
// gateway refuses, by its code.
func (c *Client) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.postBytes(ctx, path, body, out)
}

func (c *Client) postBytes(ctx context.Context, path string, body []byte, out any) error {
	req := c.envelope(path, body)
	a, err := c.roundTrip(ctx, req)
	if err != nil {
		return err
	}
	return c.read(req, a, out)
}

// envelope is a fresh one for a body.
func (c *Client) envelope(path string, body []byte) protocol.Request {
	return protocol.Request{
		Channel: c.channel, Method: http.MethodPost, Path: path, KeyID: c.element.Public().KeyID(), Nonce: protocol.NewNonce(),
		Time: c.now().UnixMilli(), Body: body,
	}
}

// roundTrip signs and sends a request and checks that its answer is the gateway's.
func (c *Client) roundTrip(ctx context.Context, req protocol.Request) (answer, error) {
	h := http.Header{"Content-Type": {"application/json"}}
	if err := req.Seal(h, c.element.Sign); err != nil {
		return answer{}, err
	}
	return c.send(ctx, req, h)
}

func (c *Client) send(ctx context.Context, req protocol.Request, h http.Header) (answer, error) {
	a, err := c.exchange(ctx, req, h)
	if err != nil {
		return a, err
	}
	return a, c.check(req, a)
}

// exchange sends a request and takes whatever comes back.
func (c *Client) exchange(ctx context.Context, req protocol.Request, h http.Header) (answer, error) {
	var body io.Reader
	if req.Method != http.MethodGet {
		body = bytes.NewReader(req.Body)
	}
	r, err := http.NewRequestWithContext(ctx, req.Method, c.base+req.Path, body)
	if err != nil {
		return answer{}, err
	}
	r.Header = h
	if n := len(c.pins); n > 0 && h.Get(protocol.HeaderGateway) == "" {
		h.Set(protocol.HeaderGateway, c.pins[n-1].KeyID())
	}
	c.recent.sent(req)
	resp, err := c.http.Do(r)
	if err != nil {
		return answer{}, &Error{Code: "OFFLINE", Err: err}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, &Error{Code: "OFFLINE", Err: err} // cut off: whatever it was going to say, it hasn't
	}
	if len(got) > maxAnswer {
		return answer{}, failf("ANSWER_TOO_LONG", "more than %d bytes", maxAnswer)
	}
	return answer{resp.StatusCode, resp.Header, got}, nil
}

// refused is an error as the gateway answers it.
type refused struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Details struct {
			Now   int64  `json:"now"`
			Field string `json:"field"`
		} `json:"details"`
	} `json:"error"`
}

// read takes a checked answer apart.
func (c *Client) read(req protocol.Request, a answer, out any) error {
	if a.status < 200 || a.status > 299 {
		var r refused
		if err := json.Unmarshal(a.body, &r); err != nil || r.Error.Code == "" {
			return failf("ANSWER_MALFORMED", "status %d without a code", a.status)
		}
		e := Refusal(r.Error.Code).With("message", r.Error.Message).With("status", a.status)
		if r.Error.Code == "CLOCK_SKEW" && r.Error.Details.Now > 0 {
			e.With("ahead", time.Duration(req.Time-r.Error.Details.Now)*time.Millisecond)
		}
		if r.Error.Details.Field != "" {
			e.With("field", r.Error.Details.Field)
		}
		return e
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return &Error{Code: "ANSWER_MALFORMED", Err: err}
	}
	return nil
}

// refusedByGateway tells whether an error is what the gateway has said, under its signature: it has a status then.
func refusedByGateway(err error) (*Error, int) {
	var e *Error
	if !errors.As(err, &e) {
		return nil, 0
	}
	status, ok := e.Facts["status"].(int)
	if !ok {
		return nil, 0
	}
	return e, status
}
