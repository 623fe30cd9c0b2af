package embedded_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"

	"go.etcd.io/bbolt"
)

// filled makes a ledger with something in every tree, always the same, and returns its file and all that is in it.
func filled(t *testing.T) (path, content string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ledger.db")
	clock := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	l := open(t, embedded.Config{Path: path, Clock: func() time.Time { return clock }, Random: rand.NewChaCha8([32]byte{2})})
	for i := range 40 {
		key := fmt.Sprint("key ", i%13)
		steps := [][]byte{ledgertest.Put(key, strings.Repeat(key, i)+"!"), ledgertest.Call(ledgertest.Inner, ledgertest.Put(key, "1"))}
		if i%5 == 4 {
			steps = append(steps, ledgertest.Delete(key))
		}
		mustSubmit(t, l, steps...)
	}
	content = dump(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// read opens a ledger, verifies it and reads all of it.
func read(path string) (string, error) {
	l, err := embedded.Open(childConfig(path))
	if err != nil {
		return "", err
	}
	defer l.Close()
	if err := l.Verify(context.Background(), nil); err != nil {
		if ready := l.Ready(context.Background()); !errors.Is(ready, embedded.ErrDamaged) {
			return "", fmt.Errorf("found %w but is ready: %w", errors.New(err.Error()), ready)
		}
		return "", err
	}
	return tryDump(l)
}

func TestDamagedFile(t *testing.T) {
	path, _ := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	wipe := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	cut := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:n] }
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"emptied":                   cut(0),
		"cut in its first page":     cut(100),
		"cut after its first page":  cut(page),
		"cut after its second page": cut(2 * page),
		"cut after its third page":  cut(3 * page),
		"cut a little":              cut(len(bytes.TrimRight(whole, "\x00")) / page * page),
		"first page wiped":          wipe(0, page),
		"second page wiped":         wipe(page, 2*page),
		"both wiped":                wipe(0, 2*page),
		"all wiped":                 wipe(0, len(whole)),
		"all but the first two":     wipe(2*page, len(whole)),
		"another kind of file":      func([]byte) []byte { return bytes.Repeat([]byte("no ledger "), 10_000) },
		"one bit of the first page": func(b []byte) []byte { b[60] ^= 1; return b },
		"one bit of the second":     func(b []byte) []byte { b[page+60] ^= 1; return b },
	} {
		path := filepath.Join(t.TempDir(), "ledger.db")
		spoiled := spoil(bytes.Clone(whole))
		if err := os.WriteFile(path, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(path); !errors.Is(err, embedded.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(after, spoiled) {
			t.Errorf("%s: what is left of the file was written to, %v", name, err)
		}
	}
}

// TestDamagedByte changes single bytes anywhere in the pages in use. Either it is found, or it makes no difference.
func TestDamagedByte(t *testing.T) {
	path, content := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(whole, "\x00"))
	random := rand.New(rand.NewPCG(1, 2))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := 0
	for range 400 {
		at, change := random.IntN(used), byte(1+random.IntN(255))
		if _, err := f.WriteAt([]byte{whole[at] ^ change}, int64(at)); err != nil {
			t.Fatal(err)
		}
		after, err := read(path)
		switch {
		case errors.Is(err, embedded.ErrDamaged):
			found++
		case err != nil:
			t.Errorf("byte %d changed by %d: %v", at, change, err)
		case after != content:
			t.Errorf("byte %d changed by %d: it reads as another ledger", at, change)
		}
		if _, err := f.WriteAt(whole[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := read(path); err != nil || after != content || found < 20 {
		t.Errorf("%d were found; mended it reads %v", found, err)
	}
}

// TestForgedRecord changes records as someone would who knows the format: checksums are right.
func TestForgedRecord(t *testing.T) {
	put := func(tx *bbolt.Tx, tree string, key, body []byte) error {
		return tx.Bucket([]byte(tree)).Put(key, embedded.Seal(key, body))
	}
	last := func(tx *bbolt.Tx, tree string) (key, body []byte) {
		k, v := tx.Bucket([]byte(tree)).Cursor().Last()
		return bytes.Clone(k), bytes.Clone(v[:len(v)-4])
	}
	drop := func(tree string) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			key, _ := last(tx, tree)
			return tx.Bucket([]byte(tree)).Delete(key)
		}
	}
	at := func(block uint64, index uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, block), index)
	}
	for name, forge := range map[string]func(*bbolt.Tx) error{
		"a block dropped":         drop("blocks"),
		"an entry dropped":        drop("entries"),
		"a tail dropped":          func(tx *bbolt.Tx) error { return errors.Join(drop("blocks")(tx), drop("entries")(tx)) },
		"an ID dropped":           drop("txs"),
		"a key dropped":           drop("state"),
		"a line of history drops": drop("history"),
		"a tree dropped":          func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("history")) },
		"a value changed": func(tx *bbolt.Tx) error {
			key, body := last(tx, "state")
			return put(tx, "state", key, append(body[:12], "mine"...))
		},
		"a version changed": func(tx *bbolt.Tx) error {
			key, body := last(tx, "state")
			return put(tx, "state", key, append(at(1, 0), body[12:]...))
		},
		"a value too short": func(tx *bbolt.Tx) error { return put(tx, "state", []byte("probe\x00x"), at(1, 0)) },
		"a key invented":    func(tx *bbolt.Tx) error { return put(tx, "state", []byte("probe\x00x"), append(at(1, 0), '1')) },
		"a key of nobody":   func(tx *bbolt.Tx) error { return put(tx, "state", []byte("x"), append(at(1, 0), '1')) },
		"a line of history added": func(tx *bbolt.Tx) error {
			return put(tx, "history", append([]byte("probe\x00x\x00"), at(1, 0)...), nil)
		},
		"a line of history cut":    func(tx *bbolt.Tx) error { return put(tx, "history", []byte("probe\x00x\x00"), nil) },
		"an ID added":              func(tx *bbolt.Tx) error { return put(tx, "txs", make([]byte, 32), at(1, 0)) },
		"an ID that leads nowhere": func(tx *bbolt.Tx) error { key, _ := last(tx, "txs"); return put(tx, "txs", key, at(1000, 0)) },
		"an ID that leads astray":  func(tx *bbolt.Tx) error { key, _ := last(tx, "txs"); return put(tx, "txs", key, at(0, 0)) },
		"an ID cut":                func(tx *bbolt.Tx) error { key, _ := last(tx, "txs"); return put(tx, "txs", key, at(1, 0)[:11]) },
		"an entry added":           func(tx *bbolt.Tx) error { _, body := last(tx, "entries"); return put(tx, "entries", at(1, 1), body) },
		"an entry under no number": func(tx *bbolt.Tx) error { return put(tx, "entries", []byte("x"), nil) },
		"an entry replaced":        func(tx *bbolt.Tx) error { _, body := last(tx, "entries"); return put(tx, "entries", at(1, 0), body) },
		"an entry of nonsense":     func(tx *bbolt.Tx) error { key, _ := last(tx, "entries"); return put(tx, "entries", key, []byte{9}) },
		"a block added":            func(tx *bbolt.Tx) error { _, body := last(tx, "blocks"); return put(tx, "blocks", at(41, 0)[:8], body) },
		"a block under no number":  func(tx *bbolt.Tx) error { return put(tx, "blocks", []byte("\x00"), nil) },
		"a block cut":              func(tx *bbolt.Tx) error { return put(tx, "blocks", at(1, 0)[:8], []byte("x")) },
		"a block that grew": func(tx *bbolt.Tx) error {
			key, body := last(tx, "blocks")
			binary.BigEndian.PutUint32(body[64:], 1<<31)
			return put(tx, "blocks", key, body)
		},
		"a checksum wrong": func(tx *bbolt.Tx) error {
			key, body := last(tx, "blocks")
			return tx.Bucket([]byte("blocks")).Put(key, append(body, 1, 2, 3, 4))
		},
	} {
		path, _ := filled(t)
		db, err := bbolt.Open(path, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(forge), db.Close()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := read(path); !errors.Is(err, embedded.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}
