package protocol_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

func newKey(t testing.TB) *gm.PrivateKey {
	k, err := gm.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signer(k *gm.PrivateKey) func([]byte) (gm.Signature, error) {
	return func(message []byte) (gm.Signature, error) { return k.Sign(rand.Reader, message) }
}

func sealed(t testing.TB, k *gm.PrivateKey) (protocol.Request, http.Header) {
	req := protocol.Request{
		Channel: "cardflow", Method: "POST", Path: protocol.PathSubmit, KeyID: k.Public().KeyID(), Nonce: protocol.NewNonce(),
		Time: time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC).UnixMilli(), Body: []byte(`{"a":1}`),
	}
	h := http.Header{}
	if err := req.Seal(h, signer(k)); err != nil {
		t.Fatal(err)
	}
	return req, h
}

// TestRequest: what was sealed opens and verifies, and nothing else does: each field that means something is signed.
func TestRequest(t *testing.T) {
	k := newKey(t)
	req, h := sealed(t, k)
	open := func(channel, method, path string, h http.Header, body string) error {
		got, sig, err := protocol.Open(channel, method, path, h, []byte(body))
		if err != nil {
			return err
		}
		return got.Verify(k.Public(), sig)
	}
	if err := open("cardflow", "POST", req.Path, h, `{"a":1}`); err != nil {
		t.Fatal(err)
	}
	with := func(name, value string) http.Header {
		c := h.Clone()
		c.Set(name, value)
		return c
	}
	other := newKey(t)
	_, foreign := sealed(t, other)
	for name, err := range map[string]error{
		"channel":   open("other", "POST", req.Path, h, `{"a":1}`),
		"method":    open("cardflow", "GET", req.Path, h, `{"a":1}`),
		"path":      open("cardflow", "POST", protocol.PathQuery, h, `{"a":1}`),
		"body":      open("cardflow", "POST", req.Path, h, `{"a":2}`),
		"nonce":     open("cardflow", "POST", req.Path, with(protocol.HeaderNonce, protocol.NewNonce().String()), `{"a":1}`),
		"time":      open("cardflow", "POST", req.Path, with(protocol.HeaderTime, "1"), `{"a":1}`),
		"key":       open("cardflow", "POST", req.Path, with(protocol.HeaderKey, other.Public().KeyID()), `{"a":1}`),
		"signature": open("cardflow", "POST", req.Path, with(protocol.HeaderSignature, foreign.Get(protocol.HeaderSignature)), `{"a":1}`),
	} {
		if !errors.Is(err, protocol.ErrSignature) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for name, bad := range map[string]http.Header{
		"no key":           with(protocol.HeaderKey, ""),
		"upper-case key":   with(protocol.HeaderKey, "ABCDEF0123456789ABCDEF0123456789"),
		"short nonce":      with(protocol.HeaderNonce, "00"),
		"time with a plus": with(protocol.HeaderTime, "+1"),
		"time with zeros":  with(protocol.HeaderTime, "01"),
		"time below zero":  with(protocol.HeaderTime, "-1"),
		"time of 1e40":     with(protocol.HeaderTime, "10000000000000000000000000000000000000000"),
		"bad signature":    with(protocol.HeaderSignature, "3006020101020101ff"),
		"nothing":          {},
	} {
		if err := open("cardflow", "POST", req.Path, bad, `{"a":1}`); !errors.Is(err, protocol.ErrEnvelope) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := h.Clone()
	twice.Add(protocol.HeaderNonce, protocol.NewNonce().String())
	if err := open("cardflow", "POST", req.Path, twice, `{"a":1}`); !errors.Is(err, protocol.ErrEnvelope) {
		t.Errorf("two nonces: %v", err)
	}
}

// TestResponse: an answer counts for its request, with its status and body, by a pinned key, and for nothing else.
func TestResponse(t *testing.T) {
	device, gateway, later, stranger := newKey(t), newKey(t), newKey(t), newKey(t)
	req, _ := sealed(t, device)
	answer := func(k *gm.PrivateKey, r protocol.Response) http.Header {
		r.Channel, r.Gateway = "cardflow", k.Public().KeyID()
		h := http.Header{}
		if err := r.Seal(h, signer(k)); err != nil {
			t.Fatal(err)
		}
		return h
	}
	right := protocol.Response{Request: req.Digest(), Status: 200, Body: []byte(`{}`)}
	pinned := []gm.PublicKey{gateway.Public(), later.Public()}
	for _, k := range []*gm.PrivateKey{gateway, later} {
		if err := protocol.Check(req, 200, answer(k, right), []byte(`{}`), pinned); err != nil {
			t.Error(err)
		}
	}
	another, _ := sealed(t, device) // the same, but for its nonce
	ofAnother := right
	ofAnother.Request = another.Digest()
	for name, err := range map[string]error{
		"a key that isn't pinned":     protocol.Check(req, 200, answer(stranger, right), []byte(`{}`), pinned),
		"the device's own key":        protocol.Check(req, 200, answer(device, right), []byte(`{}`), pinned),
		"another status":              protocol.Check(req, 409, answer(gateway, right), []byte(`{}`), pinned),
		"another body":                protocol.Check(req, 200, answer(gateway, right), []byte(`{"state":"committed"}`), pinned),
		"another request's answer":    protocol.Check(req, 200, answer(gateway, ofAnother), []byte(`{}`), pinned),
		"an answer, replayed":         protocol.Check(another, 200, answer(gateway, right), []byte(`{}`), pinned),
		"the request's own signature": protocol.Check(req, 200, ownSignature(t, req, gateway, device), []byte(`{}`), pinned),
	} {
		if !errors.Is(err, protocol.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := protocol.Check(req, 200, http.Header{}, []byte(`{}`), pinned); !errors.Is(err, protocol.ErrEnvelope) {
		t.Errorf("no envelope: %v", err)
	}
}

// ownSignature gives a request's signature out as an answer's.
func ownSignature(t *testing.T, req protocol.Request, gateway, device *gm.PrivateKey) http.Header {
	h := http.Header{}
	if err := req.Seal(h, signer(device)); err != nil {
		t.Fatal(err)
	}
	h.Set(protocol.HeaderGateway, gateway.Public().KeyID())
	return h
}

func TestSkew(t *testing.T) {
	now := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at   int64
		over bool
	}{
		{now.UnixMilli(), false},
		{now.Add(-5 * time.Minute).UnixMilli(), false},
		{now.Add(5 * time.Minute).UnixMilli(), false},
		{now.Add(5*time.Minute + time.Millisecond).UnixMilli(), true},
		{now.Add(-10 * time.Minute).UnixMilli(), true},
		{1, true},
		{1<<63 - 1, true},
	} {
		skew := protocol.Request{Time: c.at}.Skew(now)
		if over := skew > protocol.MaxSkew || skew < -protocol.MaxSkew; over != c.over {
			t.Errorf("at %d: skew %s", c.at, skew)
		}
	}
}

// FuzzOpen: whatever stands in the headers, it is refused or it is exactly what was signed.
func FuzzOpen(f *testing.F) {
	_, h := sealed(f, newKey(f))
	f.Add(h.Get(protocol.HeaderKey), h.Get(protocol.HeaderNonce), h.Get(protocol.HeaderTime), h.Get(protocol.HeaderSignature))
	f.Add("", "", "", "")
	f.Fuzz(func(t *testing.T, key, nonce, at, sig string) {
		in := http.Header{}
		in.Set(protocol.HeaderKey, key)
		in.Set(protocol.HeaderNonce, nonce)
		in.Set(protocol.HeaderTime, at)
		in.Set(protocol.HeaderSignature, sig)
		r, s, err := protocol.Open("cardflow", "POST", protocol.PathQuery, in, nil)
		if err != nil {
			return
		}
		out := http.Header{}
		_ = r.Seal(out, func([]byte) (gm.Signature, error) { return s, nil })
		for _, name := range []string{protocol.HeaderKey, protocol.HeaderNonce, protocol.HeaderTime} {
			if in.Get(name) != out.Get(name) {
				t.Errorf("%s: %q became %q", name, in.Get(name), out.Get(name))
			}
		}
		if again, err := gm.ParseSignature(s); err != nil || !bytes.Equal(again, s) {
			t.Errorf("signature %x: %v", s, err)
		}
	})
}
