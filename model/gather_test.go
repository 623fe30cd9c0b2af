package model_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"cardflow/model"
)

// Who comes while others are served is served with those who come with him, and never more than so many; each once.
func TestGather(t *testing.T) {
	var mu sync.Mutex
	var served [][]int
	began, goOn := make(chan struct{}, 1), make(chan struct{})
	g := model.NewGather(4, func(some []int) {
		mu.Lock()
		served = append(served, slices.Clone(some))
		first := len(served) == 1
		mu.Unlock()
		if first {
			began <- struct{}{}
			<-goOn
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { g.Do(0) })
	<-began
	for i := 1; i <= 10; i++ {
		wg.Go(func() { g.Do(i) })
		await(t, "one more who waits", func() bool { return g.Waiting() == i })
	}
	close(goOn)
	wg.Wait()
	var sizes, all []int
	for _, some := range served {
		sizes, all = append(sizes, len(some)), append(all, some...)
	}
	if !slices.Equal(sizes, []int{1, 4, 4, 2}) || !slices.Equal(all, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("served %v", served)
	}
}

// A leader who panics does so alone: those who were served with him come back, and the next ones are served.
func TestGatherPanic(t *testing.T) {
	began, goOn := make(chan struct{}, 1), make(chan struct{})
	g := model.NewGather(4, func(some []string) {
		switch {
		case slices.Contains(some, "first"):
			began <- struct{}{}
			<-goOn
		case slices.Contains(some, "fatal"):
			panic("fatal")
		}
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	died := 0
	come := func(item string) {
		wg.Go(func() {
			defer func() {
				if recover() != nil {
					mu.Lock()
					died++
					mu.Unlock()
				}
			}()
			g.Do(item)
		})
	}
	come("first")
	<-began
	for i, item := range []string{"a", "fatal", "b"} {
		come(item)
		await(t, "one more who waits", func() bool { return g.Waiting() == i+1 })
	}
	close(goOn)
	wg.Wait()
	if died != 1 {
		t.Errorf("%d died", died)
	}
	g.Do("next")
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within a minute", what)
		}
	}
}
