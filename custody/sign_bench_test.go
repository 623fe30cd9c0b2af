package custody_test

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
)

// signers is how many acts wait for a signature at once: as many as one server's relay has workers, and the relays of four.
var signers = []int{64, 256}

// BenchmarkSign compares a durable signature (intent recorded, signed, verified, stored, audited, on disk) with the bare calls
// that sign and verify, on all cores, for many who wait at once. The guards of signing are on. What is signed are consumers'
// confirmations, each of which was asked for: its authorisation is looked up and judged. "Of itself" is what a key signs that
// needs nobody's wish.
func BenchmarkSign(b *testing.B) {
	ask, body := confirm("raw")
	message := request.New(channel, body).SigningBytes("0123456789abcdef0123456789abcdef", ask.NotAfter)
	b.Run("raw", func(b *testing.B) {
		key, err := gm.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		public := key.Public()
		report := spent(b)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				sig, err := key.Sign(rand.Reader, message)
				if err == nil {
					err = gm.Verify(public, message, sig)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
		report(float64(b.N), "signatures/s")
	})
	for _, waiting := range signers {
		b.Run(fmt.Sprintf("durable for %d", waiting), func(b *testing.B) { benchmarkDurable(b, waiting, request.Consumer) })
		b.Run(fmt.Sprintf("of itself for %d", waiting), func(b *testing.B) { benchmarkDurable(b, waiting, custody.Machine) })
	}
}

func benchmarkDurable(b *testing.B, waiting int, role request.Role) {
	r := newRig(b)
	c := r.open()
	// As if two people had granted consumers a hundred times what they have: these few sign for millions.
	r.exec(`INSERT INTO custody_quotas (name, daily, changed_by, changed_at) VALUES ('role:consumer/account', 50000, 'p-li', 1)`)
	tokens := make([]custody.LoginToken, waiting)
	for i := range tokens {
		owner := fmt.Sprintf("c-%04d", i)
		r.ensure(owner, role, custody.Account)
		tokens[i] = r.logIn(owner)
	}
	ofOne := func(i int) (custody.Ask, request.Confirm) {
		ask, body := confirm(fmt.Sprintf("trade-%d", i))
		ask.Owner = fmt.Sprintf("c-%04d", i%waiting)
		body.Receiver = ask.Owner
		return ask, body
	}
	if role == request.Consumer {
		var asking errgroup.Group
		asking.SetLimit(waiting)
		for i := 1; i <= b.N; i++ {
			asking.Go(func() error {
				ask, body := ofOne(i)
				return c.Authorise(b.Context(), tokens[i%waiting], ask.Subject, body, ask.NotAfter)
			})
		}
		if err := asking.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	var n atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	b.SetParallelism(waiting / runtime.GOMAXPROCS(0))
	report := spent(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ask, body := ofOne(int(n.Add(1)))
			began := time.Now()
			if _, _, err := c.Sign(b.Context(), ask, body); err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			took = append(took, time.Since(began))
			mu.Unlock()
		}
	})
	report(float64(b.N), "signatures/s")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// spent starts the clock, and answers what reports how many were done in a second, and how much of the processors each took:
// that stays the same when others use the machine, too.
func spent(b *testing.B) (report func(n float64, unit string)) {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	b.ResetTimer()
	return func(n float64, unit string) {
		b.StopTimer()
		b.ReportMetric(n/b.Elapsed().Seconds(), unit)
		b.ReportMetric(float64((used()-before).Microseconds())/n, "cpu-µs/each")
	}
}
