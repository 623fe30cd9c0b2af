package model

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind is what a column holds. Both engines have no others.
type Kind string

// The kinds of columns. Any of them may be nil.
const (
	KindInt   Kind = "int"   // int64
	KindText  Kind = "text"  // string
	KindBytes Kind = "bytes" // []byte
)

// Column is a column of a table.
type Column struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
}

// Table is a table as a dump has it: the same on both engines.
type Table struct {
	Name    string   `json:"name"`
	Columns []Column `json:"columns"`
	key     []string // its primary key
}

// momentary are tables of this database's own, which mean nothing in another one: which migrations have run, whose
// commits were heard, who does which duty; which messages may be sent, because an older copy would have them sent twice.
var momentary = []string{"goose_db_version", "commits", CustodyMarks, "leases", "subscriptions"}

// Schema is the number of the newest migration that has run.
func (tx *Tx) Schema() (version int64, err error) {
	err = tx.db.Raw("SELECT MAX(version_id) FROM goose_db_version WHERE is_applied").Row().Scan(&version)
	return version, translate(err)
}

// TableNames lists all tables, by name.
func (tx *Tx) TableNames() (names []string, err error) {
	err = tx.db.Raw(tx.sql(
		"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
		"SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'")).Scan(&names).Error
	slices.Sort(names)
	return names, translate(err)
}

// Tables lists the tables that a dump has, by name.
func (tx *Tx) Tables() (tables []Table, err error) {
	names, err := tx.TableNames()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if slices.Contains(momentary, name) {
			continue
		}
		t, err := tx.table(name)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// table reads a table's columns, but for those that the engine makes of others.
func (tx *Tx) table(name string) (Table, error) {
	t := Table{Name: name}
	var columns []struct {
		Name string
		Type string
		Key  int // place in the primary key, from 1; 0: not in it
	}
	err := tx.db.Raw(tx.sql(
		"SELECT name, type, pk AS `key` FROM pragma_table_info(?) ORDER BY cid",
		"SELECT c.column_name AS name, c.data_type AS type, COALESCE(k.ordinal_position, 0) AS `key` FROM information_schema.columns c"+
			" LEFT JOIN information_schema.key_column_usage k ON k.table_schema = c.table_schema AND k.table_name = c.table_name"+
			" AND k.column_name = c.column_name AND k.constraint_name = 'PRIMARY'"+
			" WHERE c.table_schema = DATABASE() AND c.table_name = ? AND COALESCE(c.generation_expression, '') = '' ORDER BY c.ordinal_position"), name).Scan(&columns).Error
	if err != nil {
		return t, translate(err)
	}
	key := map[int]string{}
	for _, c := range columns {
		kind, err := kindOf(c.Type)
		if err != nil {
			return t, fmt.Errorf("column %s.%s: %w", name, c.Name, err)
		}
		t.Columns = append(t.Columns, Column{c.Name, kind})
		if c.Key > 0 {
			key[c.Key] = c.Name
		}
	}
	for n := range len(key) {
		t.key = append(t.key, key[n+1])
	}
	if len(t.key) == 0 {
		return t, fmt.Errorf("table %s has no primary key", name)
	}
	return t, nil
}

func kindOf(declared string) (Kind, error) {
	switch name, _, _ := strings.Cut(strings.ToLower(declared), "("); {
	case strings.Contains(name, "int") || name == "boolean":
		return KindInt, nil
	case strings.Contains(name, "char") || strings.Contains(name, "text") || name == "json":
		return KindText, nil
	case strings.Contains(name, "blob") || strings.Contains(name, "binary"):
		return KindBytes, nil
	}
	return "", fmt.Errorf("a dump has no %s", declared)
}

// sql chooses between the two engines' ways to say it.
func (tx *Tx) sql(sqlite, mysql string) string {
	if tx.db.Name() == MySQL {
		return mysql
	}
	return sqlite
}

// EachRow walks all rows of a table by its primary key. The values are valid until each returns.
func (tx *Tx) EachRow(t Table, each func(row []any) error) error {
	rows, err := tx.db.Raw("SELECT " + quoted(t.names()) + " FROM " + t.from() + " ORDER BY " + quoted(t.key)).Rows()
	if err != nil {
		return translate(err)
	}
	defer rows.Close()
	into := make([]any, len(t.Columns))
	for i, c := range t.Columns {
		switch c.Kind {
		case KindInt:
			into[i] = new(sql.NullInt64)
		case KindText:
			into[i] = new(sql.NullString)
		default:
			into[i] = new([]byte)
		}
	}
	row := make([]any, len(t.Columns))
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
		for i, v := range into {
			row[i] = nil
			switch v := v.(type) {
			case *sql.NullInt64:
				if v.Valid {
					row[i] = v.Int64
				}
			case *sql.NullString:
				if v.Valid {
					row[i] = v.String
				}
			case *[]byte:
				if *v != nil {
					row[i] = *v
				}
			}
		}
		if err := each(row); err != nil {
			return err
		}
	}
	return translate(rows.Err())
}

