package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer/cardfile"
)

// ImportConfig says where card files wait to be read, and bounds them.
//
// The files name cards in the clear, as their senders do: the folder is for the server's user alone, and a file is gone
// as soon as its import has ended. Several servers share the folder, or one of them takes all imports.
type ImportConfig struct {
	Dir      string
	MaxBytes int64         // of a file as it is sent; 0 means 128 MiB
	MaxRows  int64         // 0 means cardfile.DefaultMaxRows
	Self     []string      // the command, program first, that ends in cardfile.XLSMain
	Keep     time.Duration // how long errors.csv stays after the end
}

const defaultImportBytes = 128 << 20

// ImportInput is a carrier's card file, and what is to become of it.
type ImportInput struct {
	FileName     string
	Body         io.Reader
	Issue        bool // register the cards on the ledger, too
	Partial      bool // the good rows count even if others are bad
	RetailPolicy string
	Restrictions []string
}

// importsWait is the hub's word for imports that wait for a worker.
const importsWait = "imports"

// StartImport takes a card file in and answers the ID of its import, which goes on by itself. The file is on the disk
// before there is a row: a crash between the two leaves a file that nobody asks for, and the sweep removes it.
//
// Without an idempotency key each call is an import of its own. That does no harm: cards that an earlier one brought
// are refused as such.
func (s *Service) StartImport(ctx context.Context, c Caller, idem Idem, in ImportInput) (string, error) {
	if c.Role != request.Carrier {
		return "", fail("FORBIDDEN")
	}
	if s.Config.Imports.Dir == "" {
		return "", fail("UNAVAILABLE")
	}
	restrictions, err := cleanRestrictions(in.Restrictions)
	if err != nil {
		return "", err
	}
	if in.RetailPolicy, err = retailPolicy(in.RetailPolicy); err != nil {
		return "", err
	}
	row := model.Import{
		ID: s.newID(), ParticipantID: c.Participant, Person: c.Person, FileName: cleanName(in.FileName), State: model.ImportQueued,
		Partial: in.Partial, Issue: in.Issue, RetailPolicy: in.RetailPolicy, Restrictions: restrictions, CreatedAt: s.now(),
	}
	var digest string
	if row.Size, digest, err = s.takeFile(row.ID, in.Body); err != nil {
		return "", err
	}
	row.BytesTotal = row.Size
	if idem.BodyDigest == "" { // who streams a body knows its digest only now; what is asked for belongs to it
		sum := sha256.Sum256(fmt.Append(nil, digest, in.Issue, in.Partial, in.RetailPolicy, restrictions))
		idem.BodyDigest = hex.EncodeToString(sum[:])
	}
	// Its cards are known when the file has been read, and whoever asks may have gone by then: he asks for whatever it names.
	// Custody is told which they are as soon as they are known.
	var wishes []wish
	if in.Issue {
		wishes = append(wishes, s.asks(importWish(row.ID), wholeIssue(&row)))
	}
	if idem.Key != "" {
		err = s.authorised(ctx, c, idem, func(*model.Tx) ([]wish, error) { return wishes, nil })
	} else {
		err = s.authorise(ctx, c, wishes...)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(s.importFile(row.ID)))
	}
	id := row.ID
	add := func(tx *model.Tx) (string, error) { return row.ID, tx.AddImport(row) }
	if idem.Key != "" {
		id, err = s.once(ctx, c, idem, add)
	} else {
		err = s.DB.Write(ctx, func(tx *model.Tx) error { return tx.AddImport(row) })
	}
	if errors.Is(err, model.ErrUnknown) {
		return "", err // the row may stand, and needs its file; if not, the sweep removes it
	}
	if err != nil || id != row.ID { // refused, or asked for before
		return id, errors.Join(err, os.Remove(s.importFile(row.ID)))
	}
	s.tell(importsWait)
	return id, nil
}

// importFile is the file of an import as it came.
func (s *Service) importFile(id string) string { return filepath.Join(s.Config.Imports.Dir, id) }

// faultsKind is the end of the name of an errors.csv.
const faultsKind = "errors.csv"

// faultsFile is the errors.csv of an import that has ended, issueFile what it is going to issue.
func (s *Service) faultsFile(id string) string { return s.importFile(id) + "." + faultsKind }
func (s *Service) issueFile(id string) string  { return s.importFile(id) + ".issue" }

// takeFile streams a file to the disk, within bounds, and makes it last. What could not be taken as a whole is removed.
func (s *Service) takeFile(id string, body io.Reader) (size int64, digest string, err error) {
	if err := os.MkdirAll(s.Config.Imports.Dir, 0o700); err != nil {
		return 0, "", fmt.Errorf("card file: %w", err)
	}
	f, err := os.OpenFile(s.importFile(id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, "", fmt.Errorf("card file: %w", err)
	}
	most := s.Config.Imports.MaxBytes
	if most <= 0 {
		most = defaultImportBytes
	}
	hash := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, hash), io.LimitReader(body, most+1))
	if err == nil && size > most {
		err = fail("CARD_FILE_TOO_LARGE").With("limitBytes", most)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(s.Config.Imports.Dir)
	}
	if err != nil {
		return 0, "", errors.Join(err, os.Remove(f.Name()))
	}
	return size, hex.EncodeToString(hash.Sum(nil)), nil
}

