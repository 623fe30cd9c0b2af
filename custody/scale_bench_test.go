package custody_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/model"
)

// scaled is how many keys BenchmarkScale has: CARDFLOW_BENCH_KEYS, or few, which only shows that it works.
func scaled(b *testing.B) int {
	b.Helper()
	text := os.Getenv("CARDFLOW_BENCH_KEYS")
	if text == "" {
		return 2000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkScale makes many keys on one database, then finds some, starts on it, and puts all of them under another
// key-encryption key while others sign. Run it with -benchtime 1x.
func BenchmarkScale(b *testing.B) {
	n := scaled(b)
	r := newRig(b)
	config := r.config()
	config.Unguarded = true
	c, err := custody.Open(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)

	b.Run("raw generation", func(b *testing.B) {
		report := spent(b)
		some := min(n, 20_000)
		var all sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			all.Go(func() {
				for range some / runtime.GOMAXPROCS(0) {
					if _, err := gm.GenerateKey(rand.Reader); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
		report(float64(some), "keys/s")
	})
	b.Run("provision", func(b *testing.B) {
		report := spent(b)
		const call = 1000
		for from := 0; from < n; from += call {
			list := make([]string, min(call, n-from))
			for i := range list {
				list[i] = fmt.Sprintf("c-%08d", from+i)
			}
			if _, _, err := c.Provision(b.Context(), list, custody.Machine, custody.Account, "bench"); err != nil {
				b.Fatal(err)
			}
			r.clock.ahead.Add(call) // time goes on, or the indexes by age would get their rows in no order
		}
		report(float64(n), "keys/s")
	})
	b.Run("find", func(b *testing.B) { benchmarkFind(b, r, c, n) })
	b.Run("start", func(b *testing.B) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := time.Now()
		again, err := custody.Open(b.Context(), config)
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		runtime.GC()
		runtime.ReadMemStats(&after)
		again.Close()
		b.ReportMetric(float64(took.Microseconds())/1000, "ms")
		b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/1024, "KiB")
	})
	b.Run("rewrap", func(b *testing.B) { benchmarkRewrapping(b, c, n) })
}

// benchmarkFind finds keys in each way that there is, and reports the slowest way's median and 99th percentile.
func benchmarkFind(b *testing.B, r *rig, c *custody.Custody, n int) {
	page := func(f model.CustodyKeyFilter) error {
		list, err := c.Keys(b.Context(), f, "", 20)
		if err == nil && len(list.Items) == 0 {
			err = fmt.Errorf("%+v: nothing", f)
		}
		return err
	}
	at := model.MillisOf(r.clock.now())
	for way, find := range map[string]func(owner string, i int) error{
		"owner": func(owner string, _ int) error { return page(model.CustodyKeyFilter{Owner: owner}) },
		"state": func(string, int) error { return page(model.CustodyKeyFilter{State: model.CustodyActive}) },
		"age":   func(string, int) error { return page(model.CustodyKeyFilter{From: at - 1000, To: at + 1000}) },
		"ID": func(owner string, _ int) error {
			k, err := c.ActiveKey(b.Context(), owner, custody.Account)
			if err == nil {
				_, err = c.KeysNamed(b.Context(), k.ID[:12], 2)
			}
			return err
		},
	} {
		took := make([]time.Duration, 1000)
		for i := range took {
			owner := fmt.Sprintf("c-%08d", (i*7919)%n)
			began := time.Now()
			if err := find(owner, i); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, way+"-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, way+"-p99-ms")
	}
}

// benchmarkRewrapping signs for a while, and then while all keys are put under another key-encryption key.
func benchmarkRewrapping(b *testing.B, c *custody.Custody, n int) {
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var signed atomic.Int64
	var all sync.WaitGroup
	run := time.Now().UnixNano()
	for s := range signers[0] {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ask, body := confirm(fmt.Sprintf("trade-%d-%d-%d", run, s, i))
				ask.Owner = fmt.Sprintf("c-%08d", (s+i*signers[0])%n)
				body.Receiver = ask.Owner
				if _, _, err := c.Sign(ctx, ask, body); err != nil {
					if ctx.Err() == nil {
						b.Error(err)
					}
					return
				}
				signed.Add(1)
			}
		})
	}
	rate := func(do func()) float64 {
		before, began := signed.Load(), time.Now()
		do()
		return float64(signed.Load()-before) / time.Since(began).Seconds()
	}
	window := min(20*time.Second, time.Duration(n)*time.Millisecond)
	rate(func() { time.Sleep(window / 4) }) // until all of it is warm
	alone := rate(func() { time.Sleep(window) })
	if _, err := c.NewKEK(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	var p custody.RewrapProgress
	began := time.Now()
	beside := rate(func() {
		var err error
		if p, err = c.Rewrap(b.Context(), "bench", true, nil); err != nil {
			b.Fatal(err)
		}
	})
	took := time.Since(began)
	after := rate(func() { time.Sleep(window) })
	stop()
	all.Wait()
	b.ReportMetric(float64(p.Done)/took.Seconds(), "keys/s")
	b.ReportMetric(1e6/(float64(p.Done)/took.Seconds())/60, "min/million")
	b.ReportMetric(alone, "signed-alone/s")
	b.ReportMetric(beside, "signed-beside/s")
	b.ReportMetric(after, "signed-after/s")
}
