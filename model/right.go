package model

import (
	"context"
	"errors"
	"fmt"

	driver "github.com/go-sql-driver/mysql"
)

// Right is something that a database user may do to a table.
type Right string

// The rights that [DB.May] can find out about.
const (
	MaySelect Right = "SELECT"
	MayInsert Right = "INSERT"
	MayUpdate Right = "UPDATE"
	MayDelete Right = "DELETE"
)

// MySQL's answers to who may not.
var denials = map[uint16]bool{1044: true, 1142: true, 1143: true}

// missingDefault is MySQL's answer to a row that lacks values: the right to add it was looked for, and found, before.
const missingDefault = 1364

// May tries whether this connection's user has a right to a table, by its way to a column of it, on a MySQL database. What it
// tries touches no row. Roles, and rights to the whole schema, count as the server counts them.
func (db *DB) May(ctx context.Context, right Right, table, column string) (bool, error) {
	t, c := quoted([]string{table}), quoted([]string{column})
	statement, ok := map[Right]string{
		MaySelect: "SELECT " + c + " FROM " + t + " LIMIT 0",
		MayInsert: "INSERT INTO " + t + " (" + c + ") SELECT " + c + " FROM " + t + " WHERE 1 = 0",
		MayUpdate: "UPDATE " + t + " SET " + c + " = " + c + " WHERE 1 = 0",
		MayDelete: "DELETE FROM " + t + " WHERE 1 = 0",
	}[right]
	if !ok || db.driver != MySQL {
		return false, fmt.Errorf("right %q on %s can't be tried", right, db.driver)
	}
	pool, err := db.write.DB()
	if err != nil {
		return false, err
	}
	_, err = pool.ExecContext(ctx, statement)
	var refused *driver.MySQLError
	if errors.As(err, &refused) {
		if denials[refused.Number] {
			return false, nil
		}
		if refused.Number == missingDefault {
			return true, nil
		}
	}
	return err == nil, translate(err)
}

// ColumnNames lists the columns of a table, but for those that the engine makes of others.
func (tx *Tx) ColumnNames(table string) (names []string, err error) {
	err = tx.db.Raw(tx.sql(
		"SELECT name FROM pragma_table_info(?) ORDER BY cid",
		"SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?"+
			" AND COALESCE(generation_expression, '') = '' ORDER BY ordinal_position"), table).Scan(&names).Error
	return names, translate(err)
}

// Grant runs statements that give a user rights, on MySQL. Each stands by itself, and can be repeated.
func (db *DB) Grant(ctx context.Context, statements []string) error {
	pool, err := db.write.DB()
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := pool.ExecContext(ctx, s); err != nil {
			return translate(err)
		}
	}
	return nil
}
