package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cardflow/iccid"
	"cardflow/transfer"
)

// Consumers who confirm at once.
var benchConsumers = []int{1, 16, 64, 256}

// rate is a line of the throughput table.
type rate struct {
	consumers int
	trades    int
	perSecond float64
	median    float64 // ms from tap to commit
	p99       float64
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
	shop, err := b.app.atConsole(b.ctx, "cmcc")
	if err != nil {
		return nil, err
	}
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
			if t, err = b.app.awaitOffered(b.ctx, shop, t); err != nil || t.State != "offered" {
				return nil, errors.Join(err, fmt.Errorf("trade %s is %s", t.TradeID, t.State))
			}
		}
		out = append(out, o.Trades...)
		n -= some
	}
	return out, nil
}

func (b *bench) confirmAll(clients []*client, trades []transfer.TradeView) (rate, error) {
	return together(len(clients), len(trades), func(caller, i int) error {
		t, c := trades[i], clients[caller]
		var v confirmation
		err := c.call(b.ctx, "POST", "/trades/"+t.TradeID+"/confirm", map[string]string{"code": t.Code, "iccidLast6": iccid.Last6(t.Segments[0].Start)}, &v)
		if err == nil {
			_, err = c.await(b.ctx, v.ConfirmationID)
		}
		return err
	})
}

// baseline is how fast the ledger takes transactions that do nothing but write one key, through the same client in the
// same run, each caller the next one when his last one is in a block.
func (b *bench) baseline() ([]rate, error) {
	var rates []rate
	for _, n := range benchConsumers {
		total := min(max(8*n, 64), 1000)
		if b.command.Quick {
			total = n
		}
		r, err := b.writeAll(n, total)
		if err != nil {
			return nil, fmt.Errorf("%d callers: %w", n, err)
		}
		fmt.Fprintf(b.out, "  %d 个并发空写：%.0f 笔/秒\n", n, r.perSecond)
		rates = append(rates, r)
	}
	return rates, nil
}

func (b *bench) writeAll(callers, total int) (rate, error) {
	return together(callers, total, func(_, i int) error {
		// A step of the conformance suite's contract: put a key.
		step, err := json.Marshal(map[string]any{"do": "put", "key": fmt.Appendf(nil, "bench/%d/%d", time.Now().UnixNano(), i), "value": []byte("x")})
		if err != nil {
			return err
		}
		p, err := b.app.Ledger.Prepare(b.command.Baseline, "Script", [][]byte{step})
		if err != nil {
			return err
		}
		_, err = b.app.Ledger.Submit(b.ctx, p, nil, nil)
		return err
	})
}

// together has callers do total things, each the next one when his last one is done.
func together(callers, total int, do func(caller, i int) error) (rate, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var took []float64
	var failed error
	var wg sync.WaitGroup
	start := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= total {
					return
				}
				at := time.Now()
				err := do(caller, i)
				mu.Lock()
				took = append(took, ms(at))
				failed = errors.Join(failed, err)
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	if failed != nil {
		return rate{}, failed
	}
	return rate{callers, total, float64(total) / seconds, median(took), quantile(took, 0.99)}, nil
}
