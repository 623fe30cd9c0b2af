package handler

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// previewPolicy lets a page run its own scripts, talk to this server, and show itself in a frame of itself. Styles may
// stand in the page: a mini-program's elements carry their own.
const previewPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
	"connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// servePreview adds the mini-program as it runs in a browser, for people without WeChat. It is no part of the API: a server
// that serves strangers has none.
func (s *server) servePreview(e *echo.Echo) {
	files := http.StripPrefix("/preview", http.FileServerFS(s.Preview))
	pattern := &route{pattern: "/preview/*"}
	e.GET("/preview", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/preview/") })
	if s.Messages != nil {
		messages := &route{pattern: "/preview/messages"}
		e.GET("/preview/messages", func(c echo.Context) error {
			c.Set(routeKey, messages)
			return c.JSON(http.StatusOK, map[string]any{"items": s.Messages(c.QueryParam("person"))})
		})
	}
	e.GET("/preview/*", func(c echo.Context) error {
		c.Set(routeKey, pattern)
		h := c.Response().Header()
		h.Set("Content-Security-Policy", previewPolicy)
		h.Set("X-Frame-Options", "SAMEORIGIN")
		files.ServeHTTP(c.Response(), c.Request())
		return nil
	})
}
