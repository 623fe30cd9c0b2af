package custody

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Findings about an export itself.
const (
	FileDamaged    FindingKind = "FILE_DAMAGED"    // lines are missing, too many, or not what was signed
	SignatureFalse FindingKind = "SIGNATURE_FALSE" // not signed by the platform's key
)

// ErrExport: a file is no export of an audit, or no file of anchors. Nothing more can be said of it.
var ErrExport = &Error{"CUSTODY_EXPORT_UNREADABLE", "文件不是审计导出文件，或格式有误。请确认文件完整、未被改动。"}

// mostLine bounds a line of an export, in bytes: a row's detail is at most 64 KiB, which JSON may double.
const mostLine = 1 << 20

// ExportReport is what was found in an export.
type ExportReport struct {
	AuditReport
	Header ExportHeader `json:"header"`
	KeyID  string       `json:"keyId"` // of the key that signed it
}

// VerifyExport checks an export, with no database and no ledger at hand. key is the ID of the platform's key for exports,
// from the ledger or on paper: the file brings the key itself, which must have that ID. anchors are those of the ledger,
// from somebody who reads it himself; nil: the file's own are believed, which the platform vouches for and nobody else.
// Its memory grows with the anchors and not with the rows. Errors: ErrExport for what is no export.
func VerifyExport(r io.Reader, key string, anchors []model.AuditAnchor, progress func(done, total int64)) (ExportReport, error) {
	v := &exportWalk{in: bufio.NewReaderSize(r, 1<<16), key: key, progress: progress}
	if err := v.begin(anchors); err != nil {
		return v.report, err
	}
	defer v.walk.close()
	for {
		line, raw, err := v.line()
		if errors.Is(err, io.EOF) {
			v.damaged("the end is missing: lines were cut off")
			return v.done(model.AuditHead{Seq: v.report.Header.Last}, exportEnd{})
		}
		if err != nil {
			return v.report, err
		}
		if line.End != nil {
			return v.end(*line.End)
		}
		if err := v.take(line); err != nil {
			return v.report, err
		}
		v.sum = append(v.sum, raw...)
		v.flush()
	}
}

// exportWalk goes through an export.
type exportWalk struct {
	in       *bufio.Reader
	key      string
	progress func(done, total int64)
	n        int // line

	report   ExportReport
	walk     *auditWalk
	extra    []Finding // about the file
	trusted  map[int64]model.AuditAnchor
	listed   int64 // anchors in the file
	haveLast bool
	last     exportRow

	sum    []byte
	hasher interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
	}
}

func (v *exportWalk) flush() {
	_, _ = v.hasher.Write(v.sum) // a hash takes everything
	v.sum = v.sum[:0]
}

func (v *exportWalk) damaged(text string) {
	at := v.report.Header.First
	if v.haveLast {
		at = v.last.Seq
	}
	if len(v.extra) < mostFindings {
		v.extra = append(v.extra, Finding{FileDamaged, at, at, text})
	}
}

// line reads a line. It must be the one encoding of what it says: a reader that overlooks something, and another that
// does not, would see two files in one.
func (v *exportWalk) line() (l exportLine, raw []byte, err error) {
	v.n++
	raw, err = v.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		raw = bytes.Clone(raw)
		for errors.Is(err, bufio.ErrBufferFull) && len(raw) <= mostLine {
			var more []byte
			more, err = v.in.ReadSlice('\n')
			raw = append(raw, more...)
		}
	}
	switch {
	case errors.Is(err, io.EOF) && len(raw) == 0:
		return l, nil, io.EOF
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
		return l, nil, err
	case err != nil || len(raw) > mostLine:
		return l, nil, v.unreadable("cut off, or too long")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, nil, v.unreadable("not JSON, or with unknown fields")
	}
	again, err := json.Marshal(l)
	if err != nil || !bytes.Equal(append(again, '\n'), raw) {
		return l, nil, v.unreadable("not written as an export writes it")
	}
	return l, raw, nil
}

func (v *exportWalk) unreadable(why string) error {
	return fmt.Errorf("line %d: %s: %w", v.n, why, ErrExport)
}

func (v *exportWalk) begin(anchors []model.AuditAnchor) error {
	line, raw, err := v.line()
	if errors.Is(err, io.EOF) {
		return v.unreadable("nothing")
	}
	if err != nil {
		return err
	}
	h := line.Header
	if h == nil || line.Row != nil || line.Anchor != nil || line.End != nil || h.Format != ExportFormat || h.First < 1 || h.Last < h.First || h.Head < h.Last {
		return v.unreadable("no header of this format")
	}
	v.report.Header = *h
	v.hasher = gm.NewSM3()
	v.sum = append(v.sum, raw...)
	v.flush()
	var source iter.Seq2[model.AuditAnchor, error]
	var beyond []Finding
	if anchors != nil {
		v.trusted = map[int64]model.AuditAnchor{}
		var within []model.AuditAnchor
		for _, a := range anchors {
			// What was anchored beyond the rows says that there were more, if the audit ended here when it was exported.
			if a.Sequence >= h.First && a.Sequence <= h.Last {
				v.trusted[a.Sequence] = a
				within = append(within, a)
			} else if a.Sequence > h.Head && a.At < h.At {
				beyond = append(beyond, Finding{RolledBack, h.Head + 1, a.Sequence, "the ledger had anchored them before the export was made, and it says that the audit ended before them"})
			}
		}
		slices.SortFunc(within, func(a, b model.AuditAnchor) int { return int(min(1, max(-1, a.Sequence-b.Sequence))) })
		source = func(yield func(model.AuditAnchor, error) bool) {
			for _, a := range within {
				if !yield(a, nil) {
					return
				}
			}
		}
	}
	v.walk = newAuditWalk(h.First, h.Before, source)
	for _, f := range beyond {
		v.walk.find(f) // there, because it may be declared by a row
	}
	return nil
}

