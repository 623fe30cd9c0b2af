package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// AnchorFault is an anchor that the database and the ledger don't agree about. Kind is ANCHOR_EDITED, ANCHOR_MISSING or
// ANCHOR_UNKNOWN.
type AnchorFault struct {
	Kind     string
	Sequence int64
	Problem  string
}

// anchorPage is how many anchors are read at once.
const anchorPage = 200

// LedgerAnchors yields the anchors of the audit as the ledger has them, by sequence, and tells find where the database
// has them otherwise. It asks the ledger about each that the database has, and for the newest one; with scan it reads
// every block instead, which also finds what is missing in between. progress is told how much of that is done.
func (s *Service) LedgerAnchors(ctx context.Context, scan bool, find func(AnchorFault), progress func(float64)) iter.Seq2[model.AuditAnchor, error] {
	if s.Audit == nil {
		return func(func(model.AuditAnchor, error) bool) {}
	}
	if scan {
		return s.scannedAnchors(ctx, find, progress)
	}
	return s.mirroredAnchors(ctx, find)
}

func (s *Service) anchorsAfter(ctx context.Context, after int64) (page []model.AuditAnchor, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err = tx.AuditAnchors(s.Audit.Stream(), after, anchorPage)
		return err
	})
	return page, err
}

func (s *Service) mirroredAnchors(ctx context.Context, find func(AnchorFault)) iter.Seq2[model.AuditAnchor, error] {
	return func(yield func(model.AuditAnchor, error) bool) {
		last := int64(0)
		for more := true; more; {
			page, err := s.anchorsAfter(ctx, last)
			if err != nil {
				yield(model.AuditAnchor{}, err)
				return
			}
			more = len(page) == anchorPage
			for _, mine := range page {
				last = mine.Sequence
				a, ok, err := s.anchorIn(ctx, mine.TxID, mine.Sequence)
				switch {
				case err != nil:
					yield(a, err)
					return
				case !ok:
					find(AnchorFault{"ANCHOR_UNKNOWN", mine.Sequence, fmt.Sprintf("the ledger has no anchor of this row in transaction %s", mine.TxID)})
					continue
				case a != mine:
					find(AnchorFault{"ANCHOR_EDITED", mine.Sequence, fmt.Sprintf("the ledger has another anchor of this row in transaction %s", mine.TxID)})
				}
				if !yield(a, nil) {
					return
				}
			}
		}
		// The newest one the ledger knows by name: whoever hides it here has not hidden it there.
		r, err := query[contract.AnchorRecord](ctx, s.Ledger, request.Identity, "GetAnchor", s.Audit.Stream())
		switch code := contract.CodeOf(err); {
		case code == contract.SequencePassed || code == contract.NotInitialised:
			return
		case err != nil:
			yield(model.AuditAnchor{}, err)
			return
		case r.Sequence > math.MaxInt64 || int64(r.Sequence) <= last:
			return
		}
		a, ok, err := s.anchorIn(ctx, r.TxID, int64(r.Sequence))
		if err == nil && ok {
			// One that has come this very moment is not missing.
			if page, failed := s.anchorsAfter(ctx, last); failed != nil || len(page) == 0 {
				find(AnchorFault{"ANCHOR_MISSING", a.Sequence, fmt.Sprintf("the ledger has an anchor of this row in transaction %s, and the database does not", a.TxID)})
			}
		}
		if err != nil || ok {
			yield(a, err)
		}
	}
}

// anchorIn reads an anchor from the ledger's transaction.
func (s *Service) anchorIn(ctx context.Context, txID string, sequence int64) (model.AuditAnchor, bool, error) {
	t, err := s.Ledger.Transaction(ctx, txID)
	if errors.Is(err, ledger.ErrNotFound) {
		return model.AuditAnchor{}, false, nil
	}
	if err != nil {
		return model.AuditAnchor{}, false, err
	}
	for _, a := range s.anchorsOf(t) {
		if a.Sequence == sequence {
			return a, true, nil
		}
	}
	return model.AuditAnchor{}, false, nil
}

// anchorsOf are the anchors of the audit that a transaction has written: one or none.
func (s *Service) anchorsOf(t ledger.Transaction) (list []model.AuditAnchor) {
	if t.Validation != ledger.Valid {
		return nil
	}
	for _, w := range t.Writes {
		var a contract.AnchorRecord
		if w.Contract != request.Identity || w.Key != "A/"+s.Audit.Stream() || json.Unmarshal(w.Value, &a) != nil || a.Sequence > math.MaxInt64 {
			continue
		}
		list = append(list, model.AuditAnchor{
			Stream: a.Stream, Sequence: int64(a.Sequence), Digest: a.Digest, TxID: t.ID, BlockNumber: int64(t.BlockNumber), At: model.MillisOf(t.Time),
		})
	}
	return list
}

func (s *Service) scannedAnchors(ctx context.Context, find func(AnchorFault), progress func(float64)) iter.Seq2[model.AuditAnchor, error] {
	return func(yield func(model.AuditAnchor, error) bool) {
		var page []model.AuditAnchor
		last := int64(0)
		// mine is the next one that the database has, nil if there is none.
		mine := func() (*model.AuditAnchor, error) {
			if len(page) == 0 {
				var err error
				if page, err = s.anchorsAfter(ctx, last); err != nil || len(page) == 0 {
					return nil, err
				}
			}
			return &page[0], nil
		}
		took := func() { last, page = page[0].Sequence, page[1:] }
		unknown := func(before int64) error {
			for {
				m, err := mine()
				if err != nil || m == nil || m.Sequence >= before {
					return err
				}
				find(AnchorFault{"ANCHOR_UNKNOWN", m.Sequence, fmt.Sprintf("no block of the ledger has an anchor of this row (transaction %s)", m.TxID)})
				took()
			}
		}
		one := func(a model.AuditAnchor) error {
			if err := unknown(a.Sequence); err != nil {
				return err
			}
			m, err := mine()
			switch {
			case err != nil:
				return err
			case m == nil || m.Sequence != a.Sequence:
				find(AnchorFault{"ANCHOR_MISSING", a.Sequence, fmt.Sprintf("the ledger has an anchor of this row in transaction %s, and the database does not", a.TxID)})
				return nil
			case *m != a:
				find(AnchorFault{"ANCHOR_EDITED", a.Sequence, fmt.Sprintf("the ledger has another anchor of this row in transaction %s", a.TxID)})
			}
			took()
			return nil
		}
		height, err := s.Ledger.Height(ctx)
		for n := uint64(0); err == nil && n < height; n++ {
			var list []model.AuditAnchor
			if list, err = s.anchorsInBlock(ctx, n); err != nil {
				break
			}
			for _, a := range list {
				if err = one(a); err != nil {
					break
				}
				if !yield(a, nil) {
					return
				}
			}
			if progress != nil && n%256 == 0 {
				progress(float64(n) / float64(height))
			}
		}
		for err == nil {
			var m *model.AuditAnchor
			if m, err = mine(); m == nil || m.BlockNumber >= int64(height) {
				break // the end, or one that has come meanwhile
			}
			err = unknown(m.Sequence + 1)
		}
		if err != nil {
			yield(model.AuditAnchor{}, err)
		}
	}
}

func (s *Service) anchorsInBlock(ctx context.Context, n uint64) (list []model.AuditAnchor, err error) {
	b, err := s.Ledger.Block(ctx, n)
	for _, t := range b.Transactions {
		list = append(list, s.anchorsOf(t)...)
	}
	return list, err
}
