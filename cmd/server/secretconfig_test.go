package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestSecretsFromFiles(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{
		"hunter2": "hunter2", "hunter2\n": "hunter2", "hunter2\r\n": "hunter2", " a b ": " a b ", "": "", "\n": "",
	} {
		c, err := Load("", []string{"CARDFLOW_REDIS_PASSWORD_FILE=" + file(text)})
		if err != nil || c.Redis.Password.Reveal() != want {
			t.Errorf("a file of %q gives %q, %v; want %q", text, c.Redis.Password.Reveal(), err, want)
		}
	}
	for name, c := range map[string]struct {
		env  []string
		want string // of the one fault
	}{
		"absent":            {[]string{"CARDFLOW_WECHAT_APP_SECRET_FILE=" + filepath.Join(t.TempDir(), "absent")}, "wechat.app_secret: its file cannot be read: no such file"},
		"a folder":          {[]string{"CARDFLOW_WECHAT_APP_SECRET_FILE=" + t.TempDir()}, "wechat.app_secret: its file cannot be read"},
		"two lines":         {[]string{"CARDFLOW_DATABASE_DSN_FILE=" + file("hunter2\nhunter2\n")}, "database.dsn: its file should hold one line"},
		"a dump":            {[]string{"CARDFLOW_DATABASE_DSN_FILE=" + file("[secret]\n")}, "database.dsn: is what a dump prints"},
		"in both":           {[]string{"CARDFLOW_REDIS_PASSWORD_FILE=" + file("hunter2"), "CARDFLOW_REDIS_PASSWORD=hunter2"}, "redis.password: is given twice"},
		"of what is no key": {[]string{"CARDFLOW_REDIS_PASSWD_FILE=" + file("hunter2")}, "names no key"},
		"of no secret":      {[]string{"CARDFLOW_HTTP_LISTEN_FILE=" + file(":1")}, "names no key"},
	} {
		_, err := Load("", c.env)
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(faults[0].String(), c.want) || !strings.Contains(faults[0].Where, "_FILE") {
			t.Errorf("%s: %v, want one fault with %q", name, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret stands in %v", name, err)
		}
	}
}

func TestPasswordOf(t *testing.T) {
	for dsn, want := range map[string]string{
		"u:p@tcp(h:1)/d": "p", "u:p@w:x@tcp(h:1)/d": "p@w:x", "u@tcp(h:1)/d": "", "tcp(h:1)/d": "", "": "", "/d": "",
	} {
		if got := passwordOf(NewSecret(dsn)); got != want {
			t.Errorf("password of %q is %q, want %q", dsn, got, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	const secret = "hunter2"
	c := DefaultConfig()
	c.Database.DSN, c.Database.Password, c.Redis.Password, c.WeChat.AppSecret = NewSecret(secret), NewSecret(secret), NewSecret(secret), NewSecret(secret)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%w", "%20s"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c.Redis.Password)
	}
	fmt.Fprintln(&out, c.Redis, &c.WeChat, []Secret{NewSecret(secret)}, map[string]Secret{"k": NewSecret(secret)})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", c, "secret", c.Redis.Password)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "config", c, "secret", c.Redis.Password)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	out.Write(asYAML)
	for line := range strings.Lines(out.String()) {
		for _, leak := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
			if strings.Contains(line, leak) {
				t.Errorf("a secret stands in %s", line)
			}
		}
	}
	if !strings.Contains(string(asYAML), "app_secret: '[secret]'") {
		t.Errorf("a dump doesn't tell that the secret is set:\n%s", asYAML)
	}
	if c.Redis.Password.Reveal() != secret {
		t.Error("the secret is lost")
	}
}

// TestFaultsRepeatNoValue: a secret in the wrong place is still a secret.
func TestFaultsRepeatNoValue(t *testing.T) {
	text := ""
	for _, line := range []string{"mode: %s", "http: {listen: %[1]s, body_limit: %[1]s, read_timeout: %[1]s, tls_in_front: %[1]s, trusted_proxies: [%[1]s], public_url: %[1]s}",
		"redis: {db: %s, password: [%[1]s]}", "limits: {wrong_codes: %s}", "ledger: {channel: %s-HUNTER2, file: ../%[1]s}", "numbering: {issuers: [{prefix: %[1]s, rule: %[1]s}], msisdn_prefixes: [%[1]s]}", "log: %s"} {
		text += fmt.Sprintf(line, "hunter2") + "\n"
	}
	faults := load(t, text, "CARDFLOW_RELAY_WORKERS=hunter2")
	if len(faults) < 15 {
		t.Errorf("only %d faults: %v", len(faults), faults)
	}
	if strings.Contains(strings.ToLower(faults.Error()), "hunter2") {
		t.Error(faults)
	}
}
