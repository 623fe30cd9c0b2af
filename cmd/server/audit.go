package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
)

// auditCommand is `server audit …`: what an auditor does with custody's audit.
type auditCommand struct {
	Restored auditRestoredCommand `cmd:"" help:"Say in the audit that an older copy of the database was put back, and what was lost by that."`
	Verify   auditVerifyCommand   `cmd:"" help:"Hold the audit, or an export of it, against its hashes, its head and the ledger's anchors. Status 1 if anything is wrong."`
	List     auditList            `cmd:"" help:"List rows, newest first."`
	Export   auditExport          `cmd:"" help:"Write rows and their anchors to a signed file."`
	Anchors  auditAnchors         `cmd:"" help:"Write the ledger's anchors to a file, for who checks an export elsewhere."`
}

// auditVerifyCommand holds the audit against all that vouches for it.
type auditVerifyCommand struct {
	File    string `help:"Check this export, with no database at hand." type:"path"`
	Key     string `help:"With --file: ID of the platform's key that must have signed it."`
	Anchors string `help:"With --file: the ledger's anchors, as audit anchors writes them." type:"path"`
	Scan    bool   `help:"Read every block for anchors, in place of asking for those that the database knows."`
	JSON    bool   `name:"json" help:"Answer in JSON."`
}

// errAudit makes the exit status 1.
var errAudit = fmt.Errorf("the audit is not what was written")

// Run implements the command.
func (c auditVerifyCommand) Run(e *environment) error {
	if c.File != "" {
		return c.verifyFile(e)
	}
	app, err := openForLooking(e)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	start := time.Now()
	report, err := app.verifyAudit(e.ctx, operator(), c.Scan, e.stderr)
	if err != nil {
		return err
	}
	return tellAudit(e.stdout, report, c.JSON, time.Since(start))
}

// auditRestoredCommand puts what a restore has lost on the record.
type auditRestoredCommand struct {
	Reason string `help:"What happened: it stands in the audit for ever." required:""`
	Yes    bool   `help:"Do it. Without it the command tells what would be declared."`
	JSON   bool   `name:"json" help:"What was found, and whether it is declared, as JSON."`
}

