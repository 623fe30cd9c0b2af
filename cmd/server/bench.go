package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"cardflow/iccid"
	"cardflow/transfer"
	"cardflow/transfer/cardfile"
)

// benchCommand measures the whole server on this machine. Everything is bounded: some thousand trades, a few minutes.
type benchCommand struct {
	Out   string `help:"Where figures and curves go." default:"docs/performance" type:"path"`
	Runs  int    `help:"Repetitions of each point of the curve; the median counts." default:"9"`
	Rows  int    `help:"Rows of the card file." default:"200000"`
	Quick bool   `help:"A short form that only shows that it works."`
}

// Sizes of the paper's curve (§3.2), and beyond it.
var benchSizes = []uint32{1, 10, 100, 1_000, 5_000, 10_000, 100_000, 1_000_000}

// Consumers who confirm at once.
var benchConsumers = []int{1, 16, 64, 256}

// bench is one run.
type bench struct {
	ctx     context.Context
	command benchCommand
	app     *App
	out     io.Writer
	head    int // heads of ICCIDs used so far: each run of cards has one of its own
}

// point is a line of the curve; times in ms, medians.
type point struct {
	n                    uint32
	issue, offer, settle float64
}

// rate is a line of the throughput table.
type rate struct {
	consumers int
	trades    int
	perSecond float64
	median    float64 // ms from tap to commit
	p99       float64
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
	return b.report(points, imported, rates)
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

// curve measures entry, transfer-out and transfer-in for n consecutive cards, each from the call to its commit.
func (b *bench) curve() ([]point, error) {
	carrier := demoCaller("cmcc")
	buyer, err := b.app.Service.ConsumerFor(b.ctx, "bench", "buyer")
	if err != nil {
		return nil, err
	}
	points := make([]point, len(benchSizes))
	times := make([][3][]float64, len(benchSizes))
	// Round by round over all sizes, so that whatever else the machine does meets each size alike.
	for round := -1; round < b.command.Runs; round++ {
		for i, n := range benchSizes {
			span := b.run(n)
			var took [3]float64
			start := time.Now()
			if _, err := b.app.Service.Issue(b.ctx, carrier, b.wish(), transfer.IssueInput{Segments: []transfer.Span{span}}); err != nil {
				return nil, err
			}
			took[0] = ms(start)
			start = time.Now()
			o, err := b.app.Service.Offer(b.ctx, carrier, b.wish(), transfer.OfferInput{Mode: "BEARER", Segments: []transfer.Span{span}})
			if err != nil {
				return nil, err
			}
			took[1] = ms(start)
			start = time.Now()
			a, err := b.app.Service.Confirm(b.ctx, buyer, b.wish(), o.Trades[0].TradeID, o.Trades[0].Code, iccid.Last6(span.Start))
			if err != nil {
				return nil, err
			}
			if a, err = b.app.Service.Await(b.ctx, a.ID); err != nil || a.Error != nil {
				return nil, errors.Join(err, fmt.Errorf("confirmation: %+v", a.Error))
			}
			took[2] = ms(start)
			if round < 0 {
				continue // warm
			}
			for k := range took {
				times[i][k] = append(times[i][k], took[k])
			}
		}
		fmt.Fprintf(b.out, "\r  曲线 %d/%d", max(round+1, 0), b.command.Runs)
	}
	fmt.Fprintln(b.out)
	for i, n := range benchSizes {
		points[i] = point{n, median(times[i][0]), median(times[i][1]), median(times[i][2])}
	}
	return points, nil
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

func median(v []float64) float64 { return quantile(v, 0.5) }

func quantile(v []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(float64(len(s))*q))]
}

// importResult is the card file's figures.
type importResult struct {
	rows      int
	perSecond float64
	peak      uint64 // bytes of heap beyond what stood before
	tenth     uint64 // the same for a tenth of the rows
}

// importFile measures the import of a card file with issue, and how its memory grows with the file.
func (b *bench) importFile() (importResult, error) {
	r := importResult{rows: b.command.Rows}
	var err error
	if r.tenth, _, err = b.importRows(b.command.Rows / 10); err != nil {
		return r, err
	}
	var took time.Duration
	if r.peak, took, err = b.importRows(b.command.Rows); err != nil {
		return r, err
	}
	r.perSecond = float64(b.command.Rows) / took.Seconds()
	return r, nil
}

func (b *bench) importRows(n int) (peak uint64, took time.Duration, err error) {
	span := b.run(uint32(n))
	first, issuer, err := iccid.DefaultPlan().Parse(span.Start)
	if err != nil {
		return 0, 0, err
	}
	name := filepath.Join(b.app.Config.DataDir, fmt.Sprintf("cards-%d.xlsx", n))
	f, err := os.Create(name)
	if err != nil {
		return 0, 0, err
	}
	err = cardfile.WriteXLSX(f, func(yield func(cardfile.Row) bool) {
		card := first
		for i := range n {
			card.Tail = uint32(i)
			if !yield(cardfile.Row{ICCID: issuer.Rule.Format(card), IMSI: fmt.Sprintf("46004%010d", i), MSISDN: fmt.Sprintf("10647%08d", i)}) {
				return
			}
		}
	})
	if err != nil {
		return 0, 0, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, errors.Join(err, f.Close())
	}
	defer f.Close()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-stop:
				done <- most
				return
			case <-t.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
	}()
	start := time.Now()
	id, err := b.app.Service.StartImport(b.ctx, demoCaller("cmcc"), b.wish(), transfer.ImportInput{FileName: "bench.xlsx", Body: f, Issue: true, RetailPolicy: "OPEN"})
	if err == nil {
		_, err = b.app.awaitImport(b.ctx, demoCaller("cmcc"), id)
	}
	took = time.Since(start)
	close(stop)
	most := <-done
	fmt.Fprintf(b.out, "  导入 %d 行：%.1f 秒\n", n, took.Seconds())
	return most - min(most, before.HeapInuse), took, err
}

