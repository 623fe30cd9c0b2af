package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/model"
	"cardflow/transfer/cardfile"
)

// detailsAtOnce is how many rows of a file are looked up and stored in one database transaction.
const detailsAtOnce = 500

// reading is one pass over a card file. What it holds does not grow with the file, but for the cards as runs.
type reading struct {
	*importing
	faults  *faultFile
	issuers map[string]string // prefix to the code of what is wrong with it; "" if nothing
	pending []line            // read, but not yet looked up in the books
	cards   runs
	badLine int
	bad     bool // some row so far
}

// line is a row of the file, or one thing wrong with one.
type line struct {
	row   cardfile.Row
	fault *cardfile.Fault
}

// read reads the file from its beginning: every bad row goes to errors.csv, the details of the good ones to the
// database, and the cards to be issued to a file. A *cardfile.FileError or an *Error refuses the file; with any other
// error, or after a crash, it may be read again.
func (w *importing) read(ctx context.Context) (err error) {
	if _, err := os.Stat(w.importFile(w.row.ID)); errors.Is(err, fs.ErrNotExist) {
		return fail("CARD_FILE_LOST")
	}
	if err := w.dropDetails(ctx); err != nil { // of a pass that was cut short
		return err
	}
	w.note(func(i *model.Import) { i.Rows, i.Accepted, i.Rejected = 0, 0, 0 })
	r := &reading{importing: w, issuers: map[string]string{}, cards: runs{}}
	if r.faults, err = newFaultFile(w.faultsFile(w.row.ID)); err != nil {
		return err
	}
	defer r.faults.close()
	_, err = cardfile.Read(ctx, w.importFile(w.row.ID), w.row.FileName, cardfile.Options{
		Plan: w.Plan, MSISDNPrefixes: w.MSISDNPrefixes, MaxRows: w.Config.Imports.MaxRows, MaxBytes: max(w.Config.Imports.MaxBytes, cardfile.DefaultMaxBytes),
		Self: w.Config.Imports.Self, TempDir: w.Config.Imports.Dir, OnProgress: r.progress,
	}, func(row cardfile.Row) error { return r.row(ctx, row) }, func(f cardfile.Fault) error { return r.add(ctx, line{fault: &f}) })
	var file *cardfile.FileError
	if err != nil && !errors.As(err, &file) {
		return err
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	var verdict error
	switch {
	case file != nil:
		r.fault(cardfile.Fault{Code: file.Code, Reason: file.Message})
		verdict = file
	case r.bad && !w.row.Partial, w.row.Accepted == 0:
		verdict = fail("CARD_FILE_BAD_ROWS")
	}
	if err := r.faults.finish(); err != nil {
		return err
	}
	if verdict == nil && w.row.Issue {
		if err := w.save(ctx, nil); err != nil { // with the plan it isn't read again, nor counted
			return err
		}
		return w.planIssue(r.cards)
	}
	return verdict
}

func (r *reading) progress(done, total int64) {
	r.note(func(i *model.Import) {
		if i.BytesTotal != total { // rows, of a .xls
			i.BytesDone, i.BytesTotal = 0, total
		}
		i.BytesDone = max(i.BytesDone, done) // a file that is read again doesn't fall back
	})
}

// row takes a sound row. Whether its card is the carrier's to issue, the ledger says.
func (r *reading) row(ctx context.Context, row cardfile.Row) error {
	code, err := r.issuerFault(ctx, row)
	if err != nil {
		return err
	}
	if code != "" {
		return r.add(ctx, refused(row, code))
	}
	return r.add(ctx, line{row: row})
}

// issuerFault answers what is wrong with a card's issuer. The ledger is asked once for each prefix.
func (r *reading) issuerFault(ctx context.Context, row cardfile.Row) (string, error) {
	prefix := row.Issuer.Rule.Format(row.Card)[:issuerDigits]
	if code, ok := r.issuers[prefix]; ok {
		return code, nil
	}
	code := ""
	is, err := r.issuer(ctx, prefix)
	switch {
	case contract.CodeOf(err) == contract.IssuerUnknown:
		code = contract.IssuerUnknown
	case err != nil:
		return "", err
	case is.Carrier != r.importing.row.ParticipantID:
		code = "CARD_FILE_MIXED"
	case is.Rule != string(row.Issuer.Rule):
		code = "CARD_RULE_DIFFERS"
	}
	r.issuers[prefix] = code
	return code, nil
}

// issuerDigits is the length of the longest prefix that the ledger gives to a carrier.
const issuerDigits = 10

// refused makes a bad row of a sound one.
func refused(row cardfile.Row, code string) line {
	return line{fault: &cardfile.Fault{Line: row.Line, Column: "ICCID", Value: row.ICCID, Code: code, Reason: rowReasons[code]}}
}

// rowReasons say what to do about a row that is sound in itself.
var rowReasons = map[string]string{
	"CARD_FILE_MIXED":      "这张卡的号段不属于本企业。请把其他企业的卡分开，由它们各自导入。",
	"CARD_RULE_DIFFERS":    "平台与账本上这个号段的编号规则不一致，请联系平台。",
	"CARDS_ISSUED_BEFORE":  "这张卡以前已经登记过，或正在登记。请删除这一行。",
	"CARD_IN_IMPORT":       "这张卡正在另一次导入中。请等它结束后再试。",
	"CARD_DETAILS_DIFFER":  "这张卡以前导入过，IMSI 或物联网号码与这次不同。请核对后再导入。",
	contract.IssuerUnknown: "这个号段还没有登记发卡方，请联系平台。",
}

// add keeps a line until there are enough to be looked up together.
func (r *reading) add(ctx context.Context, l line) error {
	r.pending = append(r.pending, l)
	if len(r.pending) < detailsAtOnce {
		return nil
	}
	return r.flush(ctx)
}

// flush looks the pending rows up in the books, stores the details of those that are new, and counts.
func (r *reading) flush(ctx context.Context) error {
	var rows []cardfile.Row
	for _, l := range r.pending {
		if l.fault == nil {
			rows = append(rows, l.row)
		}
	}
	codes, err := r.enter(ctx, rows, false)
	if errors.Is(err, model.ErrConflict) { // some card has details already: find out which
		codes, err = r.enter(ctx, rows, true)
	}
	if err != nil {
		return err
	}
	n := 0
	for _, l := range r.pending {
		if l.fault == nil {
			if codes[n] != "" {
				l = refused(l.row, codes[n])
			}
			n++
		}
		if l.fault != nil {
			r.fault(*l.fault)
			continue
		}
		r.note(func(i *model.Import) { i.Rows++; i.Accepted++ })
		if r.importing.row.Issue && r.stores() {
			r.cards.add(l.row.Issuer.Rule, l.row.Card)
		}
	}
	clear(r.pending)
	r.pending = r.pending[:0]
	return r.faults.err
}

// fault writes one thing that is wrong with a row; a row may have several.
func (r *reading) fault(f cardfile.Fault) {
	r.bad = true
	r.faults.write(f)
	if f.Line != 0 && f.Line != r.badLine {
		r.badLine = f.Line
		r.note(func(i *model.Import) { i.Rows++; i.Rejected++ })
	}
}

// stores reports whether what is read now may come to count.
func (r *reading) stores() bool { return !r.bad || r.importing.row.Partial }

// enter answers for each row the code of what the books have against it, "" if nothing, and stores the details of the
// latter. With look it takes into account that cards may have details already.
func (r *reading) enter(ctx context.Context, rows []cardfile.Row, look bool) ([]string, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	carrier, id := r.importing.row.ParticipantID, r.importing.row.ID
	details := make([]*model.CardDetail, len(rows))
	any := false
	for i, row := range rows {
		if row.IMSI == "" && row.MSISDN == "" || !r.stores() {
			continue
		}
		d, err := r.detail(carrier, id, row.Issuer.Rule, row.Card, row.IMSI, row.MSISDN)
		if err != nil {
			return nil, err
		}
		details[i], any = &d, true
	}
	var codes []string
	check := func(tx *model.Tx) (err error) {
		if codes, err = booked(tx, carrier, rows); err != nil {
			return err
		}
		var fresh []model.CardDetail
		for i, d := range details {
			if d == nil || codes[i] != "" {
				continue
			}
			known := false
			if look {
				if known, codes[i], err = r.knownDetail(tx, rows[i]); err != nil {
					return err
				}
			}
			if !known && codes[i] == "" {
				fresh = append(fresh, *d)
			}
		}
		return tx.AddCards(fresh)
	}
	var err error
	if any {
		err = r.save(ctx, check)
	} else {
		err = r.DB.Read(ctx, check)
	}
	return codes, err
}

// booked answers for each row whether its card is on the ledger already or on its way there: then its code says so.
func booked(tx *model.Tx, carrier string, rows []cardfile.Row) ([]string, error) {
	cards := map[iccid.Rule]*iccid.Builder{}
	for _, row := range rows {
		rule := row.Issuer.Rule
		if cards[rule] == nil {
			cards[rule] = &iccid.Builder{Rule: rule}
		}
		cards[rule].Add(row.Card)
	}
	taken := map[iccid.Rule][]iccid.Set{}
	for rule, b := range cards {
		set, err := b.Set()
		if err != nil {
			return nil, err
		}
		live, err := tx.LiveSegmentsIn(set)
		if err != nil {
			return nil, err
		}
		known, _, err := cover(rule, live)
		if err != nil {
			return nil, err
		}
		taken[rule] = []iccid.Set{known}
		waiting, err := tx.ReservedOverlap(carrier, set)
		if err != nil {
			return nil, err
		}
		for _, id := range waiting {
			a, err := tx.Act(id)
			if err != nil {
				return nil, err
			}
			if a.Function != "Issue" {
				continue // its cards are live
			}
			runs, err := tx.SegmentsOf(a.Subject)
			if err != nil {
				return nil, err
			}
			coming, _, err := cover(rule, runs)
			if err != nil {
				return nil, err
			}
			taken[rule] = append(taken[rule], coming)
		}
	}
	codes := make([]string, len(rows))
	for i, row := range rows {
		if slices.ContainsFunc(taken[row.Issuer.Rule], func(s iccid.Set) bool { return s.Contains(row.Card) }) {
			codes[i] = "CARDS_ISSUED_BEFORE"
		}
	}
	return codes, nil
}

// knownDetail looks whether a card that is not on the ledger has details already, from an import that did not issue it
// or from one that is being read at this moment. The same ones are no fault.
func (r *reading) knownDetail(tx *model.Tx, row cardfile.Row) (known bool, code string, err error) {
	d, err := tx.CardDetail(row.Issuer.Rule, row.Card)
	if errors.Is(err, model.ErrNotFound) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	if d.OwnerCarrier != r.importing.row.ParticipantID {
		return true, "CARD_FILE_MIXED", nil
	}
	if d.ImportID != "" && d.ImportID != r.importing.row.ID {
		i, err := tx.Import(d.ImportID)
		if err != nil {
			return false, "", err
		}
		if i.State != model.ImportDone && i.State != model.ImportFailed {
			return true, "CARD_IN_IMPORT", nil
		}
	}
	for _, field := range []struct {
		place  string
		sealed []byte
		now    string
	}{{"imsi", d.IMSISealed, row.IMSI}, {"msisdn", d.MSISDNSealed, row.MSISDN}} {
		before := ""
		if field.sealed != nil {
			plain, err := r.Vault.Open(field.place, field.sealed)
			if err != nil {
				return false, "", fmt.Errorf("details of a card: %w", err)
			}
			before = string(plain)
		}
		if before != field.now {
			return true, "CARD_DETAILS_DIFFER", nil
		}
	}
	return true, "", nil
}

// faultFile is an errors.csv while it is written: under another name, so that a half one is never taken for whole.
type faultFile struct {
	path  string
	file  *os.File
	csv   *cardfile.FaultWriter
	some  bool
	err   error
	ended bool
}

func newFaultFile(path string) (*faultFile, error) {
	file, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("errors.csv: %w", err)
	}
	return &faultFile{path: path, file: file, csv: cardfile.WriteFaults(file)}, nil
}

// write adds a fault. The first error sticks.
func (f *faultFile) write(fault cardfile.Fault) {
	f.some = true
	if f.err == nil {
		f.err = f.csv.Write(fault)
	}
}

// finish makes the file last under its name; without a fault there is none.
func (f *faultFile) finish() error {
	if f.err == nil {
		f.err = f.csv.Flush()
	}
	if f.err == nil {
		f.err = f.file.Sync()
	}
	if f.err != nil {
		return fmt.Errorf("errors.csv: %w", f.err)
	}
	f.ended = true
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("errors.csv: %w", err)
	}
	if !f.some {
		return os.Remove(f.file.Name())
	}
	return rename(f.file.Name(), f.path)
}

// close lets go of a file that was not finished.
func (f *faultFile) close() {
	if !f.ended {
		f.file.Close()
	}
}

// rename gives a file its name for good.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}
