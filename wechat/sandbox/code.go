package sandbox

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// codeLife is WeChat's: five minutes.
const codeLife = 5 * time.Minute

type mintedCode struct {
	name    string
	kind    string // "login" or "phone"
	expires time.Time
	used    bool
}

// OpenID is the openid of the person of that name: the same for ever, in this mini-program.
func (s *Sandbox) OpenID(name string) string {
	return "o" + digest(s.c.AppID, name)[:27]
}

// Phone is the phone number of the person of that name.
func (s *Sandbox) Phone(name string) string {
	sum := sha256.Sum256([]byte("phone\n" + name))
	return fmt.Sprintf("138%08d", binary.BigEndian.Uint64(sum[:])%1e8)
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= 32
}

// Mint makes a proper code for the person of that name: it works once, for five minutes. kind is "login" or "phone".
func (s *Sandbox) Mint(name, kind string) (code string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	for c, m := range s.codes { // an hour later nobody needs to hear "used" instead of "invalid"
		if now.Sub(m.expires) > time.Hour {
			delete(s.codes, c)
		}
	}
	code, expires = s.random(16), now.Add(codeLife)
	s.codes[code] = &mintedCode{name: name, kind: kind, expires: expires}
	return code, expires
}

// redeem tells whose code this is, and uses it up.
func (s *Sandbox) redeem(code, kind string) (name string, err error) {
	if code == "" {
		return "", fail(41008)
	}
	if name, ok := strings.CutPrefix(code, "demo:"); ok {
		if name = strings.TrimSpace(name); !validName(name) {
			return "", fail(40029)
		}
		return name, nil
	}
	if number, ok := strings.CutPrefix(code, "err:"); ok {
		n, err := strconv.Atoi(number)
		if err != nil || n == 0 {
			return "", fail(40029)
		}
		return "", fail(n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.codes[code]
	switch {
	case m == nil || m.kind != kind:
		return "", fail(40029)
	case m.used:
		return "", fail(40163)
	case !s.c.Now().Before(m.expires):
		return "", fail(40029)
	}
	m.used = true
	return m.name, nil
}

func (s *Sandbox) login(r *http.Request) (any, error) {
	var values [4]string
	for i, name := range []string{"appid", "secret", "js_code", "grant_type"} {
		v, ok := one(r, name)
		if !ok {
			return nil, fail(40013)
		}
		values[i] = v
	}
	if err := s.credentials(values[0], values[1]); err != nil {
		return nil, err
	}
	if values[3] != "authorization_code" {
		return nil, fail(40002)
	}
	name, err := s.redeem(values[2], "login")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session := struct {
		SessionKey string `json:"session_key"`
		OpenID     string `json:"openid"`
		UnionID    string `json:"unionid,omitempty"`
	}{
		// 16 bytes, as WeChat's; hex before base64 is as good as any.
		SessionKey: base64.StdEncoding.EncodeToString([]byte(s.random(8))),
		OpenID:     s.OpenID(name),
	}
	if s.c.UnionIDs {
		session.UnionID = "o" + digest("union", name)[:27]
	}
	return session, nil
}

func (s *Sandbox) phone(r *http.Request) (any, error) {
	var in struct{ Code string }
	if err := read(r, &in); err != nil {
		return nil, err
	}
	name, err := s.redeem(in.Code, "phone")
	if err != nil {
		return nil, err
	}
	number := s.Phone(name)
	return map[string]any{
		"errcode": 0,
		"errmsg":  "ok",
		"phone_info": map[string]any{
			"phoneNumber":     number,
			"purePhoneNumber": number,
			"countryCode":     "86",
			"watermark":       map[string]any{"timestamp": s.c.Now().Unix(), "appid": s.c.AppID},
		},
	}, nil
}

func (s *Sandbox) postCode(w http.ResponseWriter, r *http.Request) {
	in := struct{ Name, Kind string }{Kind: "login"}
	if read(r, &in) != nil || !validName(in.Name) || in.Kind != "login" && in.Kind != "phone" {
		http.Error(w, `sandbox: want {"name": 1 to 32 characters, "kind": "login" or "phone"}`, http.StatusBadRequest)
		return
	}
	code, expires := s.Mint(in.Name, in.Kind)
	writeJSON(w, map[string]any{"code": code, "openid": s.OpenID(in.Name), "expiresAt": expires.UTC()})
}
