package custody

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestInBatches: everybody is in one batch, in his order, and the last ones are the small ones.
func TestInBatches(t *testing.T) {
	for n, want := range map[int][]int{
		0: nil, 1: {1}, 100: {100}, 150: {100, 50}, 200: {100, 100}, 120: {120}, 1000: {250, 250, 166, 111, 100, 123},
	} {
		var list, got []string
		for i := range n {
			list = append(list, fmt.Sprint(i))
		}
		var sizes []int
		for some := range inBatches(list) {
			sizes, got = append(sizes, len(some)), append(got, some...)
		}
		if !slices.Equal(sizes, want) || !slices.Equal(got, list) {
			t.Errorf("%d: %v, want %v", n, sizes, want)
		}
	}
}

// TestInParallel: each is done once, whoever stores meanwhile; and nothing is begun after an error.
func TestInParallel(t *testing.T) {
	var storing sync.Mutex
	done := make([]atomic.Int32, 500)
	ended := make(chan struct{})
	var storers sync.WaitGroup
	storers.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				storing.Lock()
				runtime.Gosched()
				storing.Unlock()
			}
		}
	})
	err := inParallel(len(done), &storing, func(i int) error {
		done[i].Add(1)
		return nil
	})
	close(ended)
	storers.Wait()
	for i := range done {
		if n := done[i].Load(); n != 1 {
			t.Errorf("%d was done %d times", i, n)
		}
	}
	if err != nil {
		t.Error(err)
	}
	full := errors.New("full")
	var begun atomic.Int32
	err = inParallel(1_000_000, &storing, func(int) error {
		begun.Add(1)
		return full
	})
	if !errors.Is(err, full) || begun.Load() > 1000 {
		t.Errorf("%d begun, %v", begun.Load(), err)
	}
}
