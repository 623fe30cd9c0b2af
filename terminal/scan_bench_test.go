package terminal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// BenchmarkTenThousandScans is how long ten thousand single barcodes take that are piped in, from the scanner to the set of cards,
// all on the disk.
func BenchmarkTenThousandScans(b *testing.B) {
	var lines strings.Builder
	for n := range 10_000 {
		fmt.Fprintln(&lines, card(2*n))
	}
	for b.Loop() {
		s, err := OpenState(StatePath(b.TempDir()))
		check(b, err)
		tally, err := s.Tally("out")
		check(b, err)
		basket := NewBasket(lotsOf(box(b, 0, 19_999)))
		keep := func() error { return tally.Keep(time.Now()) }
		scanner := NewScanner(bufio.NewReader(strings.NewReader(lines.String())), keep)
		for {
			_, code, err := scanner.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			check(b, err)
			check(b, basket.Card(code))
			tally.Add(code, code)
		}
		check(b, keep())
		set, err := basket.Cards()
		check(b, err)
		if set.Count() != 10_000 {
			b.Fatal(set.Count())
		}
		check(b, s.Close())
	}
}

// BenchmarkScan is how long one scan takes that a person waits for.
func BenchmarkScan(b *testing.B) {
	s, err := OpenState(StatePath(b.TempDir()))
	check(b, err)
	defer s.Close()
	tally, err := s.Tally("out")
	check(b, err)
	for n := 0; b.Loop(); n++ {
		tally.Add(card(n), card(n))
		check(b, tally.Keep(time.Now()))
	}
}
