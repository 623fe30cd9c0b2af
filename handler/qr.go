package handler

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"

	"github.com/yeqown/go-qrcode/v2"
)

// link is the public address of a trade: what its plain QR code says.
func (c *call) link(code string) string { return c.PublicURL + "/t/" + code }

// codeOf answers the code of a trade of the caller's. Only its seller has it, and only while it can be used.
func (c *call) codeOf(id string) (string, error) {
	t, err := c.Service.GetTrade(c.ctx(), c.caller(), id)
	if err != nil {
		return "", err
	}
	if t.SellerID != c.who.Participant {
		return "", refuse("FORBIDDEN")
	}
	if t.Code == "" {
		return "", refuse("TRADE_CODE_HIDDEN")
	}
	return t.Code, nil
}

// showQR is GET /trades/{id}/qr.png: a QR code that any phone reads.
func showQR(c *call) error {
	code, err := c.codeOf(c.Param("id"))
	if err != nil {
		return err
	}
	b, err := drawQR(c.link(code))
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "image/png", b)
}

// showMiniCode is GET /trades/{id}/wxacode: the mini-program code (小程序码), which opens the trade in WeChat.
func showMiniCode(c *call) error {
	code, err := c.codeOf(c.Param("id"))
	if err != nil {
		return err
	}
	b, kind, err := c.WeChat.TradeQR(c.ctx(), "c="+code, "")
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, kind, b)
}

const (
	moduleSide = 8 // pixels
	quietZone  = 4 // modules: scanners need them (ISO/IEC 18004)
)

// drawQR makes a PNG of two colours.
func drawQR(text string) ([]byte, error) {
	// A quarter of a scratched label may be lost.
	q, err := qrcode.NewWith(text, qrcode.WithErrorCorrectionLevel(qrcode.ErrorCorrectionQuart))
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	var w pngWriter
	if err := q.Save(&w); err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	return w.Bytes(), nil
}

// pngWriter is the qrcode.Writer of drawQR.
type pngWriter struct{ bytes.Buffer }

// Write draws the modules.
func (w *pngWriter) Write(m qrcode.Matrix) error {
	side := (m.Width() + 2*quietZone) * moduleSide
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	m.Iterate(qrcode.IterDirection_ROW, func(x, y int, v qrcode.QRValue) {
		if !v.IsSet() {
			return
		}
		for dy := range moduleSide {
			row := img.PixOffset((x+quietZone)*moduleSide, (y+quietZone)*moduleSide+dy)
			for dx := range moduleSide {
				img.Pix[row+dx] = 1
			}
		}
	})
	return png.Encode(&w.Buffer, img)
}

// Close is the library's wish.
func (*pngWriter) Close() error { return nil }
