package sandbox

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/yeqown/go-qrcode/v2"
)

const quiet = 4 // modules of white around a QR code, ISO/IEC 18004 §6.3.8

var scenePattern = regexp.MustCompile("^[0-9A-Za-z!#$&'()*+,/:;=?@._~-]{1,32}$")

func (s *Sandbox) wxacode(r *http.Request) (any, error) {
	in := struct {
		Scene     string `json:"scene"`
		Page      string `json:"page"`
		CheckPath bool   `json:"check_path"`
		Width     int    `json:"width"`
	}{CheckPath: true, Width: 430}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if !scenePattern.MatchString(in.Scene) {
		return nil, fail(40169)
	}
	if len(in.Page) > 128 || strings.HasPrefix(in.Page, "/") || strings.ContainsAny(in.Page, "?#%") || in.CheckPath && !s.published(in.Page) {
		return nil, fail(41030)
	}
	return paint(in.Page+"?scene="+url.QueryEscape(in.Scene), min(max(in.Width, 280), 1280))
}

// paint makes a PNG of at most width pixels on a side. Its QR code is of level L: a screen has no stains. It has tens of KB, as
// WeChat's has: nothing is compressed, and a pixel has two bits.
func paint(text string, width int) (picture, error) {
	code, err := qrcode.NewWith(text, qrcode.WithEncodingMode(qrcode.EncModeByte), qrcode.WithErrorCorrectionLevel(qrcode.ErrorCorrectionLow))
	if err != nil {
		return nil, err
	}
	c := canvas{module: width / (code.Dimension() + 2*quiet)}
	err = code.Save(&c)
	return c.png.Bytes(), err
}

// canvas is a qrcode.Writer that paints modules of so many pixels in two colours: no anti-aliasing, no shapes.
type canvas struct {
	module int
	png    bytes.Buffer
}

func (c *canvas) Write(m qrcode.Matrix) error {
	side := (m.Width() + 2*quiet) * c.module
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black, color.White})
	for row, modules := range m.Bitmap() {
		for col, dark := range modules {
			if !dark {
				continue
			}
			x, y := (col+quiet)*c.module, (row+quiet)*c.module
			draw.Draw(img, image.Rect(x, y, x+c.module, y+c.module), image.NewUniform(color.Black), image.Point{}, draw.Src)
		}
	}
	return (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&c.png, img)
}

func (c *canvas) Close() error { return nil }
