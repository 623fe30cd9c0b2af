// Package model keeps what CardFlow must remember on this side of the ledger: records, the states they go through,
// and the transactions that change them, on SQLite (one machine) and on MySQL or MariaDB (production) alike.
//
// Its promise: a row moves only as its transition table allows ([Machine]), whoever asks; two workers who race for a
// row have one winner and the other is told so ([ErrState]); what [DB.Write] acknowledged is on disk. The database
// itself enforces the tables too (triggers, unique indexes, foreign keys), so that a bug in Go, or a hand at the SQL
// prompt, is refused the same way.
//
// What is personal or secret comes sealed by the caller: this package stores bytes and never opens them. Its errors
// carry record IDs and the names of constraints, never the values that a driver would like to quote.
//
// The database is the index of the truth, not the truth: that is the ledger, and where the two differ the ledger wins.
// The tables know it: from every waiting state a row may go straight to what the ledger proved.
package model

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"github.com/glebarez/sqlite"
	driver "github.com/go-sql-driver/mysql"
	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

// The drivers of Config.
const (
	SQLite = "sqlite"
	MySQL  = "mysql" // MySQL 8.0.16 or later, MariaDB 10.6 or later
)

// Config says where the database is. Only Driver and DSN are required.
type Config struct {
	Driver   string
	DSN      string           // SQLite: a file name; MySQL: user:password@tcp(host:port)/database
	Password string           // MySQL: the user's, if the DSN has none
	RootCAs  *x509.CertPool   // MySQL: speak TLS, and believe no certificate but of these; nil leaves it to the DSN
	Logger   *slog.Logger     // default: nothing is logged
	MaxConns int              // connections of the pool; on SQLite readers beside the one writer. Default 16, SQLite 4
	LockWait time.Duration    // how long a statement waits for a lock before Write starts over. Default 5 s
	Clock    func() time.Time // fills CreatedAt and UpdatedAt where the caller left them empty. Default time.Now
	Marks    string           // MySQL: the table in which commits leave their marks, see commit.go. Default commits

	At func(point string) // for the crash suite: called at the points of a transaction; may not return
}

// DB is a database. It is safe for concurrent use.
type DB struct {
	driver   string
	dsn      string
	log      *slog.Logger
	write    *gorm.DB
	group    *group   // SQLite: all writers share commits
	together *group   // MySQL: those of WriteTogether do
	read     *gorm.DB // the same pool as write, except on SQLite
	mysql    *driver.Config
	marks    *marks // MySQL: what each commit leaves behind
	room     room
	atPoint  func(point string) // in the crash suite only
}

// Tx is a transaction of [DB.Write] or [DB.Read]. It belongs to one goroutine and ends with the function it was
// given to.
type Tx struct {
	db   *gorm.DB
	head *AuditHead // as this transaction has locked, or moved, it; nil until then
}

// Context is the context of the transaction.
func (tx *Tx) Context() context.Context { return tx.db.Statement.Context }

// Open connects. It creates an SQLite file that isn't there (mode 0600) but no tables: see [DB.Migrate].
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.LockWait <= 0 {
		cfg.LockWait = 5 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	db := &DB{driver: cfg.Driver, dsn: cfg.DSN, log: cfg.Logger, atPoint: cfg.At}
	var err error
	switch cfg.Driver {
	case SQLite:
		err = db.openSQLite(cfg)
	case MySQL:
		err = db.openMySQL(cfg)
	default:
		err = fmt.Errorf("driver %q is neither %s nor %s", cfg.Driver, SQLite, MySQL)
	}
	if err == nil {
		err = db.Ping(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), db.Close())
	}
	return db, nil
}

