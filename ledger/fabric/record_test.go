//go:build stack

package fabric

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/ledgertest"
)

var record = flag.String("record", "", "folder: write the blocks of TestRecord there, to be golden blocks; nobody else may write to the network meanwhile")

// TestRecord makes blocks of every kind: a valid transaction with an event and a deletion, one that writes as another
// contract, both conflicts, a duplicate; and looks for those that are there: configuration, a contract's definition.
func TestRecord(t *testing.T) {
	l, err := Open(StackConfig(t, "", "PlatformMSP"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	submit := func(p ledger.Proposal, sending func() error) (uint64, ledger.Class) {
		commit, err := l.Submit(t.Context(), p, map[string][]byte{"opening": []byte("secret")}, sending)
		if err != nil {
			return 0, ledger.ClassOf(err)
		}
		return commit.BlockNumber, ""
	}
	prepare := func(steps ...[]byte) ledger.Proposal {
		p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, steps)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	space := prepare().TxID[:8] + "/"
	a, b, z := space+"a", space+"b", space+"z"
	put := func() error {
		_, class := submit(prepare(ledgertest.Put(a, "4")), nil)
		return (map[ledger.Class]error{"": nil})[class]
	}
	first, _ := submit(prepare(ledgertest.Put(b, "1"), ledgertest.Put(a, "2"), ledgertest.Delete(z), ledgertest.Emit("sold", "to whom")), nil)
	twice := prepare(ledgertest.Put(b, "5"))
	for i, each := range []struct {
		proposal ledger.Proposal
		sending  func() error
		class    ledger.Class
		verdict  ledger.Validation
	}{
		{prepare(ledgertest.Put(a, "3"), ledgertest.Call(ledgertest.Inner, ledgertest.Put(a, "inner"))), nil, "", ledger.Valid},
		{prepare(ledgertest.Get(a), ledgertest.Put(b, "never"), ledgertest.Emit("never", "")), put, ledger.Conflict, ledger.ReadConflict},
		{prepare(ledgertest.Range(a, z), ledgertest.Put(b, "never")), put, ledger.Conflict, ledger.PhantomConflict},
		{twice, func() error { submit(twice, nil); return nil }, ledger.Duplicate, ledger.Valid},
	} {
		_, class := submit(each.proposal, each.sending)
		tx, err := l.Transaction(t.Context(), each.proposal.TxID)
		if class != each.class || err != nil || tx.Validation != each.verdict {
			t.Fatalf("%d: class %s, %v, verdict %s", i, class, err, tx.Validation)
		}
	}
	height, err := l.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	numbers := []uint64{0}
	for n := uint64(1); n < height; n++ {
		b, err := l.Block(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		definition := len(numbers) == 1 && slices.ContainsFunc(b.Transactions, func(tx ledger.Transaction) bool { return tx.Function == "CommitChaincodeDefinition" })
		if definition || n >= first {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) < 10 {
		t.Errorf("only the blocks %v", numbers)
	}
	for _, n := range numbers {
		raw, err := l.rawBlock(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if *record != "" {
			write(t, filepath.Join(*record, fmt.Sprintf("%d.block", n)), marshal(t, raw))
		}
	}
}
