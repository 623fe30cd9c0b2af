package handler_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"cardflow/handler"
)

func nested(depth int) string {
	return strings.Repeat(`{"list":[`, depth/2) + strings.Repeat(`]}`, depth/2)
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ body, code string }{
		"nothing":                    {"", "BODY_TRUNCATED"},
		"spaces":                     {" \n", "BODY_TRUNCATED"},
		"an open object":             {`{"text":"a"`, "BODY_TRUNCATED"},
		"an open string":             {`{"text":"a`, "BODY_TRUNCATED"},
		"a name without value":       {`{"text"`, "BODY_TRUNCATED"},
		"a comma and no more":        {`{"text":"a",`, "BODY_TRUNCATED"},
		"a second object":            {`{}{}`, "JSON_INVALID"},
		"something after":            {`{} x`, "JSON_INVALID"},
		"a bracket after":            {`{}]`, "JSON_INVALID"},
		"an array":                   {`[]`, "JSON_INVALID"},
		"a string":                   {`"text"`, "JSON_INVALID"},
		"null":                       {`null`, "JSON_INVALID"},
		"no JSON":                    {`text=a`, "JSON_INVALID"},
		"a comment":                  {`{/*a*/}`, "JSON_INVALID"},
		"no comma":                   {`{"text":"a" "flag":true}`, "JSON_INVALID"},
		"a comma at the end":         {`{"text":"a",}`, "JSON_INVALID"},
		"a byte order mark":          {"\ufeff{}", "JSON_INVALID"},
		"a control character":        {"{\"text\":\"a\x01\"}", "JSON_INVALID"},
		"a number no one can read":   {`{"number":0x10}`, "JSON_INVALID"},
		"bytes that are no UTF-8":    {"{\"text\":\"\xff\"}", "TEXT_NOT_UTF8"},
		"half a rune":                {"{\"text\":\"\xe5\x8d\"}", "TEXT_NOT_UTF8"},
		"a field unknown":            {`{"texts":"a"}`, "FIELD_UNKNOWN"},
		"a field unknown, deep":      {`{"list":[{"x":1}]}`, "FIELD_UNKNOWN"},
		"a field twice":              {`{"text":"a","text":"b"}`, "JSON_NAME_REPEATED"},
		"a field twice, by case":     {`{"text":"a","TEXT":"b"}`, "JSON_NAME_REPEATED"},
		"a field twice, by a long s": {`{"list":[],"li\u017ft":[]}`, "JSON_NAME_REPEATED"},
		"a field twice, by escape":   {`{"text":"a","te\u0078t":"b"}`, "JSON_NAME_REPEATED"},
		"a field twice, deep":        {`{"list":[{"text":"a","text":"b"}]}`, "JSON_NAME_REPEATED"},
		"a number for a text":        {`{"text":89860112345678900016}`, "FIELD_INVALID"},
		"a text for a number":        {`{"number":"1"}`, "FIELD_INVALID"},
		"a number that is too large": {`{"number":1e99}`, "FIELD_INVALID"},
		"a fraction":                 {`{"number":1.5}`, "FIELD_INVALID"},
		"a text for a flag":          {`{"flag":"true"}`, "FIELD_INVALID"},
		"an object for a list":       {`{"list":{}}`, "FIELD_INVALID"},
		"33 levels":                  {strings.Repeat(`{"list":[`, 17) + strings.Repeat(`]}`, 17), "JSON_TOO_DEEP"},
		"a hundred thousand levels":  {strings.Repeat(`{"list":[`, 50_000), "JSON_TOO_DEEP"},
		"deep and unknown":           {`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "JSON_TOO_DEEP"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := handler.Decode([]byte(c.body))
			if err == nil {
				t.Fatal("was accepted")
			}
			if got := handler.CodeOf(err); got != c.code {
				t.Errorf("%s, want %s", got, c.code)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	for _, body := range []string{
		`{}`, " {\n} ", `{"text":"卡流转 \u5361","number":-7,"flag":true,"list":[{"text":"a"},{"text":"a"}],"words":{"a":"1","b":"2"}}`,
		`{"text":null}`, nested(32),
	} {
		if _, err := handler.Decode([]byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	v, err := handler.Decode([]byte(`{"text":"卡","number":7,"list":[{"flag":true}]}`))
	if err != nil || v.Text != "卡" || v.Number != 7 || !v.List[0].Flag {
		t.Errorf("%+v %v", v, err)
	}
}

// FuzzBind: no body makes the decoder panic, and what it accepts is one well-formed object that means the same to any
// decoder: in bounds, without a name that another decoder would read otherwise.
func FuzzBind(f *testing.F) {
	for _, seed := range []string{`{}`, `{"text":"a"}`, `{"text":"a","TEXT":"b"}`, nested(8), `{"list":[{"words":{"a":"b"}}]}`, "{\"text\":\"\xff\"}", `{"number":1e5}`, `{}{}`, `{"words":{"ſ":"1","s":"2"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := handler.Decode(body)
		if err != nil {
			if code := handler.CodeOf(err); handler.StatusOfCode(code) < 400 || handler.StatusOfCode(code) >= 500 {
				t.Errorf("%q is our fault: %s", body, code)
			}
			return
		}
		if !utf8.Valid(body) || !json.Valid(body) {
			t.Errorf("%q was accepted", body)
		}
		var depth, deepest int
		d := json.NewDecoder(bytes.NewReader(body))
		for {
			token, err := d.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('{'), json.Delim('['):
				depth++
				deepest = max(deepest, depth)
			case json.Delim('}'), json.Delim(']'):
				depth--
			}
		}
		if deepest > 32 {
			t.Errorf("%d levels were accepted", deepest)
		}
		// What was read, written and read again, is the same.
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := handler.Decode(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}

// TestBadBodies sends what is no body of the API to a real route: each gets its own error, and no use case is asked.
func TestBadBodies(t *testing.T) {
	r := newRig(t, func(c *handler.Config) { c.BodyLimit = 4096 })
	token := r.staff("retailer")
	for name, c := range map[string]struct {
		body, kind string
		header     map[string]string
		status     int
		code       string
	}{
		"oversized":             {`{"mode":"` + strings.Repeat("x", 5000) + `"}`, "application/json", nil, 413, "BODY_TOO_LARGE"},
		"truncated":             {`{"mode":"BEARER","segments":[{"sta`, "application/json", nil, 400, "BODY_TRUNCATED"},
		"deeply nested":         {`{"segments":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "}", "application/json", nil, 400, "JSON_TOO_DEEP"},
		"trailing data":         {`{"mode":"BEARER"} {}`, "application/json", nil, 400, "JSON_INVALID"},
		"unknown field":         {`{"mode":"BEARER","price":1}`, "application/json", nil, 400, "FIELD_UNKNOWN"},
		"repeated field":        {`{"mode":"BEARER","mode":"NAMED"}`, "application/json", nil, 400, "JSON_NAME_REPEATED"},
		"wrong type of a field": {`{"mode":"BEARER","segments":[{"start":8986,"end":8987}]}`, "application/json", nil, 400, "FIELD_INVALID"},
		"missing field":         {`{}`, "application/json", nil, 400, "FIELD_INVALID"},
		"invalid UTF-8":         {"{\"mode\":\"\xc3\x28\"}", "application/json", nil, 400, "TEXT_NOT_UTF8"},
		"no content type":       {`{}`, "", nil, 415, "CONTENT_TYPE_UNSUPPORTED"},
		"a form":                {`mode=BEARER`, "application/x-www-form-urlencoded", nil, 415, "CONTENT_TYPE_UNSUPPORTED"},
		"text":                  {`{}`, "text/plain", nil, 415, "CONTENT_TYPE_UNSUPPORTED"},
		"another charset":       {`{}`, "application/json; charset=gbk", nil, 415, "CONTENT_TYPE_UNSUPPORTED"},
		"a broken content type": {`{}`, "application/json; charset", nil, 415, "CONTENT_TYPE_UNSUPPORTED"},
		"compressed":            {`{}`, "application/json", map[string]string{"Content-Encoding": "gzip"}, 415, "CONTENT_TYPE_UNSUPPORTED"},
		"a strange duration":    {`{"mode":"BEARER","expiresIn":"soon"}`, "application/json", nil, 400, "FIELD_INVALID"},
		"a negative duration":   {`{"mode":"BEARER","expiresIn":"-1h"}`, "application/json", nil, 400, "FIELD_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.wish("/trades", token, c.body)
			a.header = map[string]string{"Content-Type": c.kind}
			for k, v := range c.header {
				a.header[k] = v
			}
			r.t = t
			r.want(c.status, c.code, a)
		})
	}
	if n := r.service.called("Offer"); n != 0 {
		t.Errorf("the use case was asked %d times", n)
	}
	r.t = t
	a := r.wish("/trades", token, `{"mode":"BEARER","segments":[{"iccid":"`+oneCard+`"}]}`)
	a.header = map[string]string{"Content-Type": "application/json; charset=UTF-8"}
	r.want(201, "", a)
}

// TestBodyThatEndsEarly: the connection breaks before Content-Length is reached.
func TestBodyThatEndsEarly(t *testing.T) {
	r := newRig(t)
	req := r.request(r.wish("/trades", r.staff("retailer"), `{"mode":"BEARER"}`))
	req.Body = brokenBody{strings.NewReader(`{"mode":`)}
	if got := r.serve(req); got.status != 400 || got.code(t) != "BODY_TRUNCATED" {
		t.Errorf("%d %s", got.status, got.body)
	}
	// And one that is longer than it says it is.
	r = newRig(t, func(c *handler.Config) { c.BodyLimit = 100 })
	req = r.request(r.wish("/trades", r.staff("retailer"), `{"mode":"`+strings.Repeat("x", 500)+`"}`))
	req.ContentLength = -1
	if got := r.serve(req); got.status != 413 || got.code(t) != "BODY_TOO_LARGE" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// brokenBody is what a server reads from a connection that ends early.
type brokenBody struct{ io.Reader }

func (b brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (brokenBody) Close() error { return nil }

func TestBodyWhereNoneBelongs(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	r.want(400, "BODY_UNEXPECTED", r.wish("/trades/trade-1/cancel", token, `{"why":"x"}`))
	r.want(202, "", r.wish("/trades/trade-1/cancel", token, `{}`))
	r.want(202, "", r.wish("/trades/trade-1/cancel", token, nil))
}

// TestQueriesAreKnown: what a route doesn't know, above all a card number, is refused and not ignored.
func TestQueriesAreKnown(t *testing.T) {
	r := newRig(t)
	retailer, consumer := r.staff("retailer"), r.consumer("小王")
	r.want(400, "QUERY_UNKNOWN", get("/cards?iccid="+oneCard, retailer))
	r.want(400, "QUERY_UNKNOWN", get("/cards?start="+oneCard, retailer))
	r.want(400, "QUERY_UNKNOWN", get("/me?x=1", consumer))
	for _, q := range []string{"?limit=0", "?limit=501", "?limit=ten", "?limit=1&limit=2", "?cursor=" + strings.Repeat("a", 600)} {
		r.want(400, "QUERY_INVALID", get("/me/cards"+q, consumer))
	}
	r.want(400, "QUERY_INVALID", get("/cards?from=yesterday", retailer))
	r.want(400, "QUERY_INVALID", get("/cards?to=2026-03-01", retailer))
	r.want(400, "QUERY_INVALID", get("/trades?side=both", retailer))
	r.want(400, "QUERY_INVALID", get("/stats?days=0", retailer))
	r.want(400, "QUERY_INVALID", get("/stats?days=367", retailer))
	r.want(400, "CURSOR_INVALID", get("/me/cards?cursor=broken", consumer))
	r.want(404, "NOT_FOUND", get("/blocks/-1", retailer))
	r.want(404, "NOT_FOUND", get("/blocks/99999999999999999999", retailer))
	r.want(404, "NOT_FOUND", get("/trades/"+strings.Repeat("a", 81), retailer))
	r.want(404, "NOT_FOUND", get("/trades/a%2Fb", retailer))
	r.want(404, "NOT_FOUND", get("/trades/%E5%8D%A1", retailer))
	r.want(404, "NOT_FOUND", get("/nothing", retailer))
	r.want(405, "METHOD_NOT_ALLOWED", ask{method: "DELETE", path: "/api/v1/trades", token: retailer})
	got := r.want(200, "", get("/me/cards?limit=7", consumer))
	if r.service.called("MyCards 7") != 1 || !strings.Contains(string(got.body), `"nextCursor":"more"`) {
		t.Errorf("%s", got.body)
	}
	r.want(400, "FIELD_INVALID", post("/cards/search", retailer, fields{"from": "yesterday"}))
	r.want(400, "FIELD_INVALID", post("/cards/search", retailer, fields{"to": "now"}))
	r.want(400, "FIELD_INVALID", post("/cards/search", retailer, fields{"limit": 501}))
	r.want(400, "FIELD_INVALID", post("/trades/search", retailer, fields{"side": "both"}))
	r.want(400, "FIELD_INVALID", post("/trades/search", retailer, fields{"to": "now"}))
	r.want(400, "FIELD_INVALID", post("/trades/search", retailer, fields{"limit": 501}))
}
