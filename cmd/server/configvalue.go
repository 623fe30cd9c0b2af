package main

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Secret is a value that no log, dump or error may show. It prints as [secret]
// whatever the verb or the encoder; an unset one prints as nothing, so that a
// dump still tells whether it is set. [Secret.Reveal] is the one way out.
//
// It is a pointer inside a struct, not a string: %p and %w pass over Format, and
// would show a string. Two secrets are compared by what they reveal, not with ==.
type Secret struct{ text *string }

const hidden = "[secret]"

// NewSecret wraps a value.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal answers the value itself, for the one call that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is a value.
func (s Secret) IsSet() bool { return s.text != nil }

func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return hidden
}

// Format covers the verbs that String doesn't, such as %#v and %d.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText covers JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue covers slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalText takes the value as it is, except what a dump printed in its place.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == hidden {
		return fmt.Errorf("is what a dump prints in place of a secret; give the secret itself")
	}
	*s = NewSecret(string(text))
	return nil
}

// Size is a number of bytes, written 512, 64KiB, 1MiB or 2GiB.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

func (s Size) String() string {
	for _, unit := range sizeUnits {
		if int64(s)%unit.bytes == 0 && s != 0 {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.name
		}
	}
	return "0"
}

// MarshalText writes the largest unit that divides the size.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number of up to nine digits and a unit.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		if digits, ok := strings.CutSuffix(string(text), unit.name); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 31)
			if err != nil {
				break
			}
			*s = Size(int64(n) * unit.bytes)
			return nil
		}
	}
	return fmt.Errorf("is not a size: a whole number of bytes, or of KiB, MiB, GiB, such as 64MiB")
}

// Rate is so many events in so much time, written "5 per 10m".
type Rate struct {
	Count int
	Per   time.Duration
}

func (r Rate) String() string { return fmt.Sprintf("%d per %s", r.Count, shortDuration(r.Per)) }

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "<count> per <duration>".
func (r *Rate) UnmarshalText(text []byte) error {
	count, per, _ := strings.Cut(string(text), " per ")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	d, err2 := time.ParseDuration(strings.TrimSpace(per))
	if err != nil || err2 != nil {
		return fmt.Errorf("is not a rate: a count and a duration, such as 5 per 10m")
	}
	*r = Rate{Count: n, Per: d}
	return nil
}

// shortDuration writes 24h for Go's 24h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if trimmed, ok := strings.CutSuffix(s, "m0s"); ok {
		s = trimmed + "m"
	}
	if trimmed, ok := strings.CutSuffix(s, "h0m"); ok {
		s = trimmed + "h"
	}
	return s
}
