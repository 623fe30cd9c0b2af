//go:build stack

package local_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"

	"cardflow/cmd/stack/local"
	"cardflow/model"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	ok(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestMariaDB makes one, lets the server's restricted user bring his database up to date, kills it after a commit, and
// finds what was committed when it is back.
func TestMariaDB(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, err := local.StartMariaDB(soon(t), local.MariaDBConfig{Dir: dir, Tied: true})
	ok(t, err)
	t.Cleanup(func() { _ = m.Stop() })
	db, err := model.Open(soon(t), model.Config{Driver: model.MySQL, DSN: m.DSN()})
	ok(t, err)
	_, err = db.Migrate(soon(t))
	ok(t, err)
	ok(t, db.Write(soon(t), func(tx *model.Tx) error { return tx.SetCheckpoint("test", 7, "x") }))
	ok(t, m.Kill())
	if m.Running() {
		t.Error("it was killed, and runs")
	}
	ok(t, db.Close())

	// Whoever has the folder can start it again.
	again, err := local.StartMariaDB(soon(t), local.MariaDBConfig{Dir: dir, Tied: true})
	ok(t, err)
	if again.DSN() != m.DSN() {
		t.Error("it came back elsewhere")
	}
	db, err = model.Open(soon(t), model.Config{Driver: model.MySQL, DSN: again.DSN()})
	ok(t, err)
	defer db.Close()
	ok(t, db.Read(soon(t), func(tx *model.Tx) error {
		c, err := tx.Checkpoint("test")
		if err == nil && c.Value != 7 {
			err = fmt.Errorf("the checkpoint stands at %d", c.Value)
		}
		return err
	}))
	secret(t, dir, "mariadb", password(t, m.DSN()), password(t, m.TestDSN()))

	ok(t, again.Stop())
	if again.Running() || local.Listening(again.Addr()) == nil {
		t.Error("it was stopped, and serves")
	}
}

func password(t *testing.T, dsn string) string {
	t.Helper()
	c, err := mysql.ParseDSN(dsn)
	ok(t, err)
	return c.Passwd
}

// TestMariaDBRights: the server's user has his database, the tests' user makes his own, neither has anything else, and
// nobody comes in without a password.
func TestMariaDBRights(t *testing.T) {
	t.Parallel()
	m, err := local.StartMariaDB(soon(t), local.MariaDBConfig{Dir: t.TempDir(), Tied: true, Fast: true})
	ok(t, err)
	t.Cleanup(func() { _ = m.Stop() })
	ctx := soon(t)
	server, tests := open(t, m.DSN()), open(t, m.TestDSN())
	for who, c := range map[string]struct {
		db       *sql.DB
		may, not []string
	}{
		"the server": {server, []string{"CREATE TABLE t (a INT)", "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW SET NEW.a = 1"},
			[]string{"CREATE DATABASE other", "SELECT * FROM mysql.user", "SET GLOBAL max_connections = 1", "CREATE USER x"}},
		"tests": {tests, []string{"CREATE DATABASE cardflow_test_x", "CREATE TABLE cardflow_test_x.t (a INT)", "DROP DATABASE cardflow_test_x"},
			[]string{"CREATE DATABASE other", "CREATE DATABASE cardflowXtestXx", "SELECT * FROM cardflow.t", "SET GLOBAL max_connections = 1"}},
	} {
		for _, statement := range c.may {
			if _, err := c.db.ExecContext(ctx, statement); err != nil {
				t.Errorf("%s: %s: %v", who, statement, err)
			}
		}
		for _, statement := range c.not {
			if _, err := c.db.ExecContext(ctx, statement); err == nil {
				t.Errorf("%s may %s", who, statement)
			}
		}
	}
	for _, user := range []string{"root", "", "cardflow", "cardflow_test"} {
		if err := open(t, user+"@tcp("+m.Addr()+")/").PingContext(ctx); err == nil {
			t.Errorf("%q comes in without a password", user)
		}
	}
	// The password may be apart from the DSN.
	for _, c := range []struct {
		password string
		in       bool
	}{{parsed(t, m.DSN()).Passwd, true}, {"another", false}} {
		bare := parsed(t, m.DSN())
		bare.Passwd = ""
		db, err := model.Open(ctx, model.Config{Driver: model.MySQL, DSN: bare.FormatDSN(), Password: c.password})
		if (err == nil) != c.in {
			t.Errorf("a password beside the DSN: %v, want in %t", err, c.in)
		}
		if err == nil {
			ok(t, db.Close())
		}
	}
	// TLS, with the authority of its folder and no other.
	pool := authority(t, m.CA())
	for name, c := range map[string]struct {
		roots *x509.CertPool
		in    bool
	}{"its own": {pool, true}, "another": {x509.NewCertPool(), false}} {
		db, err := model.Open(ctx, model.Config{Driver: model.MySQL, DSN: m.DSN(), RootCAs: c.roots})
		if (err == nil) != c.in {
			t.Errorf("with %s authority: %v", name, err)
		}
		if err == nil {
			ok(t, db.Close())
		}
	}
}

func parsed(t *testing.T, dsn string) *mysql.Config {
	t.Helper()
	c, err := mysql.ParseDSN(dsn)
	ok(t, err)
	return c
}

func authority(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(file)
	ok(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in " + file)
	}
	return pool
}

// secret demands that passwords stand in no command line and in no file that others may read.
func secret(t *testing.T, dir, name string, passwords ...string) {
	t.Helper()
	p, err := local.NewProcesses(dir, true)
	ok(t, err)
	if commands, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid(name))); err == nil {
		for _, password := range passwords {
			if bytes.Contains(commands, []byte(password)) {
				t.Error("a password stands in a command line")
			}
		}
	}
	ok(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, filepath.Join(dir, "data")) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, password := range passwords {
			if info, err := d.Info(); bytes.Contains(text, []byte(password)) && (err != nil || info.Mode().Perm() != 0o600) {
				t.Errorf("%s holds a password and has mode %v", path, info.Mode())
			}
		}
		return nil
	}))
}

