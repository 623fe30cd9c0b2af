package embedded_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"
)

// BenchmarkSubmit writes small transactions on keys of their own. ns/op is the time of the whole over the number of
// transactions; a caller waits that times the number of callers.
func BenchmarkSubmit(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := open(b, embedded.Config{})
			var next atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range callers {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						key := fmt.Sprintf("lot/%08d", i)
						if _, err := submit(l, ledgertest.Get(key), ledgertest.Put(key, "owner"), ledgertest.Emit("e", key)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
		})
	}
}
