package backup

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"cardflow/model"
)

// Place is where a platform begins anew: a migrated database that nobody uses, and the names of files.
type Place struct {
	DB      *model.DB
	Channel string
	DataKey string
	Journal string
	Ledger  string // of the embedded ledger's file; empty: the ledger is a network's

	At func(point string) // called at the points below, for tests; nil outside of them
}

// The points at the end of a restore, when all is there and files get their names. A crash at any of them leaves a database
// that says that it is being restored, and the same bundle goes on from there.
const (
	AtWritten = "written" // no file has its name yet
	AtNamed   = "named"   // one more has: the data key, the journal, the ledger, in this order
)

// The errors of restoring, beside those of reading.
var (
	// ErrOccupied: the database has rows, or a file is there, that this bundle has not put there.
	ErrOccupied = errors.New("there is something else already")
	// ErrOtherLedger: the bundle is of another channel, or of the other kind of ledger.
	ErrOtherLedger = errors.New("the bundle belongs to another ledger")
)

// Restore fills a place from a bundle, with its recovery key. It asks the database to remember that it is under way, so that no server starts
// on half of it; a crash leaves that, and the same bundle goes on from there. progress, if not nil, is told of each table.
func (b *Bundle) Restore(ctx context.Context, identity Identity, p Place, progress func(table string, n, of int)) (Manifest, Totals, error) {
	r, err := newReader(b.rest, identity)
	if err != nil {
		return Manifest{}, Totals{}, err
	}
	m := r.Manifest
	if m.Channel != p.Channel || m.Ledger != (p.Ledger != "") {
		return m, Totals{}, fmt.Errorf("%w: channel %s, ledger included: %t", ErrOtherLedger, m.Channel, m.Ledger)
	}
	s := &restoring{ctx: ctx, place: p, manifest: m, progress: progress}
	defer s.close()
	if err := s.begin(); err != nil {
		return m, Totals{}, err
	}
	var totals Totals
	err = p.DB.Load(ctx, func(l *model.Loader) error {
		s.loader = l
		if err := s.empty(); err != nil {
			return err
		}
		if totals, err = r.each(s); err != nil {
			return err
		}
		return s.whole(totals)
	})
	if err == nil {
		err = s.finish()
	}
	return m, totals, err
}

// restoring is a restore under way.
type restoring struct {
	ctx      context.Context
	place    Place
	manifest Manifest
	progress func(string, int, int)
	loader   *model.Loader
	again    bool // the same bundle was begun before

	table string              // whose rows come
	skip  int64               // of them are there already
	files map[string]*os.File // by the names that they will get
}

// begin makes the database say what it is about to become. Errors: ErrOtherRelease, ErrDamaged, ErrOccupied.
func (s *restoring) begin() error {
	return s.place.DB.Write(s.ctx, func(tx *model.Tx) error {
		schema, err := tx.Schema()
		if err != nil {
			return err
		}
		if schema != s.manifest.Schema {
			return fmt.Errorf("%w: its tables are those of migration %d, and these of %d", ErrOtherRelease, s.manifest.Schema, schema)
		}
		// Names of tables and columns become part of statements, and whoever has the kit can make a bundle: so they must
		// be this database's own.
		tables, err := tx.Tables()
		if err != nil {
			return err
		}
		same := func(a, b model.Table) bool { return a.Name == b.Name && slices.Equal(a.Columns, b.Columns) }
		if !slices.EqualFunc(tables, s.manifest.Tables, same) {
			return fmt.Errorf("%w: its tables are not those of migration %d", ErrDamaged, schema)
		}
		before, err := tx.Restoration()
		if err != nil {
			return err
		}
		switch {
		case before.Stage == model.RestoreLoading && before.Bundle == s.manifest.ID:
			s.again = true
			return nil
		case before.Stage != model.RestoreNone:
			return fmt.Errorf("%w: a restore of bundle %s", ErrOccupied, before.Bundle)
		}
		return tx.BeginRestore(s.manifest.ID)
	})
}

// empty demands that nothing is there but what this bundle put there when it was begun before.
func (s *restoring) empty() error {
	if s.again {
		return nil
	}
	for _, t := range s.manifest.Tables {
		n, err := s.loader.Count(s.ctx, t)
		if err != nil {
			return err
		}
		if n != 0 {
			return errors.Join(fmt.Errorf("%w: table %s has rows", ErrOccupied, t.Name), s.giveUp())
		}
	}
	for _, file := range []string{s.place.Journal, s.place.Ledger} {
		switch info, err := os.Stat(file); {
		case file == "", errors.Is(err, os.ErrNotExist):
		case err != nil:
			return errors.Join(err, s.giveUp())
		case info.Size() > 0:
			return errors.Join(fmt.Errorf("%w: %s", ErrOccupied, filepath.Base(file)), s.giveUp())
		}
	}
	return nil
}

