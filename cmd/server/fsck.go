package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"cardflow/transfer"
)

// fsckCommand compares database and ledger.
type fsckCommand struct{}

// errDiffer makes fsck's exit status 1.
var errDiffer = errors.New("database and ledger differ")

// Run implements the command. It opens everything as a server would, which also lets the listener catch up.
func (fsckCommand) Run(e *environment) error {
	// Opening would make whatever is missing, and find an empty platform in perfect order.
	if name := e.config.Path(e.config.Ledger.File); !exists(name) {
		return fmt.Errorf("no ledger at %s: is --data right?", name)
	}
	app, err := Open(e.ctx, e.config, e.logger)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	if err := app.Service.CatchUp(e.ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := app.Ledger.Verify(e.ctx, func(done, height uint64) {
		bar(e.stderr, "账本区块链", float64(done)/float64(max(height, 1)))
	}); err != nil {
		return fmt.Errorf("the ledger file: %w", err)
	}
	audit, err := app.Custody.VerifyAudit(e.ctx)
	if err != nil {
		return fmt.Errorf("the custody audit: %w", err)
	}
	r, err := app.Service.Check(e.ctx, func(f float64) { bar(e.stderr, "数据库与账本", f) })
	if err != nil {
		return err
	}
	if terminal(e.stderr) {
		fmt.Fprintln(e.stderr)
	}
	printReport(e.stdout, r, audit.Rows, time.Since(start))
	if !r.Clean() {
		return errDiffer
	}
	return nil
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
	fmt.Fprintf(w, "   数据库：物权 %d · 交易单 %d · 操作 %d · 在册卡 %d\n", r.Lots, r.Trades, r.Acts, r.Cards)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "   ✗ %-6s %s %s\n", f.Kind, f.Subject, f.Problem)
	}
	if r.Clean() {
		fmt.Fprintln(w, "   ✓ 数据库与账本逐行一致")
	}
}
