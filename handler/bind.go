package handler

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and arrays may nest. The deepest body of the API has four levels; the decoder of
// the standard library would follow ten thousand.
const maxDepth = 32

// readBody takes in the whole body of a request, at most limit bytes. Nothing is decoded.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	return body, bodyError(err, limit)
}

// bodyError says what went wrong while the body came in.
func bodyError(err error, limit int64) error {
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return bodyTooLarge(limit)
	default:
		// The connection ended early, or the client was too slow for the server's read timeout.
		return refuse("BODY_TRUNCATED")
	}
}

func bodyTooLarge(limit int64) error {
	return &refusal{code: "BODY_TOO_LARGE", details: map[string]any{"limitBytes": limit}}
}

// mediaType answers the media type of a body without its parameters. A charset other than UTF-8, or a compressed body,
// is no type of ours.
func mediaType(h http.Header) (string, map[string]string, error) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", nil, refuse("CONTENT_TYPE_UNSUPPORTED")
	}
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return "", nil, refuse("CONTENT_TYPE_UNSUPPORTED")
	}
	return kind, params, nil
}

// decode reads one JSON object into T, and refuses all that JSON decoders like to overlook: fields that T lacks, the
// same field twice, anything after the object, text that isn't UTF-8, deep nesting.
//
// Why so strict: a client that misspells "each" must not get the other kind of trade, and two parsers that disagree on
// which of two equal names counts are how checks are walked around.
func decode[T any](body []byte) (T, error) {
	var v T
	if !utf8.Valid(body) {
		return v, refuse("TEXT_NOT_UTF8")
	}
	if err := scan(body); err != nil {
		return v, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, decodeError(err)
	}
	return v, nil
}

// scan walks the tokens of one JSON object, without building anything but the names that it has met.
func scan(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	type level struct {
		names   map[string]bool // nil: an array
		isValue bool            // an object's next token is a value
	}
	var stack []level
	for first := true; ; first = false {
		token, err := d.Token()
		if err == io.EOF && len(stack) == 0 && !first {
			return nil
		}
		if err != nil {
			return syntaxError(err)
		}
		if !first && len(stack) == 0 {
			return refuse("JSON_INVALID") // something after the object
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		delim, isDelim := token.(json.Delim)
		if first && delim != '{' {
			return refuse("JSON_INVALID")
		}
		if isDelim && (delim == '}' || delim == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if top != nil && top.names != nil && !top.isValue {
			name := strings.Map(folded, token.(string))
			if top.names[name] {
				return refuse("JSON_NAME_REPEATED")
			}
			top.names[name], top.isValue = true, true
			continue
		}
		if top != nil {
			top.isValue = false
		}
		if isDelim {
			if len(stack) == maxDepth {
				return refuse("JSON_TOO_DEEP")
			}
			next := level{}
			if delim == '{' {
				next.names = map[string]bool{}
			}
			stack = append(stack, next)
		}
	}
}

// folded is the one letter that stands for all its cases. The decoder matches names without regard to case (and takes ſ
// for s), so two names that are alike in that way are one.
func folded(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}

func syntaxError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("BODY_TRUNCATED")
	}
	return refuse("JSON_INVALID")
}

// decodeError names the field, never its value.
func decodeError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return field(wrong.Field, "应为"+typeName(wrong.Type))
	}
	// The decoder has no type for this one; the name is the client's own and goes back to nobody else.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &refusal{code: "FIELD_UNKNOWN", details: map[string]any{"field": clip(strings.Trim(name, `"`))}}
	}
	return syntaxError(err)
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "另一种类型"
	}
	switch t.Kind() {
	case reflect.String:
		return "字符串"
	case reflect.Bool:
		return "true 或 false"
	case reflect.Slice:
		return "数组"
	case reflect.Struct:
		return "对象"
	default:
		return "数字"
	}
}

// clip keeps an answer from growing with what was sent.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// bind decodes the body of a call, which may be left out where the route says so, and has it checked.
func bind[T any](c *call, checks ...func(T) error) (in T, err error) {
	if c.route.body != maybeJSON || len(c.body) > 0 {
		in, err = decode[T](c.body)
	}
	for _, check := range checks {
		if err == nil {
			err = check(in)
		}
	}
	return in, err
}

// required refuses the first of name, value pairs whose value is empty.
func required(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return field(pairs[i], "必填")
		}
	}
	return nil
}

// bounded refuses the first of name, value pairs whose value is longer than any that could be right. The use cases
// check what a value says; this keeps them from being handed a megabyte to check.
func bounded(most int, pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if len(pairs[i+1]) > most {
			return field(pairs[i], "太长")
		}
	}
	return nil
}
