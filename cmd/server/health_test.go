package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", "[::1]:1": "[::1]:1", "cards:1": "cards:1",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("who listens on %s is reached at %s, want %s", listen, got, want)
		}
	}
}

func TestHealth(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string // of the error; "" for none
	}{
		"ready":       {200, `{"status":"ready","checks":{"redis":"ok"}}`, ""},
		"one is down": {503, `{"status":"unready","checks":{"redis":"failed","ledger":"failed","custody":"ok"}}`, "not ready: ledger, redis"},
		"a stranger":  {200, `<html>welcome</html>`, "not ready"},
		"another":     {404, `{}`, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asked for %s", r.URL)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer s.Close()
			_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
			// Listening everywhere is asked on the loopback.
			for _, listen := range []string{"127.0.0.1:", ":", "0.0.0.0:", "[::]:"} {
				var out, log bytes.Buffer
				status := run(t.Context(), []string{"health"}, []string{"CARDFLOW_HTTP_LISTEN=" + listen + port}, &out, &log, nil)
				if (status == 0) != (c.want == "") || status == 0 && out.String() != "ready\n" || !strings.Contains(log.String(), c.want) {
					t.Errorf("%s: status %d, %q, %q; want %q", listen, status, &out, &log, c.want)
				}
			}
		})
	}
}
