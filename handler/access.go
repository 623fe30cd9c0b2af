package handler

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/labstack/echo/v4"
)

// Where a call leaves word for the access log, and for whoever writes the answer, in echo's context.
const (
	routeKey  = "cardflow.route"
	callerKey = "cardflow.caller"
	sealKey   = "cardflow.seal" // how the answer is signed, of type func(http.Header, int, []byte) error; see envelope.go
)

// access gives each request its ID, counts it, and writes one line about it. The line holds the pattern of the route,
// not its path, and the pseudonym of the caller: a log is read by people who must not learn codes, card numbers or
// names from it.
//
// An ID that a client sends is not taken: it could be somebody else's, or a line of forged log.
func (s *server) access(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		var err error
		id := make([]byte, 16)
		if _, err := io.ReadFull(s.Random, id); err != nil {
			return fmt.Errorf("request ID: %w", err)
		}
		c.Response().Header().Set(echo.HeaderXRequestID, hex.EncodeToString(id))
		start := s.Clock.Now()
		s.metrics.inFlight.Inc()
		// Deferred: a connection that is cut by a panic is logged as well.
		defer func() {
			s.metrics.inFlight.Dec()
			took := s.Clock.Now().Sub(start)
			pattern := "unmatched"
			if r, ok := c.Get(routeKey).(*route); ok {
				pattern = r.pattern
			}
			method, status := knownMethod(c.Request().Method), c.Response().Status
			s.metrics.observe(pattern, method, status, took)
			level := slog.LevelInfo
			attrs := []slog.Attr{
				slog.String("request", hex.EncodeToString(id)), slog.String("method", method), slog.String("route", pattern),
				slog.Int("status", status), slog.Duration("took", took),
			}
			if who, ok := c.Get(callerKey).(string); ok {
				attrs = append(attrs, slog.String("participant", who))
			}
			if err != nil {
				attrs = append(attrs, slog.String("code", problemOf(err).code))
			}
			if status >= http.StatusInternalServerError {
				level = slog.LevelError
				// The cause, for engineers: whoever wraps an error keeps personal data out of it.
				attrs = append(attrs, slog.Any("cause", err))
			}
			s.Logger.LogAttrs(c.Request().Context(), level, "request", attrs...)
		}()
		if err = next(c); err != nil {
			// Answered here, so that the line above knows the status.
			if answerErr := fail(c, err); answerErr != nil {
				err = errors.Join(err, answerErr)
			}
		}
		return nil
	}
}

// knownMethod keeps invented methods out of logs and labels.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// panicked is a panic that has become an error.
type panicked struct {
	what  string
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %s\n%s", p.what, p.stack) }

// rescue turns a panic of a route into an answer. Of the value only what the runtime says itself is kept: others may
// hold whatever was being worked on.
func rescue(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			what := fmt.Sprintf("%T", v)
			if e, ok := v.(runtime.Error); ok {
				what = e.Error()
			}
			err = &panicked{what: what, stack: debug.Stack()}
		}()
		return next(c)
	}
}

// secure sets the headers that hold for every answer. Pages that show something loosen the policy for their own styles.
func secure(tls bool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Response().Header()
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("X-Frame-Options", "DENY")
			h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			h.Set("Referrer-Policy", "no-referrer") // a trade's link holds its code
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("Cache-Control", "no-store")
			if tls {
				h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
			}
			return next(c)
		}
	}
}
