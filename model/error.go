package model

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	gosqlite "github.com/glebarez/go-sqlite"
	"github.com/glebarez/sqlite"
	driver "github.com/go-sql-driver/mysql"
	"gorm.io/driver/mysql"
	"gorm.io/gorm"
)

var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrConflict: another record already has what must be unique, or holds what was asked for.
	ErrConflict = errors.New("conflict")
	// ErrState: the record may not make this move, or somebody else moved it first.
	ErrState = errors.New("state does not allow this")
	// ErrUnavailable: the database can't be reached, or is too busy, now; nothing was changed.
	ErrUnavailable = errors.New("database unavailable")
	// ErrUnknown: the database went away at a commit, and whether the change stands is not known. It is an
	// ErrUnavailable, too, except that something may have been changed.
	ErrUnknown = errors.New("outcome unknown")
	// ErrCursor: the cursor of a list was not made by that list.
	ErrCursor = errors.New("not a cursor of this list")
)

// storeError is what a driver said, without the values it quoted.
type storeError struct {
	kind      error // one of the errors above, or nil
	text      string
	transient bool // the same transaction may succeed when it is run again
}

func (e *storeError) Error() string {
	if e.kind != nil {
		return e.kind.Error() + ": " + e.text
	}
	return e.text
}

func (e *storeError) Unwrap() error { return e.kind }

func isTransient(err error) bool {
	var e *storeError
	return errors.As(err, &e) && e.transient
}

// Broken reports whether an error is the database's, which can't be reached, is full or damaged, and not for what was to
// be done there.
func Broken(err error) bool {
	var e *storeError
	return errors.Is(err, ErrUnavailable) || errors.As(err, &e) && e.kind == nil
}

// sqliteDialect and mysqlDialect are gorm's, with translate in the place of their own translation.
type (
	sqliteDialect struct{ *sqlite.Dialector }
	mysqlDialect  struct{ *mysql.Dialector }
)

func (sqliteDialect) Translate(err error) error { return translate(err) }
func (mysqlDialect) Translate(err error) error  { return translate(err) }

// SQLite result codes, https://www.sqlite.org/rescode.html
const (
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteFull       = 13
	sqlitePrimaryKey = 1555
	sqliteTrigger    = 1811
	sqliteUnique     = 2067
)

// MySQL and MariaDB error numbers, https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
const (
	mysqlDuplicate   = 1062
	mysqlLetters     = 1267 // no common collation for two operands
	mysqlLockTimeout = 1205
	mysqlDeadlock    = 1213
	mysqlSignal      = 1644 // our triggers
	mysqlChanged     = 1020 // MariaDB: record changed since the snapshot
)

// mysqlAway are what a MySQL server says that is going down, has no room for another client, may not write for now
// (while another one takes over), or ended the client's session. The same may succeed soon.
var mysqlAway = map[uint16]bool{1040: true, 1047: true, 1053: true, 1077: true, 1079: true, 1158: true, 1159: true, 1160: true, 1161: true,
	1203: true, 1290: true, 1836: true, 1927: true, 3169: true}

// mysqlFull are what it says when its disk is full, of a table, the log, or a file of its own for a moment: it may be for long.
var mysqlFull = map[uint16]bool{3: true, 1021: true, 1026: true, 1030: true, 1114: true, 1180: true, 1878: true}

// quotable are the MySQL errors whose text names users, tables and columns but never a value.
var quotable = map[uint16]bool{1044: true, 1045: true, 1046: true, 1049: true, 1054: true, 1142: true, 1146: true, 1792: true}

var forKey = regexp.MustCompile(`for key '([\w.]+)'$`)

// translate makes errors the same on both databases and takes the values out of them.
func translate(err error) error {
	var (
		done  *storeError
		lite  *gosqlite.Error
		mysql *driver.MySQLError
	)
	switch {
	case err == nil || errors.As(err, &done):
		return err
	case errors.Is(err, gorm.ErrRecordNotFound):
		return ErrNotFound
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &lite):
		return fromSQLite(lite)
	case errors.As(err, &mysql):
		return fromMySQL(mysql)
	case unreachable(err):
		return &storeError{kind: ErrUnavailable, text: err.Error(), transient: true}
	}
	return err
}

// unreachable tells a connection that broke, or could not be made, from what a server said. One that ends while TLS is being
// agreed on is a bare EOF.
func unreachable(err error) bool {
	var network net.Error
	return errors.Is(err, driver.ErrInvalidConn) || errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// fromSQLite: its messages name tables and columns only.
func fromSQLite(e *gosqlite.Error) error {
	out := &storeError{text: e.Error()}
	switch code := e.Code(); {
	case code == sqliteUnique || code == sqlitePrimaryKey:
		out.kind = ErrConflict
	case code == sqliteTrigger:
		out.kind = ErrState
	case code&0xff == sqliteBusy || code&0xff == sqliteLocked:
		out.kind, out.transient = ErrUnavailable, true
	case code&0xff == sqliteFull:
		out.kind = errFull
	}
	return out
}

func fromMySQL(e *driver.MySQLError) error {
	out := &storeError{text: fmt.Sprintf("mysql error %d (%s)", e.Number, e.SQLState)}
	if quotable[e.Number] {
		out.text = e.Error()
	}
	switch e.Number {
	case mysqlDuplicate:
		out.kind = ErrConflict
		if m := forKey.FindStringSubmatch(e.Message); m != nil {
			out.text += " in key " + m[1]
		}
	case mysqlLetters:
		// A value with letters that a column of IDs doesn't have: no row is so. Two columns that don't go together are a
		// fault in a query, and stay one.
		if strings.Contains(e.Message, ",COERCIBLE)") {
			out.kind = ErrNotFound
		}
	case mysqlSignal:
		out.kind = ErrState
		out.text = e.Message // our own words
	case mysqlLockTimeout, mysqlDeadlock, mysqlChanged:
		out.kind, out.transient = ErrUnavailable, true
	}
	switch {
	case mysqlAway[e.Number]:
		out.kind, out.transient = ErrUnavailable, true
	case mysqlFull[e.Number]:
		out.kind = errFull
	}
	return out
}
