package model_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"gorm.io/gorm/schema"

	"cardflow/model"
	"cardflow/model/modeltest"
)

var update = flag.Bool("update", false, "write testdata/schema.golden from SQLite")

const golden = "testdata/schema.golden"

// TestMigrateTogether: servers that start at once wait for each other; each migration runs once.
func TestMigrateTogether(t *testing.T) {
	t.Run(modeltest.Engine(t), func(t *testing.T) {
		t.Parallel()
		cfg := modeltest.Empty(t).Config
		const servers = 4
		var applied [servers]int
		var all sync.WaitGroup
		for i := range servers {
			db, err := model.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			all.Go(func() {
				n, err := db.Migrate(t.Context())
				if err != nil {
					t.Error(err)
				}
				applied[i] = n
			})
		}
		all.Wait()
		slices.Sort(applied[:])
		if files, err := os.ReadDir("migrations/" + cfg.Driver); err != nil || applied != [servers]int{servers - 1: len(files)} {
			t.Errorf("applied %v of %d, %v", applied, len(files), err)
		}
	})
}

// TestMigrateAfterACrash: MySQL commits each table by itself, so migrations may be found half done.
func TestMigrateAfterACrash(t *testing.T) {
	t.Run(modeltest.Engine(t), func(t *testing.T) {
		t.Parallel()
		db := modeltest.OpenConfig(t, modeltest.Empty(t).Config)
		before := schemaOf(t, db)
		write(t, db, func(tx *model.Tx) error {
			if db.Driver() == model.MySQL { // on SQLite the whole file is one transaction
				for _, sql := range []string{"DROP TRIGGER jobs_moves", "DROP TABLE jobs", "DELETE FROM goose_db_version WHERE version_id > 0"} {
					if err := tx.Exec(sql); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if _, err := db.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		if after := schemaOf(t, db); after != before {
			t.Errorf("tables differ after a repeated migration:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// TestMigrateOutOfOrder: a database that has a later migration takes an earlier one that it lacks.
func TestMigrateOutOfOrder(t *testing.T) {
	modeltest.Each(t, func(t *testing.T, db *model.DB) {
		before := schemaOf(t, db)
		write(t, db, func(tx *model.Tx) error {
			for _, sql := range []string{
				"DROP TABLE identities", "DROP TABLE custody_proposals", "DROP TABLE custody_quotas", "DROP TABLE custody_usage",
				"DELETE FROM goose_db_version WHERE version_id = 7",
			} {
				if err := tx.Exec(sql); err != nil {
					return err
				}
			}
			return nil
		})
		if n, err := db.Migrate(t.Context()); n != 1 || err != nil {
			t.Errorf("applied %d, %v", n, err)
		}
		if after := schemaOf(t, db); after != before {
			t.Errorf("tables differ:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// TestSchema: both databases have the tables, columns, indexes, foreign keys and triggers of one golden file, so they
// agree with each other.
func TestSchema(t *testing.T) {
	modeltest.Each(t, func(t *testing.T, db *model.DB) {
		got := schemaOf(t, db)
		if *update && db.Driver() == model.SQLite {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("the schema is\n%s\nand should be as %s says", got, golden)
		}
	})
}

// TestRecordsHaveTheirColumns: each field of a record has a column and each column a field.
func TestRecordsHaveTheirColumns(t *testing.T) {
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	columns := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)\.(\w+) (?:text|integer|blob) `).FindAllStringSubmatch(string(text), -1) {
		columns[m[1]] = append(columns[m[1]], m[2])
	}
	for _, record := range []any{&model.Participant{}, &model.Person{}, &model.Account{}, &model.Lot{}, &model.LotParent{}, &model.Segment{},
		&model.Trade{}, &model.Act{}, &model.Reservation{}, &model.Idempotency{}, &model.Checkpoint{}, &model.Import{}, &model.CardDetail{}, &model.Job{}, &model.CommitMark{}, &model.Lease{}, &model.Repair{}, &model.Identity{}, &model.Recovery{}, &model.RealName{}, &model.Approval{}, &model.Erasure{}, &model.Subscription{}, &model.Device{}, &model.GatewayKey{}} {
		s, err := schema.Parse(record, &sync.Map{}, schema.NamingStrategy{})
		if err != nil {
			t.Fatal(err)
		}
		fields := slices.Clone(s.DBNames)
		slices.Sort(fields)
		if got := columns[s.Table]; !slices.Equal(got, fields) {
			t.Errorf("%s has columns %v, its record %v", s.Table, got, fields)
		}
		delete(columns, s.Table)
	}
	for table := range columns {
		t.Errorf("table %s has no record", table)
	}
}

// schemaOf describes the tables of this package in words that both databases share: table.column type, indexes and
// keys by their columns. The custody's tables are tested where they are made.
func schemaOf(t *testing.T, db *model.DB) string {
	t.Helper()
	describe := describeSQLite
	if db.Driver() == model.MySQL {
		describe = describeMySQL
	}
	var lines []string
	write(t, db, func(tx *model.Tx) (err error) {
		lines, err = describe(tx)
		return err
	})
	lines = slices.DeleteFunc(lines, func(l string) bool {
		return regexp.MustCompile(`^(\w+ )?(custody|goose|sqlite)_`).MatchString(l)
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func describeSQLite(tx *model.Tx) (lines []string, err error) {
	query := func(form, sql string) {
		if err != nil {
			return
		}
		var rows [][]string
		rows, err = tx.Rows(sql)
		for _, r := range rows {
			args := make([]any, len(r))
			for i := range r {
				args[i] = strings.ToLower(r[i])
			}
			lines = append(lines, fmt.Sprintf(form, args...))
		}
	}
	query("%s.%s %s %s", `SELECT m.name, c.name, c.type, CASE WHEN c."notnull" OR c.pk THEN 'not null' ELSE 'null' END
		FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'`)
	query("key %s (%s)", `SELECT m.name, group_concat(c.name, ',' ORDER BY c.pk) FROM sqlite_master m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND c.pk GROUP BY m.name`)
	query("%[2]s index %[1]s (%[4]s) unique %[3]s", `SELECT i.name, m.name, i."unique", (SELECT group_concat(x.name, ',') FROM pragma_index_info(i.name) x)
		FROM sqlite_master m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin = 'c'`)
	query("%s.%s references %s.%s", `SELECT m.name, f."from", f."table", f."to" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'`)
	query("%[2]s trigger %[1]s", `SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'`)
	return lines, err
}

func describeMySQL(tx *model.Tx) (lines []string, err error) {
	kinds := map[string]string{"varchar": "text", "text": "text", "longtext": "text", "bigint": "integer", "int": "integer", "tinyint": "integer", "longblob": "blob"}
	query := func(form, sql string) {
		if err != nil {
			return
		}
		var rows [][]string
		rows, err = tx.Rows(sql)
		for _, r := range rows {
			args := make([]any, len(r))
			for i := range r {
				args[i] = strings.ToLower(r[i])
				if kind, ok := kinds[r[i]]; ok && i == 2 {
					args[i] = kind
				}
			}
			lines = append(lines, fmt.Sprintf(form, args...))
		}
	}
	query("%s.%s %s %s", `SELECT table_name, column_name, data_type, IF(is_nullable = 'NO', 'not null', 'null')
		FROM information_schema.columns WHERE table_schema = DATABASE()`)
	query("key %s (%s)", `SELECT table_name, GROUP_CONCAT(column_name ORDER BY seq_in_index)
		FROM information_schema.statistics WHERE table_schema = DATABASE() AND index_name = 'PRIMARY' GROUP BY table_name`)
	query("%[2]s index %[1]s (%[4]s) unique %[3]s", `SELECT index_name, table_name, 1 - MAX(non_unique), GROUP_CONCAT(column_name ORDER BY seq_in_index)
		FROM information_schema.statistics WHERE table_schema = DATABASE() AND index_name <> 'PRIMARY' AND index_name NOT LIKE '%\_fk' GROUP BY table_name, index_name`)
	query("%s.%s references %s.%s", `SELECT table_name, column_name, referenced_table_name, referenced_column_name
		FROM information_schema.key_column_usage WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL`)
	query("%[2]s trigger %[1]s", `SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = DATABASE()`)
	return lines, err
}
