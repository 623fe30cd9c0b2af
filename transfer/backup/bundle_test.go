package backup

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"cardflow/model"
)

// Whoever has the kit, which is no secret, can make a bundle, and whoever has the place where bundles are kept can put
// it there. What holders of the recovery key then open must not do more than fill tables.

// forger makes bundles that no server would make.
type forger struct {
	t    testing.TB
	key  *age.X25519Identity
	at   time.Time
	db   *model.DB
	dir  string
	mine Manifest // as it would be
}

func newForger(t testing.TB) *forger {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	f := &forger{t: t, key: key, at: time.Unix(1_700_000_000, 0).UTC(), dir: t.TempDir()}
	name := filepath.Join(f.dir, "x.db")
	must(t, os.WriteFile(name, migrated(t), 0o600))
	f.db, err = model.Open(t.Context(), model.Config{Driver: model.SQLite, DSN: name})
	must(t, err)
	t.Cleanup(func() { must(t, f.db.Close()) })
	f.mine = Manifest{Format: format, ID: strings.Repeat("0a", idSize), Channel: "test", Ledger: true}
	must(t, f.db.Read(t.Context(), func(tx *model.Tx) error {
		var failed error
		f.mine.Schema, err = tx.Schema()
		f.mine.Tables, failed = tx.Tables()
		return errors.Join(err, failed)
	}))
	return f
}

var template struct {
	sync.Once
	bytes []byte
	err   error
}

// migrated is an empty platform's database, which takes longer to make than to copy.
func migrated(t testing.TB) []byte {
	t.Helper()
	template.Do(func() {
		name := filepath.Join(t.TempDir(), "migrated.db")
		db, err := model.Open(context.Background(), model.Config{Driver: model.SQLite, DSN: name})
		if template.err = err; err != nil {
			return
		}
		_, err = db.Migrate(context.Background())
		if template.err = errors.Join(err, db.Close()); template.err == nil {
			template.bytes, template.err = os.ReadFile(name)
		}
	})
	must(t, template.err)
	return template.bytes
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *forger) kit() Kit {
	return Kit{Recipient: f.key.Recipient().String(), Sealed: []byte("sealed"), Set: "0123456789abcdef", Threshold: 3, Shares: 5}
}

func (f *forger) place() Place {
	return Place{DB: f.db, Channel: "test", DataKey: filepath.Join(f.dir, "data.key"), Journal: filepath.Join(f.dir, "journal"), Ledger: filepath.Join(f.dir, "ledger")}
}

// bundle writes one with a manifest and what else members writes.
func (f *forger) bundle(m Manifest, members func(w *writer)) []byte {
	f.t.Helper()
	var out bytes.Buffer
	must(f.t, f.kit().head(&out))
	w, err := newWriter(&out, f.key.Recipient(), f.at)
	must(f.t, err)
	must(f.t, w.json(manifestName, m))
	if members != nil {
		members(w)
	}
	must(f.t, w.close())
	return out.Bytes()
}

// sealed puts bytes where a bundle has its tar in gzip.
func (f *forger) sealed(content []byte) []byte {
	var out bytes.Buffer
	must(f.t, f.kit().head(&out))
	w, err := age.Encrypt(&out, f.key.Recipient())
	must(f.t, err)
	_, err = w.Write(content)
	must(f.t, errors.Join(err, w.Close()))
	return out.Bytes()
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // into memory
	_ = w.Close()
	return out.Bytes()
}

// tarOf is what stands in a bundle's gzip.
func (f *forger) tarOf(bundle []byte) []byte {
	f.t.Helper()
	b, err := Open(bytes.NewReader(bundle))
	must(f.t, err)
	plain, err := age.Decrypt(b.rest, f.key)
	must(f.t, err)
	z, err := gzip.NewReader(plain)
	must(f.t, err)
	content, err := io.ReadAll(z)
	must(f.t, err)
	return content
}

func (f *forger) restore(bundle []byte) error {
	b, err := Open(bytes.NewReader(bundle))
	if err == nil {
		_, _, err = b.Restore(context.Background(), f.key, f.place(), nil)
	}
	return err
}

