package model_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// wired opens a migrated MySQL database over a wire. The tests of this file are about a network, which SQLite has not.
func wired(t *testing.T) (*modeltest.Wire, *model.DB) {
	t.Helper()
	w := modeltest.NewWire(t, modeltest.Fresh(t).Config)
	return w, modeltest.OpenConfig(t, w.Config)
}

// nth makes a fate that befalls the n-th command that has these words, and no other.
func nth(n int64, words string, fate modeltest.Fate) func(int, string) modeltest.Fate {
	var seen atomic.Int64
	return func(_ int, sql string) modeltest.Fate {
		if strings.HasPrefix(sql, words) && seen.Add(1) == n {
			return fate
		}
		return modeltest.Heard
	}
}

// count raises a checkpoint by one: doing it twice, or not at all, shows.
func count(tx *model.Tx) error {
	c, err := tx.LockCheckpoint("count")
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		return err
	}
	return tx.SetCheckpoint("count", c.Value+1, fmt.Sprint(c.Value+1))
}

func counted(t *testing.T, db *model.DB) int64 {
	t.Helper()
	return read(t, db, func(tx *model.Tx) (model.Checkpoint, error) { return tx.Checkpoint("count") }).Value
}

// TestAnswerToCommitLost: the change stands, Write says so, and nothing ran twice.
func TestAnswerToCommitLost(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	w, db := wired(t)
	w.Decide(nth(1, "COMMIT", modeltest.Unheard))
	runs := 0
	write(t, db, func(tx *model.Tx) error { runs++; return count(tx) })
	if n := counted(t, db); n != 1 || runs != 1 {
		t.Errorf("counted to %d in %d runs", n, runs)
	}
}

// TestCommitLost: it never arrived, so Write starts over.
func TestCommitLost(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	w, db := wired(t)
	w.Decide(nth(1, "COMMIT", modeltest.Lost))
	runs := 0
	write(t, db, func(tx *model.Tx) error { runs++; return count(tx) })
	if n := counted(t, db); n != 1 || runs != 2 {
		t.Errorf("counted to %d in %d runs", n, runs)
	}
}

// TestCommitIsAskedAboutUntilKnown: the database is away when it is to be asked, and comes back.
func TestCommitIsAskedAboutUntilKnown(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	for name, x := range map[string]struct {
		fate  modeltest.Fate
		marks string
	}{
		"done": {modeltest.Unheard, ""}, "not done": {modeltest.Lost, ""},
		"the custodian's, done": {modeltest.Unheard, model.CustodyMarks}, "the custodian's, not done": {modeltest.Lost, model.CustodyMarks},
	} {
		w := modeltest.NewWire(t, modeltest.Fresh(t).Config)
		w.Config.Marks = x.marks
		asked := make(chan struct{})
		var once sync.Once
		w.Config.Logger = watching("can't be asked yet", func() { once.Do(func() { close(asked) }) })
		db := modeltest.OpenConfig(t, w.Config)
		w.Decide(func(_ int, sql string) modeltest.Fate {
			if !strings.HasPrefix(sql, "COMMIT") {
				return modeltest.Heard
			}
			w.Decide(func(int, string) modeltest.Fate { return modeltest.Lost })
			return x.fate
		})
		mended := make(chan struct{})
		go func() {
			defer close(mended)
			<-asked
			w.Decide(nil)
		}()
		write(t, db, count)
		<-mended
		if n := counted(t, db); n != 1 {
			t.Errorf("%s: counted to %d", name, n)
		}
	}
}

// TestCommitOfUnknownEnd: nobody is there to be asked. Write doesn't claim anything.
func TestCommitOfUnknownEnd(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	w := modeltest.NewWire(t, modeltest.Fresh(t).Config)
	ctx, cancel := context.WithCancel(t.Context())
	w.Config.Logger = watching("can't be asked yet", cancel) // whoever waited for the answer leaves
	db := modeltest.OpenConfig(t, w.Config)
	w.Decide(func(_ int, sql string) modeltest.Fate {
		if strings.HasPrefix(sql, "COMMIT") {
			w.Decide(func(int, string) modeltest.Fate { return modeltest.Lost })
			return modeltest.Unheard
		}
		return modeltest.Heard
	})
	err := db.Write(ctx, count)
	if !errors.Is(err, model.ErrUnknown) || !errors.Is(err, model.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	w.Decide(nil)
	if n := counted(t, db); n != 1 {
		t.Errorf("counted to %d", n)
	}
	write(t, db, count) // the row that it left its token in can be used again
	if n := counted(t, db); n != 2 {
		t.Errorf("counted to %d", n)
	}
}

// TestEveryAnswerLost: whichever command of a transaction is carried out without an answer, or never arrives, the
// transaction happens once.
func TestEveryAnswerLost(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	w, db := wired(t)
	want := int64(0)
	for _, fate := range []modeltest.Fate{modeltest.Unheard, modeltest.Lost} {
		for n := int64(1); ; n++ {
			var befell atomic.Bool
			decide := nth(n, "", fate)
			w.Decide(func(conn int, sql string) modeltest.Fate {
				f := decide(conn, sql)
				befell.Store(befell.Load() || f != modeltest.Heard)
				return f
			})
			write(t, db, count)
			w.Decide(nil)
			want++
			if got := counted(t, db); got != want {
				t.Fatalf("command %d, fate %d: counted to %d, want %d", n, fate, got, want)
			}
			if !befell.Load() {
				if n < 6 {
					t.Errorf("there are %d commands only", n-1)
				}
				break
			}
		}
	}
}

// TestWritersOnABadWire: many write at once, and a tenth of all commands and answers get lost.
func TestWritersOnABadWire(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	w, db := wired(t)
	const writers, each = 12, 10
	write(t, db, count) // two who set the very first one set the same, and are both right
	w.Decide(func(int, string) modeltest.Fate {
		switch rand.IntN(20) {
		case 0:
			return modeltest.Unheard
		case 1:
			return modeltest.Lost
		}
		return modeltest.Heard
	})
	var done atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				err := db.Write(t.Context(), count)
				switch {
				case err == nil:
					done.Add(1)
				case !errors.Is(err, model.ErrUnavailable) || errors.Is(err, model.ErrUnknown):
					t.Error(err) // it may give up, but must know that nothing stands
				}
			}
		})
	}
	all.Wait()
	w.Decide(nil)
	if n := counted(t, db) - 1; n != done.Load() || n == 0 {
		t.Errorf("counted to %d, and %d writes succeeded", n, done.Load())
	}
}

// TestUnreachable: it is told apart from a refusal.
func TestUnreachable(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	w, db := wired(t)
	write(t, db, count)
	w.Cut()
	if err := db.Ping(t.Context()); !errors.Is(err, model.ErrUnavailable) {
		t.Errorf("ping: %v", err)
	}
	if err := db.Write(t.Context(), count); !errors.Is(err, model.ErrUnavailable) || errors.Is(err, model.ErrUnknown) {
		t.Errorf("write: %v", err)
	}
	err := db.Read(t.Context(), func(tx *model.Tx) error { _, err := tx.Checkpoint("count"); return err })
	if !errors.Is(err, model.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	w.Mend()
	write(t, db, count)
	if n := counted(t, db); n != 2 {
		t.Errorf("counted to %d", n)
	}
}
