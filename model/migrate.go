package model

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
)

// The two folders have the same numbers and make the same tables, columns and indexes; a test compares them.
// A number that has run somewhere is never edited: add another. There is no way back either, nothing is deleted.
//
//go:embed migrations
var migrations embed.FS

// migrateWait bounds how long Migrate waits for another server that is migrating.
const migrateWait = 2 * time.Minute

// Migrate brings the tables up to date and answers how many migrations it applied. Servers that start at once wait for
// each other. A crash in the middle of one leaves nothing of it on SQLite; on MySQL, where each statement that makes a
// table commits by itself, it is run again from its beginning, so its statements can all be repeated.
//
// On MySQL the user needs to be allowed to make triggers: with a binary log, log_bin_trust_function_creators = 1.
func (db *DB) Migrate(ctx context.Context) (applied int, err error) {
	unlock, err := db.lockMigrations(ctx)
	if err != nil {
		return 0, fmt.Errorf("wait for another migration: %w", translate(err))
	}
	defer func() { err = errors.Join(err, unlock()) }()

	pool, err := db.write.DB()
	if err == nil && db.driver == MySQL {
		pool, err = db.patient()
		if err == nil {
			defer func() { err = errors.Join(err, pool.Close()) }()
		}
	}
	if err != nil {
		return 0, err
	}
	files, err := fs.Sub(migrations, "migrations/"+db.driver)
	if err != nil {
		return 0, err
	}
	dialect := goose.DialectSQLite3
	if db.driver == MySQL {
		dialect = goose.DialectMySQL
	}
	// Numbers are given out before the work is done: a lower one may come after a higher one.
	provider, err := goose.NewProvider(dialect, pool, files, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()),
		goose.WithAllowOutofOrder(true))
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		if r.Error == nil {
			db.log.DebugContext(ctx, "migration has run", "migration", r.Source.Path, "took", r.Duration)
			applied++
		}
	}
	if err != nil {
		return applied, fmt.Errorf("migrate: %w", err)
	}
	return applied, db.forgetMarks(ctx)
}

// Behind reports whether the database lacks migrations of this version, or this user may not see which it has had. It
// changes nothing, and takes no right but to read the table of migrations.
func (db *DB) Behind(ctx context.Context) (behind bool, err error) {
	files, err := fs.Glob(migrations, "migrations/"+db.driver+"/*.sql")
	if err != nil {
		return false, err
	}
	err = db.Read(ctx, func(tx *Tx) error {
		names, err := tx.TableNames()
		if err != nil {
			return err
		}
		if !slices.Contains(names, "goose_db_version") {
			behind = true
			return nil
		}
		var run []int64
		if err := tx.db.Raw("SELECT version_id FROM goose_db_version WHERE is_applied").Scan(&run).Error; err != nil {
			return translate(err)
		}
		for _, file := range files {
			version, err := goose.NumericComponent(file)
			if err != nil {
				return err
			}
			behind = behind || !slices.Contains(run, version)
		}
		return nil
	})
	return behind, err
}

// patient opens connections that wait as long as it takes: an index over a large table takes its time, and meanwhile
// nothing is heard from the connection that holds the lock.
func (db *DB) patient() (*sql.DB, error) {
	c := db.mysql.Clone()
	c.ReadTimeout, c.WriteTimeout = 0, 0
	delete(c.Params, "wait_timeout")
	return openPool(c)
}

// lockMigrations lets one server migrate at a time. Either lock ends with the process that has it.
func (db *DB) lockMigrations(ctx context.Context) (unlock func() error, err error) {
	if db.driver == MySQL {
		return db.lockMySQL(ctx)
	}
	// A lock on the database itself would stop the migration too: take one on a file beside it.
	side, err := sql.Open("sqlite", fmt.Sprintf("%s.migrating?_txlock=exclusive&_pragma=busy_timeout(%d)", db.dsn, migrateWait.Milliseconds()))
	if err != nil {
		return nil, err
	}
	tx, err := side.BeginTx(ctx, nil)
	if err != nil {
		return nil, errors.Join(err, side.Close())
	}
	return func() error { return errors.Join(tx.Rollback(), side.Close()) }, nil
}

func (db *DB) lockMySQL(ctx context.Context) (unlock func() error, err error) {
	pool, err := db.patient()
	if err != nil {
		return nil, err
	}
	conn, err := pool.Conn(ctx) // the lock belongs to this connection
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('cardflow.', MD5(DATABASE())), ?)", int(migrateWait.Seconds())).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("the lock didn't come in time")
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(), pool.Close())
	}
	return func() error {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(CONCAT('cardflow.', MD5(DATABASE())))")
		return errors.Join(err, conn.Close(), pool.Close())
	}, nil
}
