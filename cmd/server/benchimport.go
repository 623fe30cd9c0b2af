package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"cardflow/iccid"
	"cardflow/transfer"
	"cardflow/transfer/cardfile"
)

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
	carrier, err := b.app.atConsole(b.ctx, "cmcc")
	if err != nil {
		return 0, 0, err
	}
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
	id, err := b.app.Service.StartImport(b.ctx, carrier, b.wish(), transfer.ImportInput{FileName: "bench.xlsx", Body: f, Issue: true, RetailPolicy: "OPEN"})
	if err == nil {
		_, err = b.app.awaitImport(b.ctx, carrier, id)
	}
	took = time.Since(start)
	close(stop)
	most := <-done
	fmt.Fprintf(b.out, "  导入 %d 行：%.1f 秒\n", n, took.Seconds())
	return most - min(most, before.HeapInuse), took, err
}
