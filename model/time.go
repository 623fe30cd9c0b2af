package model

import (
	"encoding/json"
	"fmt"
	"time"
)

// Millis is a moment: milliseconds since 1970 UTC. 0 means never, or not yet. In JSON it is RFC 3339 in UTC, null
// for 0.
type Millis int64

// MillisOf cuts t to milliseconds; the zero Time is 0.
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time is the inverse of MillisOf, in UTC.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// String is RFC 3339 with milliseconds, empty for 0.
func (m Millis) String() string {
	if m == 0 {
		return ""
	}
	return m.Time().Format("2006-01-02T15:04:05.000Z07:00")
}

// MarshalJSON implements json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) {
	if m == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(m.String())
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Millis) UnmarshalJSON(data []byte) error {
	var t *time.Time
	if err := json.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("not an RFC 3339 time: %w", err)
	}
	if t == nil {
		*m = 0
		return nil
	}
	*m = MillisOf(*t)
	return nil
}
