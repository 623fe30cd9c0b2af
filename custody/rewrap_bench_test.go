package custody_test

import (
	"testing"

	"cardflow/custody"
)

// rewrappedKeys is how many keys one round of BenchmarkRewrap puts under a new key-encryption key.
const rewrappedKeys = 2048

// BenchmarkRewrap puts keys under a new key-encryption key, in keys a second: as fast as it goes, and with the rests that
// leave room for those who sign.
func BenchmarkRewrap(b *testing.B) {
	for name, gently := range map[string]bool{"flat out": false, "gently": true} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b)
			r.stock(rewrappedKeys)
			done := int64(0)
			report := spent(b)
			for b.Loop() {
				if _, err := r.NewKEK(b.Context(), "bench"); err != nil {
					b.Fatal(err)
				}
				p, err := r.Rewrap(b.Context(), "bench", gently, func(custody.RewrapProgress) {})
				if err != nil || p.Left != 0 {
					b.Fatalf("%+v, %v", p, err)
				}
				done += p.Done
			}
			report(float64(done), "keys/s")
		})
	}
}
