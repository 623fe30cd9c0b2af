package terminal

import (
	"errors"
	"fmt"
)

// Error is what a terminal refuses, or was refused: a stable code, and facts for the person who stands before it. Facts may
// hold card numbers; Error doesn't print them.
type Error struct {
	Code  string
	Facts map[string]any
	Err   error // why; may be nil
}

// Error names the code and the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Err.Error()
	}
	return e.Code
}

// Unwrap answers the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is compares codes: errors.Is(err, terminal.Refusal("PIN_WRONG")).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Refusal is an error by its code alone.
func Refusal(code string) *Error { return &Error{Code: code} }

// With adds a fact.
func (e *Error) With(name string, value any) *Error {
	if e.Facts == nil {
		e.Facts = map[string]any{}
	}
	e.Facts[name] = value
	return e
}

func failf(code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// CodeOf is the code of an error; empty if it has none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
