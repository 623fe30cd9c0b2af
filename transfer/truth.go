package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// truth is what the ledger's blocks add up to. It grows while a check runs, because the ledger does: a row is held
// against what was true when the row's snapshot was taken, or became true later, and never against a ledger that knows
// less than the row.
type truth struct {
	ledger ledger.Ledger
	report *Report
	// witness, if not nil, is shown every valid transaction that the database had settled when the check began.
	witness func(context.Context, ledger.Transaction) error
	// settled is the block that the database had surely seen when the check began: of what came before it only the newest
	// record counts.
	settled  uint64
	next     uint64 // the first block that has not been read
	previous string // hash of the one before it

	lots    map[string][]record[contract.Lot]
	trades  map[string][]record[contract.Trade]
	people  map[string][]record[contract.Participant]
	keys    map[string][]record[contract.Key]
	names   map[string][]record[contract.Approval] // carrier/consumer
	valid   map[string]int                         // transaction ID → entries that count
	applied map[string]applied                     // request ID
}

// record is a record of the ledger as one transaction left it.
type record[V any] struct {
	block uint64
	tx    string
	value V
}

// applied is the transaction that carried out a request.
type applied struct {
	block uint64
	tx    string
}

func newTruth(l ledger.Ledger, r *Report, settled uint64) *truth {
	return &truth{
		ledger: l, report: r, settled: settled,
		lots: map[string][]record[contract.Lot]{}, trades: map[string][]record[contract.Trade]{},
		people: map[string][]record[contract.Participant]{}, keys: map[string][]record[contract.Key]{}, names: map[string][]record[contract.Approval]{}, valid: map[string]int{}, applied: map[string]applied{},
	}
}

// extend reads the blocks that have come since.
func (t *truth) extend(ctx context.Context, progress func(float64)) error {
	height, err := t.ledger.Height(ctx)
	if err != nil {
		return err
	}
	for ; t.next < height; t.next++ {
		b, err := t.ledger.Block(ctx, t.next)
		if err != nil {
			return err
		}
		if b.PreviousHash != t.previous {
			t.report.find(Finding{Kind: "BLOCK", Subject: fmt.Sprint(t.next), Problem: "does not follow the block before it"})
		}
		t.previous = b.Hash
		for _, x := range b.Transactions {
			t.report.Transactions++
			if x.Validation != ledger.Valid {
				continue
			}
			t.take(b.Number, x)
			if b.Number <= t.settled && t.witness != nil {
				if err := t.witness(ctx, x); err != nil {
					return err
				}
			}
		}
		if t.next%256 == 0 && progress != nil {
			progress(float64(t.next) / float64(height))
		}
	}
	t.report.Blocks = t.next
	return nil
}

// take takes over what a valid transaction has written.
func (t *truth) take(block uint64, x ledger.Transaction) {
	t.valid[x.ID]++
	if t.valid[x.ID] > 1 {
		t.report.find(Finding{Kind: "TRANSACTION", Subject: x.ID, Problem: "counts twice"})
	}
	for _, w := range x.Writes {
		if w.Contract != request.Identity && w.Contract != request.Ownership {
			continue // of another contract on the channel
		}
		kind, name, _ := strings.Cut(w.Key, "/")
		switch {
		case kind == "Q":
			if old, ok := t.applied[name]; ok {
				t.report.find(Finding{Kind: "REQUEST", Subject: name, Problem: "was applied by " + old.tx + " and by " + x.ID})
				continue
			}
			t.applied[name] = applied{block, x.ID}
		case w.Contract == request.Ownership && kind == "L":
			add(t, t.lots, name, block, x.ID, w.Value)
		case w.Contract == request.Ownership && kind == "T":
			before := t.trades[name]
			add(t, t.trades, name, block, x.ID, w.Value)
			if n := len(before); n > 0 && before[n-1].value.State != contract.TradeOpen {
				t.report.find(Finding{Kind: "TRADE", Subject: name, Problem: "was ended by " + before[n-1].tx + " and by " + x.ID + " on the ledger"})
			}
		case w.Contract == request.Ownership && kind == "A":
			add(t, t.names, name, block, x.ID, w.Value)
		case w.Contract == request.Identity && kind == "P":
			add(t, t.people, name, block, x.ID, w.Value)
		case w.Contract == request.Identity && kind == "K":
			add(t, t.keys, name, block, x.ID, w.Value)
		}
	}
}

func add[V any](t *truth, into map[string][]record[V], name string, block uint64, tx string, value []byte) {
	r := record[V]{block: block, tx: tx}
	if err := json.Unmarshal(value, &r.value); err != nil {
		t.report.find(Finding{Kind: "TRANSACTION", Subject: tx, Problem: "writes a record that nobody can read"})
		return
	}
	if old := into[name]; block <= t.settled && len(old) > 0 {
		into[name] = []record[V]{r}
		return
	}
	into[name] = append(into[name], r)
}

// newest is the record as it is now, nil if there is none.
func newest[V any](list []record[V]) *V {
	if len(list) == 0 {
		return nil
	}
	return &list[len(list)-1].value
}

// judge holds a row whose snapshot had followed the ledger to block seen against a record: it may say what was so then,
// and, because the relay settles what it sends before the listener comes by, whatever became so later. compare answers
// what is wrong with the row beside a record, which is nil where the ledger has none; "" is a row that agrees. The
// problem that is told is the one beside the newest record.
func judge[V any](list []record[V], seen uint64, compare func(*V) string) string {
	from := 0
	for from < len(list) && list[from].block <= seen {
		from++
	}
	problem := ""
	if from == 0 {
		if problem = compare(nil); problem == "" {
			return ""
		}
	} else {
		from--
	}
	for i := from; i < len(list); i++ {
		if problem = compare(&list[i].value); problem == "" {
			return ""
		}
	}
	return problem
}