// take takes in a row, or an anchor of the row before it.
func (v *exportWalk) take(l exportLine) error {
	switch {
	case l.Row != nil && l.Header == nil && l.Anchor == nil:
		if v.haveLast && l.Row.Seq <= v.last.Seq || l.Row.Seq < v.report.Header.First || l.Row.Seq > v.report.Header.Last {
			v.damaged(fmt.Sprintf("line %d: row %d stands where it does not belong", v.n, l.Row.Seq))
			return nil
		}
		v.last, v.haveLast = *l.Row, true
		r := *l.Row
		if v.progress != nil && r.Seq%auditPage == 0 {
			v.progress(r.Seq-v.report.Header.First+1, v.report.Header.Last-v.report.Header.First+1)
		}
		return v.walk.row(model.AuditRow{Seq: r.Seq, At: r.At, Actor: r.Actor, Act: r.Act, Subject: r.Sub, Detail: r.Detail, PrevHash: r.Prev, Hash: r.Hash})
	case l.Anchor != nil && l.Header == nil && l.Row == nil:
		v.anchor(*l.Anchor)
		return nil
	}
	return v.unreadable("neither a row nor an anchor")
}

// anchor holds an anchor of the file against the row before it, and against the ledger's.
func (v *exportWalk) anchor(a exportAnchor) {
	v.listed++
	if !v.haveLast || a.Sequence != v.last.Seq {
		v.damaged(fmt.Sprintf("line %d: an anchor of row %d does not stand after its row", v.n, a.Sequence))
		return
	}
	if v.trusted == nil {
		v.walk.report.Anchors++
		v.walk.report.Anchored = a.Sequence
		if a.Digest != v.last.Hash {
			v.walk.find(Finding{Forked, v.walk.agreed + 1, a.Sequence, fmt.Sprintf("anchored as another row %d (transaction %s, block %d)", a.Sequence, a.TxID, a.Block)})
		}
		v.walk.agreed = a.Sequence
		return
	}
	mine, ok := v.trusted[a.Sequence]
	switch {
	case !ok:
		v.extra = append(v.extra, Finding{AnchorUnknown, a.Sequence, a.Sequence, "the export has an anchor that the ledger does not have"})
	case anchorLine(mine) != a:
		v.extra = append(v.extra, Finding{AnchorEdited, a.Sequence, a.Sequence, "the ledger has another anchor of this row"})
	}
	delete(v.trusted, a.Sequence)
}

// end checks the last line, and that nothing comes after it.
func (v *exportWalk) end(e exportEnd) (ExportReport, error) {
	if digest := hex.EncodeToString(v.hasher.Sum(nil)); digest != e.Digest {
		v.damaged("the lines are not those whose digest was signed")
	}
	if e.Anchors != v.listed {
		v.damaged(fmt.Sprintf("%d anchors, %d were signed", v.listed, e.Anchors))
	}
	if _, err := v.in.ReadByte(); !errors.Is(err, io.EOF) {
		v.damaged("something follows after the end")
	}
	v.report.KeyID = e.Signature.KeyID
	h := v.report.Header
	falsely := func(text string) { v.extra = append(v.extra, Finding{SignatureFalse, h.First, h.Last, text}) }
	switch req := request.New(h.Channel, h.body(e)); {
	case e.PublicKey.IsZero(), e.PublicKey.KeyID() != e.Signature.KeyID:
		falsely("the signature does not name the key that comes with it")
	case e.Signature.KeyID != v.key:
		falsely(fmt.Sprintf("signed with the key %s, and not with the one that was asked for", e.Signature.KeyID))
	case gm.Verify(e.PublicKey, req.SigningBytes(e.Signature.KeyID, e.Signature.NotAfter), e.Signature.Bytes) != nil:
		falsely("the signature is not one over this export")
	}
	return v.done(model.AuditHead{Seq: h.Last, Hash: e.Hash}, e)
}

// done puts all findings together.
func (v *exportWalk) done(head model.AuditHead, e exportEnd) (ExportReport, error) {
	if e.Hash == "" {
		head.Hash = v.walk.stored // the end is missing, which was said
	}
	if err := v.walk.end(head, nil); err != nil {
		return v.report, err
	}
	for _, a := range v.trusted {
		v.extra = append(v.extra, Finding{AnchorMissing, a.Sequence, a.Sequence, fmt.Sprintf("the ledger has an anchor of this row (transaction %s, block %d), and the export does not", a.TxID, a.BlockNumber)})
	}
	v.report.AuditReport = v.walk.report
	v.report.Findings = append(v.report.Findings, v.extra...)
	slices.SortStableFunc(v.report.Findings, func(a, b Finding) int { return int(min(1, max(-1, a.From-b.From))) })
	return v.report, nil
}

// ReadAnchors reads a file of anchors, as WriteAnchor writes it. Errors: ErrExport.
func ReadAnchors(r io.Reader) ([]model.AuditAnchor, error) {
	list := []model.AuditAnchor{}
	in := bufio.NewScanner(r)
	in.Buffer(nil, mostLine)
	for n := 1; in.Scan(); n++ {
		var a exportAnchor
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil || d.More() || a.Sequence < 1 {
			return nil, fmt.Errorf("line %d: no anchor: %w", n, ErrExport)
		}
		list = append(list, model.AuditAnchor{Stream: AuditStream, Sequence: a.Sequence, Digest: a.Digest, TxID: a.TxID, BlockNumber: a.Block, At: a.At})
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("anchors: %w", err)
	}
	return list, nil
}