func TestForgedBundle(t *testing.T) {
	t.Parallel()
	tables := func(change func([]model.Table) []model.Table) func(*forger) []byte {
		return func(f *forger) []byte {
			m := f.mine
			var copied []model.Table
			b, err := json.Marshal(m.Tables)
			must(f.t, errors.Join(err, json.Unmarshal(b, &copied)))
			m.Tables = change(copied)
			return f.bundle(m, nil)
		}
	}
	members := func(add func(w *writer)) func(*forger) []byte {
		return func(f *forger) []byte { return f.bundle(f.mine, add) }
	}
	for name, c := range map[string]struct {
		make func(*forger) []byte
		want error
	}{
		"a table that is a statement": {tables(func(l []model.Table) []model.Table {
			l[0].Name = "checkpoints` (name, value, hash, updated_at) VALUES ('restore', 2, 'x', 0) --"
			return l
		}), ErrDamaged},
		"a column that is a statement": {tables(func(l []model.Table) []model.Table {
			l[0].Columns[0].Name = "id`) SELECT 1; DROP TABLE checkpoints; --"
			return l
		}), ErrDamaged},
		"a table without columns":  {tables(func(l []model.Table) []model.Table { l[0].Columns = nil; return l }), ErrDamaged},
		"a table that is missing":  {tables(func(l []model.Table) []model.Table { return l[1:] }), ErrDamaged},
		"a table of migrations":    {tables(func(l []model.Table) []model.Table { return append(l, model.Table{Name: "goose_db_version"}) }), ErrDamaged},
		"a table twice":            {tables(func(l []model.Table) []model.Table { return append(l, l[0]) }), ErrDamaged},
		"no tables":                {tables(func([]model.Table) []model.Table { return nil }), ErrDamaged},
		"an ID that is none":       {func(f *forger) []byte { m := f.mine; m.ID = "\x1b[2J"; return f.bundle(m, nil) }, ErrDamaged},
		"rows of no table":         {members(func(w *writer) { _ = w.member("rows/nothing/000001", []byte("[1]\n")) }), ErrDamaged},
		"rows out of the folder":   {members(func(w *writer) { _ = w.member("rows/../ledger/000001", []byte("[1]\n")) }), ErrDamaged},
		"a row that is none":       {members(func(w *writer) { _ = w.member("rows/accounts/000001", []byte("\n")) }), ErrDamaged},
		"a file of another name":   {members(func(w *writer) { _ = w.member("ledger/../../escaped", []byte("x")) }), ErrDamaged},
		"a manifest in the middle": {members(func(w *writer) { _ = w.json(manifestName, Manifest{}) }), ErrDamaged},
		"its own mark": {members(func(w *writer) {
			_ = w.member("rows/checkpoints/000001", []byte(`["restore",2,"x",0]`+"\n"))
			w.totals.Rows["checkpoints"] = 1
		}), model.ErrConflict},
		"fewer rows than it says": {members(func(w *writer) { w.totals.Rows["accounts"] = 1 }), ErrDamaged},
		"a second gzip":           {func(f *forger) []byte { z := zipped(f.tarOf(f.bundle(f.mine, nil))); return f.sealed(append(z, z...)) }, ErrDamaged},
		"a second tar":            {func(f *forger) []byte { b := f.tarOf(f.bundle(f.mine, nil)); return f.sealed(zipped(append(b, b...))) }, ErrDamaged},
		"bytes behind the tar":    {func(f *forger) []byte { return f.sealed(zipped(append(f.tarOf(f.bundle(f.mine, nil)), 0))) }, ErrDamaged},
		"bytes behind the gzip":   {func(f *forger) []byte { return f.sealed(append(zipped(f.tarOf(f.bundle(f.mine, nil))), 0)) }, ErrDamaged},
		"no gzip":                 {func(f *forger) []byte { return f.sealed([]byte("hello")) }, ErrDamaged},
		"nothing at all":          {func(f *forger) []byte { return f.sealed(nil) }, ErrDamaged},
		"as it should be":         {members(nil), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForger(t)
			if err := f.restore(c.make(f)); !errors.Is(err, c.want) {
				t.Fatalf("it says %v, want %v", err, c.want)
			}
			must(t, f.db.Read(t.Context(), func(tx *model.Tx) error {
				r, err := tx.Restoration()
				if whole := r.Stage == model.RestoreLoaded; whole != (c.want == nil) {
					t.Errorf("the database says stage %d", r.Stage)
				}
				return err
			}))
			if _, err := os.Stat(filepath.Join(filepath.Dir(f.dir), "escaped")); err == nil {
				t.Error("a file has left its place")
			}
		})
	}
}

