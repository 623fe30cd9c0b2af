//go:build stack

package docker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cardflow/cmd/stack/local"
)

// TestRedisScript runs the service's own start script and configuration, with this machine's Redis: the server's user comes
// in with the password of the file and may do what the server does, nobody else comes in, and the password is shown nowhere.
func TestRedisScript(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	// For its certificate, and to have a free port.
	other, err := local.StartRedis(ctx, local.RedisConfig{Dir: dir, Tied: true, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	at := other.TLSAddr()
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(at, ":")
	secret := filepath.Join(dir, "secret")
	const password = "correct horse 'battery\" $staple"
	for name, text := range map[string]string{"secret": password + "\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := t.TempDir()
	start := func(secret string) *exec.Cmd {
		return exec.CommandContext(ctx, "sh", "redis.sh", "redis.conf", secret, run,
			"--bind", local.Loopback, "--tls-port", port, "--dir", run, "--tls-ca-cert-file", filepath.Join(dir, "ca.pem"),
			"--tls-cert-file", filepath.Join(dir, "server.pem"), "--tls-key-file", filepath.Join(dir, "server.key"))
	}
	if out, err := start(filepath.Join(dir, "empty")).CombinedOutput(); err == nil || !strings.Contains(string(out), "empty") {
		t.Errorf("an empty password: %v, %s", err, out)
	}
	if out, err := start(filepath.Join(dir, "none")).CombinedOutput(); err == nil {
		t.Errorf("no password: %s", out)
	}
	cmd := start(secret)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	running, ended := context.WithCancelCause(ctx)
	go func() { ended(fmt.Errorf("it has ended: %w", cmd.Wait())) }()
	defer func() {
		_ = cmd.Process.Kill()
		<-running.Done()
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := func(user, password string, transport *tls.Config) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: at, Username: user, Password: password, TLSConfig: transport, MaxRetries: -1})
		t.Cleanup(func() { c.Close() })
		return c
	}
	believing := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	server := client("cardflow", password, believing)
	if err := local.Wait(running, func() error { return server.Ping(ctx).Err() }); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*redis.Client{
		"the default user": client("", password, believing), "nobody": client("", "", believing),
		"another password": client("cardflow", "cardflow", believing), "without TLS": client("cardflow", password, nil),
	} {
		if err := c.Ping(ctx).Err(); err == nil {
			t.Errorf("%s came in", name)
		}
	}
	do := func(args ...any) error { return server.Do(ctx, args...).Err() }
	for _, may := range [][]any{
		{"set", "cardflow:x", "1", "px", "60000"}, {"incr", "cardflow:x"}, {"time"}, {"publish", "cardflow:c", "x"},
		{"eval", "return redis.call('get', KEYS[1])", "1", "cardflow:x"},
	} {
		if err := do(may...); err != nil {
			t.Errorf("the server may not %v: %v", may, err)
		}
	}
	for _, not := range [][]any{{"set", "other:x", "1"}, {"flushall"}, {"keys", "*"}, {"config", "get", "*"}, {"acl", "list"}, {"shutdown"}} {
		if err := do(not...); err == nil {
			t.Errorf("the server may %v", not)
		}
	}
	shown := ""
	for _, path := range []string{"/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cmdline", "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/environ", filepath.Join(run, "redis.conf")} {
		if text, err := os.ReadFile(path); err == nil { // there is no /proc everywhere
			shown += string(text)
		}
	}
	_ = cmd.Process.Kill()
	<-running.Done()
	if shown += said.String(); strings.Contains(shown, password) {
		t.Error("the password is shown")
	}
	if info, err := os.Stat(filepath.Join(run, "redis.conf")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what Redis is told lies about: %v, %v", info, err)
	}
}