// throughput lets consumers confirm over HTTP, each the next trade as soon as his last one is on the ledger.
func (b *bench) throughput() ([]rate, error) {
	var clients []*client
	for i := range slices.Max(benchConsumers) {
		c := newClient(b.app.URL, fmt.Sprintf("bench-%d", i))
		if err := c.wechat(b.ctx, fmt.Sprintf("demo:bench%d", i)); err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	var rates []rate
	for _, n := range benchConsumers {
		total := min(max(8*n, 64), 1000)
		if b.command.Quick {
			total = n
		}
		trades, err := b.trades(total)
		if err != nil {
			return nil, err
		}
		r, err := b.confirmAll(clients[:n], trades)
		if err != nil {
			return nil, fmt.Errorf("%d consumers: %w", n, err)
		}
		fmt.Fprintf(b.out, "  %d 人同时确认：%.0f 笔/秒\n", n, r.perSecond)
		rates = append(rates, r)
	}
	return rates, nil
}

// trades makes one-card trades, 500 to a ledger transaction.
func (b *bench) trades(n int) ([]transfer.TradeView, error) {
	shop := demoCaller("cmcc")
	var out []transfer.TradeView
	for n > 0 {
		some := min(n, 500)
		span := b.run(uint32(some))
		if _, err := b.app.Service.Issue(b.ctx, shop, b.wish(), transfer.IssueInput{Segments: []transfer.Span{span}}); err != nil {
			return nil, err
		}
		o, err := b.app.Service.Offer(b.ctx, shop, b.wish(), transfer.OfferInput{Mode: "BEARER", Each: true, Segments: []transfer.Span{span}})
		if err != nil {
			return nil, err
		}
		for _, t := range o.Trades {
			if t.State != "offered" {
				return nil, fmt.Errorf("trade %s is %s", t.TradeID, t.State)
			}
		}
		out = append(out, o.Trades...)
		n -= some
	}
	return out, nil
}

func (b *bench) confirmAll(clients []*client, trades []transfer.TradeView) (rate, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var took []float64
	var failed error
	var wg sync.WaitGroup
	start := time.Now()
	for _, c := range clients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(trades) || b.ctx.Err() != nil {
					return
				}
				t := trades[i]
				at := time.Now()
				var v confirmation
				err := c.call(b.ctx, "POST", "/trades/"+t.TradeID+"/confirm", map[string]string{"code": t.Code, "iccidLast6": iccid.Last6(t.Segments[0].Start)}, &v)
				if err == nil {
					_, err = c.await(b.ctx, v.ConfirmationID)
				}
				mu.Lock()
				took = append(took, ms(at))
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	if failed != nil {
		return rate{}, failed
	}
	return rate{len(clients), len(trades), float64(len(trades)) / seconds, median(took), quantile(took, 0.99)}, nil
}

// report writes table, CSV and PNG, and prints the table.
func (b *bench) report(points []point, imp importResult, rates []rate) error {
	var md strings.Builder
	fmt.Fprintf(&md, "Measured %s, %s, %d cores, %s; `make bench`.\n\n", time.Now().Format("2006-01-02"), cpuName(), runtime.NumCPU(), runtime.Version())
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
	fmt.Fprint(b.out, "\n", md.String())
	if err := os.WriteFile(filepath.Join(b.command.Out, "figures.md"), []byte(md.String()), 0o644); err != nil {
		return err
	}
	if err := writeCurve(filepath.Join(b.command.Out, "curve.csv"), points); err != nil {
		return err
	}
	return plotCurve(filepath.Join(b.command.Out, "curve.png"), points)
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

func writeCurve(name string, points []point) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	w.Write([]string{"cards", "issue_ms", "transfer_out_ms", "confirm_ms"})
	num := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	for _, p := range points {
		w.Write([]string{strconv.Itoa(int(p.n)), num(p.issue), num(p.offer), num(p.settle)})
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}

func plotCurve(name string, points []point) error {
	p := plot.New()
	p.Title.Text = "Consecutive cards in one trade (median)"
	p.X.Label.Text = "cards"
	p.Y.Label.Text = "ms to commit"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 0}
	p.Y.Min = 0
	p.Legend.Top = true
	line := func(of func(point) float64) plotter.XYs {
		var xy plotter.XYs
		for _, q := range points {
			xy = append(xy, plotter.XY{X: float64(q.n), Y: of(q)})
		}
		return xy
	}
	err := plotutil.AddLinePoints(p,
		"entry and issue", line(func(q point) float64 { return q.issue }),
		"transfer-out", line(func(q point) float64 { return q.offer }),
		"confirm", line(func(q point) float64 { return q.settle }))
	if err != nil {
		return err
	}
	for _, q := range points {
		p.Y.Max = max(p.Y.Max, q.issue*1.2, q.offer*1.2, q.settle*1.2)
	}
	return p.Save(7*vg.Inch, 4*vg.Inch, name)
}
