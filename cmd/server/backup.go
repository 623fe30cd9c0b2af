package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cardflow/ledger/embedded"
	"cardflow/transfer/backup"
)

// backupCommand keeps what a platform must not lose where its servers can't read it.
type backupCommand struct {
	Init    backupInitCommand    `cmd:"" help:"Make a recovery key in shares, and the kit with which backups are made."`
	Create  backupCreateCommand  `cmd:"" help:"Write all that must not be lost into one file, for the recovery key."`
	Restore backupRestoreCommand `cmd:"" help:"Begin anew from such a file, on an empty database and data directory."`
	Drill   backupDrillCommand   `cmd:"" help:"Prove that such a file can be restored, in a folder of its own, and touch nothing else."`
}

// backupCreateCommand makes a bundle.
type backupCreateCommand struct {
	Out  string `help:"The bundle's file, which must not be there yet." placeholder:"FILE" type:"path" required:""`
	JSON bool   `name:"json" help:"What is in it, as JSON."`
}

// Run implements the command.
func (c backupCreateCommand) Run(e *environment) (err error) {
	kit, err := e.kit()
	if err != nil {
		return err
	}
	if exists(c.Out) {
		return fmt.Errorf("%s is there already", c.Out)
	}
	app, err := e.offline()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	source := backup.Source{DB: app.DB, Channel: e.config.Ledger.Channel, DataKey: e.config.Path(e.config.Vault.DataKeyFile)}
	for _, name := range append([]string{e.config.Vault.JournalFile}, e.config.Vault.OtherJournals...) {
		source.Journals = append(source.Journals, e.config.Path(name))
	}
	if e.config.Ledger.Kind == "embedded" {
		err := app.openLedger(e.ctx, e.ctx)
		if errors.Is(err, embedded.ErrInUse) {
			return errors.New("账本文件正被服务占用：单机模式下请先停止服务再备份")
		}
		if err != nil {
			return err
		}
		source.Ledger = app.LedgerFile.CopyTo
	}
	begun := time.Now()
	var m backup.Manifest
	var totals backup.Totals
	progress, done := e.tables("备份")
	err = wholeFile(c.Out, 0o600, func(w io.Writer) (err error) {
		m, totals, err = backup.Take(e.ctx, w, kit, source, progress)
		return err
	})
	done(err)
	if err != nil {
		return err
	}
	return printBundle(e, c.JSON, c.Out, m, totals, time.Since(begun))
}

// tables draws how far the tables have come, and what comes after them; done ends the line, however far that was. Tables
// without rows are passed over.
func (e *environment) tables(what string) (progress func(string, int, int), done func(error)) {
	drawn := false
	progress = func(_ string, n, of int) {
		drawn = true
		bar(e.stderr, what, float64(n+1)/float64(of+1))
	}
	return progress, func(err error) {
		if !drawn || !terminal(e.stderr) {
			return
		}
		if err == nil {
			bar(e.stderr, what, 1)
		}
		fmt.Fprintln(e.stderr)
	}
}

type bundleJSON struct {
	File   string          `json:"file"`
	Bytes  int64           `json:"bytes"`
	Bundle backup.Manifest `json:"bundle"`
	Holds  backup.Totals   `json:"holds"`
}

func printBundle(e *environment, asJSON bool, name string, m backup.Manifest, totals backup.Totals, took time.Duration) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if asJSON {
		m.Tables = nil
		return json.NewEncoder(e.stdout).Encode(bundleJSON{name, info.Size(), m, totals})
	}
	fmt.Fprintf(e.stdout, "bundle     %s\n", m.ID)
	fmt.Fprintf(e.stdout, "taken      %s, of channel %s", m.TakenAt.Local().Format(time.DateTime), m.Channel)
	if m.Block >= 0 {
		fmt.Fprintf(e.stdout, " as of block %d", m.Block)
	}
	fmt.Fprintf(e.stdout, "\nholds      %d rows of %d tables, %d bytes of journals", totals.All(), len(m.Tables), totals.Journal)
	if m.Ledger {
		fmt.Fprintf(e.stdout, ",\n           the ledger (%d bytes)", totals.Ledger)
	}
	_, err = fmt.Fprintf(e.stdout, "\nfile       %s\n           %d bytes, %s\n", filepath.Base(name), info.Size(), took.Round(time.Millisecond))
	return err
}

// openBundle opens a bundle's file, and lets people bring its key. The caller closes the file.
func (e *environment) openBundle(name string) (*os.File, *backup.Bundle, backup.Identity, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := backup.Open(f)
	if err == nil {
		var key backup.Identity
		if key, err = e.recoveryKey(b.Kit); err == nil {
			return f, b, key, nil
		}
	}
	return nil, nil, nil, errors.Join(sayBundle(err), f.Close())
}

// sayBundle tells people what is wrong with a bundle, and what to do.
func sayBundle(err error) error {
	for known, sentence := range map[error]string{
		backup.ErrNotForKey:    "这个备份不是为该恢复密钥制作的：请核对份额的组号",
		backup.ErrNoBundle:     "这个文件不是备份，或开头已损坏：请换一份副本",
		backup.ErrDamaged:      "备份文件不完整或已损坏：请换一份副本",
		backup.ErrOtherRelease: "备份由另一版本制作：请用制作它的版本恢复，然后再升级",
		backup.ErrOccupied:     "目标不是空的：恢复只写入空的数据库和数据目录",
		backup.ErrOtherLedger:  "备份属于另一条账本：请核对 ledger 配置（类型与通道）",
	} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s (%w)", sentence, err)
		}
	}
	return err
}
