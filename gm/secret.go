package gm

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden stands wherever a secret would have been printed.
const hidden = "[secret]"

// Secret is key material: a private scalar, a sealing key, a root. It is a
// plain byte slice to code that works with it and "[secret]" to everything
// that prints: fmt with any verb, encoding/json, anything that uses
// encoding.TextMarshaler, log/slog.
//
// One hole can't be closed from here: fmt can't call methods on an unexported
// field, so a struct that keeps a Secret in one shows its bytes when the struct
// itself is printed. Such a struct has a Format method of its own, or keeps the
// Secret behind two pointers, as PrivateKey does.
type Secret []byte

// Clear overwrites the bytes with zeros, in every slice that shares them.
func (s Secret) Clear() { clear(s) }

// String returns "[secret]".
func (Secret) String() string { return hidden }

// GoString returns "[secret]".
func (Secret) GoString() string { return hidden }

// Format writes "[secret]" for every verb; without it %x and %d would print
// the bytes.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// MarshalJSON returns "[secret]" as a JSON string. It doesn't decode back.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalText returns "[secret]". It doesn't decode back.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns "[secret]".
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
