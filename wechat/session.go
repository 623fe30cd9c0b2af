package wechat

import (
	"context"
	"net/url"
	"regexp"

	"github.com/silenceper/wechat/v2/miniprogram/auth"
	wxconfig "github.com/silenceper/wechat/v2/miniprogram/config"
	wxcontext "github.com/silenceper/wechat/v2/miniprogram/context"
)

// Session is who logged in. WeChat's session_key is dropped at once: it must never leave a server, and we need it for
// nothing, since we mint our own tokens.
type Session struct {
	// OpenID names the person within this mini-program: accounts are keyed by (AppID, OpenID).
	OpenID string
	// UnionID is "" unless the mini-program is bound to an Open Platform account.
	UnionID string
}

var (
	openID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	phone  = regexp.MustCompile(`^\+?[0-9]{5,20}$`)
)

// Login exchanges the code of wx.login for the person. A malformed code is CodeInvalid without any request.
//
// The code is sent once, whatever happens: WeChat may have used it up before the answer was lost, and a second try
// would only hide that. After any failure the mini-program calls wx.login again.
func (p *Platform) Login(ctx context.Context, code string) (Session, error) {
	var s Session
	err := p.run(ctx, "login", func(ctx context.Context) (string, error) {
		if e := checkCode(code, p.Sandbox()); e != nil {
			return "", e
		}
		c := p.call(ctx)
		lib := auth.NewAuth(&wxcontext.Context{Config: &wxconfig.Config{AppID: p.appID, AppSecret: string(p.secret)}})
		// Escaped, because the library doesn't; it changes nothing in a real code.
		answer, libErr := lib.Code2SessionContext(c.ctx, url.QueryEscape(code))
		if e := c.verdict(libErr); e != nil {
			return "", e
		}
		// An answer without an error and without a person must not become a login: all such people would share one
		// account.
		if !openID.MatchString(answer.OpenID) {
			return "", unavailable("no openid in the answer", nil)
		}
		s = Session{OpenID: answer.OpenID, UnionID: answer.UnionID}
		return "ok", nil
	})
	return s, err
}

// PhoneNumber exchanges the code of a getPhoneNumber button for the person's number, with a country prefix if it is
// not Chinese. A code works once, for five minutes, and costs money; the person may refuse, so that there must be
// another way.
//
// The older way, decrypting data with the session_key, isn't taken: the library's Decrypt panics on data that isn't
// block-aligned, and anybody can send such.
func (p *Platform) PhoneNumber(ctx context.Context, code string) (string, error) {
	var number string
	err := p.run(ctx, "phone", func(ctx context.Context) (string, error) {
		if e := checkCode(code, p.Sandbox()); e != nil {
			return "", e
		}
		var answer *auth.GetPhoneNumberResponse
		err := p.withToken(ctx, func(ctx context.Context, lib *wxcontext.Context) (err error) {
			answer, err = auth.NewAuth(lib).GetPhoneNumberContext(ctx, code)
			return err
		})
		if err != nil {
			return "", err
		}
		// The watermark says for which mini-program WeChat gave the number.
		if answer == nil || answer.PhoneInfo.WaterMark.AppID != p.appID || !phone.MatchString(answer.PhoneInfo.PhoneNumber) {
			return "", unavailable("no number of ours in the answer", nil)
		}
		number = answer.PhoneInfo.PhoneNumber
		return "ok", nil
	})
	return number, err
}
