package custody

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// An export is a text file of lines, each a JSON object with one member: first the header, then each row, after it the
// ledger's anchor of it if there is one, last the end, which is signed. docs/custody.md has the format.

// ExportFormat is the first thing in an export.
const ExportFormat = "cardflow-audit-export/1"

// ExportHeader says what an export holds.
type ExportHeader struct {
	Format  string       `json:"format"`
	Channel string       `json:"channel"` // of the ledger
	Stream  string       `json:"stream"`  // of the anchors
	First   int64        `json:"first"`
	Last    int64        `json:"last"`
	Head    int64        `json:"head"`   // where the audit ended when it was exported
	Before  string       `json:"before"` // hash of the row before the first
	At      model.Millis `json:"at"`     // when it was exported
}

type exportRow struct {
	Seq    int64        `json:"seq"`
	At     model.Millis `json:"at"`
	Actor  string       `json:"actor"`
	Act    string       `json:"act"`
	Sub    string       `json:"subject"`
	Detail string       `json:"detail"` // as it was hashed
	Prev   string       `json:"prevHash"`
	Hash   string       `json:"hash"`
}

// exportAnchor is an anchor as it stands in exports, and in files of anchors.
type exportAnchor struct {
	Sequence int64        `json:"sequence"`
	Digest   string       `json:"digest"`
	TxID     string       `json:"txId"`
	Block    int64        `json:"blockNumber"`
	At       model.Millis `json:"at"`
}

func anchorLine(a model.AuditAnchor) exportAnchor {
	return exportAnchor{a.Sequence, a.Digest, a.TxID, a.BlockNumber, a.At}
}

// exportEnd closes an export. What is signed is the request.AuditExport that its fields and the header make.
type exportEnd struct {
	Hash      string            `json:"hash"` // of the last row
	Anchors   int64             `json:"anchors"`
	Digest    string            `json:"digest"` // hex SM3 of all lines before this one
	PublicKey gm.PublicKey      `json:"publicKey"`
	Signature request.Signature `json:"signature"`
}

// exportLine is a line. It has one of these.
type exportLine struct {
	Header *ExportHeader `json:"header,omitempty"`
	Row    *exportRow    `json:"row,omitempty"`
	Anchor *exportAnchor `json:"anchor,omitempty"`
	End    *exportEnd    `json:"end,omitempty"`
}

func (h ExportHeader) body(e exportEnd) request.AuditExport {
	return request.AuditExport{
		Stream: h.Stream, First: uint64(h.First), Last: uint64(h.Last), Before: h.Before, Hash: e.Hash, Anchors: uint64(e.Anchors), Digest: e.Digest,
	}
}

// ExportOptions say what is exported.
type ExportOptions struct {
	From     int64  // the first row; 0: the first there is
	To       int64  // the last row; 0: the last there is
	Owner    string // whose key in the slot Audit signs: the platform
	Actor    string // who asks, for the audit
	Progress func(done, total int64)
}

// exportSignedWithin is how long the signature of an export may take to come about. It is no end of the export's life.
const exportSignedWithin = 10 * 60 * 1000

// Export writes rows of the audit and the anchors that the database has of them, and signs that. It reads page by page,
// and others may append meanwhile; that there was an export is a row after these. What it writes without an error is
// whole. Errors: ErrAuditRows if there are no such rows, ErrKeyNotFound if the platform has no key for it yet.
func (c *Custody) Export(ctx context.Context, w io.Writer, o ExportOptions) (ExportHeader, error) {
	header, err := c.exportHeader(ctx, o)
	if err != nil {
		return header, fmt.Errorf("export the audit: %w", err)
	}
	out := &exportWriter{w: bufio.NewWriter(w), sum: gm.NewSM3()}
	if err := out.line(exportLine{Header: &header}); err != nil {
		return header, err
	}
	var end exportEnd
	for last := header.First - 1; last < header.Last && err == nil; {
		err = c.db.Read(ctx, func(tx *model.Tx) error {
			rows, err := tx.AuditRows(last, int(min(auditPage, header.Last-last)))
			if err != nil {
				return err
			}
			if len(rows) == 0 || rows[len(rows)-1].Seq > header.Last {
				return fmt.Errorf("rows after %d are missing: %w", last, ErrAuditBroken)
			}
			anchors, err := tx.AuditAnchors(AuditStream, last, len(rows)) // there are no more than rows
			if err != nil {
				return err
			}
			for _, r := range rows {
				last, end.Hash = r.Seq, r.Hash
				if err := out.line(exportLine{Row: &exportRow{r.Seq, r.At, r.Actor, r.Act, r.Subject, r.Detail, r.PrevHash, r.Hash}}); err != nil {
					return err
				}
				for len(anchors) > 0 && anchors[0].Sequence <= r.Seq {
					if a := anchorLine(anchors[0]); a.Sequence == r.Seq {
						end.Anchors++
						if err := out.line(exportLine{Anchor: &a}); err != nil {
							return err
						}
					}
					anchors = anchors[1:]
				}
			}
			return nil
		})
		if o.Progress != nil && err == nil {
			o.Progress(last-header.First+1, header.Last-header.First+1)
		}
	}
	if err == nil {
		err = c.signExport(ctx, o, header, &end, out)
	}
	if err == nil {
		err = out.w.Flush()
	}
	if err != nil {
		return header, fmt.Errorf("export the audit: %w", err)
	}
	return header, nil
}

func (c *Custody) exportHeader(ctx context.Context, o ExportOptions) (h ExportHeader, err error) {
	h = ExportHeader{Format: ExportFormat, Channel: c.channel, Stream: AuditStream, First: max(1, o.From), Last: o.To, Before: noHash, At: c.now()}
	if _, err := c.ActiveKey(ctx, o.Owner, Audit); err != nil {
		return h, err
	}
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		head, err := tx.AuditHead()
		if err != nil {
			return err
		}
		h.Head = head.Seq
		if h.Last == 0 {
			h.Last = head.Seq
		}
		if h.First > h.Last || h.Last > head.Seq {
			return fmt.Errorf("rows %d to %d of %d: %w", h.First, h.Last, head.Seq, ErrAuditRows)
		}
		rows, err := tx.AuditRows(h.First-1, 1)
		if err == nil && len(rows) == 1 {
			h.Before = rows[0].PrevHash
		}
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		err = ErrAuditBroken
	}
	return h, err
}

func (c *Custody) signExport(ctx context.Context, o ExportOptions, h ExportHeader, end *exportEnd, out *exportWriter) error {
	end.Digest = hex.EncodeToString(out.sum.Sum(nil))
	sig, _, err := c.Sign(ctx, Ask{
		Owner: o.Owner, Slot: Audit, Subject: "export-" + end.Digest, Attempt: 1, NotAfter: int64(h.At) + exportSignedWithin, Actor: o.Actor,
	}, h.body(*end))
	if err != nil {
		return err
	}
	key, err := c.Key(ctx, sig.KeyID)
	if err != nil {
		return err
	}
	end.PublicKey, end.Signature = key.Public, sig
	return out.line(exportLine{End: end})
}

// exportWriter writes lines and keeps the digest of those that it has written.
type exportWriter struct {
	w   *bufio.Writer
	sum hash.Hash
}

func (w *exportWriter) line(l exportLine) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	w.sum.Write(b)
	_, err = w.w.Write(b)
	return err
}

// WriteAnchor writes an anchor as a line of a file of anchors, which VerifyExport takes.
func WriteAnchor(w io.Writer, a model.AuditAnchor) error {
	b, err := json.Marshal(anchorLine(a))
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}
