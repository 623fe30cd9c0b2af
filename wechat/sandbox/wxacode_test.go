package sandbox_test

import (
	"bytes"
	"image/png"
	"net/url"
	"strings"
	"testing"

	"cardflow/wechat/sandbox"

	"pgregory.net/rapid"
)

func TestWxacodeIsAPictureThatSaysPageAndScene(t *testing.T) {
	b := start(t)
	status, contentType, body := b.send("POST", "/wxa/getwxacodeunlimit?access_token="+b.token(),
		map[string]any{"scene": "c=K7Q2M9XA&x", "page": "pages/trade/trade", "width": 430})
	if status != 200 || contentType != "image/png" {
		t.Fatalf("%d %s %.100s", status, contentType, body)
	}
	img, err := png.Decode(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if w := img.Bounds().Dx(); w < 280 || w > 430 {
		t.Errorf("%d pixels wide", w)
	}
	text, err := sandbox.Scan(body)
	if want := "pages/trade/trade?scene=c%3DK7Q2M9XA%26x"; err != nil || text != want {
		t.Errorf("reads %q, %v, want %q", text, err, want)
	}
}

func TestEverySceneAndPageCanBeReadBack(t *testing.T) {
	b := start(t)
	token := b.token()
	rapid.Check(t, func(r *rapid.T) {
		scene := rapid.StringMatching(`[0-9A-Za-z!#$&'()*+,/:;=?@._~-]{1,32}`).Draw(r, "scene")
		page := rapid.StringMatching(`[0-9A-Za-z_]{1,60}(/[0-9A-Za-z_]{1,30}){0,2}`).Draw(r, "page")
		_, _, body := b.send("POST", "/wxa/getwxacodeunlimit?access_token="+token,
			map[string]any{"scene": scene, "page": page, "check_path": false, "width": 280})
		text, err := sandbox.Scan(body)
		if want := page + "?scene=" + url.QueryEscape(scene); err != nil || text != want {
			r.Fatalf("reads %q, %v, want %q", text, err, want)
		}
	})
}

func TestScanRefusesWhatIsNoCode(t *testing.T) {
	for _, picture := range [][]byte{nil, []byte("GIF89a"), []byte("\x89PNG\r\n\x1a\n")} {
		if text, err := sandbox.Scan(picture); err == nil {
			t.Errorf("reads %q", text)
		}
	}
}

func TestWxacodeChecksSceneAndPage(t *testing.T) {
	b := start(t)
	path := "/wxa/getwxacodeunlimit?access_token=" + b.token()
	for _, tc := range []struct {
		scene, page string
		check       bool
		want        int
	}{
		{"", "pages/trade/trade", true, 40169},
		{strings.Repeat("x", 33), "pages/trade/trade", true, 40169},
		{"a%20b", "pages/trade/trade", true, 40169},
		{"交易", "pages/trade/trade", true, 40169},
		{"x", "/pages/trade/trade", false, 41030},
		{"x", "pages/trade/trade?a=b", false, 41030},
		{"x", "pages/secret/secret", true, 41030},
	} {
		b.wantErrcode(b.ask("POST", path, map[string]any{"scene": tc.scene, "page": tc.page, "check_path": tc.check}), tc.want)
	}
	if _, contentType, _ := b.send("POST", path, map[string]any{"scene": "x", "page": "pages/secret/secret", "check_path": false}); contentType != "image/png" {
		t.Errorf("an unpublished page unchecked gives %s", contentType)
	}
	if _, contentType, _ := b.send("POST", path, map[string]any{"scene": "x", "page": "pages/secret/secret"}); contentType == "image/png" {
		t.Error("check_path doesn't default to true")
	}
}
