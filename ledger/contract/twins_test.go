package contract_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"
)

// twins are two ledgers with one clock that are told the same. It reads from the first.
type twins struct {
	*world
	other ledger.Ledger
	t     *testing.T
}

func newTwins(t *testing.T, w *world) *twins {
	pair := &twins{w, openEmbedded(t, w.Clock), t}
	t.Cleanup(pair.compare)
	return pair
}

// Submit sends one proposal to both. Within the sending of the first the second is sent, so that what races with the one
// races with the other.
func (w *twins) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	var second ledger.Commit
	var secondErr error
	sent := false
	first, err := w.world.Submit(ctx, p, transient, func() error {
		sent = true
		second, secondErr = w.other.Submit(ctx, p, transient, sending)
		return nil
	})
	if !sent {
		second, secondErr = w.other.Submit(ctx, p, transient, sending)
	}
	if a, b := verdict(err), verdict(secondErr); a != b {
		w.t.Errorf("%s: one ledger says %s, the other %s", p.Function, a, b)
	}
	if first.TxID != second.TxID || !bytes.Equal(first.Result, second.Result) {
		w.t.Errorf("%s: one ledger answers %s %s, the other %s %s", p.Function, first.TxID, first.Result, second.TxID, second.Result)
	}
	return first, err
}

func (w *twins) Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	first, err := w.world.Query(ctx, contract, function, args...)
	second, secondErr := w.other.Query(ctx, contract, function, args...)
	if a, b := verdict(err), verdict(secondErr); a != b || !bytes.Equal(first, second) {
		w.t.Errorf("%s: one ledger answers %s %s, the other %s %s", function, first, a, second, b)
	}
	return first, err
}

func verdict(err error) string {
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

// compare holds the transactions of both ledgers against each other, in their order: IDs, verdicts, writes, events.
func (w *twins) compare() {
	a, b := transactions(w.t, w.world), transactions(w.t, w.other)
	if len(a) != len(b) {
		w.t.Errorf("%d transactions, and %d", len(a), len(b))
	}
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			w.t.Errorf("transaction %d is\n%s\nand\n%s", i, a[i], b[i])
			return
		}
	}
}

// transactions lists what came after block 0, which is each ledger's own.
func transactions(t *testing.T, l ledger.Ledger) (list [][]byte) {
	height, err := l.Height(context.Background())
	for n := uint64(1); err == nil && n < height; n++ {
		var b ledger.Block
		if b, err = l.Block(context.Background(), n); err != nil {
			break
		}
		for _, tx := range b.Transactions {
			tx.BlockNumber, tx.Index = 0, 0
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

func openEmbedded(t *testing.T, clock *ledgertest.Clock) ledger.Ledger {
	t.Helper()
	l, err := embedded.Open(embedded.Config{
		Path: filepath.Join(t.TempDir(), "ledger.db"), Channel: channel, Organisation: deployer, Clock: clock.Now,
		Contracts: []contract.Contract{&contract.Identity{Deployer: deployer}, &contract.Ownership{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
