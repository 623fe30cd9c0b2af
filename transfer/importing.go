package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"cardflow/model"
	"cardflow/transfer/cardfile"
)

// importWorkers is how many card files this server reads at once.
const importWorkers = 2

// importPatience is how long an import whose file can't be read for reasons that aren't the file's is tried again.
const importPatience = 24 * time.Hour

// runImports reads the card files that wait, until ctx ends, and removes files that nobody needs.
func (s *Service) runImports(ctx context.Context) {
	if s.Config.Imports.Dir == "" {
		return
	}
	var workers sync.WaitGroup
	workers.Go(func() { s.sweepFiles(ctx) })
	for range importWorkers {
		workers.Go(func() { s.work(ctx, importsWait, s.nextImport) })
	}
	workers.Wait()
}

// importing is an import whose lease this server has.
type importing struct{ held[model.Import] }

// nextImport takes the oldest import that nobody has as far as it goes.
func (s *Service) nextImport(ctx context.Context) (bool, error) {
	w := &importing{held[model.Import]{
		Service: s, put: (*model.Tx).SaveImport, until: func(i *model.Import) *model.Millis { return &i.LeaseUntil },
	}}
	err := s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		alone, err := s.alone(tx)
		if err == nil {
			w.row, err = tx.LeaseImport(s.worker(), s.now(), s.leaseEnd(), func(i model.Import) bool { return alone || s.canCarry(i) })
		}
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := w.carry(ctx, w.run); err != nil {
		return true, fmt.Errorf("import %s: %w", w.row.ID, err)
	}
	return true, nil
}

// canCarry reports whether this server has what an import needs: the file, or the plan that was made of it, is on the server
// that was given it, unless all servers share the folder. One that nobody could carry for long is taken by whoever comes, and ends for want of its file.
func (s *Service) canCarry(i model.Import) bool {
	_, err := os.Stat(s.issueFile(i.ID))
	if err != nil && i.State != model.ImportIssuing {
		_, err = os.Stat(s.importFile(i.ID))
	}
	return err == nil || s.now()-i.CreatedAt > model.Millis(importPatience.Milliseconds())
}

// run carries an import from the state that is recorded. A crash while it is read makes it begin anew; once that is done
// what it issues is fixed in a file, custody is told, and each act has an ID of its own and so is accepted once.
func (w *importing) run(ctx context.Context) error {
	if w.row.State == model.ImportQueued {
		if err := w.moveTo(ctx, model.ImportReading); err != nil {
			return err
		}
	}
	if w.row.State == model.ImportReading {
		var file *cardfile.FileError
		var ours *Error
		var err error
		if !w.planned() {
			err = w.read(ctx)
		}
		if err == nil && w.row.Issue {
			err = w.authorise(ctx)
		}
		switch {
		case errors.As(err, &file):
			return w.refuse(ctx, file.Code, file.Message)
		case errors.As(err, &ours):
			return w.refuse(ctx, ours.Code, "")
		case err != nil && ctx.Err() == nil && w.now()-w.row.CreatedAt > model.Millis(importPatience.Milliseconds()):
			return errors.Join(err, w.refuse(ctx, "INTERNAL", ""))
		case err != nil:
			return err
		case !w.row.Issue:
			return w.end(ctx, model.ImportDone)
		}
		w.note(func(i *model.Import) { i.BytesDone, i.BytesTotal = 0, 0 }) // they count lots from here on
		if err := w.moveTo(ctx, model.ImportIssuing); err != nil {
			return err
		}
	}
	return w.issue(ctx)
}

// moveTo takes the import to its next state.
func (w *importing) moveTo(ctx context.Context, to model.ImportState) error {
	return w.move(ctx, func(tx *model.Tx) (model.Import, error) { return tx.MoveImport(w.row.ID, w.row.State, to, nil) })
}

// refuse ends an import of which nothing is to stay but its errors.csv. The details go first: after a crash in the
// middle the import is still being read, and begins anew.
func (w *importing) refuse(ctx context.Context, code, text string) error {
	if err := w.dropDetails(ctx); err != nil {
		return err
	}
	w.note(func(i *model.Import) { i.ErrorCode, i.ErrorText = code, text })
	return w.end(ctx, model.ImportFailed)
}

// end records the end. The files go after it: what a crash leaves of them, the sweep removes.
func (w *importing) end(ctx context.Context, state model.ImportState) error {
	if err := w.moveTo(ctx, state); err != nil {
		return err
	}
	w.tell(w.row.ID)
	w.Logger.Info("import ended", "import", w.row.ID, "state", state, "rows", w.row.Rows, "rejected", w.row.Rejected, "code", w.row.ErrorCode)
	for _, path := range []string{w.importFile(w.row.ID), w.issueFile(w.row.ID)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.Logger.Error("import: file stays until the sweep", "import", w.row.ID, "error", err)
		}
	}
	return nil
}

// dropDetails forgets the details of cards that the import has brought.
func (w *importing) dropDetails(ctx context.Context) error {
	for {
		n := 0
		err := w.save(ctx, func(tx *model.Tx) (err error) {
			n, err = tx.DropCards(w.row.ID, detailsAtOnce)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// Files that no import asks for are removed when they are this old: younger ones may be on their way in.
const orphanAge = time.Hour

// sweepEvery is how often old files are looked for.
const sweepEvery = time.Hour

func (s *Service) sweepFiles(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.SweepFiles(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("import: sweep", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// SweepFiles removes the card files of imports that have ended or never began, and every errors.csv that has been kept
// long enough.
func (s *Service) SweepFiles(ctx context.Context) error {
	entries, err := os.ReadDir(s.Config.Imports.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return err
		}
		age := s.Clock().Sub(info.ModTime())
		id, kind, _ := strings.Cut(e.Name(), ".")
		err = s.DB.Read(ctx, func(tx *model.Tx) error {
			i, err := tx.Import(id)
			switch {
			case errors.Is(err, model.ErrNotFound):
				if age < orphanAge {
					return nil
				}
			case err != nil:
				return err
			case i.State != model.ImportDone && i.State != model.ImportFailed:
				return nil
			case kind == faultsKind && age < s.Config.Imports.Keep:
				return nil
			}
			if err := os.Remove(s.importFile(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
