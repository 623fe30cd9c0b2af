package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cardflow/model"
	"cardflow/transfer/backup"
)

// backupRestoreCommand begins anew.
type backupRestoreCommand struct {
	File string `arg:"" help:"The bundle." type:"path"`
	JSON bool   `name:"json" help:"What was in it, as JSON."`
	Yes  bool   `help:"Do it. Without it the command tells what would happen."`
}

// Run implements the command.
func (c backupRestoreCommand) Run(e *environment) (err error) {
	if !c.Yes {
		return c.would(e)
	}
	f, bundle, key, err := e.openBundle(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	app, err := e.beside(true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	begun := time.Now()
	progress, done := e.tables("恢复")
	m, totals, err := bundle.Restore(e.ctx, key, e.place(app.DB), progress)
	done(err)
	if err != nil {
		return sayBundle(err)
	}
	// The next bundle is for the same holders. Their shares have opened the kit, and it names whom it is for: it is theirs.
	if name := e.config.Path(e.config.Backup.KitFile); !exists(name) {
		if err := writeKit(name, bundle.Kit); err != nil { // all else is there
			fmt.Fprintf(e.stderr, "the recovery kit is not there: copy it from elsewhere (%v)\n", err)
		}
	}
	if err := printBundle(e, c.JSON, c.File, m, totals, time.Since(begun)); err != nil || c.JSON {
		return err
	}
	_, err = io.WriteString(e.stdout, restoreNext)
	return err
}

// would tells what --yes does. What is in the bundle nobody knows before its key is there.
func (c backupRestoreCommand) would(e *environment) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := backup.Open(f)
	if err != nil {
		return sayBundle(err)
	}
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(map[string]any{"file": c.File, "set": b.Kit.Set, "threshold": b.Kit.Threshold, "shares": b.Kit.Shares, "done": false})
	}
	_, err = fmt.Fprintf(e.stdout, restoreWould, b.Kit.Threshold, b.Kit.Shares, b.Kit.Set, filepath.Base(c.File), e.config.Database.Driver)
	return err
}

const restoreWould = `Nothing was done. With --yes:
  %d of the %d holders of recovery key %s bring their shares
  all that is in %s is written into the database (%s)
  and the data directory of this configuration, which must be empty
  nothing is signed before custody is open and has followed the ledger
`

const restoreNext = `
Restored. What is left to do:
  1. the root key: its file, its token, or its holders' shares at server unseal
  2. server audit restored --reason TEXT --yes: says so in the audit, if the
     ledger has anchored more of it since the bundle was made
  3. server fsck: follows the ledger to its end, and compares
  4. server serve: signs as soon as it has followed the ledger to its end
`

// place is where this configuration keeps things.
func (e *environment) place(db *model.DB) backup.Place {
	p := backup.Place{DB: db, Channel: e.config.Ledger.Channel, DataKey: e.config.Path(e.config.Vault.DataKeyFile), Journal: e.config.Path(e.config.Vault.JournalFile)}
	if e.config.Ledger.Kind == "embedded" {
		p.Ledger = e.config.Path(e.config.Ledger.File)
	}
	return p
}
