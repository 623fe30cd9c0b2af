// Package modeltest gives tests a fresh database, with all migrations applied, that is gone when the test ends.
//
// It is an SQLite file, or, where CARDFLOW_TEST_DATABASE says mysql, a database of its own on the MySQL or MariaDB
// server that CARDFLOW_TEST_MYSQL_DSN names. One run is about one of the two: `make test` makes both.
package modeltest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cardflow/model"
)

const (
	// EngineVariable chooses what tests run on: sqlite, which is the default, or mysql.
	EngineVariable = "CARDFLOW_TEST_DATABASE"
	// DSNVariable names the MySQL server for tests: user:password@tcp(host:port)/. The user must be allowed to create
	// databases whose names begin with cardflow_test_, and to do anything in them.
	DSNVariable = "CARDFLOW_TEST_MYSQL_DSN"
)

// Engine is the driver that this run is about. A variable that makes no sense fails the test: it must not run on
// something else than was asked for.
func Engine(t testing.TB) string {
	t.Helper()
	switch engine := os.Getenv(EngineVariable); engine {
	case "", model.SQLite:
		return model.SQLite
	case model.MySQL:
		if os.Getenv(DSNVariable) == "" {
			t.Fatalf("%s says mysql, and %s doesn't say where", EngineVariable, DSNVariable)
		}
		return model.MySQL
	}
	t.Fatalf("%s is neither %s nor %s", EngineVariable, model.SQLite, model.MySQL)
	return ""
}

// Each runs a test on a fresh database, as a subtest that has the engine's name.
func Each(t *testing.T, test func(t *testing.T, db *model.DB)) {
	t.Helper()
	t.Run(Engine(t), func(t *testing.T) {
		t.Parallel()
		test(t, Open(t))
	})
}

// Open opens a fresh database and closes it when the test ends.
func Open(t testing.TB) *model.DB {
	t.Helper()
	return OpenConfig(t, Fresh(t).Config)
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

// Place is where a test's database is. It outlives the connections to it, and goes when the test ends.
type Place struct {
	Config model.Config
	store  store
}

// Copy is all that stood in a database when it was taken. It can be put into any number of places of its engine, also
// of later tests of the process.
type Copy any

// store is one engine's way to copy.
type store interface {
	copy(ctx context.Context) (Copy, error)
	put(ctx context.Context, c Copy) error
	bytes(ctx context.Context) ([]byte, error)
}

// Empty makes a database without tables.
func Empty(t testing.TB) *Place {
	t.Helper()
	if Engine(t) == model.MySQL {
		return newMySQL(t, rand.Text())
	}
	file := filepath.Join(t.TempDir(), "cardflow.db")
	return &Place{Config: model.Config{Driver: model.SQLite, DSN: file}, store: sqliteFile(file)}
}

// Named makes an empty MySQL database that [NamedDSN] leads to, for a process that has nothing but the name.
func Named(t testing.TB, name string) *Place {
	t.Helper()
	return newMySQL(t, digest(name))
}

// Fresh makes a migrated database with no rows. Putting a copy is several times as fast as migrating again.
func Fresh(t testing.TB) *Place {
	t.Helper()
	template.once.Do(func() {
		p := Empty(t)
		template.err = migrate(p.Config)
		if template.err == nil {
			template.copy, template.err = p.store.copy(context.Background())
		}
	})
	if template.err != nil {
		t.Fatal(template.err)
	}
	p := Empty(t)
	if template.copy == nil {
		t.Fatal("there is no migrated database to copy: see the first test that wanted one")
	}
	p.Put(t, template.copy)
	return p
}

var template struct {
	once sync.Once
	copy Copy
	err  error
}

func migrate(cfg model.Config) error {
	db, err := model.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	_, err = db.Migrate(context.Background())
	return errors.Join(err, db.Close())
}

// Copy takes a copy. Nobody may be writing meanwhile, and on SQLite nobody may be connected.
func (p *Place) Copy(t testing.TB) Copy {
	t.Helper()
	c, err := p.store.copy(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Put makes the database what it was when the copy was taken, whatever it holds. Nobody may be connected.
func (p *Place) Put(t testing.TB, c Copy) {
	t.Helper()
	if err := p.store.put(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

// Bytes answers all that stands in the database, for tests that look for what must not: on SQLite its files, with what
// was deleted and not overwritten yet; on MySQL the values of all rows, one after the other.
func (p *Place) Bytes(t testing.TB) []byte {
	t.Helper()
	b, err := p.store.bytes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sqliteFile is the name of an SQLite database.
type sqliteFile string

// sqliteFiles are what an SQLite database may consist of: the file, and the log that a process which was killed left.
var sqliteFiles = []string{"", "-wal", "-shm"}

func (f sqliteFile) copy(context.Context) (Copy, error) {
	files := map[string][]byte{}
	for _, suffix := range sqliteFiles {
		b, err := os.ReadFile(string(f) + suffix)
		if err == nil {
			files[suffix] = b
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no database %s", filepath.Base(string(f)))
	}
	return files, nil
}

func (f sqliteFile) put(_ context.Context, c Copy) error {
	files := c.(map[string][]byte)
	for _, suffix := range sqliteFiles {
		err := os.Remove(string(f) + suffix)
		if b, ok := files[suffix]; ok {
			err = os.WriteFile(string(f)+suffix, b, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f sqliteFile) bytes(ctx context.Context) ([]byte, error) {
	c, err := f.copy(ctx)
	if err != nil {
		return nil, err
	}
	files := c.(map[string][]byte)
	return append(files[""], files["-wal"]...), nil
}
