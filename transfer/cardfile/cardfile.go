// Package cardfile reads the file in which a carrier names its cards: .xlsx, .xls or .csv with a column of ICCIDs and,
// if the carrier gives them, IMSIs and MSISDNs.
//
// The promise: a card is handed on exactly as a person sees it in the sheet, or its row is reported as a fault with
// its line, column, value and what to do. Nothing is rounded, guessed, repaired or imported unseen: a number where a
// text must be, a hidden row, a merged cell, a second copy of a card are faults. And a file, however hostile, costs
// bounded memory, bounded time and no crash.
//
// # Memory
//
// Rows are streamed: what is held doesn't grow with the file, but for two things. The shared strings of an .xlsx stay
// in memory up to 4 MB and go to an unlinked temporary file beyond. The cards already met, needed to find duplicates,
// are kept as runs of consecutive cards (see seen): a few hundred bytes for a million consecutive cards, about 30 MB
// for a million cards in random order.
//
// # Why the sheets are read here and not by a library
//
// excelize's row stream hides the type of a cell, and the type is all that tells an intact ICCID from one which a
// spreadsheet has rounded. xlsxreader tells types, but holds every shared string in memory, drops all but the first
// run of a rich text, doesn't see hidden rows and merged cells, and takes a truncated sheet for a short one.
// xlsReader, for .xls, drops formula cells, row flags and merged cells, and turns most read errors into an empty
// workbook. So the three formats are streamed by small readers of our own, over archive/zip with encoding/xml and over
// mscfb; the .xls reader works in a child process that has limits on memory, processor and wall time, because its
// format is a memory dump of a program of 1997. excelize writes the files (WriteXLSX).
package cardfile

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"cardflow/iccid"
)

// Limits that hold where Options leave a zero.
const (
	// DefaultMaxRows is the most data rows of one file. Two sheets' worth; a .csv may be longer than a sheet.
	DefaultMaxRows = 2_000_000
	// DefaultMaxBytes is the most bytes that a file may hold once unpacked.
	DefaultMaxBytes = 1 << 30
	// DefaultTimeout is the wall-clock time that the child process gets for one .xls file.
	DefaultTimeout = time.Minute
)

// Row is one sound data row.
type Row struct {
	// Line is the row number that a person sees in the spreadsheet, from 1. In a .csv it counts records, as a
	// spreadsheet does which opens it: a quoted line break doesn't begin a new row.
	Line int
	// ICCID as it stands in the file, without the spaces and marks around it. Card holds what it means.
	ICCID string
	// IMSI is 15 digits, or empty: not every carrier gives it.
	IMSI string
	// MSISDN is the digits of the number, or empty.
	MSISDN string
	// Card and Issuer are what the numbering plan made of ICCID. One file may hold cards of several issuers: the
	// caller decides whether that is allowed.
	Card   iccid.Card
	Issuer iccid.Issuer
}

// LogValue keeps the card out of structured logs.
func (r Row) LogValue() slog.Value { return slog.GroupValue(slog.Int("line", r.Line)) }

// Summary counts the data rows of a file: not its header, not its blank rows. Rows = Good + Bad.
type Summary struct{ Rows, Good, Bad int64 }

// Options say how to read. The zero value reads .xlsx and .csv by the default plan within the default limits.
type Options struct {
	// Plan is the numbering plan; nil means iccid.DefaultPlan.
	Plan *iccid.Plan
	// MSISDNPrefixes are what the numbers of IoT cards begin with; the rule is iccid.CheckMSISDN's.
	MSISDNPrefixes []string
	// MaxRows and MaxBytes (unpacked) bound the file; 0 means the defaults.
	MaxRows, MaxBytes int64
	// OnProgress, if not nil, hears how far the reading is, in bytes for .xlsx and .csv and in rows for .xls. done
	// never falls and ends at total if the whole file was read.
	OnProgress func(done, total int64)
	// Self is the command, program first, that ends in XLSMain. Without it .xls files are refused with an error
	// that isn't a FileError: it's the program's fault, not the file's.
	Self []string
	// Timeout is the wall-clock time for a .xls file; 0 means DefaultTimeout.
	Timeout time.Duration
	// TempDir is where shared strings go that don't fit in memory; empty means os.TempDir.
	TempDir string
}

func (o Options) withDefaults() Options {
	if o.Plan == nil {
		o.Plan = iccid.DefaultPlan()
	}
	if o.MaxRows <= 0 {
		o.MaxRows = DefaultMaxRows
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.OnProgress == nil {
		o.OnProgress = func(_, _ int64) {}
	}
	return o
}

// Read reads the file at path, which the person who sent it calls name. Each sound row goes to each, each fault to
// fault (a row may have several), both in the order of the file; an error of theirs ends the reading and is returned.
//
// A *FileError means that the file as a whole can't be used. It may come after rows have been handed out (a file can
// be damaged at its end): commit nothing before Read has returned nil.
func Read(ctx context.Context, path, name string, opts Options, each func(Row) error, fault func(Fault) error) (Summary, error) {
	opts = opts.withDefaults()
	file, err := os.Open(path)
	if err != nil {
		return Summary{}, fmt.Errorf("open card file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Summary{}, fmt.Errorf("card file size: %w", err)
	}
	check := newChecker(opts, each, fault)
	switch format, err := sniff(file, info.Size(), name); {
	case err != nil:
		return Summary{}, err
	case format == formatXLS:
		err = readXLS(ctx, file, info.Size(), opts, check)
		return check.sum, err
	case format == formatXLSX:
		book, err := openXLSX(file, info.Size(), opts)
		if err != nil {
			return Summary{}, err
		}
		defer book.Close()
		err = readBook(ctx, book, check)
		return check.sum, err
	default:
		book, err := openCSV(ctx, file, info.Size(), opts)
		if err != nil {
			return Summary{}, err
		}
		err = readBook(ctx, book, check)
		return check.sum, err
	}
}

// readBook takes a workbook through the checks, in this process.
func readBook(ctx context.Context, b book, check *checker) error {
	t, head, err := find(b)
	if err != nil {
		return err
	}
	check.head = head
	return drain(ctx, t, head, check.row)
}
