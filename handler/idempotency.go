package handler

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"cardflow/transfer"
)

// idempotency reads the header that makes asking twice harmless. The rest is the use cases': the same key with the
// same body resumes the same act, with another body it is refused.
func idempotency(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return "", refuse("IDEMPOTENCY_KEY_REQUIRED")
	}
	key := values[0]
	visible := func(r rune) bool { return r > ' ' && r <= '~' }
	if len(values) > 1 || len(key) < 8 || len(key) > 128 || strings.ContainsFunc(key, func(r rune) bool { return !visible(r) }) {
		return "", refuse("IDEMPOTENCY_KEY_INVALID")
	}
	return key, nil
}

// idem is the caller's name for this wish.
//
// Route holds the values of the path, not its pattern: "cancel trade A" and "cancel trade B" have the same, empty,
// body. Under one pattern a client that used a key twice would be told that B is cancelled when only A is.
func (c *call) idem() transfer.Idem {
	path := c.route.pattern
	for _, name := range c.ParamNames() {
		path = strings.Replace(path, "{"+name+"}", c.Param(name), 1)
	}
	digest := sha256.Sum256(c.body)
	return transfer.Idem{
		Key:        c.key,
		Route:      c.route.method + " " + strings.TrimPrefix(path, base),
		BodyDigest: hex.EncodeToString(digest[:]),
	}
}
