package embedded

import (
	"cardflow/ledger"
)

// What the tests of the file reach for: its records, and the moments in which a disk fails.
var (
	Seal        = seal
	DecodeEntry = func(b []byte) (ledger.Transaction, error) { return decodeEntry(version{}, b) }
)

// EncodeEntry encodes a transaction as its entry.
func EncodeEntry(tx ledger.Transaction) []byte {
	id, _ := parseID(tx.ID)
	call := appendCall(nil, id, tx.Time, tx.Creator, ledger.Proposal{Contract: tx.Contract, Function: tx.Function, Args: tx.Args})
	return joinEntry(tx.Validation, call, appendEffects(nil, tx.Writes, tx.Event))
}

// CommitTogether endorses proposals on one state and commits them as one block, in order.
func (l *Ledger) CommitTogether(proposals ...ledger.Proposal) []error {
	batch := make([]*envelope, len(proposals))
	errs := make([]error, len(proposals))
	for i, p := range proposals {
		if batch[i], errs[i] = l.endorse(p, nil); errs[i] != nil {
			return errs
		}
	}
	l.commit(batch)
	for i, e := range batch {
		_, errs[i] = (<-e.verdict).commit(proposals[i].TxID, nil)
	}
	return errs
}

// PullDisk takes the file away from under the ledger.
func (l *Ledger) PullDisk() error { return l.file.Close() }

// MayHold asks what is known of a commit that failed: the last one that succeeded, and one after it.
func (l *Ledger) MayHold() (last, next bool, err error) {
	m, err := l.file.newest()
	return l.file.mayHold(m.tx), l.file.mayHold(m.tx + 1), err
}
