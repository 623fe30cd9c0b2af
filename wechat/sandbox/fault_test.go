package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cardflow/wechat/sandbox"
)

func TestFaultsComeInOrderAndAsOftenAsAsked(t *testing.T) {
	b := start(t)
	add := func(f map[string]any) {
		t.Helper()
		f["path"] = "/sns/jscode2session"
		if status, _, body := b.send("POST", "/sandbox/faults", f); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, body)
		}
	}
	add(map[string]any{"errcode": 45011, "times": 2})
	add(map[string]any{"status": 502})
	add(map[string]any{"body": "<garbage"})
	b.wantErrcode(b.ask("GET", loginPath("demo:a"), nil), 45011)
	b.token() // another path: untouched
	b.wantErrcode(b.ask("GET", loginPath("demo:a"), nil), 45011)
	if status, _, _ := b.send("GET", loginPath("demo:a"), nil); status != 502 {
		t.Errorf("status %d", status)
	}
	if _, _, body := b.send("GET", loginPath("demo:a"), nil); string(body) != "<garbage" {
		t.Errorf("body %q", body)
	}
	if got := b.ask("GET", loginPath("demo:a"), nil); got["openid"] == nil {
		t.Errorf("after the faults: %v", got)
	}
	add(map[string]any{"errcode": -1, "times": -1})
	for range 5 {
		b.wantErrcode(b.ask("GET", loginPath("demo:a"), nil), -1)
	}
	b.send("DELETE", "/sandbox/faults", nil)
	if got := b.ask("GET", loginPath("demo:a"), nil); got["openid"] == nil {
		t.Errorf("after deletion: %v", got)
	}
}

func TestFaultAfterLetsTheRequestTakeEffect(t *testing.T) {
	b := start(t)
	before, after := b.mint("李雷", "login"), b.mint("李雷", "login")
	for code, f := range map[string]sandbox.Fault{before: {Status: 500}, after: {Status: 500, After: true}} {
		f.Path = "/sns/jscode2session"
		if err := b.Script(f); err != nil {
			t.Fatal(err)
		}
		b.send("GET", loginPath(code), nil)
	}
	if got := b.ask("GET", loginPath(before), nil); got["openid"] == nil {
		t.Errorf("the code was used up: %v", got)
	}
	b.wantErrcode(b.ask("GET", loginPath(after), nil), 40163)
}

func TestFaultsOnTheConnection(t *testing.T) {
	b := start(t)
	for name, tc := range map[string]struct {
		fault sandbox.Fault
		want  func(error) bool
	}{
		"drop":     {sandbox.Fault{Drop: true}, func(err error) bool { return errors.Is(err, io.EOF) }},
		"truncate": {sandbox.Fault{Truncate: true}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
	} {
		t.Run(name, func(t *testing.T) {
			tc.fault.Path = "/cgi-bin/stable_token"
			if err := b.Script(tc.fault); err != nil {
				t.Fatal(err)
			}
			answer, err := http.Post(b.url+"/cgi-bin/stable_token", "application/json", strings.NewReader("{}"))
			if err == nil {
				_, err = io.ReadAll(answer.Body)
				answer.Body.Close()
			}
			if !tc.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("delay", func(t *testing.T) {
		// The sandbox would wait an hour: the end of this test shows that it stops when the client does.
		if err := b.Script(sandbox.Fault{Path: "/cgi-bin/stable_token", Delay: "1h"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "POST", b.url+"/cgi-bin/stable_token", strings.NewReader("{}"))
		if _, err := http.DefaultClient.Do(r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("short delay", func(t *testing.T) {
		if err := b.Script(sandbox.Fault{Path: "/cgi-bin/stable_token", Delay: "1ms"}); err != nil {
			t.Fatal(err)
		}
		if b.token() == "" {
			t.Error("no answer after the delay")
		}
	})
}

func TestControlRefusesNonsense(t *testing.T) {
	b := start(t)
	for _, tc := range []struct{ path, body string }{
		{"/sandbox/faults", `{`},
		{"/sandbox/faults", `{}`},
		{"/sandbox/faults", `{"path":"/x"}`},
		{"/sandbox/faults", `{"errcode":1}`},
		{"/sandbox/faults", `{"path":"/x","delay":"soon"}`},
		{"/sandbox/faults", `{"path":"/x","status":99}`},
		{"/sandbox/codes", `{`},
		{"/sandbox/codes", `{}`},
		{"/sandbox/codes", `{"name":"a","kind":"x"}`},
		{"/sandbox/codes", `{"name":"` + strings.Repeat("长", 33) + `"}`},
	} {
		if status, _, _ := b.send("POST", tc.path, tc.body); status != http.StatusBadRequest {
			t.Errorf("%s %s: status %d", tc.path, tc.body, status)
		}
	}
	if status, _, _ := b.send("POST", "/cgi-bin/stable_token", strings.Repeat("x", 1<<17)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a huge body: status %d", status)
	}
}
