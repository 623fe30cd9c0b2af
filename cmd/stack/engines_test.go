//go:build stack

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"cardflow/cmd/stack/local"
)

// TestRunWithEngines: the command finds MariaDB and Redis where its variables say, and they go with it, also when nobody
// is left to stop them in good order.
func TestRunWithEngines(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		cmd, temp := stack(t, "run", "--mariadb", "--redis", "--", "sh", "-c",
			`echo "$CARDFLOW_TEST_MYSQL_DSN"; echo "$CARDFLOW_TEST_REDIS_ADDR $CARDFLOW_TEST_REDIS_PASSWORD"; sleep 1000`)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		dsn, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		redis, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		database, err := mysql.ParseDSN(strings.TrimSpace(dsn))
		if err != nil || database.Passwd == "" || database.DBName != "" {
			t.Errorf("the DSN has user %q, database %q, %v", database.User, database.DBName, err)
		}
		addr, password, _ := strings.Cut(strings.TrimSpace(redis), " ")
		if password == "" {
			t.Error("Redis has no password")
		}
		for _, a := range []string{database.Addr, addr} {
			if host, _, err := net.SplitHostPort(a); err != nil || host != local.Loopback || local.Listening(a) != nil {
				t.Errorf("nothing serves at %q", a)
			}
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := local.Wait(ctx, func() error {
			left, err := filepath.Glob(filepath.Join(temp, "*"))
			if err == nil && (len(left) > 0 || local.Listening(database.Addr) == nil || local.Listening(addr) == nil) {
				err = fmt.Errorf("after %s there are %v, and who still serves", signal, left)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}
