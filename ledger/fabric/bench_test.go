//go:build stack

package fabric_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/ledger/fabric"
	"cardflow/ledger/ledgertest"
)

// BenchmarkSubmit writes small transactions on keys of their own: the trivial write that trades are measured beside. ns/op
// is the time of the whole over the number of transactions; a caller waits that times the number of callers.
func BenchmarkSubmit(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := open(b, fabric.StackConfig(b, "", "PlatformMSP"))
			space := fmt.Sprint("bench/", time.Now().UnixNano(), "/")
			crowd(b, callers, func(i int64) error {
				p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Put(fmt.Sprint(space, i), "owner")})
				if err != nil {
					return err
				}
				_, err = l.Submit(context.Background(), p, nil, nil)
				return err
			})
		})
	}
}

// BenchmarkQuery reads one key.
func BenchmarkQuery(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := open(b, fabric.StackConfig(b, "", "PlatformMSP"))
			crowd(b, callers, func(int64) error {
				_, err := l.Query(context.Background(), ledgertest.Outer, ledgertest.Script, ledgertest.Get("bench"))
				return err
			})
		})
	}
}

// BenchmarkBlocks follows the channel from its first block.
func BenchmarkBlocks(b *testing.B) {
	l := open(b, fabric.StackConfig(b, "", "PlatformMSP"))
	height, err := l.Height(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	read := 0
	b.ResetTimer()
	for read < b.N {
		for block, err := range l.Blocks(context.Background(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			if read++; read >= b.N || block.Number+1 == height {
				break
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
}

// crowd has callers do something b.N times together.
func crowd(b *testing.B, callers int, do func(i int64) error) {
	if err := do(0); err != nil { // policies, members, connections
		b.Fatal(err)
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := do(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
