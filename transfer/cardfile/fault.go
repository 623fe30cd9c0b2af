package cardfile

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Codes of the faults that this package finds. What iccid refuses comes with iccid's own codes.
const (
	CodeMissing       = "ICCID_MISSING"       // a row with something in it, but no ICCID
	CodeICCIDNumeric  = "ICCID_NUMERIC_CELL"  // an ICCID kept as a number: its last digits are gone
	CodeICCIDNoText   = "ICCID_NOT_TEXT"      // a truth value, a date or #N/A in the ICCID column
	CodeIMSINumeric   = "IMSI_NUMERIC_CELL"   // a number that isn't exact
	CodeIMSINoText    = "IMSI_NOT_TEXT"       //
	CodeMSISDNNumeric = "MSISDN_NUMERIC_CELL" // a number that isn't exact
	CodeMSISDNNoText  = "MSISDN_NOT_TEXT"     //
	CodeHidden        = "ROW_HIDDEN"          // nobody saw this row when the file was checked
	CodeMerged        = "MERGED_CELL"         // one value over several rows
	CodeDuplicate     = "DUPLICATE_IN_FILE"   // the card stands in an earlier row
	CodeRefused       = "ROW_REFUSED"         // a refusal of another package that has no code
)

// Fault is one thing wrong with one row. It is for the person who sent the file: Value and Reason may name a card, so
// neither goes into a log (LogValue leaves them out).
type Fault struct {
	Line   int    // the row number that a person sees
	Column string // the header of the column, as the file spells it
	Value  string // what stands there: at most 64 characters, without control characters
	Code   string // stable
	Reason string // Chinese: what is wrong and what to do
}

// LogValue keeps what the file says out of structured logs.
func (f Fault) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("line", f.Line), slog.String("code", f.Code))
}

// maxValue is the most characters of a value that a fault repeats.
const maxValue = 64

// clean makes a value fit to be shown: a hostile file must not smuggle escape sequences, invisible or
// direction-changing characters, or a megabyte, into a page or a terminal.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == maxValue {
			break
		}
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) {
			continue
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// FaultWriter writes errors.csv.
type FaultWriter struct {
	w   *csv.Writer
	err error
}

// WriteFaults begins an errors.csv on w: UTF-8 with a byte order mark, without which Excel shows Chinese as garbage,
// and the header. Call Flush at the end.
func WriteFaults(w io.Writer) *FaultWriter {
	buffered := bufio.NewWriter(w)
	_, err := buffered.WriteString("\ufeff")
	f := &FaultWriter{w: csv.NewWriter(buffered), err: err}
	f.w.UseCRLF = true
	if err == nil {
		f.err = f.w.Write([]string{"行号", "列", "值", "原因", "代码"})
	}
	return f
}

// Write adds one fault.
func (f *FaultWriter) Write(fault Fault) error {
	if f.err == nil {
		f.err = f.w.Write([]string{strconv.Itoa(fault.Line), inert(clean(fault.Column)), inert(clean(fault.Value)), inert(fault.Reason), fault.Code})
	}
	if f.err != nil {
		return fmt.Errorf("write faults: %w", f.err)
	}
	return nil
}

// Flush writes out what is still buffered.
func (f *FaultWriter) Flush() error {
	if f.err == nil {
		f.w.Flush()
		f.err = f.w.Error()
	}
	if f.err != nil {
		return fmt.Errorf("write faults: %w", f.err)
	}
	return nil
}

// inert puts an apostrophe before what a spreadsheet would run as a formula, and before long numbers, which it would
// round on opening: errors.csv would then show another ICCID than the one at fault. The reader takes the apostrophe
// off again.
func inert(s string) string {
	// The full-width forms count too: East Asian editions of Excel take ＝ for =.
	if first, _ := utf8.DecodeRuneInString(s); strings.ContainsRune("=+-@|%\t\r＝＋－＠", first) {
		return "'" + s
	}
	if len(s) > 11 && strings.Trim(s, "0123456789.eE+") == "" {
		return "'" + s
	}
	return s
}
