package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"cardflow/custody"
	"cardflow/transfer"
)

// fsckCommand compares database and ledger.
type fsckCommand struct {
	Repair bool `help:"Put right what the ledger or the journal proves. Without it nothing is changed, and each finding says what would be done."`
	JSON   bool `name:"json" help:"The report as JSON."`
}

// errDiffer makes fsck's exit status 1.
var errDiffer = errors.New("database and ledger differ")

// Run implements the command. It opens everything as a server would, which also lets the listener catch up.
func (c fsckCommand) Run(e *environment) error {
	app, err := openForLooking(e)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	start := time.Now()
	if app.LedgerFile != nil { // what Fabric's peers hold is theirs to verify; that blocks follow on each other is seen below
		if err := app.LedgerFile.Verify(e.ctx, func(done, height uint64) {
			bar(e.stderr, "账本区块链", float64(done)/float64(max(height, 1)))
		}); err != nil {
			return fmt.Errorf("the ledger file: %w", err)
		}
	}
	audit, err := app.verifyAudit(e.ctx, "", true, e.stderr)
	if err != nil {
		return err
	}
	look := app.Service.Check
	if c.Repair {
		look = app.Service.Repair
	}
	r, err := look(e.ctx, func(f float64) { bar(e.stderr, "数据库与账本", f) })
	if err != nil {
		return err
	}
	if terminal(e.stderr) {
		fmt.Fprintln(e.stderr)
	}
	if c.JSON {
		if err := printJSON(e.stdout, reportJSON(r, audit)); err != nil {
			return err
		}
	} else {
		printReport(e.stdout, r, audit.Rows, time.Since(start))
	}
	if len(audit.Findings) > 0 && !c.JSON {
		fmt.Fprintln(e.stdout, "   审计链：")
		printFindings(e.stdout, "✗", audit.Findings)
	}
	if !r.Clean() {
		return errDiffer
	}
	if len(audit.Findings) > 0 {
		return errAudit
	}
	return nil
}

// fsckJSON is what was found, for a program.
type fsckJSON struct {
	Clean        bool              `json:"clean"`
	Blocks       uint64            `json:"blocks"`
	Transactions int               `json:"transactions"`
	Lots         int               `json:"lots"`
	Trades       int               `json:"trades"`
	Acts         int               `json:"acts"`
	Unfinished   int               `json:"unfinished"`
	Devices      int               `json:"devices"`
	Keys         int               `json:"keys"`
	KeysOpened   int64             `json:"keysOpened"`
	Signatures   int               `json:"signatures"`
	Cards        uint64            `json:"cards"`
	Findings     []differenceJSON  `json:"findings"`
	AuditRows    int64             `json:"auditRows"`
	Audit        []custody.Finding `json:"audit"`
}

type differenceJSON struct {
	Kind     string `json:"kind"`
	Subject  string `json:"subject"`
	Problem  string `json:"problem"`
	Remedy   string `json:"remedy,omitempty"`
	Repaired bool   `json:"repaired"`
}

func reportJSON(r transfer.Report, audit custody.AuditReport) fsckJSON {
	v := fsckJSON{
		Clean: r.Clean() && len(audit.Findings) == 0, Blocks: r.Blocks, Transactions: r.Transactions, Lots: r.Lots, Trades: r.Trades, Acts: r.Acts,
		Unfinished: r.Unfinished, Devices: r.Devices, Keys: r.Keys, KeysOpened: r.KeysOpened, Signatures: r.Signatures, Cards: r.Cards, AuditRows: audit.Rows,
		Findings: []differenceJSON{}, Audit: append([]custody.Finding{}, audit.Findings...),
	}
	for _, f := range r.Findings {
		v.Findings = append(v.Findings, differenceJSON{f.Kind, f.Subject, f.Problem, f.Remedy, f.Repaired})
	}
	return v
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// terminal reports whether somebody watches.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// bar draws a progress bar over itself, where somebody watches.
func bar(w io.Writer, what string, f float64) {
	if !terminal(w) {
		return
	}
	const width = 30
	if f = min(max(f, 0), 1); math.IsNaN(f) { // of nothing at all, which is done
		f = 1
	}
	n := int(f * width)
	fmt.Fprintf(w, "\r  %s [%s%s] %3.0f%%", what, repeat("█", n), repeat("·", width-n), f*100)
}

func repeat(s string, n int) string {
	out := ""
	for range n {
		out += s
	}
	return out
}

func printReport(w io.Writer, r transfer.Report, audit int64, took time.Duration) {
	fmt.Fprintf(w, "   账本：区块 %d · 交易 %d    审计链 %d 行    用时 %s\n", r.Blocks, r.Transactions, audit, took.Round(time.Millisecond))
	fmt.Fprintf(w, "   数据库：物权 %d · 交易单 %d · 操作 %d（未完成 %d）· 托管签名 %d\n", r.Lots, r.Trades, r.Acts, r.Unfinished, r.Signatures)
	fmt.Fprintf(w, "   在册卡 %d · 可打开的托管密钥 %d · 终端 %d\n", r.Cards, r.KeysOpened, r.Devices)
	repairable, repaired := 0, 0
	for _, f := range r.Findings {
		mark, note := "✗", ""
		switch {
		case f.Repaired:
			mark, note = "✓", "已修复"
			repaired++
		case f.Remedy != "":
			note = "可修复"
			repairable++
		default:
			note = "须人工核查"
		}
		fmt.Fprintf(w, "   %s %s %s\n", mark, f.Kind, f.Subject)
		fmt.Fprintf(w, "     %s\n", f.Problem)
		if f.Remedy != "" {
			note += ": " + f.Remedy
		}
		fmt.Fprintf(w, "     → %s\n", note)
	}
	switch {
	case len(r.Findings) == 0:
		fmt.Fprintln(w, "   ✓ 数据库与账本逐行一致")
	case r.Clean():
		fmt.Fprintf(w, "   ✓ 发现 %d 处不一致，已全部修复\n", repaired)
	case repairable > 0:
		fmt.Fprintf(w, "   ✗ 发现 %d 处不一致，其中 %d 处可由 server fsck --repair 修复\n", len(r.Findings)-repaired, repairable)
	default:
		fmt.Fprintf(w, "   ✗ 发现 %d 处不一致\n", len(r.Findings)-repaired)
	}
}
