package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"cardflow/transfer"
)

// call is one request on its way through its route.
type call struct {
	echo.Context
	*server
	route *route
	who   *session  // nil where nobody is logged in
	body  []byte    // as it came; empty where the route takes none, or takes a stream
	key   string    // of idempotency; "" where the route needs none
	from  *envelope // of a terminal's request; nil where there is none
}

func (c *call) ctx() context.Context { return c.Request().Context() }

func (c *call) caller() transfer.Caller {
	if c.from != nil {
		return c.from.caller
	}
	return c.who.caller()
}

// handle is what every route goes through before its own code: rate, session, role, query, idempotency key, body.
func (s *server) handle(r *route) echo.HandlerFunc {
	return func(ec echo.Context) error {
		c := &call{Context: ec, server: s, route: r}
		ec.Set(routeKey, r)
		if r.limited {
			if err := s.limits.take(c.ctx(), "RATE_LIMITED", "requests:"+addressKey(c.RealIP()), s.Limits.RequestsPerAddress); err != nil {
				return err
			}
		}
		if r.signed {
			// Before anything is looked at: what is refused from here on is refused under a signature.
			if err := c.openEnvelope(); err != nil {
				s.metrics.envelope(err)
				return err
			}
		} else if err := c.authorise(); err != nil {
			return err
		}
		if err := c.checkPath(); err != nil {
			return err
		}
		if r.wish || r.maybe && len(c.Request().Header.Values("Idempotency-Key")) > 0 {
			key, err := idempotency(c.Request().Header)
			if err != nil {
				return err
			}
			c.key = key
			s.beforeReply(c)
		}
		if err := c.takeBody(); err != nil {
			return err
		}
		if !r.slow {
			ctx, cancel := context.WithTimeout(c.ctx(), s.Timeout)
			defer cancel()
			c.SetRequest(c.Request().WithContext(ctx))
		}
		return r.serve(c)
	}
}

// authorise finds who calls and whether the table lets him.
func (c *call) authorise() error {
	if c.route.who == anyone {
		return nil
	}
	token, err := bearer(c.Request().Header)
	if err != nil {
		return err
	}
	c.SetRequest(c.Request().WithContext(transfer.WithSession(c.ctx(), transfer.SessionToken(token))))
	if c.route.past {
		return nil
	}
	if c.who, err = c.sessions.find(c.ctx(), token); err != nil {
		return err
	}
	c.Set(callerKey, c.who.Participant)
	if err := c.standing(); err != nil {
		return err
	}
	if !c.route.who.has(c.who) {
		return refuse("FORBIDDEN")
	}
	if c.who.MustChange && !c.route.first {
		return refuse("PASSWORD_CHANGE_REQUIRED")
	}
	// Custody wouldn't sign for it later; now the mini-program can log in again and ask under the same key.
	if c.route.wish && c.who.Person == "" && c.LoginAge > 0 && c.Clock.Now().Sub(c.who.LoginAt) > c.LoginAge {
		return refuse("LOGIN_TOO_OLD")
	}
	return nil
}

// standing looks whether who has a session is still somebody: a session knows only what was so at the login. A member of staff
// may have been let go, or given other roles; a consumer may have had his data deleted, with another phone, or another server.
func (c *call) standing() error {
	ctx, cancel := context.WithTimeout(c.ctx(), c.Timeout)
	defer cancel()
	if c.who.Person == "" {
		erased, err := c.Service.Erased(ctx, c.caller())
		if erased {
			err = errors.Join(errNoSession, c.sessions.end(ctx, c.who.token))
		}
		return err
	}
	if c.route.first {
		return nil
	}
	person, err := c.Service.Person(ctx, c.caller())
	if transfer.CodeOf(err) == "FORBIDDEN" {
		return errNoSession
	}
	if err != nil && c.route.anyhow {
		return nil
	}
	c.who.Roles = person.Roles
	return err
}

// checkPath refuses what no ID looks like, and every query parameter that the route doesn't know: above all the ICCID
// that somebody puts into a URL, where proxies and histories would keep it.
func (c *call) checkPath() error {
	for _, v := range c.ParamValues() {
		if !looksLikeID(v) {
			return refuse("NOT_FOUND")
		}
	}
	for name, values := range c.QueryParams() {
		if !slices.Contains(c.route.query, name) {
			return refuse("QUERY_UNKNOWN")
		}
		for _, v := range values {
			if len(v) > 512 {
				return queryInvalid(name)
			}
		}
		if len(values) > 1 && name != "restrictions" {
			return queryInvalid(name)
		}
	}
	return nil
}

func looksLikeID(s string) bool {
	if len(s) == 0 || len(s) > 80 {
		return false
	}
	for i := range len(s) {
		b := s[i]
		if !(b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-' || b == '_') {
			return false
		}
	}
	return true
}

func queryInvalid(name string) error {
	return &refusal{code: "QUERY_INVALID", details: map[string]any{"parameter": name}}
}

// takeBody reads a JSON body, and makes sure that there is none where none belongs.
func (c *call) takeBody() (err error) {
	r := c.Request()
	switch c.route.body {
	case jsonBody, maybeJSON:
		if c.from != nil {
			return c.sealedJSON()
		}
		if c.route.body == maybeJSON && r.ContentLength == 0 {
			return nil
		}
		kind, _, err := mediaType(r.Header)
		if err != nil {
			return err
		}
		if kind != "application/json" {
			return refuse("CONTENT_TYPE_UNSUPPORTED")
		}
		c.body, err = readBody(c.Response(), r, c.BodyLimit)
		return err
	case noBody:
		if c.from != nil {
			return nil
		}
		c.body, err = readBody(c.Response(), r, c.BodyLimit)
		if err != nil {
			return err
		}
		if len(c.body) == 0 || r.Method == http.MethodGet {
			return nil
		}
		// Many clients send {} whenever they POST.
		if _, err := decode[struct{}](c.body); err != nil {
			return refuse("BODY_UNEXPECTED")
		}
	}
	return nil
}

// page reads the two query parameters of every list.
func (c *call) page() (cursor string, limit int, err error) {
	if text := c.QueryParam("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 500 {
			return "", 0, queryInvalid("limit")
		}
	}
	return c.QueryParam("cursor"), limit, nil
}

// render writes v as JSON.
func render(c echo.Context, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("render: %w", err)
	}
	b = append(b, '\n')
	h := c.Response().Header()
	if seal, ok := c.Get(sealKey).(func(http.Header, int, []byte) error); ok {
		if err := seal(h, status, b); err != nil {
			return fmt.Errorf("render: %w", err)
		}
	}
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(b)))
	return c.Blob(status, "application/json; charset=utf-8", b)
}

// list is a piece of a list.
type list[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"nextCursor,omitempty"`
}

// each converts a slice; the result is never nil, so that JSON has [] and not null.
func each[A, B any](in []A, convert func(A) B) []B {
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = convert(a)
	}
	return out
}
