package ledgertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/request"
)

// twins are two ledgers with one clock that are told the same. It reads from the first.
type twins struct {
	ledger.Ledger
	other ledger.Ledger
	t     *testing.T
}

// NewTwins makes one ledger of two with the real contracts, and holds them to each other: each answer has to be the same
// as it is given, and when the test ends, each transaction of the contracts, in their order, with its verdict, its event
// and every write. A proposal has one transaction ID and one time on both, or their records would differ: the second has
// to accept the creator of the first, and both go by one clock. Where transactions of other contracts stand, or blocks
// end, is each ledger's own affair, and so is how it spells who relayed a transaction.
func NewTwins(t *testing.T, first, second ledger.Ledger) ledger.Ledger {
	w := &twins{first, second, t}
	t.Cleanup(w.compare)
	return w
}

// Submit sends one proposal to both. Within the sending of the first the second is sent, so that what races with the one
// races with the other.
func (w *twins) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	var second ledger.Commit
	var secondErr error
	sent := false
	first, err := w.Ledger.Submit(ctx, p, transient, func() error {
		sent = true
		second, secondErr = w.other.Submit(ctx, p, transient, sending)
		return nil
	})
	if !sent {
		second, secondErr = w.other.Submit(ctx, p, transient, sending)
	}
	if a, b := answerOf(err), answerOf(secondErr); a != b {
		w.t.Errorf("%s: one ledger says %s, the other %s", p.Function, a, b)
	}
	if first.TxID != second.TxID || !bytes.Equal(first.Result, second.Result) {
		w.t.Errorf("%s: one ledger answers %s %s, the other %s %s", p.Function, first.TxID, first.Result, second.TxID, second.Result)
	}
	return first, err
}

func (w *twins) Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	first, err := w.Ledger.Query(ctx, contract, function, args...)
	second, secondErr := w.other.Query(ctx, contract, function, args...)
	if a, b := answerOf(err), answerOf(secondErr); a != b || !bytes.Equal(first, second) {
		w.t.Errorf("%s: one ledger answers %s %s, the other %s %s", function, first, a, second, b)
	}
	return first, err
}

func answerOf(err error) string {
	var f *ledger.Failure
	switch {
	case err == nil:
		return "yes"
	case !errors.As(err, &f):
		return err.Error()
	case f.Refusal != nil:
		return string(f.Class) + f.Refusal.Encode()
	}
	return string(f.Class) + string(f.Validation)
}

func (w *twins) compare() {
	a, b := transactions(w.t, w.Ledger), transactions(w.t, w.other)
	if len(a) != len(b) || len(a) == 0 {
		w.t.Errorf("%d transactions, and %d", len(a), len(b))
	}
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			w.t.Errorf("transaction %d is\n%s\nand\n%s", i, a[i], b[i])
			return
		}
	}
}

// transactions lists those of the contracts.
func transactions(t *testing.T, l ledger.Ledger) (list [][]byte) {
	height, err := l.Height(context.Background())
	for n := uint64(0); err == nil && n < height; n++ {
		var b ledger.Block
		if b, err = l.Block(context.Background(), n); err != nil {
			break
		}
		for _, tx := range b.Transactions {
			if tx.Contract != request.Identity && tx.Contract != request.Ownership {
				continue
			}
			tx.BlockNumber, tx.Index, tx.Creator = 0, 0, ""
			text, err := json.Marshal(tx)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, text)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}
