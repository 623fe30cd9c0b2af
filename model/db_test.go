package model_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// onRecord is a slog.Handler that calls a function.
type onRecord func(slog.Record)

func (onRecord) Enabled(context.Context, slog.Level) bool        { return true }
func (f onRecord) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f onRecord) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f onRecord) WithGroup(string) slog.Handler                 { return f }

// watching is a logger that calls do at lines with these words.
func watching(words string, do func()) *slog.Logger {
	return slog.New(onRecord(func(r slog.Record) {
		if strings.Contains(r.Message, words) {
			do()
		}
	}))
}

// TestWriteStartsOver: another server has the row (on SQLite: the file) for longer than a statement waits. It lets go
// when the log says that Write starts over.
func TestWriteStartsOver(t *testing.T) {
	t.Run(modeltest.Engine(t), func(t *testing.T) {
		t.Parallel()
		cfg := modeltest.Fresh(t).Config
		other := modeltest.OpenConfig(t, cfg)
		settle(t, other)

		letGo, held := make(chan struct{}), make(chan struct{})
		var once sync.Once
		cfg.LockWait = 20 * time.Millisecond // MySQL makes a second of it
		cfg.Logger = watching("starts over", func() { once.Do(func() { close(letGo) }) })
		db := modeltest.OpenConfig(t, cfg)

		var holder sync.WaitGroup
		holder.Go(func() {
			err := other.Write(context.Background(), func(tx *model.Tx) error {
				if err := tx.LockParticipant("ann"); err != nil {
					return err
				}
				close(held)
				<-letGo
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-held
		write(t, db, func(tx *model.Tx) error { return tx.LockParticipant("ann") })
		holder.Wait()
		select {
		case <-letGo:
		default:
			t.Error("Write never started over")
		}
	})
}

// TestDeadlock: two transactions lock the same two rows in opposite order; both get through. SQLite has no such thing.
func TestDeadlock(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	db := modeltest.Open(t)
	settle(t, db)
	var both, done sync.WaitGroup
	both.Add(2)
	for _, order := range [][2]string{{"ann", "bob"}, {"bob", "ann"}} {
		first := true
		done.Go(func() {
			err := db.Write(context.Background(), func(tx *model.Tx) error {
				if err := tx.LockParticipant(order[0]); err != nil {
					return err
				}
				if first {
					first = false
					both.Done()
					both.Wait()
				}
				return tx.LockParticipant(order[1])
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
}

func TestWriteIsAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		stop := errors.New("stop")
		refused(t, db, stop, func(tx *model.Tx) error {
			if err := tx.SetCheckpoint("blocks", 1, "x"); err != nil {
				return err
			}
			return stop
		})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = db.Write(t.Context(), func(tx *model.Tx) error {
				if err := tx.SetCheckpoint("blocks", 2, "x"); err != nil {
					return err
				}
				panic("stop")
			})
		}()
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error {
			_, err := tx.Checkpoint("blocks")
			return err
		})
	})
}

func TestReadRefusesToWrite(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		err := db.Read(t.Context(), func(tx *model.Tx) error { return tx.SetFrozen("ann", []string{"carrier"}) })
		if err == nil {
			t.Fatal("a read wrote")
		}
		if p := read(t, db, func(tx *model.Tx) (model.Participant, error) { return tx.Participant("ann") }); len(p.Frozen) != 0 {
			t.Error("and it stayed")
		}
	})
}

// TestReadIsASnapshot: what is written meanwhile isn't seen, and the reader holds up nobody.
func TestReadIsASnapshot(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		err := db.Read(t.Context(), func(tx *model.Tx) error {
			if _, err := tx.Participant("ann"); err != nil {
				return err
			}
			write(t, db, func(tx *model.Tx) error { return tx.SetFrozen("ann", []string{"carrier"}) })
			p, err := tx.Participant("ann")
			if len(p.Frozen) != 0 {
				t.Error("the reader sees what was written after it began")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestErrorsHideValues: drivers quote values in their errors; ours don't.
func TestErrorsHideValues(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		const secret = "zhang.san@example.org"
		add := func(id, username string) func(tx *model.Tx) error {
			return func(tx *model.Tx) error {
				return tx.AddPerson(model.Person{ID: id, ParticipantID: "retailer", Username: username, State: model.PersonActive})
			}
		}
		write(t, db, add("p1", secret))
		for name, fn := range map[string]func(tx *model.Tx) error{
			"twice":   add("p2", secret),
			"no such": add("p3", "x\x00"+secret+"\xff"),
			"foreign": func(tx *model.Tx) error {
				return tx.AddPerson(model.Person{ID: "p4", ParticipantID: "nobody", Username: secret + "2", State: model.PersonActive})
			},
			"check": func(tx *model.Tx) error {
				return tx.AddPerson(model.Person{ID: "p5", ParticipantID: "retailer", Username: secret + "3", State: "odd"})
			},
			"syntax":  func(tx *model.Tx) error { return tx.Exec("UPDATE people SET username = ? WHER", secret) },
			"missing": func(tx *model.Tx) error { _, err := tx.PersonByUsername("not." + secret); return err },
		} {
			err := db.Write(t.Context(), fn)
			if name == "no such" && err == nil {
				continue // SQLite takes any bytes
			}
			if err == nil || strings.Contains(err.Error(), "zhang") {
				t.Errorf("%s: %v", name, err)
			}
		}
		err := refused(t, db, model.ErrConflict, add("p2", strings.ToUpper(secret)))
		if !strings.Contains(err.Error(), "username") {
			t.Errorf("%v doesn't say what must be unique", err)
		}
	})
}

func TestContextEndsAWrite(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Write(ctx, func(tx *model.Tx) error {
			if tx.Context() == nil {
				t.Error("no context")
			}
			cancel()
			return tx.SetFrozen("ann", []string{"carrier"})
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		write(t, db, func(tx *model.Tx) error { return tx.LockParticipant("ann") }) // the connection is free again
	})
}

func TestOpenRefuses(t *testing.T) {
	for name, cfg := range map[string]model.Config{
		"driver":      {Driver: "oracle", DSN: "x"},
		"no file":     {Driver: model.SQLite},
		"memory":      {Driver: model.SQLite, DSN: ":memory:"},
		"parameters":  {Driver: model.SQLite, DSN: "x.db?_pragma=synchronous(OFF)"},
		"no folder":   {Driver: model.SQLite, DSN: filepath.Join(t.TempDir(), "none", "x.db")},
		"no dsn":      {Driver: model.MySQL, DSN: "geheim"},
		"no database": {Driver: model.MySQL, DSN: "u:geheim@tcp(127.0.0.1:1)/"},
		"no server":   {Driver: model.MySQL, DSN: "u:geheim@tcp(127.0.0.1:1)/x"},
	} {
		db, err := model.Open(t.Context(), cfg)
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = db.Close()
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v tells the password", name, err)
		}
	}
}

// TestFileMode: nobody else reads the database or its log.
func TestFileMode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "loose.db")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	db := modeltest.OpenConfig(t, model.Config{Driver: model.SQLite, DSN: file})
	settle(t, db)
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(name), info.Mode())
		}
	}
}

