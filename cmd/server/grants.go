package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cardflow/custody"
	"cardflow/model"
)

// What the servers' database user may do beside a custodian. Nobody who has taken over a web process finds sealed keys, digests
// of sessions, passwords or WeChat accounts by it, nor writes to what says who may log in.

// unseen are the tables that only the custodian reads and writes: those of custody, but for the audit and its anchors, and
// what shows whose an account is.
func unseen(table string) bool {
	return strings.HasPrefix(table, "custody_") && table != "custody_anchors" && table != "custody_audit" || table == "identities"
}

// shown are the tables that the servers read, and write nothing to: the audit, which they hold against the ledger's anchors;
// people, of whom they ask with each request who is disabled; accounts, to see which logins are known; erasures, to see with each
// request whose are no more; the migrations.
func shown(table string) bool {
	return slices.Contains([]string{"custody_audit", "people", "accounts", "erasures", "goose_db_version"}, table)
}

// secret are the columns of those that nobody but the custodian sees, by table: passwords, and who somebody is to WeChat.
var secret = map[string]string{"people": "password_hash", "accounts": "openid_sealed"}

var databaseUser = regexp.MustCompile(`^'[A-Za-z0-9_.-]{1,32}'@'[A-Za-z0-9_.:%/-]{1,255}'$`)

// grants are the statements that give the servers' database user what it needs beside a custodian, and no more. They are run
// in the schema by somebody who may grant.
func grants(ctx context.Context, db *model.DB, user string) (statements []string, err error) {
	if !databaseUser.MatchString(user) {
		return nil, errors.New(`the user must be given as 'name'@'host'`)
	}
	err = db.Read(ctx, func(tx *model.Tx) error {
		names, err := tx.TableNames()
		if err != nil {
			return err
		}
		for _, name := range names {
			rights := "SELECT, INSERT, UPDATE, DELETE"
			switch {
			case unseen(name):
				continue
			case secret[name] != "":
				columns, err := tx.ColumnNames(name)
				if err != nil {
					return err
				}
				columns = slices.DeleteFunc(columns, func(c string) bool { return c == secret[name] })
				rights = "SELECT (`" + strings.Join(columns, "`, `") + "`)"
			case shown(name):
				rights = "SELECT"
			}
			statements = append(statements, fmt.Sprintf("GRANT %s ON `%s` TO %s", rights, name, user))
		}
		return nil
	})
	return statements, err
}

// grantServer gives the servers' user its rights, if the configuration names it. The custodian may grant then.
func (a *App) grantServer(ctx, _ context.Context) error {
	user := a.Config.Custody.ServerUser
	if user == "" || a.Config.Database.Driver != model.MySQL {
		return nil
	}
	statements, err := grants(ctx, a.DB, user)
	if err == nil {
		err = a.DB.Grant(ctx, statements)
	}
	if err != nil {
		return fmt.Errorf("custody.server_user: %w", err)
	}
	return nil
}

// checkRights finds out by trying whether this process's database user may do what is the custodian's alone. On SQLite there
// are no users.
func (a *App) checkRights(ctx, _ context.Context) error {
	var excess []string
	what := "SQLite"
	if a.Config.Database.Driver == model.MySQL {
		var err error
		if excess, err = a.excess(ctx); err != nil || len(excess) == 0 {
			return err
		}
		what = strings.Join(excess, ", ")
	}
	if a.Config.Mode == Production {
		return fmt.Errorf("%w: %s", custody.ErrRights, what)
	}
	a.Logger.Warn("the database keeps nothing from a server that was taken over; production refuses this", "code", custody.ErrRights.Code, "rights", what)
	return nil
}

// excess names the rights that this process's user has and should not have. A user sees no table to which he has none.
func (a *App) excess(ctx context.Context) (rights []string, err error) {
	columns := map[string]string{} // one of each table that is shown
	err = a.DB.Read(ctx, func(tx *model.Tx) error {
		names, err := tx.TableNames()
		for _, name := range names {
			if unseen(name) {
				rights = append(rights, name)
			}
			if shown(name) && err == nil {
				var all []string
				if all, err = tx.ColumnNames(name); len(all) > 0 {
					columns[name] = all[0]
				}
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	try := func(right model.Right, table, column string) {
		may, failed := a.DB.May(ctx, right, table, column)
		if err = errors.Join(err, failed); may {
			rights = append(rights, fmt.Sprintf("%s %s.%s", right, table, column))
		}
	}
	for _, table := range slices.Sorted(maps.Keys(columns)) {
		for _, right := range []model.Right{model.MayInsert, model.MayUpdate, model.MayDelete} {
			try(right, table, columns[table])
		}
	}
	for _, table := range slices.Sorted(maps.Keys(secret)) {
		try(model.MaySelect, table, secret[table])
	}
	if err != nil {
		return nil, err
	}
	return rights, nil
}

// printGrants prints them.
func (c custodianCommand) printGrants(e *environment) error {
	if e.config.Database.Driver != model.MySQL {
		return errors.New("SQLite has no users: there is nothing to grant")
	}
	app := &App{Config: e.config, Logger: e.logger, cancel: func() {}}
	err := app.openDatabase(e.ctx, e.ctx)
	if err == nil {
		var statements []string
		if statements, err = grants(e.ctx, app.DB, c.Grants); err == nil {
			for _, s := range statements {
				fmt.Fprintln(e.stdout, s+";")
			}
		}
	}
	return errors.Join(err, app.Close(e.ctx))
}
