package handler_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"cardflow/handler"
)

func TestPreview(t *testing.T) {
	r := newRig(t, func(c *handler.Config) {
		c.Preview = fstest.MapFS{
			"index.html": {Data: []byte("<title>two phones</title>")},
			"phone.js":   {Data: []byte("let ready")},
		}
	})
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/preview/":                     {200, "two phones"},
		"/preview/phone.js?person=小李":   {200, "let ready"},
		"/preview/none.js":              {404, ""},
		"/preview/../../../etc/passwd":  {404, ""},
		"/preview/%2e%2e/%2e%2e/go.mod": {404, ""},
	} {
		w := httptest.NewRecorder()
		r.http.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); want.status == 200 && !strings.Contains(policy, "script-src 'self'") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
}

func TestNoPreview(t *testing.T) {
	r := newRig(t)
	w := httptest.NewRecorder()
	r.http.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/preview/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("a server without a preview answers %d", w.Code)
	}
}
