package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/model"
	"cardflow/transfer"
)

// benchCommand measures the whole server on this machine. Everything is bounded: some thousand trades, a few minutes.
type benchCommand struct {
	Out   string `help:"Where figures and curves go." default:"docs/performance" type:"path"`
	Runs  int    `help:"Repetitions of each point of the curve; the median counts." default:"9"`
	Rows  int    `help:"Rows of the card file." default:"200000"`
	Quick bool   `help:"A short form that only shows that it works."`
	// Baseline is a contract of the conformance suite, which a network has only if it was made for tests.
	Baseline string `help:"Contract of the ledger's conformance suite: writes of one key through it are measured beside the confirmations." placeholder:"probe"`
}

// bench is one run.
type bench struct {
	ctx     context.Context
	command benchCommand
	app     *App
	out     io.Writer
	head    int // heads of ICCIDs used so far: each run of cards has one of its own
}

// Run implements the command.
func (c benchCommand) Run(e *environment) error {
	if c.Quick {
		c.Runs, c.Rows = 1, 2000
	}
	dir, err := os.MkdirTemp("", "cardflow-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config := e.config
	config.Custody.Process = Inside
	config.DataDir, config.HTTP.Listen = dir, "127.0.0.1:0"
	much := Rate{1_000_000, time.Second}
	config.Limits = LimitsConfig{much, much, much, much, much, much, much, much}
	config.Imports.MaxRows = max(config.Imports.MaxRows, c.Rows)
	app, err := Open(e.ctx, config, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	b := &bench{ctx: e.ctx, command: c, app: app, out: e.stdout}
	if err := app.seedOrganisations(e.ctx); err != nil {
		return err
	}
	if err := b.grantQuotas(); err != nil {
		return err
	}
	if err := app.Listen(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	points, err := b.curve()
	if err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	imported, err := b.importFile()
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	rates, err := b.throughput()
	if err != nil {
		return fmt.Errorf("throughput: %w", err)
	}
	var trivial []rate
	if c.Baseline != "" {
		if trivial, err = b.baseline(); err != nil {
			return fmt.Errorf("trivial writes: %w", err)
		}
	}
	return b.report(points, imported, rates, trivial)
}

// grantQuotas lets few keys sign in a minute what they wouldn't in days. The guards are as in production else: each
// signature is counted.
func (b *bench) grantQuotas() error {
	return b.app.DB.Write(b.ctx, func(tx *model.Tx) error {
		for _, name := range []string{"platform", "role:consumer/account", "role:retailer/account", "role:distributor/account", "role:carrier/account"} {
			if err := tx.SetQuota(model.Quota{Name: name, Daily: 1_000_000_000, ChangedBy: "bench", ChangedAt: model.MillisOf(time.Now())}); err != nil {
				return err
			}
		}
		return nil
	})
}

// run names n consecutive cards that nobody has used.
func (b *bench) run(n uint32) transfer.Span {
	b.head++
	head := fmt.Sprintf("898604B7%05d", b.head)
	rule := iccid.Serial
	first := iccid.Card{Head: head, Width: 7, Tail: 0}
	last := iccid.Card{Head: head, Width: 7, Tail: n - 1}
	return transfer.Span{Start: rule.Format(first), End: rule.Format(last)}
}

func (b *bench) wish() transfer.Idem {
	return transfer.Idem{Key: fmt.Sprint(time.Now().UnixNano()), Route: "bench"}
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

func median(v []float64) float64 { return quantile(v, 0.5) }

func quantile(v []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(float64(len(s))*q))]
}