// A data key that is there and can't be read is not written over.
func TestDataKeyThatCantBeRead(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	must(t, os.Mkdir(f.place().DataKey, 0o700)) // root reads any file, and no folder
	err := f.restore(f.bundle(f.mine, func(w *writer) { _ = w.member(dataKeyName, make([]byte, 32)) }))
	if err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("it says %v", err)
	}
	if _, err := os.Stat(f.place().DataKey + ".restoring"); err == nil {
		t.Error("it was about to be")
	}
}

func TestKitNobodyMade(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	for name, change := range map[string]func(*Kit){
		"threshold 0":         func(k *Kit) { k.Threshold = 0 },
		"threshold 1":         func(k *Kit) { k.Threshold = 1 },
		"threshold below 0":   func(k *Kit) { k.Threshold = -1 },
		"too many are needed": func(k *Kit) { k.Threshold, k.Shares = 1<<40, 1<<40 },
		"more than there are": func(k *Kit) { k.Threshold = 6 },
		"nothing sealed":      func(k *Kit) { k.Sealed = nil },
		"a set for a screen":  func(k *Kit) { k.Set = "\x1b[2J\x1b[1;1Hxx" },
		"no set":              func(k *Kit) { k.Set = "" },
		"no recipient":        func(k *Kit) { k.Recipient = "age1" },
	} {
		k := f.kit()
		change(&k)
		var head bytes.Buffer
		must(t, k.head(&head))
		if _, err := Open(&head); !errors.Is(err, ErrNoBundle) {
			t.Errorf("%s, in a bundle: %v", name, err)
		}
		b, err := json.Marshal(k)
		must(t, err)
		if _, err := ReadKit(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: it is a kit", name)
		}
	}
}

// nowhere takes all.
type nowhere struct{}

func (nowhere) rows(string, []byte) error { return nil }
func (nowhere) dataKey([]byte) error      { return nil }
func (nowhere) journal([]byte) error      { return nil }
func (nowhere) ledger([]byte) error       { return nil }

// read reads a bundle to its end.
func read(bundle []byte, key age.Identity) error {
	b, err := Open(bytes.NewReader(bundle))
	if err != nil {
		return err
	}
	r, err := newReader(b.rest, key)
	if err == nil {
		_, err = r.each(nowhere{})
	}
	return err
}

func expected(err error) bool {
	for _, e := range []error{ErrNotForKey, ErrNoBundle, ErrDamaged, ErrOtherRelease} {
		if errors.Is(err, e) {
			return true
		}
	}
	return err == nil
}

// FuzzBundle alters a bundle's bytes: whatever comes, it is refused by name, and only what was written is whole.
func FuzzBundle(f *testing.F) {
	forger := newForger(f)
	whole := forger.bundle(forger.mine, func(w *writer) { _ = w.member("journal/000001", []byte("x")); w.totals.Journal = 1 })
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(magic + "{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := read(b, forger.key); !expected(err) || err == nil && !bytes.HasSuffix(b, whole[bytes.Index(whole, []byte("age-encryption.org")):]) {
			t.Errorf("%v", err)
		}
	})
}

// FuzzMembers puts anything where a bundle has its tar.
func FuzzMembers(f *testing.F) {
	forger := newForger(f)
	f.Add(forger.tarOf(forger.bundle(forger.mine, func(w *writer) { _ = w.member("rows/accounts/000001", []byte("[1]\n")); w.totals.Rows["accounts"] = 1 })))
	f.Add(forger.tarOf(forger.bundle(Manifest{}, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		one := *forger
		one.t = t
		if err := read(one.sealed(zipped(b)), one.key); !expected(err) {
			t.Errorf("%v", err)
		}
	})
}