// Run implements the command. With --yes it opens everything as a server does, and what it has written is anchored.
func (c auditRestoredCommand) Run(e *environment) (err error) {
	app, err := openBeside(e, !c.Yes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	report, err := app.verifyAudit(e.ctx, "", true, e.stderr)
	if err != nil {
		return err
	}
	tell := func(declared bool) error {
		return printJSON(e.stdout, map[string]any{"declared": declared, "findings": append([]custody.Finding{}, report.Findings...)})
	}
	if !c.Yes {
		if !c.JSON {
			printFindings(e.stdout, "✗", report.Findings)
		}
		if err := custody.MayDeclare(report.Findings); err != nil {
			return err
		}
		if c.JSON {
			return tell(false)
		}
		_, err = fmt.Fprintf(e.stdout, "   没有改动：加 --yes 后，以上 %d 处将声明为恢复旧副本所致，并永久留在审计里\n", len(report.Findings))
		return err
	}
	if err := app.Custody.DeclareRestore(e.ctx, report.Findings, c.Reason, operator()); err != nil {
		return err
	}
	if c.JSON {
		return tell(true)
	}
	_, err = fmt.Fprintf(e.stdout, "   ✓ 已声明 %d 处\n", len(report.Findings))
	return err
}

// sealedTries bounds how often it is asked whether the listener has come on, once custody is open.
const sealedTries = 20

// openForLooking opens everything as a server does, which lets the listener catch up, and anchors nothing.
func openForLooking(e *environment) (*App, error) { return openBeside(e, true) }

// openBeside opens everything as a server does, if it is there, and lets people bring their shares if it takes that. It
// answers when the listener has caught up.
func openBeside(e *environment, look bool) (*App, error) {
	// Opening would make whatever is missing, and find an empty platform in perfect order.
	if name := e.config.Path(e.config.Ledger.File); e.config.Ledger.Kind == "embedded" && !exists(name) {
		if c := e.config; exists(c.DataDir) && (c.Database.Driver != model.SQLite || exists(c.SQLiteFile())) {
			app, err := e.offline() // which says so where a restore was broken off: the ledger comes at its end
			if err != nil {
				return nil, err
			}
			if err := app.Close(e.ctx); err != nil {
				return nil, err
			}
		}
		return nil, fmt.Errorf("no ledger at %s: is --data right?", name)
	}
	app, err := open(e.ctx, e.config, e.logger, look)
	if err != nil {
		return nil, err
	}
	err = e.bringShares(app.Custody)
	for tries := 0; err == nil; tries++ {
		err = app.Service.CatchUp(e.ctx)
		// Until just now the listener could not take signatures over, and it looks again once a second.
		if !errors.Is(err, transfer.ErrSealed) || app.Custody.Sealed() || tries == sealedTries {
			break
		}
		select {
		case <-e.ctx.Done():
			err = e.ctx.Err()
		case <-time.After(sealedLook):
			err = nil
		}
	}
	if err != nil {
		app.Close(e.ctx)
		return nil, err
	}
	return app, nil
}

// verifyAudit holds the audit against its head and against the ledger's anchors. Findings about the anchors themselves
// stand beside those about the rows. actor is who wants to know, "" if that needs no record.
func (a *App) verifyAudit(ctx context.Context, actor string, scan bool, progress io.Writer) (custody.AuditReport, error) {
	var faults []custody.Finding
	anchors := a.Service.LedgerAnchors(ctx, scan, func(f transfer.AnchorFault) {
		faults = append(faults, custody.Finding{Kind: custody.FindingKind(f.Kind), From: f.Sequence, To: f.Sequence, Text: f.Problem})
	}, nil)
	report, err := a.Keeper.VerifyAudit(ctx, custody.VerifyOptions{
		Actor:    actor,
		Anchors:  iter.Seq2[model.AuditAnchor, error](anchors),
		Progress: func(done, total int64) { bar(progress, "审计链", float64(done)/float64(max(total, 1))) },
	})
	if terminal(progress) {
		fmt.Fprintln(progress)
	}
	report.Findings = append(report.Findings, faults...)
	return report, err
}

// findingNames are the kinds of findings for people.
var findingNames = map[custody.FindingKind]string{
	custody.Edited: "内容被改动", custody.Deleted: "记录被删除", custody.Reordered: "顺序被调换", custody.Inserted: "多出的记录",
	custody.Cut: "尾部被截断", custody.FalseHead: "链头不是托管服务写下的", custody.RolledBack: "链头与记录一起被换回旧的", custody.Forked: "与账本锚定的不是同一条链",
	custody.FileDamaged: "文件不完整或被改动", custody.SignatureFalse: "签名不是平台这把密钥的",
	custody.AnchorEdited: "锚定记录与账本不同", custody.AnchorMissing: "缺少账本上的锚定", custody.AnchorUnknown: "账本上没有的锚定",
}

// tellAudit prints what was found, and answers errAudit if anything was.
func tellAudit(w io.Writer, r custody.AuditReport, asJSON bool, took time.Duration) error {
	if asJSON {
		if r.Findings == nil {
			r.Findings = []custody.Finding{}
		}
		if r.Declared == nil {
			r.Declared = []custody.Finding{}
		}
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n", b)
	} else {
		printAudit(w, r, took)
	}
	if len(r.Findings) > 0 {
		return errAudit
	}
	return nil
}

func printAudit(w io.Writer, r custody.AuditReport, took time.Duration) {
	fmt.Fprintf(w, "   审计：%d 行（第 %d 至 %d 行）    用时 %s\n", r.Rows, r.First, r.Last, took.Round(time.Millisecond))
	fmt.Fprintf(w, "   末行哈希 %s\n", r.Hash)
	if r.Anchors == 0 {
		fmt.Fprintln(w, "   账本锚定 0 个")
	} else {
		fmt.Fprintf(w, "   账本锚定 %d 个，最新锚定第 %d 行，其后 %d 行尚无账本作证\n", r.Anchors, r.Anchored, max(0, r.Last-r.Anchored))
	}
	printFindings(w, "ℹ 已声明为恢复所致", r.Declared)
	printFindings(w, "✗", r.Findings)
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "   ✓ 审计链完整，与账本锚定一致")
	} else {
		fmt.Fprintf(w, "   ✗ 发现 %d 处\n", len(r.Findings))
	}
}

func printFindings(w io.Writer, mark string, list []custody.Finding) {
	for _, f := range list {
		rows := fmt.Sprintf("第 %d 行", f.From)
		if f.To != f.From {
			rows = fmt.Sprintf("第 %d 至 %d 行", f.From, f.To)
		}
		fmt.Fprintf(w, "   %s %s %s %s\n", mark, f.Kind, rows, findingNames[f.Kind])
		for _, line := range wrap(f.Text, 74) {
			fmt.Fprintf(w, "     %s\n", line)
		}
	}
}
