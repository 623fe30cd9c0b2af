package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"cardflow/iccid"
	"cardflow/transfer"
)

// Sizes of the paper's curve (§3.2), and beyond it.
var benchSizes = []uint32{1, 10, 100, 1_000, 5_000, 10_000, 100_000, 1_000_000}

// point is a line of the curve; times in ms, medians.
type point struct {
	n                    uint32
	issue, offer, settle float64
}

// curve measures entry, transfer-out and transfer-in for n consecutive cards, each from the call to its commit.
func (b *bench) curve() ([]point, error) {
	carrier, err := b.app.atConsole(b.ctx, "cmcc")
	if err != nil {
		return nil, err
	}
	buyer, err := b.app.Service.ConsumerFor(b.ctx, "bench", "buyer")
	if err != nil {
		return nil, err
	}
	login, err := openSession(b.ctx, b.app.Custody, buyer, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	buyer = login.Caller
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
			if _, err := b.app.awaitOffered(b.ctx, carrier, o.Trades[0]); err != nil {
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
