// Package modeltest gives tests a fresh database, with all migrations applied, that is gone when the test ends.
//
// SQLite always; MySQL or MariaDB too where CARDFLOW_TEST_MYSQL_DSN names a server on which the user may create
// databases: each test gets one of its own there.
package modeltest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"cardflow/model"
)

// DSNVariable names the MySQL server for tests: user:password@tcp(host:port)/
const DSNVariable = "CARDFLOW_TEST_MYSQL_DSN"

// Engine is a database that tests run on.
type Engine struct {
	Name string
	// New makes an empty database, without tables, that is dropped when the test ends.
	New func(t testing.TB) model.Config
}

// Engines are the databases there are here.
func Engines() []Engine {
	engines := []Engine{{Name: model.SQLite, New: newSQLite}}
	if os.Getenv(DSNVariable) != "" {
		engines = append(engines, Engine{Name: model.MySQL, New: newMySQL})
	}
	return engines
}

// Each runs a test once per engine, on a fresh database.
func Each(t *testing.T, test func(t *testing.T, db *model.DB)) {
	t.Helper()
	for _, engine := range Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			if engine.Name == model.SQLite {
				test(t, Open(t))
				return
			}
			test(t, OpenConfig(t, engine.New(t)))
		})
	}
}

// Open opens a fresh SQLite database: for tests of other packages that need a database, whichever.
func Open(t testing.TB) *model.DB {
	t.Helper()
	return OpenConfig(t, copySQLite(t))
}

// template is a migrated SQLite database: copying it is ten times as fast as migrating again.
var template = sync.OnceValues(func() (data []byte, err error) {
	dir, err := os.MkdirTemp("", "modeltest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "template.db")
	db, err := model.Open(context.Background(), model.Config{Driver: model.SQLite, DSN: file})
	if err != nil {
		return nil, err
	}
	_, err = db.Migrate(context.Background())
	if err := errors.Join(err, db.Close()); err != nil { // closing brings the log into the file
		return nil, err
	}
	return os.ReadFile(file)
})

func copySQLite(t testing.TB) model.Config {
	t.Helper()
	data, err := template()
	if err != nil {
		t.Fatal(err)
	}
	cfg := newSQLite(t)
	if err := os.WriteFile(cfg.DSN, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// OpenConfig opens and migrates a database and closes it when the test ends.
func OpenConfig(t testing.TB, cfg model.Config) *model.DB {
	t.Helper()
	db, err := model.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func newSQLite(t testing.TB) model.Config {
	return model.Config{Driver: model.SQLite, DSN: filepath.Join(t.TempDir(), "cardflow.db")}
}

func newMySQL(t testing.TB) model.Config {
	t.Helper()
	dsn, err := mysql.ParseDSN(os.Getenv(DSNVariable))
	if err != nil {
		t.Fatalf("%s is no DSN", DSNVariable)
	}
	dsn.DBName = ""
	server, err := sql.Open("mysql", dsn.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	name := "cardflow_test_" + rand.Text()
	if _, err := server.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the database was closed: clean-ups run last first
		if _, err := server.Exec("DROP DATABASE " + name); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn.DBName = name
	return model.Config{Driver: model.MySQL, DSN: dsn.FormatDSN(), MaxConns: 8}
}
