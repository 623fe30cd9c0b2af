package wechat

import (
	"context"
	"log/slog"

	"github.com/silenceper/wechat/v2/credential"
	wxconfig "github.com/silenceper/wechat/v2/miniprogram/config"
	wxcontext "github.com/silenceper/wechat/v2/miniprogram/context"
)

// tokenKey is where the library keeps the stable token.
func (p *Platform) tokenKey() string {
	return credential.CacheKeyMiniProgramPrefix + "_stable_access_token_" + p.appID
}

// token gives an access token: from Redis, where all servers share it, or fetched.
//
// One goroutine fetches and the others wait, each no longer than its own context: the library would queue them on a
// mutex that knows no context, and with WeChat down the last of a hundred would wait a hundred timeouts. The fetch has
// a context of its own, so that the one who happens to be first can't take the others down by hanging up.
func (p *Platform) token(ctx context.Context) (string, error) {
	fetched := p.flight.DoChan("token", func() (any, error) {
		var token string
		err := p.run(context.WithoutCancel(ctx), "token", func(ctx context.Context) (string, error) {
			c := p.call(ctx)
			t, libErr := p.tokens.GetAccessTokenContext(c.ctx)
			if err := c.verdict(libErr); err != nil {
				return "", err
			}
			if t == "" {
				return "", unavailable("no token in the answer", nil)
			}
			token = t
			if !c.sent {
				return "cached", nil
			}
			return "ok", nil
		})
		return token, err
	})
	select {
	case r := <-fetched:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", unavailable(interruption(ctx.Err()), ctx.Err())
	}
}

// drop forgets a token that WeChat has rejected. The library never does so by itself: it would offer the dead token
// until its time is over, up to two hours.
func (p *Platform) drop(ctx context.Context, token string) {
	if err := p.store.drop(ctx, p.tokenKey(), token); err != nil {
		p.log.Warn("wechat cache unavailable", slog.String("op", "drop"))
	}
	// A fetch that is under way may have read the dead token just before it went.
	p.flight.Forget("token")
}

// withToken runs do with a library context that holds a token. If WeChat rejects the token (40001, 40014, 42001), the
// cached one is dropped, another is fetched, and do runs once more: once, or two systems that invalidate each other's
// tokens would chase each other for ever. The second run is safe even for a phone code, which costs money and works
// once: a request with a bad token is refused before its code is looked at.
func (p *Platform) withToken(ctx context.Context, do func(context.Context, *wxcontext.Context) error) error {
	for attempt := 1; ; attempt++ {
		token, err := p.token(ctx)
		if err != nil {
			return err
		}
		c := p.call(ctx)
		ticket := c.admit(token)
		libErr := do(c.ctx, &wxcontext.Context{
			Config:                   &wxconfig.Config{AppID: p.appID},
			AccessTokenContextHandle: ticket,
		})
		c.leave(ticket)
		failed := c.verdict(libErr)
		if failed == nil {
			return nil
		}
		if failed.Code != CodeTokenRejected || attempt == 2 {
			return failed
		}
		p.drop(ctx, token)
	}
}

// ticket stands in for an access token inside the library. The transport exchanges it for the real one at the last
// moment, so that the library, its URLs and its errors never see a token, and so that a request without a context
// still finds its call. See transport.go.
type ticket string

// GetAccessToken implements the library's AccessTokenHandle.
func (t ticket) GetAccessToken() (string, error) { return string(t), nil }

// GetAccessTokenContext implements the library's AccessTokenContextHandle.
func (t ticket) GetAccessTokenContext(context.Context) (string, error) { return string(t), nil }
