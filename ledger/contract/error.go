package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Error is a refusal. Its code is stable; Message is for engineers; Details never hold openings.
type Error struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details,omitempty"`
}

// Error prints code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is makes errors.Is(err, &Error{Code: c}) true for every refusal with that code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// With returns the refusal with one more detail.
func (e *Error) With(name string, value any) *Error {
	c := *e
	c.Details = map[string]any{name: value}
	for k, v := range e.Details {
		c.Details[k] = v
	}
	return &c
}

// CodeOf returns the code of a refusal, "" for any other error.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Encode writes a refusal as one line of text, the way it crosses a Fabric network.
func (e *Error) Encode() string {
	b, err := json.Marshal(e)
	if err != nil {
		return `{"code":"` + e.Code + `","message":""}` // details are strings and numbers; this can't happen, and the code must get through
	}
	return string(b)
}

// maxMessage bounds what a refusal repeats of a request: a request may be a megabyte, and messages end up in logs.
const maxMessage = 200

func refuse(code, format string, args ...any) *Error {
	e := &Error{Code: code, Message: fmt.Sprintf(format, args...)}
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "") + "…"
	}
	return e
}
