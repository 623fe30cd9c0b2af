package gm_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"cardflow/gm"
)

var verbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%08x", "%t", "%!"}

// leaks tells whether the text shows the secret in any spelling.
func leaks(text string, secret []byte) bool {
	text = strings.ToLower(text)
	for _, spelling := range []string{
		string(secret),
		fmt.Sprintf("%x", secret), fmt.Sprintf("% x", secret), fmt.Sprintf("%#v", secret),
		strings.Trim(fmt.Sprint(secret), "[]"),
		base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
	} {
		if strings.Contains(text, strings.ToLower(spelling)) {
			return true
		}
	}
	return false
}

func TestSecretsDoNotPrint(t *testing.T) {
	key := newKey(t)
	scalar := key.Scalar()
	type exported struct{ Root gm.Secret }
	for name, value := range map[string]any{
		"secret":            scalar,
		"pointer":           &scalar,
		"in a struct":       exported{scalar},
		"pointer to struct": &exported{scalar},
		"in a slice":        []gm.Secret{scalar},
		"in a map":          map[string]gm.Secret{"root": scalar},
		"in an interface":   []any{scalar},
		"key":               key,
		"key by value":      *key,
		"key in a struct":   struct{ Key *gm.PrivateKey }{key},
		"key in a hidden field": struct {
			key   *gm.PrivateKey
			value gm.PrivateKey
		}{key, *key},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verb := range verbs {
				if out := fmt.Sprintf(verb, value); leaks(out, scalar) {
					t.Errorf("%s prints %s", verb, out)
				}
			}
			if out := fmt.Sprint(value) + fmt.Sprintln(value) + fmt.Errorf("wrapped: %v", value).Error(); leaks(out, scalar) {
				t.Errorf("prints %s", out)
			}
			var log bytes.Buffer
			options := &slog.HandlerOptions{Level: slog.LevelDebug}
			for _, handler := range []slog.Handler{slog.NewTextHandler(&log, options), slog.NewJSONHandler(&log, options)} {
				slog.New(handler).Info("m", "value", value, slog.Group("group", "value", value))
			}
			if log.Len() == 0 || leaks(log.String(), scalar) {
				t.Errorf("logs %s", log.String())
			}
			if out, err := json.Marshal(value); err == nil && leaks(string(out), scalar) {
				t.Errorf("json %s", out)
			}
			if out, err := xml.Marshal(value); err == nil && leaks(string(out), scalar) {
				t.Errorf("xml %s", out)
			}
		})
	}
}

func TestSecretPrintsPlaceholder(t *testing.T) {
	key := newKey(t)
	for _, value := range []any{key.Scalar(), key, *key, gm.Secret(nil)} {
		for _, verb := range verbs[:10] {
			if out := fmt.Sprintf(verb, value); out != "[secret]" {
				t.Errorf("%s of %T is %s", verb, value, out)
			}
		}
		if out := slog.AnyValue(value).Resolve().String(); out != "[secret]" {
			t.Errorf("slog of %T is %s", value, out)
		}
		if out := value.(fmt.Stringer).String() + value.(fmt.GoStringer).GoString(); out != "[secret][secret]" {
			t.Errorf("strings of %T are %s", value, out)
		}
	}
	if out, err := json.Marshal(key.Scalar()); err != nil || string(out) != `"[secret]"` {
		t.Errorf("json %s, %v", out, err)
	}
	if out, err := key.Scalar().MarshalText(); err != nil || string(out) != "[secret]" {
		t.Errorf("text %s, %v", out, err)
	}
}

func TestPrivateKeyRefusesJSON(t *testing.T) {
	key := newKey(t)
	for _, value := range []any{key, *key, []any{key}, struct{ Key gm.PrivateKey }{*key}} {
		if out, err := json.Marshal(value); !errors.Is(err, gm.ErrKeyRefused) {
			t.Errorf("%T: %s, %v", value, out, err)
		}
	}
	if _, err := key.MarshalText(); !errors.Is(err, gm.ErrKeyRefused) {
		t.Errorf("text: %v", err)
	}
}

func TestErrorsCarryNoSecret(t *testing.T) {
	key := newKey(t)
	scalar := key.Scalar()
	_, wrongKey := gm.NewPrivateKey(scalar, newKey(t).Public())
	_, long := gm.NewPrivateKey(append(gm.Secret{0}, scalar...), key.Public())
	_, size := gm.Open(scalar, scalar, scalar)
	_, open := gm.Open(scalar[:16], bytes.Repeat(scalar, 2), nil)
	_, point := gm.ParsePublicKey(append([]byte{4}, bytes.Repeat(scalar, 2)...))
	for _, err := range []error{wrongKey, long, size, open, point} {
		if err == nil || leaks(err.Error(), scalar) || leaks(err.Error(), scalar[:16]) {
			t.Errorf("error %v", err)
		}
	}
}

func TestSecretClear(t *testing.T) {
	secret := gm.Secret("0123456789abcdef")
	shared := secret[4:8]
	secret.Clear()
	if !bytes.Equal(secret, make([]byte, 16)) || !bytes.Equal(shared, make([]byte, 4)) {
		t.Error("bytes are left")
	}
	gm.Secret(nil).Clear()
}
