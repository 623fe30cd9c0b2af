package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestFirstStart takes a fresh server over, as its first operator does.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p := startProcess(t, "--data", dir, "serve")
	var password string
	for line := range p.said {
		if _, after, ok := strings.Cut(line, "一次性密码 "); ok {
			password, _, _ = strings.Cut(after, "（")
		}
		if p.url = servedAt.FindString(line); p.url != "" {
			break
		}
	}
	admin := &visitor{newClient(p.url, "admin"), t}
	check(t, admin.login(soon(t), "admin", password))
	admin.refused(403, "PASSWORD_CHANGE_REQUIRED", http.MethodGet, "/stats", nil)
	other := &visitor{newClient(p.url, "other"), t}
	check(t, other.login(soon(t), "admin", password))
	var renewed struct{ Token string }
	admin.post("/me/password", map[string]string{"oldPassword": password, "newPassword": "中文密码也可以，够长就行"}, &renewed)
	for _, v := range []*visitor{admin, other} {
		v.refused(401, "UNAUTHENTICATED", http.MethodGet, "/stats", nil)
	}
	admin.token = renewed.Token
	admin.get("/stats", nil)
	other.refused(401, "LOGIN_FAILED", http.MethodPost, "/auth/login", map[string]string{"username": "admin", "password": password})
	p.stop(t)
	if log := p.errs.String(); strings.Contains(log, password) {
		t.Error("the one-time password is in the log")
	}
	again := startProcess(t, "--data", dir, "serve")
	for line := range again.said {
		if strings.Contains(line, "一次性密码") {
			t.Errorf("a second start says %s", line)
		}
		if servedAt.MatchString(line) {
			break
		}
	}
	again.stop(t)
}