// openSQLite opens one connection that writes and a pool that reads: SQLite has one writer at a time anyway, and
// queueing for it in Go is fair where SQLite's own waiting is not. WAL lets readers go on meanwhile.
func (db *DB) openSQLite(cfg Config) error {
	if cfg.DSN == "" || strings.ContainsAny(cfg.DSN, "?") || strings.Contains(cfg.DSN, ":memory:") {
		return errors.New("the DSN of an SQLite database is the name of a file, without parameters")
	}
	// Created here because SQLite would leave the mode to the umask; its WAL files take the mode of this one.
	f, err := os.OpenFile(cfg.DSN, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	// What is deleted is overwritten: a person's name and number are not to be found in the file when they are gone.
	base := fmt.Sprintf("%s?_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)&_pragma=cache_size(-16000)&_pragma=secure_delete(fast)", cfg.DSN, cfg.LockWait.Milliseconds())
	db.write, err = open(sqliteDialect{&sqlite.Dialector{DSN: base + "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"}}, cfg, 1)
	if err != nil {
		return err
	}
	db.group = newGroup(func(ctx context.Context, fn func(*gorm.DB) error) error {
		err := db.write.WithContext(ctx).Transaction(func(g *gorm.DB) error {
			err := fn(g)
			if err == nil {
				db.at(AtCommitting)
			}
			return err
		})
		if err == nil {
			db.at(AtCommitted)
		}
		return err
	})
	readers := cfg.MaxConns
	if readers <= 0 {
		readers = 4
	}
	db.read, err = open(sqliteDialect{&sqlite.Dialector{DSN: base + "&_pragma=query_only(1)"}}, cfg, readers)
	return err
}

func (db *DB) openMySQL(cfg Config) error {
	c, err := driver.ParseDSN(cfg.DSN)
	if err != nil {
		return errors.New("the DSN of a MySQL database is user:password@tcp(host:port)/database") // the driver's text may quote the password
	}
	if c.DBName == "" {
		return errors.New("the DSN names no database")
	}
	if c.Passwd == "" {
		c.Passwd = cfg.Password
	}
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	c.Params["wait_timeout"] = fmt.Sprint(int(vanished.Seconds()))
	c.Params["sql_mode"] = "'TRADITIONAL,NO_ENGINE_SUBSTITUTION'" // an over-long value is an error, not a shorter value
	c.Params["innodb_lock_wait_timeout"] = fmt.Sprint(max(1, int(cfg.LockWait.Seconds())))
	c.Collation = "utf8mb4_bin"
	c.ClientFoundRows = true   // compare-and-swap counts the rows that matched
	c.InterpolateParams = true // one round trip instead of three
	c.MultiStatements = false
	c.Logger = driverLog{cfg.Logger}
	if cfg.RootCAs != nil {
		host, _, err := net.SplitHostPort(c.Addr)
		if err != nil {
			host = c.Addr
		}
		c.TLS = &tls.Config{RootCAs: cfg.RootCAs, ServerName: host, MinVersion: tls.VersionTLS12}
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	// A network that is cut says nothing: without these a call would wait for ever. Longer than any statement takes.
	if c.ReadTimeout == 0 {
		c.ReadTimeout = max(30*time.Second, 2*cfg.LockWait)
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 30 * time.Second
	}
	conns := cfg.MaxConns
	if conns <= 0 {
		conns = 16
	}
	pool, err := openPool(c)
	if err != nil {
		return err
	}
	db.mysql, db.marks = c, newMarks(cfg.Marks, conns)
	db.together = newGroup(func(ctx context.Context, fn func(*gorm.DB) error) error {
		return db.transact(ctx, func(tx *Tx) error { return fn(tx.db) })
	})
	db.write, err = open(mysqlDialect{&mysql.Dialector{Config: &mysql.Config{Conn: pool, SkipInitializeWithVersion: true}}}, cfg, conns)
	db.read = db.write
	return err
}

// vanished is how long MySQL keeps the locks of a client of whom it hears nothing: his machine lost its power, or the
// network is cut. Connections that nobody uses are given up before that.
const vanished = time.Minute

func openPool(c *driver.Config) (*sql.DB, error) {
	connector, err := driver.NewConnector(c)
	if err != nil {
		return nil, errors.New("the DSN of a MySQL database is not accepted by its driver")
	}
	return sql.OpenDB(connector), nil
}

func open(dialect gorm.Dialector, cfg Config, conns int) (*gorm.DB, error) {
	db, err := gorm.Open(dialect, &gorm.Config{
		SkipDefaultTransaction: true,
		TranslateError:         true,
		Logger:                 logger.Discard, // gorm's own logger prints values
		NowFunc:                cfg.Clock,
	})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	if cfg.Driver == MySQL {
		pool.SetConnMaxLifetime(5 * time.Minute) // below the idle limits of usual proxies
		pool.SetConnMaxIdleTime(vanished / 2)
	}
	return db, nil
}

// driverLog keeps the MySQL driver from writing to standard error by itself.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(v ...any) { l.log.Warn("mysql driver", "text", fmt.Sprint(v...)) }

// Driver is SQLite or MySQL.
func (db *DB) Driver() string { return db.driver }

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	for _, g := range []*gorm.DB{db.write, db.read} {
		pool, err := g.DB()
		if err == nil {
			err = pool.PingContext(ctx)
		}
		if err != nil {
			return translate(err)
		}
	}
	return nil
}

// Close waits for running transactions and closes the database.
func (db *DB) Close() error {
	var errs []error
	for _, g := range []*gorm.DB{db.write, db.read} {
		if g == nil {
			continue
		}
		pool, err := g.DB()
		if err == nil {
			err = pool.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// writeTries bounds how often Write runs its function.
const writeTries = 10

// Write runs fn in one transaction and commits it if fn returns nil. After a deadlock, a lock that didn't come in
// time or a busy database everything is rolled back and fn runs again, a few times: so fn may run more than once and
// must have no effect outside of its transaction (reset what it collects when it begins). Don't call Write or
// Migrate inside of fn: on SQLite there is one writer, which would wait for itself.
//
// The same goes for a connection that breaks before the commit: nothing of it stands. When it breaks at the commit
// itself, Write asks the database whether the change stands, and then answers nil or starts over; it answers ErrUnknown
// if the database didn't come back in time to be asked. A crash before Write returns leaves all of it or nothing.
func (db *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	if db.group != nil {
		return db.again(ctx, func() error { return db.group.write(ctx, fn) })
	}
	return db.again(ctx, func() error { return db.transact(ctx, fn) })
}

// WriteTogether is Write for transactions that are short and all lock the same row: those of this server that come at
// the same moment share one commit, instead of waiting for each other's. On SQLite all of them do anyway.
func (db *DB) WriteTogether(ctx context.Context, fn func(tx *Tx) error) error {
	if db.group != nil {
		return db.Write(ctx, fn)
	}
	return db.again(ctx, func() error { return db.together.write(ctx, fn) })
}

// again runs a transaction until it neither was in somebody's way nor found the database away, a few times.
func (db *DB) again(ctx context.Context, transaction func() error) error {
	for try := 1; ; try++ {
		err := transaction()
		db.room.noted(err)
		if err == nil || try == writeTries || !isTransient(err) {
			return err
		}
		pause := rand.N(min(time.Millisecond<<try, 250*time.Millisecond))
		db.log.WarnContext(ctx, "database write starts over", "try", try, "pause", pause, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		case <-timer.C:
		}
	}
}

// Read runs fn on one snapshot of the database. Whatever fn tries to write is refused.
func (db *DB) Read(ctx context.Context, fn func(tx *Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.driver == MySQL {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return db.read.WithContext(ctx).Transaction(func(g *gorm.DB) error { return fn(&Tx{db: g}) }, opts)
}

// locked makes a query lock the rows it finds until the transaction ends. On SQLite it changes nothing: a
// writing transaction has the whole database.
func (tx *Tx) locked() *gorm.DB { return tx.db.Clauses(clause.Locking{Strength: "UPDATE"}) }

// one fetches exactly one record. Errors: ErrNotFound.
func one[T any](query *gorm.DB) (T, error) {
	var record T
	err := query.Take(&record).Error
	return record, err
}

// many fetches the records of a query; none is no error.
func many[T any](query *gorm.DB) ([]T, error) {
	var records []T
	err := query.Find(&records).Error
	if errors.Is(err, ErrNotFound) { // asked for what no row can be: see fromMySQL
		err = nil
	}
	return records, err
}

// swapped turns an UPDATE that met no row, because its WHERE named a state that is no longer so, into ErrState.
func swapped(what, id string, result *gorm.DB) error {
	if result.Error != nil {
		return fmt.Errorf("%s %s: %w", what, id, result.Error)
	}
	if result.RowsAffected == 0 {
		return fmt.Errorf("%s %s: %w", what, id, ErrState)
	}
	return nil
}

// missing turns an UPDATE by key that met no row into ErrNotFound.
func missing(what, id string, result *gorm.DB) error {
	if result.Error == nil && result.RowsAffected == 0 {
		return named(what, id, ErrNotFound)
	}
	return named(what, id, result.Error)
}

// chunk is how many rows or values go into one statement: SQLite takes 32,766 parameters.
const chunk = 500

// named says which record an error is about.
func named(what, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, id, err)
}
