package model

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// CommitMark is the record that a commit leaves behind.
type CommitMark = mark

// Translate is what a driver's error is to whoever uses this package.
func Translate(err error) error { return translate(err) }

// Exec runs SQL as nobody else may: to see what the database itself refuses.
func (tx *Tx) Exec(sql string, args ...any) error { return tx.db.Exec(sql, args...).Error }

// Rows runs a query and answers its rows as text.
func (tx *Tx) Rows(sql string, args ...any) ([][]string, error) {
	rows, err := tx.db.Raw(sql, args...).Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for rows.Next() {
		row := make([]*string, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		line := make([]string, len(columns))
		for i, v := range row {
			if v != nil {
				line[i] = *v
			}
		}
		out = append(out, line)
	}
	return out, rows.Err()
}

// statements collects the SQL that gorm runs.
type statements struct {
	logger.Interface
	seen *[]string
}

func (s statements) Trace(_ context.Context, _ time.Time, fc func() (string, int64), _ error) {
	sql, _ := fc()
	*s.seen = append(*s.seen, sql)
}

// Watch answers the statements that fn runs, with their values.
func (tx *Tx) Watch(fn func(tx *Tx) error) ([]string, error) {
	var seen []string
	err := fn(&Tx{db: tx.db.Session(&gorm.Session{NewDB: true, Logger: statements{logger.Discard, &seen}})})
	return seen, err
}

// Full is why there is no room, as far as is known; nil if there is.
func (db *DB) Full() error { cause, _ := db.room.full(time.Time{}); return cause }

// Waiting is how many wait to share a commit.
func (db *DB) Waiting() int {
	if db.group != nil {
		return db.group.gather.Waiting()
	}
	return db.together.gather.Waiting()
}