// from is the table without what it knows of this database's own restore.
func (t Table) from() string {
	name := quoted([]string{t.Name})
	if t.Name == "checkpoints" {
		name += " WHERE name <> '" + restoration + "'"
	}
	return name
}

func (t Table) names() (names []string) {
	for _, c := range t.Columns {
		names = append(names, c.Name)
	}
	return names
}

// quoted are names in backquotes, which both engines take.
func quoted(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// Loader fills tables from a dump, on a connection for which references may dangle until all of it is there.
type Loader struct {
	driver string
	conn   *sql.Conn
	at     func(point string) // see point.go
}

// Load runs fn with a Loader for a migrated database that nobody else uses. What fn has added stands, also if it fails
// later.
func (db *DB) Load(ctx context.Context, fn func(*Loader) error) (err error) {
	pool, err := db.write.DB()
	if err == nil && db.driver == SQLite {
		pool, err = sql.Open("sqlite", db.dsn+"?_pragma=busy_timeout(5000)&_pragma=foreign_keys(0)&_pragma=synchronous(FULL)&_txlock=immediate")
		if err == nil {
			defer func() { err = errors.Join(err, pool.Close()) }()
		}
	}
	if err != nil {
		return translate(err)
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return translate(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if db.driver == MySQL {
		if _, err := conn.ExecContext(ctx, "SET SESSION foreign_key_checks = 0"); err != nil {
			return translate(err)
		}
		defer func() {
			_, e := conn.ExecContext(context.WithoutCancel(ctx), "SET SESSION foreign_key_checks = 1")
			err = errors.Join(err, e)
		}()
	}
	return fn(&Loader{db.driver, conn, db.at})
}

// Count counts the rows of a table that a dump would have.
func (l *Loader) Count(ctx context.Context, t Table) (n int64, err error) {
	err = l.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+t.from()).Scan(&n)
	return n, translate(err)
}

// parameters bounds those of one statement: below what either engine takes.
const parameters = 8000

// Add adds rows to a table, all or none.
func (l *Loader) Add(ctx context.Context, t Table, rows [][]any) (err error) {
	tx, err := l.conn.BeginTx(ctx, nil)
	if err != nil {
		return translate(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("table %s: %w", t.Name, translate(err)), tx.Rollback())
		}
	}()
	one := "(?" + strings.Repeat(", ?", len(t.Columns)-1) + ")"
	for some := range slices.Chunk(rows, max(1, parameters/len(t.Columns))) {
		args := make([]any, 0, len(some)*len(t.Columns))
		for _, row := range some {
			args = append(args, row...)
		}
		text := "INSERT INTO " + quoted([]string{t.Name}) + " (" + quoted(t.names()) + ") VALUES " + one + strings.Repeat(", "+one, len(some)-1)
		if _, err = tx.ExecContext(ctx, text, args...); err != nil {
			return err
		}
	}
	l.at(AtCommitting)
	if err = tx.Commit(); err == nil {
		l.at(AtCommitted)
	}
	return err
}
