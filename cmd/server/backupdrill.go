package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/transfer"
	"cardflow/transfer/backup"
	"cardflow/transfer/custodial"
)

// backupDrillCommand proves a bundle.
type backupDrillCommand struct {
	File string `arg:"" help:"The bundle." type:"path"`
	Dir  string `help:"Where there is room for what is in it, for as long as it takes; the system's folder for such things by default." placeholder:"DIR" type:"path"`
	JSON bool   `name:"json" help:"What was in it, and whether it can be restored, as JSON."`
}

// Run implements the command. The bundle goes into an SQLite file, whatever database it came from, and is then held
// against the ledger, with the root key at hand, as fsck does.
func (c backupDrillCommand) Run(e *environment) (err error) {
	f, bundle, key, err := e.openBundle(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	dir, err := os.MkdirTemp(c.Dir, "cardflow-drill-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	stage := *e
	stage.config.DataDir = dir
	stage.config.Database = DefaultConfig().Database
	stage.config.Vault = DefaultConfig().Vault
	stage.config.Ledger.File = DefaultConfig().Ledger.File
	// These are where they are.
	stage.config.Custody.RootKeyFile = whole(e.config.Path(e.config.Custody.RootKeyFile))
	stage.config.Ledger.Fabric.Profile = whole(e.config.Path(e.config.Ledger.Fabric.Profile))
	stage.config.Ledger.Fabric.CertFile = whole(e.config.Path(e.config.Ledger.Fabric.CertFile))
	stage.config.Ledger.Fabric.KeyFile = whole(e.config.Path(e.config.Ledger.Fabric.KeyFile))

	begun := time.Now()
	app, err := stage.offline()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	progress, done := e.tables("演练")
	m, totals, err := bundle.Restore(e.ctx, key, stage.place(app.DB), progress)
	done(err)
	if err != nil {
		return sayBundle(err)
	}
	if !c.JSON {
		if err := printBundle(e, false, c.File, m, totals, time.Since(begun)); err != nil {
			return err
		}
	}
	app.Registry = prometheus.NewRegistry() // which nobody reads
	for _, open := range []func() error{
		func() error { return app.openLedger(e.ctx, e.ctx) },
		func() error { return app.openJournal(e.ctx, e.ctx) },
		func() error { return app.openCustody(e.ctx, e.ctx) },
		func() error { return stage.bringShares(app.Custody) },
	} {
		if err := open(); err != nil {
			return err
		}
	}
	audit, err := app.Custody.VerifyAudit(e.ctx, custody.VerifyOptions{}) // of anchors it may lack the newest: it is a copy
	if err == nil {
		err = audit.Err()
	}
	if err != nil {
		return fmt.Errorf("the custody audit: %w", err)
	}
	plan, err := e.config.Numbering.Plan()
	if err != nil {
		return err
	}
	service := transfer.New(transfer.Config{
		DB: app.DB, Ledger: app.Ledger, Signer: custodial.Signer{Custody: app.Custody}, Vault: app.vault, Journal: app.Journal, Plan: plan, Logger: e.logger, Server: "drill",
	})
	r, err := service.Check(e.ctx, func(f float64) { bar(e.stderr, "核对", f) })
	if err != nil {
		return err
	}
	if terminal(e.stderr) {
		fmt.Fprintln(e.stderr)
	}
	if c.JSON {
		came := drillJSON{c.File, r.Clean(), m.ID, m.TakenAt, totals, r.Cards, r.KeysOpened, audit.Rows, []drillFinding{}}
		for _, f := range r.Findings {
			came.Findings = append(came.Findings, drillFinding{f.Kind, f.Subject, f.Problem})
		}
		err = json.NewEncoder(e.stdout).Encode(came)
	} else {
		printReport(e.stdout, r, audit.Rows, time.Since(begun))
	}
	if err == nil && !r.Clean() {
		return errDiffer
	}
	if err != nil || c.JSON {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, "   ✓ 演练通过：这个备份可以恢复，根密钥能打开其中的全部托管密钥")
	return err
}

// drillJSON is what a drill came to.
type drillJSON struct {
	File      string         `json:"file"`
	Whole     bool           `json:"whole"` // it can be restored
	ID        string         `json:"id"`
	TakenAt   time.Time      `json:"takenAt"`
	Holds     backup.Totals  `json:"holds"`
	Cards     uint64         `json:"cards"`
	Keys      int64          `json:"keysOpened"`
	AuditRows int64          `json:"auditRows"`
	Findings  []drillFinding `json:"findings"`
}

type drillFinding struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Problem string `json:"problem"`
}

func whole(name string) string {
	if abs, err := filepath.Abs(name); err == nil && name != "" {
		return abs
	}
	return name
}
