package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"cardflow/model"
	"cardflow/transfer"
)

// Source is what a bundle is made of.
type Source struct {
	DB       *model.DB
	Channel  string
	DataKey  string                // file of the vault's key
	Journals []string              // files: one of each server
	Ledger   func(io.Writer) error // writes the embedded ledger's file; nil: the ledger is a network's
}

// Take writes a bundle for a kit's recovery key, and answers what is in it. Servers may go on: rows are those of one instant; the
// journals are read after them, and the ledger last, so that none of them is older than what it has to explain.
// progress, if not nil, is told of each table when it begins.
func Take(ctx context.Context, to io.Writer, kit Kit, s Source, progress func(table string, n, of int)) (Manifest, Totals, error) {
	id := make([]byte, idSize)
	if _, err := rand.Read(id); err != nil {
		return Manifest{}, Totals{}, err
	}
	m := Manifest{Format: format, ID: hex.EncodeToString(id), TakenAt: time.Now().UTC().Truncate(time.Millisecond), Channel: s.Channel, Block: -1, Ledger: s.Ledger != nil}
	recipient, err := kit.recipient()
	if err == nil {
		err = kit.head(to)
	}
	if err != nil {
		return m, Totals{}, fmt.Errorf("backup: %w", err)
	}
	w, err := newWriter(to, recipient, m.TakenAt)
	if err != nil {
		return m, Totals{}, fmt.Errorf("backup: %w", err)
	}
	for _, take := range []func() error{
		func() error { return w.takeRows(ctx, s.DB, &m, progress) },
		func() error { return w.takeDataKey(s.DataKey) },
		func() error { return w.takeJournals(s.Journals) },
		func() error { return w.takeLedger(s.Ledger) },
		w.close,
	} {
		if err := take(); err != nil {
			return m, w.totals, fmt.Errorf("backup: %w", err)
		}
	}
	return m, w.totals, nil
}

// takeRows writes the manifest and all rows, as of one instant.
func (w *writer) takeRows(ctx context.Context, db *model.DB, m *Manifest, progress func(string, int, int)) error {
	return db.Read(ctx, func(tx *model.Tx) (err error) {
		if m.Schema, err = tx.Schema(); err != nil {
			return err
		}
		if m.Tables, err = tx.Tables(); err != nil {
			return err
		}
		followed, err := tx.Checkpoint(transfer.FollowedLedger)
		if err == nil {
			m.Block = followed.Value
		} else if !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if err := w.json(manifestName, m); err != nil {
			return err
		}
		for n, t := range m.Tables {
			if progress != nil {
				progress(t.Name, n, len(m.Tables))
			}
			if err := w.takeTable(tx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// takeTable writes a table's rows. A row never spans two members.
func (w *writer) takeTable(tx *model.Tx, t model.Table) error {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines) // which ends each value with a newline
	encoder.SetEscapeHTML(false)
	members := 0
	flush := func() error {
		if lines.Len() == 0 {
			return nil
		}
		members++
		err := w.member(fmt.Sprintf("%s%s/%06d", rowsName, t.Name, members), lines.Bytes())
		lines.Reset()
		return err
	}
	err := tx.EachRow(t, func(row []any) error {
		w.totals.Rows[t.Name]++
		for i, v := range row {
			if text, ok := v.(string); ok && !utf8.ValidString(text) {
				return fmt.Errorf("a value of %s.%s is no UTF-8", t.Name, t.Columns[i].Name) // JSON would change it
			}
		}
		if err := encoder.Encode(row); err != nil || lines.Len() < chunk {
			return err
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

func (w *writer) takeDataKey(file string) error {
	key, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	defer clear(key)
	return w.member(dataKeyName, key)
}

func (w *writer) takeJournals(files []string) error {
	c := &chunks{w: w, folder: journalName}
	for _, file := range files {
		if _, err := transfer.CopyJournal(c, file); err != nil {
			return err
		}
	}
	w.totals.Journal = c.size
	return c.flush()
}

func (w *writer) takeLedger(copyTo func(io.Writer) error) error {
	if copyTo == nil {
		return nil
	}
	c := &chunks{w: w, folder: ledgerName}
	if err := copyTo(c); err != nil {
		return err
	}
	w.totals.Ledger = c.size
	return c.flush()
}
