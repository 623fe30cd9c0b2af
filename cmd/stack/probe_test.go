package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	well := true
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !well {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"status":"Service Unavailable","failed_checks":[{"component":"couchdb"}]}`)
		}
	}))
	defer s.Close()
	file := func(text []byte) string {
		path := filepath.Join(t.TempDir(), "ca.crt")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := file(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	for name, c := range map[string]struct {
		url, ca string
		well    bool
		want    string // of what it says; "" for nothing, and status 0
	}{
		"well":            {s.URL, own, true, ""},
		"not well":        {s.URL, own, false, "couchdb"},
		"nobody there":    {"https://127.0.0.1:1/healthz", own, true, "refused"},
		"another server":  {strings.Replace(s.URL, "127.0.0.1", "localhost", 1), own, true, "certificate"},
		"no certificate":  {s.URL, file([]byte("none")), true, "holds no certificate"},
		"no file":         {s.URL, "/no/such/file", true, "no such file"},
		"without TLS":     {strings.Replace(s.URL, "https", "http", 1), own, true, "400"},
		"not an address":  {"https://[", own, true, "parse"},
		"no such service": {"ftp://127.0.0.1/", own, true, "unsupported"},
	} {
		well = c.well
		var out, said bytes.Buffer
		status := run(&environment{ctx: t.Context(), say: newProgress(&said), stdout: &out}, []string{"probe", "--ca", c.ca, c.url})
		if (status == 0) != (c.want == "") || !strings.Contains(said.String(), c.want) || status == 0 && said.Len() > 0 {
			t.Errorf("%s: status %d and %q, want %q", name, status, &said, c.want)
		}
	}
}
