package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cardflow/model"
)

// custodians are the tables that only the custodian writes to: those of custody, and who may log in. The anchors are what
// the ledger says, and the servers' to write down.
func custodians(table string) bool {
	return strings.HasPrefix(table, "custody_") && table != "custody_anchors" ||
		slices.Contains([]string{"accounts", "people", "identities", "goose_db_version"}, table)
}

var databaseUser = regexp.MustCompile(`^'[A-Za-z0-9_.-]{1,32}'@'[A-Za-z0-9_.:%/-]{1,255}'$`)

// grants are the statements that give the servers' database user what it needs beside a custodian, and no more. They are run
// in the schema by somebody who may grant.
func grants(ctx context.Context, db *model.DB, user string) (statements []string, err error) {
	if !databaseUser.MatchString(user) {
		return nil, errors.New(`the user must be given as 'name'@'host'`)
	}
	err = db.Read(ctx, func(tx *model.Tx) error {
		names, err := tx.TableNames()
		for _, name := range names {
			rights := "SELECT, INSERT, UPDATE, DELETE"
			if custodians(name) {
				rights = "SELECT"
			}
			statements = append(statements, fmt.Sprintf("GRANT %s ON `%s` TO %s", rights, name, user))
		}
		return err
	})
	return statements, err
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