// TestSQLiteIsDurable: what Write acknowledges is on disk, and rows stand on rows that are there.
func TestSQLiteIsDurable(t *testing.T) {
	db := sqliteFile(t)
	write(t, db, func(tx *model.Tx) error {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
			if rows, err := tx.Rows("PRAGMA " + pragma); err != nil || rows[0][0] != want {
				t.Errorf("%s is %v, %v", pragma, rows, err)
			}
		}
		return nil
	})
}

// TestWhatMySQLSays: what a server says that is going away or full is for later, and of that only the first is tried again.
func TestWhatMySQLSays(t *testing.T) {
	if modeltest.Engine(t) != model.MySQL {
		return
	}
	t.Parallel()
	db := modeltest.Open(t)
	const enough = 3
	for number, again := range map[int]bool{
		1053: true, 1927: true, 1290: true,
		3: false, 1021: false, 1026: false, 1030: false, 1114: false, 1180: false, 1878: false,
	} {
		runs := 0
		err := db.Write(t.Context(), func(tx *model.Tx) error {
			if runs++; runs == enough {
				return nil
			}
			return tx.Exec(fmt.Sprintf("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = %d, MESSAGE_TEXT = 'secret'", number))
		})
		switch {
		case again && (err != nil || runs != enough):
			t.Errorf("%d: %v after %d runs", number, err, runs)
		case !again && (!errors.Is(err, model.ErrUnavailable) || runs != 1 || strings.Contains(err.Error(), "secret")):
			t.Errorf("%d: %v after %d runs", number, err, runs)
		}
	}
}

// TestReadyKnowsOfAFullDisk: a database that answers, and takes nothing, is not ready; it is again when there is room, though
// nobody has written meanwhile.
func TestReadyKnowsOfAFullDisk(t *testing.T) {
	if modeltest.Engine(t) != model.SQLite {
		return // what MySQL says of its disk is in TestWhatMySQLSays; filling it is for the crash suite
	}
	t.Parallel()
	db := modeltest.Open(t)
	ready := func() error { return db.Ready(t.Context()) }
	if err := ready(); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		write(t, db, func(tx *model.Tx) error { return tx.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)) })
	}
	limit(1) // no more than it has
	grow := func(tx *model.Tx) error {
		return tx.SetCheckpoint("grow", 1, strings.Repeat("x", 1<<20))
	}
	if err := db.Write(t.Context(), grow); !errors.Is(err, model.ErrUnavailable) || !strings.Contains(err.Error(), "full") {
		t.Fatalf("a write that needs room ended with %v", err)
	}
	write(t, db, func(tx *model.Tx) error { return tx.SetCheckpoint("small", 1, "x") })
	if err := ready(); err != nil {
		t.Errorf("a small change found room, and it is not ready: %v", err)
	}
	if err := db.Write(t.Context(), grow); err == nil {
		t.Fatal("there is room")
	}
	if db.Full() == nil {
		t.Error("it has forgotten")
	}
	limit(1 << 30)
	write(t, db, grow)
	if err := ready(); err != nil || db.Full() != nil {
		t.Errorf("there is room: %v, %v", err, db.Full())
	}
}
