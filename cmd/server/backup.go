package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/embedded"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/backup"
	"cardflow/transfer/custodial"
)

// backupCommand keeps what a platform must not lose where its servers can't read it.
type backupCommand struct {
	Init    backupInitCommand    `cmd:"" help:"Make a recovery key in shares, and the kit with which backups are made."`
	Create  backupCreateCommand  `cmd:"" help:"Write all that must not be lost into one file, for the recovery key."`
	Restore backupRestoreCommand `cmd:"" help:"Begin anew from such a file, on an empty database and data directory."`
	Drill   backupDrillCommand   `cmd:"" help:"Prove that such a file can be restored, in a folder of its own, and touch nothing else."`
}

// backupInitCommand is the ceremony of the recovery key.
type backupInitCommand struct {
	SharesFlags `embed:""`
	Yes         bool `help:"Do it. Without it the command tells what would happen."`
	JSON        bool `name:"json" help:"The set of shares and where the kit is, as JSON."`
}

// Run implements the command.
func (c backupInitCommand) Run(e *environment) error {
	name := e.config.Path(e.config.Backup.KitFile)
	if exists(name) {
		return fmt.Errorf("%s is there: bundles made with it need its shares. For a new recovery key, put it elsewhere first", name)
	}
	if err := custody.CanSplit(c.Threshold, c.SharesFlags.Shares); err != nil {
		return err
	}
	if !c.Yes {
		return would(e.stdout, c.JSON, fmt.Sprintf(backupInitWould, c.Shares, c.Threshold, e.config.Backup.KitFile))
	}
	root, err := c.make(e, custody.InShares, "", PKCS11Config{})
	if err != nil {
		return err
	}
	text, recipient, err := backup.NewIdentity()
	if err != nil {
		return err
	}
	secret := gm.Secret(text)
	defer secret.Clear()
	kit := backup.Kit{Recipient: recipient, Set: root.ID()[:16], Threshold: c.Threshold, Shares: c.SharesFlags.Shares}
	if kit.Sealed, err = root.Wrap(e.ctx, rand.Reader, secret, backup.SealedFor(kit.Recipient)); err != nil {
		return err
	}
	if err := writeKit(name, kit); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, map[string]any{"set": kit.Set, "threshold": kit.Threshold, "shares": kit.Shares, "kit": e.config.Backup.KitFile})
	}
	_, err = fmt.Fprintf(e.stdout, "the recovery key is made: set %s\nkit        %s  (not secret; copy it to every server)\n", kit.Set, e.config.Backup.KitFile)
	return err
}

func writeKit(name string, kit backup.Kit) error {
	file, err := json.MarshalIndent(kit, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err != nil {
		return err
	}
	return wholeFile(name, 0o644, func(w io.Writer) error { _, err := w.Write(append(file, '\n')); return err })
}

const backupInitWould = `Nothing was done. With --yes:
  a recovery key is drawn and split into %d shares, of which %d are needed
  each is shown once, to its holder; then enough of them are typed back
  the kit is written to %s
Give these shares to other people than those of the root key.
`

// kit reads the recovery kit of this configuration.
func (e *environment) kit() (backup.Kit, error) {
	name := e.config.Path(e.config.Backup.KitFile)
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return backup.Kit{}, fmt.Errorf("没有恢复密钥（%s）：请先执行 server backup init", name)
	}
	if err != nil {
		return backup.Kit{}, err
	}
	defer f.Close()
	return backup.ReadKit(f)
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

// recoveryKey lets holders bring their shares until the recovery key is there.
func (e *environment) recoveryKey(k backup.Kit) (backup.Identity, error) {
	ask := e.asker()
	_, typing := ask.keyboard()
	fmt.Fprintf(e.stderr, "The recovery key is in shares, set %s: %d of %d are needed.\n", k.Set, k.Threshold, k.Shares)
	var shares []custody.Share
	defer func() {
		for _, s := range shares {
			s.Clear()
		}
	}()
	for len(shares) < k.Threshold {
		text, err := ask.share(fmt.Sprintf("Share %d of %d: ", len(shares)+1, k.Threshold))
		if err != nil {
			return nil, err
		}
		s, err := custody.ParseShare(text)
		text.Clear()
		switch {
		case err != nil:
		case s.Set != k.Set, s.Threshold != k.Threshold:
			err = custody.ErrShareForeign
		case slices.ContainsFunc(shares, func(other custody.Share) bool { return other.Index == s.Index }):
			err = custody.ErrShareRepeated
		}
		if known := (*custody.Error)(nil); errors.As(err, &known) {
			text := known.Message
			if known == custody.ErrShareForeign { // whose sentence speaks of the root key
				text = "这一份不属于这个备份的恢复密钥，请核对组号 " + k.Set
				err = fmt.Errorf("%s（%s）", text, known.Code)
			}
			if typing {
				fmt.Fprintln(e.stderr, text)
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	root, err := custody.Combine(shares)
	if err != nil {
		return nil, err
	}
	secret, err := root.Unwrap(e.ctx, k.Sealed, backup.SealedFor(k.Recipient))
	if err != nil {
		return nil, backup.ErrNotForKey
	}
	defer secret.Clear()
	return backup.ParseIdentity(secret)
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
		came := drillJSON{c.File, r.Clean(), m.ID, m.TakenAt, totals, r.Cards, audit.Rows, []drillFinding{}}
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
	_, err = fmt.Fprintln(e.stdout, "   ✓ 演练通过：这个备份可以恢复，根密钥能打开其中的托管密钥")
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
