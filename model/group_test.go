package model_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// sqliteFile opens a migrated SQLite database, whatever the run is about.
func sqliteFile(t *testing.T) *model.DB {
	t.Helper()
	ctx := context.Background()
	db, err := model.Open(ctx, model.Config{Driver: model.SQLite, DSN: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	return db
}

func retailer(id string) model.Participant {
	return model.Participant{ID: id, Role: "retailer", Kind: model.Organisation, State: model.ParticipantPending}
}

func stored(t *testing.T, db *model.DB) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := db.Read(context.Background(), func(tx *model.Tx) error {
		list, err := tx.Participants("retailer")
		for _, p := range list {
			all[p.ID] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Writers who share a commit share nothing else: one who fails, after he has written, leaves no trace and harms nobody.
func TestSharedCommitKeepsWritersApart(t *testing.T) {
	db := modeltest.Open(t)
	boom := errors.New("changed my mind")
	var wg sync.WaitGroup
	errs := make([]error, 200)
	for i := range errs {
		wg.Go(func() {
			errs[i] = db.WriteTogether(context.Background(), func(tx *model.Tx) error {
				if err := tx.AddParticipant(retailer(fmt.Sprintf("r-%03d", i))); err != nil {
					return err
				}
				if i%3 == 0 {
					return boom
				}
				return nil
			})
		})
	}
	wg.Wait()
	all := stored(t, db)
	for i, err := range errs {
		id := fmt.Sprintf("r-%03d", i)
		switch {
		case i%3 == 0 && (!errors.Is(err, boom) || all[id]):
			t.Errorf("%s failed with %v; stored: %t", id, err, all[id])
		case i%3 != 0 && (err != nil || !all[id]):
			t.Errorf("%s: %v; stored: %t", id, err, all[id])
		}
	}
}

// A constraint that one of them breaks is his error alone.
func TestSharedCommitConflict(t *testing.T) {
	db := modeltest.Open(t)
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			errs[i] = db.WriteTogether(context.Background(), func(tx *model.Tx) error { return tx.AddParticipant(retailer("r-one")) })
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, model.ErrConflict):
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d writers added one participant", won)
	}
}

// A panic stays with him whose function it was, and takes only his writes along.
func TestSharedCommitPanic(t *testing.T) {
	db := modeltest.Open(t)
	var wg sync.WaitGroup
	died := make([]any, 40)
	for i := range died {
		wg.Go(func() {
			defer func() { died[i] = recover() }()
			err := db.WriteTogether(context.Background(), func(tx *model.Tx) error {
				if err := tx.AddParticipant(retailer(fmt.Sprintf("r-%03d", i))); err != nil {
					return err
				}
				if i%4 == 0 {
					panic("boom")
				}
				return nil
			})
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	all := stored(t, db)
	for i, d := range died {
		if id := fmt.Sprintf("r-%03d", i); (d != nil) != (i%4 == 0) || all[id] != (i%4 != 0) {
			t.Errorf("writer %d: panicked with %v, stored %t", i, d, all[id])
		}
	}
}

// A function that ends its goroutine, as a test does that fails, ends that of its writer, and nobody else's: the others
// are served, whoever of them leads.
func TestSharedCommitGoexit(t *testing.T) {
	db := modeltest.Open(t)
	var wg sync.WaitGroup
	stayed := make([]bool, 40)
	for i := range stayed {
		wg.Go(func() {
			err := db.WriteTogether(context.Background(), func(tx *model.Tx) error {
				if err := tx.AddParticipant(retailer(fmt.Sprintf("r-%03d", i))); err != nil {
					return err
				}
				if i%4 == 0 {
					runtime.Goexit()
				}
				return nil
			})
			stayed[i] = err == nil
		})
	}
	wg.Wait()
	all := stored(t, db)
	for i, there := range stayed {
		if id := fmt.Sprintf("r-%03d", i); there != (i%4 != 0) || all[id] != there {
			t.Errorf("writer %d: came back %t, stored %t", i, there, all[id])
		}
	}
}

// Whoever has given up before his turn writes nothing; whoever gives up in the middle doesn't take the others along.
func TestSharedCommitCancelled(t *testing.T) {
	db := modeltest.Open(t)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	err := db.WriteTogether(gone, func(tx *model.Tx) error { return tx.AddParticipant(retailer("r-gone")) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a writer who had given up got %v", err)
	}
	leaving, cancel := context.WithCancel(context.Background())
	err = db.WriteTogether(leaving, func(tx *model.Tx) error {
		cancel()
		return tx.AddParticipant(retailer("r-leaving"))
	})
	if all := stored(t, db); all["r-gone"] || all["r-leaving"] != (err == nil) {
		t.Errorf("stored %v, and the one who left was told %v", all, err)
	}
}

// Those who lock one row, and each other's next one, from two servers at once: nobody waits for ever, and every write
// happens once.
func TestSharedCommitsOfTwoServers(t *testing.T) {
	place := modeltest.Fresh(t)
	const each = 60
	var wg sync.WaitGroup
	for server := range 2 {
		db := modeltest.OpenConfig(t, place.Config)
		for n := range each {
			wg.Go(func() {
				id := fmt.Sprintf("r-%d-%03d", server, n)
				err := db.WriteTogether(context.Background(), func(tx *model.Tx) error {
					now := model.Millis(1000*server + n + 1)
					if ok, err := tx.TakeLease("head", "all", now, now+1); err != nil || !ok {
						return fmt.Errorf("the head: %t, %w", ok, err)
					}
					if err := tx.AddParticipant(retailer(id)); err != nil {
						return err
					}
					_, err := tx.TakeLease(fmt.Sprint("key-", n%3), "all", now, now+1)
					return err
				})
				if err != nil {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
	}
	wg.Wait()
	if all := stored(t, modeltest.OpenConfig(t, place.Config)); len(all) < 2*each {
		t.Errorf("%d of %d are stored", len(all), 2*each)
	}
}

// A commit that panics is nobody's success: its leader dies, and none of the others is told that anything stands.
func TestSharedCommitThatPanics(t *testing.T) {
	place := modeltest.Fresh(t)
	var armed atomic.Bool
	place.Config.At = func(point string) {
		if point == "model: "+model.AtCommitting && armed.Load() {
			panic("boom")
		}
	}
	db := modeltest.OpenConfig(t, place.Config)
	busy, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.WriteTogether(context.Background(), func(*model.Tx) error { close(busy); <-free; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-busy
	var died, refused atomic.Int64
	const writers = 20
	for i := range writers {
		wg.Go(func() {
			defer func() {
				if recover() != nil {
					died.Add(1)
				}
			}()
			err := db.WriteTogether(context.Background(), func(tx *model.Tx) error {
				armed.Store(true) // from the next commit on, which is this one
				return tx.AddParticipant(retailer(fmt.Sprintf("r-%03d", i)))
			})
			if errors.Is(err, model.ErrUnknown) {
				refused.Add(1)
			} else {
				t.Errorf("writer %d was told %v", i, err)
			}
		})
	}
	await(t, "writers who wait", func() bool { return db.Waiting() == writers })
	close(free)
	wg.Wait()
	armed.Store(false)
	if died.Load() == 0 || died.Load()+refused.Load() != writers {
		t.Errorf("%d died, %d were told that nobody knows", died.Load(), refused.Load())
	}
	if all := stored(t, db); len(all) != 0 {
		t.Errorf("stored %v", all)
	}
}