// TestRedis: who may come in and do what, with TLS and without; and what is left after a kill.
func TestRedis(t *testing.T) {
	t.Parallel()
	for _, fast := range []bool{false, true} {
		dir := t.TempDir()
		r, err := local.StartRedis(soon(t), local.RedisConfig{Dir: dir, Tied: true, Fast: fast})
		ok(t, err)
		t.Cleanup(func() { _ = r.Stop() })
		ctx := soon(t)
		client := func(o redis.Options) *redis.Client {
			if o.Addr == "" {
				o.Addr = r.Addr()
			}
			c := redis.NewClient(&o)
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		for name, o := range map[string]redis.Options{"nobody": {}, "a guesser": {Password: "redis"}, "a user without a password": {Username: local.RedisUser}} {
			if err := client(o).Ping(ctx).Err(); err == nil {
				t.Errorf("%s comes in", name)
			}
		}
		admin := client(redis.Options{Password: r.Password()})
		ok(t, admin.Set(ctx, "cardflow:kept", 1, 0).Err())
		user := client(redis.Options{Username: local.RedisUser, Password: r.UserPassword(), Addr: r.TLSAddr(), TLSConfig: &tls.Config{RootCAs: authority(t, r.CA()), MinVersion: tls.VersionTLS12}})
		ok(t, user.Set(ctx, "cardflow:x", 1, 0).Err())
		ok(t, user.Publish(ctx, "cardflow:told", "x").Err())
		ok(t, user.Eval(ctx, `redis.call("TIME") return redis.call("GET", KEYS[1])`, []string{"cardflow:x"}).Err())
		for name, err := range map[string]error{
			"another's key": user.Get(ctx, "other").Err(), "FLUSHALL": user.FlushAll(ctx).Err(), "CONFIG": user.ConfigGet(ctx, "*").Err(),
			"another's channel": user.Publish(ctx, "other", "x").Err(), "KEYS": user.Keys(ctx, "*").Err(),
		} {
			if err == nil || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("the server's user and %s: %v", name, err)
			}
		}
		if err := client(redis.Options{Password: r.Password(), Addr: r.TLSAddr(), TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}}).Ping(ctx).Err(); err == nil {
			t.Error("a certificate of nobody known is believed")
		}
		secret(t, dir, "redis", r.Password(), r.UserPassword())

		ok(t, local.Wait(ctx, func() error { return flushed(ctx, admin, fast) }))
		ok(t, r.Kill())
		ok(t, r.Start(ctx))
		if n := admin.Exists(ctx, "cardflow:kept").Val(); (n == 0) != fast {
			t.Errorf("fast %t: after a kill there are %d", fast, n)
		}
		ok(t, r.Stop())
	}
}

// flushed waits for the second after which a durable Redis has things on its disk.
func flushed(ctx context.Context, admin *redis.Client, fast bool) error {
	if fast {
		return nil
	}
	info, err := admin.Info(ctx, "persistence").Result()
	if err == nil && !strings.Contains(info, "aof_pending_bio_fsync:0") {
		err = fmt.Errorf("not on the disk yet")
	}
	return err
}