// giveUp takes back what begin has said, where nothing has been done.
func (s *restoring) giveUp() error {
	return s.place.DB.Write(context.WithoutCancel(s.ctx), func(tx *model.Tx) error { return tx.GiveUpRestore(s.manifest.ID) })
}

// tableOf finds a table of the bundle.
func (s *restoring) tableOf(name string) (n int, t model.Table, err error) {
	for n, t := range s.manifest.Tables {
		if t.Name == name {
			return n, t, nil
		}
	}
	return 0, t, fmt.Errorf("%w: rows of a table %q", ErrDamaged, name)
}

// rows implements sink. Rows come in one order, and a member of them is one transaction: those that are there are the
// first ones.
func (s *restoring) rows(name string, lines []byte) error {
	n, t, err := s.tableOf(name)
	if err != nil {
		return err
	}
	if s.table != name {
		s.table = name
		if s.skip, err = s.loader.Count(s.ctx, t); err != nil {
			return err
		}
		if s.progress != nil {
			s.progress(name, n, len(s.manifest.Tables))
		}
	}
	var rows [][]any
	for line := range bytes.Lines(lines) {
		if s.skip > 0 {
			s.skip--
			continue
		}
		row, err := decode(t, line)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	return s.loader.Add(s.ctx, t, rows)
}

// decode reads one row.
func decode(t model.Table, line []byte) ([]any, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(line, &values); err != nil || len(values) != len(t.Columns) {
		return nil, fmt.Errorf("%w: a row of %s that is none", ErrDamaged, t.Name)
	}
	row := make([]any, len(values))
	for i, raw := range values {
		if string(raw) == "null" {
			continue
		}
		var err error
		switch t.Columns[i].Kind {
		case model.KindInt:
			var v int64
			err = json.Unmarshal(raw, &v)
			row[i] = v
		case model.KindText:
			var v string
			err = json.Unmarshal(raw, &v)
			row[i] = v
		case model.KindBytes:
			var v string
			if err = json.Unmarshal(raw, &v); err == nil {
				row[i], err = base64.StdEncoding.DecodeString(v)
			}
		default:
			err = fmt.Errorf("kind %q", t.Columns[i].Kind)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: a value of %s.%s that is none", ErrDamaged, t.Name, t.Columns[i].Name)
		}
	}
	return row, nil
}

// whole demands that each table has what the bundle had.
func (s *restoring) whole(want Totals) error {
	for _, t := range s.manifest.Tables {
		n, err := s.loader.Count(s.ctx, t)
		if err != nil {
			return err
		}
		if n != want.Rows[t.Name] {
			return fmt.Errorf("table %s has %d rows, and the bundle %d", t.Name, n, want.Rows[t.Name])
		}
	}
	return nil
}

// dataKey implements sink: a key that is there must be the same.
func (s *restoring) dataKey(key []byte) error {
	defer clear(key)
	old, err := os.ReadFile(s.place.DataKey)
	if err == nil {
		defer clear(old)
		if !bytes.Equal(old, key) {
			return fmt.Errorf("%w: %s is another key", ErrOccupied, filepath.Base(s.place.DataKey))
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) { // it is there, and must not be written over unread
		return err
	}
	f, err := s.part(s.place.DataKey)
	if err == nil {
		_, err = f.Write(key)
	}
	return err
}

// journal implements sink.
func (s *restoring) journal(b []byte) error { return s.appendTo(s.place.Journal, b) }

// ledger implements sink.
func (s *restoring) ledger(b []byte) error { return s.appendTo(s.place.Ledger, b) }

func (s *restoring) appendTo(name string, b []byte) error {
	f, err := s.part(name)
	if err == nil {
		_, err = f.Write(b)
	}
	return err
}

// part is a file that gets its name when all is well.
func (s *restoring) part(name string) (*os.File, error) {
	if f := s.files[name]; f != nil {
		return f, nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name+".restoring", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if s.files == nil {
		s.files = map[string]*os.File{}
	}
	s.files[name] = f
	return f, nil
}

// finish gives the files their names, the ledger last, and then lets the database say that it is whole.
func (s *restoring) finish() error {
	s.at(AtWritten)
	for _, name := range []string{s.place.DataKey, s.place.Journal, s.place.Ledger} {
		f := s.files[name]
		if f == nil {
			continue
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := os.Rename(f.Name(), name); err != nil {
			return err
		}
		if err := syncFolder(filepath.Dir(name)); err != nil {
			return err
		}
		s.at(AtNamed)
	}
	return s.place.DB.Write(s.ctx, func(tx *model.Tx) error { return tx.EndRestore(s.manifest.ID) })
}

func (s *restoring) at(point string) {
	if s.place.At != nil {
		s.place.At(point)
	}
}

func (s *restoring) close() {
	for _, f := range s.files {
		_ = f.Close()
	}
}

// syncFolder makes new names in a folder survive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
