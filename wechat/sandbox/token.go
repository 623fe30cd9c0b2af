package sandbox

import (
	"net/http"
	"time"
)

const (
	tokenLife = 2 * time.Hour
	// tokenBytes makes tokens of 600 characters: WeChat tells one to keep room for 512 at least.
	tokenBytes = 300
	// overlap is how long the former token of /cgi-bin/token goes on working.
	overlap = 5 * time.Minute
)

type token struct {
	value   string
	expires time.Time

	former        string
	formerExpires time.Time
}

// renew replaces t's value; the former one lives on for keep.
func (t *token) renew(value string, now time.Time, keep time.Duration) {
	t.former, t.formerExpires = t.value, now.Add(keep)
	t.value, t.expires = value, now.Add(tokenLife)
}

// check gives the errcode for value: 0 if it is good.
func (t *token) check(value string, now time.Time) int {
	switch {
	case value == t.value && now.Before(t.expires), value == t.former && now.Before(t.formerExpires):
		return 0
	case value == t.value:
		return 42001
	}
	return 40001
}

// plainToken makes a new token each time and pushes the former out.
func (s *Sandbox) plainToken(r *http.Request) (any, error) {
	appID, _ := one(r, "appid")
	secret, _ := one(r, "secret")
	if err := s.credentials(appID, secret); err != nil {
		return nil, err
	}
	if grant, _ := one(r, "grant_type"); grant != "client_credential" {
		return nil, fail(40002)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	s.plain.renew(s.random(tokenBytes), now, overlap)
	return granted(s.plain, now), nil
}

// stableToken gives the same token to all who ask, until it expires; force_refresh kills it at once.
func (s *Sandbox) stableToken(r *http.Request) (any, error) {
	var in struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if err := s.credentials(in.AppID, in.Secret); err != nil {
		return nil, err
	}
	if in.GrantType != "client_credential" {
		return nil, fail(40002)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if in.ForceRefresh || !now.Before(s.stable.expires) {
		s.stable.renew(s.random(tokenBytes), now, 0)
	}
	return granted(s.stable, now), nil
}

func granted(t token, now time.Time) any {
	return map[string]any{"access_token": t.value, "expires_in": int(t.expires.Sub(now).Seconds())}
}

// withToken lets a request pass whose access token is good.
func (s *Sandbox) withToken(next api) api {
	return func(r *http.Request) (any, error) {
		value, ok := one(r, "access_token")
		if value == "" {
			return nil, fail(41001)
		}
		s.mu.Lock()
		now := s.c.Now()
		stable, plain := s.stable.check(value, now), s.plain.check(value, now)
		s.mu.Unlock()
		switch {
		case !ok:
			return nil, fail(40001)
		case stable == 0 || plain == 0:
			return next(r)
		case stable == 42001 || plain == 42001:
			return nil, fail(42001)
		}
		return nil, fail(40001)
	}
}
