package wechat

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	wxcontext "github.com/silenceper/wechat/v2/miniprogram/context"
	"github.com/silenceper/wechat/v2/miniprogram/qrcode"
)

const (
	// imageTTL: WeChat's codes never expire, so how long a trade's code is good is ours to say elsewhere; here it is
	// how long an image may save one of the 5,000 requests a minute.
	imageTTL   = 24 * time.Hour
	imageWidth = 430 // pixels
)

// scenePattern holds WeChat's rule: at most 32 visible characters, of these only. There is no %, so that nothing can
// be percent-encoded.
var scenePattern = regexp.MustCompile("^[0-9A-Za-z!#$&'()*+,/:;=?@._~-]{1,32}$")

// TradeQR gives the mini-program code (小程序码) that opens page with scene, and its content type (image/jpeg or
// image/png). page is a path without leading slash or parameters; "" means [Config.MiniPage]. The mini-program finds
// scene percent-encoded in its options. Images are cached in Redis.
func (p *Platform) TradeQR(ctx context.Context, scene, page string) (image []byte, contentType string, err error) {
	err = p.run(ctx, "qr", func(ctx context.Context) (string, error) {
		page := cmp.Or(page, p.miniPage)
		if !scenePattern.MatchString(scene) {
			return "", newError(CodeSceneInvalid)
		}
		if !validPage(page) {
			return "", newError(CodePageInvalid)
		}
		key := p.imageKey(scene, page)
		if b := p.keptImage(ctx, key); isImage(b) {
			image = b
			return "cached", nil
		}
		// WeChat knows the pages of the published build only; for the others it must not look.
		checkPath := p.envVersion == "release"
		wish := qrcode.QRCoder{Page: page, Scene: scene, CheckPath: &checkPath, EnvVersion: p.envVersion, Width: imageWidth}
		var b []byte
		err := p.withToken(ctx, func(_ context.Context, lib *wxcontext.Context) (err error) {
			// No context here: the library takes none. The transport finds it by the ticket.
			b, err = qrcode.NewQRCode(lib).GetWXACodeUnlimit(wish)
			return err
		})
		if err != nil {
			return "", err
		}
		if !isImage(b) {
			return "", unavailable("no image in the answer", nil)
		}
		image = b
		if p.redis == nil {
			return "ok", nil
		}
		if err := p.redis.Set(ctx, key, b, imageTTL).Err(); err != nil {
			p.log.Warn("wechat cache unavailable", slog.String("op", "image"))
		}
		return "ok", nil
	})
	if err != nil {
		return nil, "", err
	}
	return image, http.DetectContentType(image), nil
}

// keptImage is an image that was drawn before, or nil.
func (p *Platform) keptImage(ctx context.Context, key string) []byte {
	if p.redis == nil {
		return nil
	}
	b, err := p.redis.Get(ctx, key).Bytes()
	if err != nil {
		return nil
	}
	return b
}

// imageKey hashes the scene, which holds a trade code: keys are seen by whoever lists them.
func (p *Platform) imageKey(scene, page string) string {
	h := sha256.Sum256([]byte(strings.Join([]string{p.appID, p.envVersion, page, scene}, "\n")))
	return p.prefix + "image:" + hex.EncodeToString(h[:])
}
