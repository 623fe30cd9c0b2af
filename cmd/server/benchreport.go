package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// report writes table, CSV and PNG, and prints the table.
func (b *bench) report(points []point, imp importResult, rates, trivial []rate) error {
	var md strings.Builder
	fmt.Fprintf(&md, "Measured %s, %s, %d cores, %s; `%s`.\n\n", time.Now().Format("2006-01-02"), cpuName(), runtime.NumCPU(), runtime.Version(), b.made())
	fmt.Fprintf(&md, "### n consecutive cards (ms from call to commit, median of %d; ratio to n = 1)\n\n| n | entry and issue | transfer-out | confirm |\n| ---: | ---: | ---: | ---: |\n", b.command.Runs)
	for _, p := range points {
		fmt.Fprintf(&md, "| %d | %.1f (%.2f) | %.1f (%.2f) | %.1f (%.2f) |\n", p.n, p.issue, p.issue/points[0].issue, p.offer, p.offer/points[0].offer, p.settle, p.settle/points[0].settle)
	}
	fmt.Fprintf(&md, "\n### Card file (.xlsx, import and issue)\n\n| rows | rows/s | peak heap | peak heap for a tenth of the rows |\n| ---: | ---: | ---: | ---: |\n| %d | %.0f | %.1f MiB | %.1f MiB |\n",
		imp.rows, imp.perSecond, float64(imp.peak)/(1<<20), float64(imp.tenth)/(1<<20))
	fmt.Fprintf(&md, "\n### Confirmations over HTTP (each consumer confirms the next trade when his last one is on the ledger)\n\n| consumers | trades | confirmed/s | tap to commit, median | 99 %% |\n| ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range rates {
		fmt.Fprintf(&md, "| %d | %d | %.0f | %.0f ms | %.0f ms |\n", r.consumers, r.trades, r.perSecond, r.median, r.p99)
	}
	if len(trivial) > 0 {
		fmt.Fprintf(&md, "\n### Writes of one key through the same client, in the same run\n\n| callers | writes | written/s | call to commit, median | 99 %% | confirmed/s beside it |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n")
		for i, r := range trivial {
			fmt.Fprintf(&md, "| %d | %d | %.0f | %.0f ms | %.0f ms | %.2f |\n", r.consumers, r.trades, r.perSecond, r.median, r.p99, rates[i].perSecond/r.perSecond)
		}
	}
	fmt.Fprint(b.out, "\n", md.String())
	if err := os.WriteFile(filepath.Join(b.command.Out, "figures.md"), []byte(md.String()), 0o644); err != nil {
		return err
	}
	if err := writeCurve(filepath.Join(b.command.Out, "curve.csv"), points); err != nil {
		return err
	}
	return plotCurve(filepath.Join(b.command.Out, "curve.png"), points)
}

// made is the command that makes these figures.
func (b *bench) made() string {
	if b.app.LedgerFile == nil {
		return "make bench LEDGER=fabric"
	}
	return "make bench"
}

// cpuName is the processor's model where the system tells it.
func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	name := between(string(b), "model name", "\n")
	_, name, _ = strings.Cut(name, ":")
	if name = strings.TrimSpace(name); name == "" {
		return runtime.GOARCH
	}
	return name
}
