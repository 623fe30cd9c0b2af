package handler_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"cardflow/handler"
)

func TestDocsShowEveryRoute(t *testing.T) {
	r := newRig(t)
	page := string(r.want(200, "", ask{method: "GET", path: "/docs"}).body)
	for _, f := range handler.Routes() {
		if !strings.Contains(page, "<b>"+f.Method+"</b><code>"+f.Pattern+"</code>") {
			t.Errorf("%s %s is not on the page", f.Method, f.Pattern)
		}
	}
	for _, part := range []string{"微信登录", "Log a consumer in", "TRADE_CODE_NOT_FOUND", `id="Confirmation"`, "Idempotency-Key"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	// Nothing is fetched from elsewhere.
	if m := regexp.MustCompile(`<(?:script|link|img)|(?:src|@import)=|url\(`).FindString(page); m != "" {
		t.Errorf("the page fetches something: %s", m)
	}
	for _, id := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `id="`+id[1]+`"`) {
			t.Errorf("a link to #%s leads nowhere", id[1])
		}
	}
	file, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.want(200, "", ask{method: "GET", path: "/openapi.yaml"}); !bytes.Equal(got.body, file) {
		t.Error("openapi.yaml is another one")
	}
}

// TestLinkPageTellsNothing: the same bytes for a good code, a bad one, and none; and no use case is asked.
func TestLinkPageTellsNothing(t *testing.T) {
	r := newRig(t)
	good := r.want(200, "", ask{method: "GET", path: "/t/" + oneCode})
	bad := r.want(200, "", ask{method: "GET", path: "/t/BBBBBBBB"})
	if !bytes.Equal(good.body, bad.body) || !strings.Contains(string(good.body), "微信") || strings.Contains(string(good.body), oneCode) || len(r.service.calls) != 0 {
		t.Errorf("%s %v", good.body, r.service.calls)
	}
	r.want(404, "NOT_FOUND", ask{method: "GET", path: "/t/%3Cscript%3E"})
}

// TestQR: the image has the three finder patterns and the quiet zone that scanners look for, and says the link.
func TestQR(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	got := r.want(200, "", get("/trades/trade-1/qr.png", token))
	if got.header.Get("Content-Type") != "image/png" {
		t.Errorf("%v", got.header)
	}
	img, err := png.Decode(bytes.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	const module, quiet = 8, 4
	side := img.Bounds().Dx()
	modules := side/module - 2*quiet
	if side != img.Bounds().Dy() || side%module != 0 || (modules-17)%4 != 0 {
		t.Fatalf("%d pixels a side", side)
	}
	dark := func(x, y int) bool {
		return img.At((x+quiet)*module+module/2, (y+quiet)*module+module/2) == color.RGBA{0, 0, 0, 255} || isBlack(img, (x+quiet)*module+module/2, (y+quiet)*module+module/2)
	}
	for _, corner := range []image.Point{{0, 0}, {modules - 7, 0}, {0, modules - 7}} {
		for y := range 7 {
			for x := range 7 {
				edge, core := x == 0 || x == 6 || y == 0 || y == 6, x >= 2 && x <= 4 && y >= 2 && y <= 4
				if dark(corner.X+x, corner.Y+y) != (edge || core) {
					t.Fatalf("no finder pattern at %v", corner)
				}
			}
		}
	}
	for i := range modules + 2*quiet {
		for _, at := range []image.Point{{i - quiet, -1}, {-1, i - quiet}, {i - quiet, modules}, {modules, i - quiet}} {
			if dark(at.X, at.Y) {
				t.Fatalf("the quiet zone is dark at %v", at)
			}
		}
	}
	r.service.trades["trade-1"].view.Code = "7K3M9QXB"
	if other := r.want(200, "", get("/trades/trade-1/qr.png", token)); bytes.Equal(other.body, got.body) {
		t.Error("another code has the same picture")
	}
	var v struct{ Link string }
	r.want(200, "", get("/trades/trade-1", token)).into(t, &v)
	if v.Link != "https://cards.example.com/t/7K3M9QXB" {
		t.Errorf("%q", v.Link)
	}
}

func isBlack(img image.Image, x, y int) bool {
	r, g, b, _ := img.At(x, y).RGBA()
	return r == 0 && g == 0 && b == 0
}

func TestMiniCodeComesFromWeChat(t *testing.T) {
	r := newRig(t)
	got := r.want(200, "", get("/trades/trade-1/wxacode", r.staff("retailer")))
	if kind := http.DetectContentType(got.body); kind != got.header.Get("Content-Type") || !strings.HasPrefix(kind, "image/") {
		t.Errorf("%s, said to be %s", kind, got.header.Get("Content-Type"))
	}
}

// TestCodesAreForTheSeller, while they can be used.
func TestCodesAreForTheSeller(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/qr.png", "/wxacode"} {
		r.want(409, "TRADE_CODE_HIDDEN", get("/trades/trade-2"+path, r.staff("retailer")))
		r.want(409, "TRADE_CODE_HIDDEN", get("/trades/trade-named"+path, r.staff("retailer")))
		r.want(403, "FORBIDDEN", get("/trades/trade-named"+path, r.staff("distributor")))
		r.want(404, "TRADE_NOT_FOUND", get("/trades/trade-1"+path, r.staff("carrier")))
		r.want(403, "FORBIDDEN", get("/trades/trade-1"+path, r.consumer("小王")))
	}
}

func TestReadyNamesEachPart(t *testing.T) {
	r := newRig(t)
	var v struct {
		Status string
		Checks map[string]string
	}
	r.want(200, "", ask{method: "GET", path: "/readyz"}).into(t, &v)
	for _, part := range []string{"database", "redis", "ledger", "custody", "journal"} {
		if v.Checks[part] != "ok" {
			t.Errorf("%s is %q", part, v.Checks[part])
		}
	}
	r.service.custody = errors.New("sealed by 10.1.2.3")
	got := r.want(503, "", ask{method: "GET", path: "/readyz"})
	v.Checks = nil
	got.into(t, &v)
	if v.Status != "unready" || v.Checks["custody"] != "failed" || v.Checks["ledger"] != "ok" || strings.Contains(string(got.body), "10.1.2.3") || !strings.Contains(r.logs.String(), "10.1.2.3") {
		t.Errorf("%+v", v)
	}
	r.want(200, "", ask{method: "GET", path: "/healthz"})
}

func TestOfferOfManyIsAJob(t *testing.T) {
	r := newRig(t)
	got := r.want(202, "", r.wish("/trades", r.staff("retailer"), fields{"mode": "BEARER", "segments": []fields{{"start": oneCard, "end": oneCard}}, "each": true}))
	if strings.TrimSpace(string(got.body)) != `{"jobId":"job-1"}` {
		t.Errorf("%s", got.body)
	}
}