// cleanName makes what a browser calls a file fit to be shown.
func cleanName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if r := []rune(name); len(r) > 255 {
		name = string(r[len(r)-255:]) // the end tells the format
	}
	return name
}

// ImportView is how far an import is.
type ImportView struct {
	ID        string
	FileName  string
	State     string // queued, reading, issuing, done, failed
	Rows      int64  // read so far
	Accepted  int64  // sound ones
	Rejected  int64
	Progress  float64   // 0 to 1
	Lots      []string  // hashes of those that are on the ledger, at the end
	Error     *ActError // of one that failed
	CreatedAt time.Time
	UpdatedAt time.Time
}

// readShare is the part of the work of an import that is done when the file has been read.
const readShare = 0.9

func importView(i model.Import) ImportView {
	v := ImportView{
		ID: i.ID, FileName: i.FileName, State: string(i.State), Rows: i.Rows, Accepted: i.Accepted, Rejected: i.Rejected,
		Lots: i.Lots, CreatedAt: i.CreatedAt.Time(), UpdatedAt: i.UpdatedAt.Time(),
	}
	share := 0.0
	if i.BytesTotal > 0 {
		share = min(1, float64(i.BytesDone)/float64(i.BytesTotal))
	}
	switch i.State {
	case model.ImportQueued, model.ImportReading:
		v.Progress = readShare * share
	case model.ImportIssuing: // the two columns count lots now
		v.Progress = readShare + (1-readShare)*share
	case model.ImportDone:
		v.Progress = 1
	case model.ImportFailed:
		v.Progress = 1
		v.Error = &ActError{Code: i.ErrorCode, Message: i.ErrorText}
		if v.Error.Message == "" {
			v.Error.Message = MessageOf(i.ErrorCode)
		}
	}
	return v
}

// ownImport reads an import of the caller's organisation. Others' are not found.
func (s *Service) ownImport(ctx context.Context, c Caller, id string) (i model.Import, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		i, err = tx.Import(id)
		if errors.Is(err, model.ErrNotFound) || err == nil && i.ParticipantID != c.Participant {
			return fail("IMPORT_NOT_FOUND")
		}
		return err
	})
	return i, err
}

// Import shows how far an import of the caller's organisation is.
func (s *Service) Import(ctx context.Context, c Caller, id string) (ImportView, error) {
	i, err := s.ownImport(ctx, c, id)
	if err != nil {
		return ImportView{}, err
	}
	return importView(i), nil
}

// Ended reports whether the import has reached its end.
func (v ImportView) Ended() bool {
	return v.State == string(model.ImportDone) || v.State == string(model.ImportFailed)
}

// AwaitImport waits for the end of an import. When ctx ends first it answers how far the import is.
func (s *Service) AwaitImport(ctx context.Context, c Caller, id string) (ImportView, error) {
	return await(ctx, s.hub, id, func(ctx context.Context) (ImportView, bool, error) {
		v, err := s.Import(ctx, c, id)
		return v, v.Ended(), err
	})
}

// Imports lists the imports of the caller's organisation, newest first.
func (s *Service) Imports(ctx context.Context, c Caller, cursor string, limit int) (Page[ImportView], error) {
	var out Page[ImportView]
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.ImportsOf(c.Participant, cursor, limit)
		if err != nil {
			return err
		}
		out = Page[ImportView]{Next: page.Next}
		for _, i := range page.Items {
			out.Items = append(out.Items, importView(i))
		}
		return nil
	})
	return out, cursorError(err)
}

// ImportFaults writes the errors.csv of an import that has ended: every bad row, or only the header if there was none.
// Errors: IMPORT_NOT_FOUND, IMPORT_UNFINISHED, IMPORT_FAULTS_EXPIRED, IMPORT_FAULTS_ELSEWHERE.
func (s *Service) ImportFaults(ctx context.Context, c Caller, id string, w io.Writer) error {
	i, err := s.ownImport(ctx, c, id)
	if err != nil {
		return err
	}
	if i.State != model.ImportDone && i.State != model.ImportFailed {
		return fail("IMPORT_UNFINISHED")
	}
	f, err := os.Open(s.faultsFile(i.ID))
	switch {
	case errors.Is(err, fs.ErrNotExist) && i.Rejected > 0:
		if s.now()-i.UpdatedAt < model.Millis(s.Config.Imports.Keep.Milliseconds()) {
			return fail("IMPORT_FAULTS_ELSEWHERE")
		}
		return fail("IMPORT_FAULTS_EXPIRED")
	case errors.Is(err, fs.ErrNotExist):
		return cardfile.WriteFaults(w).Flush()
	case err != nil:
		return fmt.Errorf("faults of import %s: %w", i.ID, err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("faults of import %s: %w", i.ID, err)
	}
	return nil
}
