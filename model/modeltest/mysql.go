package modeltest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"cardflow/model"
)

// mysqlDatabase is one database of the tests' server.
type mysqlDatabase struct {
	server *sql.DB
	name   string
}

// prefix begins the names of the tests' databases: whoever finds some on his server after tests that were killed may
// drop them.
const prefix = "cardflow_test_"

// cannotRemove is ER_DB_DROP_RMDIR.
const cannotRemove = 1010

// digest makes a name of whatever was called something.
func digest(name string) string { return fmt.Sprintf("%.12x", sha256.Sum256([]byte(name))) }

// NamedDSN is the DSN of the database that [Named] made.
func NamedDSN(name string) (string, error) {
	dsn, err := mysql.ParseDSN(os.Getenv(DSNVariable))
	if err != nil {
		return "", fmt.Errorf("%s is no DSN", DSNVariable)
	}
	dsn.DBName = prefix + digest(name)
	return dsn.FormatDSN(), nil
}

func newMySQL(t testing.TB, name string) *Place {
	t.Helper()
	dsn, err := mysql.ParseDSN(os.Getenv(DSNVariable))
	if err != nil {
		t.Fatalf("%s is no DSN", DSNVariable)
	}
	dsn.DBName, dsn.MultiStatements = "", true // a copy is put in few round trips
	server, err := sql.Open("mysql", dsn.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	server.SetMaxIdleConns(1)
	name = prefix + strings.ToLower(name)
	if _, err := server.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the database was closed: clean-ups run last first
		_, err := server.Exec("DROP DATABASE " + name)
		// The server takes a table's file away in the background, and may find one when it has dropped all of them.
		var busy *mysql.MySQLError
		for n := 0; n < 5 && errors.As(err, &busy) && busy.Number == cannotRemove; n++ {
			_, err = server.Exec("DROP DATABASE IF EXISTS " + name)
		}
		if err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn.DBName, dsn.MultiStatements = name, false
	return &Place{
		Config: model.Config{Driver: model.MySQL, DSN: dsn.FormatDSN(), MaxConns: 8},
		store:  mysqlDatabase{server, name},
	}
}

// copy writes down what makes the database again: tables, rows, triggers, in this order, so that no trigger sees the
// rows come.
func (d mysqlDatabase) copy(ctx context.Context) (Copy, error) {
	conn, err := d.server.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "USE "+d.name); err != nil {
		return nil, err
	}
	tables, err := column(ctx, conn, "SHOW TABLES", 0)
	if err != nil {
		return nil, err
	}
	triggers, err := column(ctx, conn, "SHOW TRIGGERS", 0)
	if err != nil {
		return nil, err
	}
	var statements []string
	for _, table := range tables {
		made, err := column(ctx, conn, "SHOW CREATE TABLE "+table, 1)
		if err != nil {
			return nil, err
		}
		statements = append(statements, made...)
		rows, err := inserts(ctx, conn, table)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
		statements = append(statements, rows...)
	}
	for _, trigger := range triggers {
		made, err := column(ctx, conn, "SHOW CREATE TRIGGER "+trigger, 2)
		if err != nil {
			return nil, err
		}
		statements = append(statements, made...)
	}
	if len(tables) == 0 {
		return nil, errors.New("the database has no tables")
	}
	return statements, nil
}

// everyColumn makes column answer all of them.
const everyColumn = -1

// column answers one column of a query, as text.
func column(ctx context.Context, conn *sql.Conn, query string, n int) ([]string, error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out []string
	for rows.Next() {
		row, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, v := range row {
			if n == i || n == everyColumn {
				out = append(out, string(v))
			}
		}
	}
	return out, rows.Err()
}

// insertBytes is about how long one statement becomes: far below every server's max_allowed_packet.
const insertBytes = 1 << 20

// inserts writes the rows of a table as statements.
func inserts(ctx context.Context, conn *sql.Conn, table string) ([]string, error) {
	// What is generated follows from the rest, and can't be given.
	stored, err := column(ctx, conn, `SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE()
		AND table_name = '`+table+`' AND COALESCE(generation_expression, '') = '' ORDER BY ordinal_position`, 0)
	if err != nil {
		return nil, err
	}
	names := "`" + strings.Join(stored, "`, `") + "`"
	rows, err := conn.QueryContext(ctx, "SELECT "+names+" FROM "+table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	var out []string
	var b strings.Builder
	row, into := make([]sql.RawBytes, len(types)), make([]any, len(types))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if b.Len() == 0 {
			b.WriteString("INSERT INTO " + table + " (" + names + ") VALUES (")
		} else {
			b.WriteString(",(")
		}
		for i, v := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(literal(types[i].DatabaseTypeName(), v))
		}
		b.WriteByte(')')
		if b.Len() >= insertBytes {
			out = append(out, b.String())
			b.Reset()
		}
	}
	if b.Len() > 0 {
		out = append(out, b.String())
	}
	return out, rows.Err()
}

func (d mysqlDatabase) bytes(ctx context.Context) ([]byte, error) {
	conn, err := d.server.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "USE "+d.name); err != nil {
		return nil, err
	}
	tables, err := column(ctx, conn, "SHOW TABLES", 0)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, table := range tables {
		values, err := column(ctx, conn, "SELECT * FROM "+table, everyColumn)
		if err != nil {
			return nil, err
		}
		all = append(all, strings.Join(values, "\n")...)
	}
	return all, nil
}

// literal writes a value as SQL that any character set takes.
func literal(kind string, v sql.RawBytes) string {
	switch {
	case v == nil:
		return "NULL"
	case strings.HasSuffix(kind, "INT"):
		return string(v)
	case kind == "TIMESTAMP", kind == "DATETIME", len(v) == 0:
		return "'" + string(v) + "'"
	}
	return fmt.Sprintf("X'%x'", []byte(v))
}

func (d mysqlDatabase) put(ctx context.Context, c Copy) error {
	conn, err := d.server.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Tables come in the order of their names, not of their references.
	_, err = conn.ExecContext(ctx, "DROP DATABASE "+d.name+"; CREATE DATABASE "+d.name+"; USE "+d.name+"; SET foreign_key_checks = 0")
	if err != nil {
		return err
	}
	var batch strings.Builder
	flush := func() error {
		_, err := conn.ExecContext(ctx, batch.String())
		batch.Reset()
		return err
	}
	for _, statement := range c.([]string) {
		batch.WriteString(statement + ";\n")
		if batch.Len() >= insertBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	batch.WriteString("SET foreign_key_checks = 1")
	return flush()
}
