package embedded

import (
	"context"
	"iter"

	"cardflow/ledger"
)

// Transaction finds a transaction by its ID. See ledger.Ledger.
func (l *Ledger) Transaction(ctx context.Context, id string) (ledger.Transaction, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Transaction{}, err
	}
	raw, ok := parseID(id)
	if !ok {
		return ledger.Transaction{}, ledger.ErrNotFound
	}
	height := l.height()
	var tx ledger.Transaction
	err := l.view(func(t trees) error {
		at, found, err := t.first(raw[:])
		if err != nil {
			return err
		}
		if !found || at.block >= height {
			return ledger.ErrNotFound
		}
		tx, found, err = t.transaction(at)
		if err == nil && (!found || tx.ID != id) {
			err = damage("entry %d of block %d is not the one that its ID leads to", at.index, at.block)
		}
		return err
	})
	return tx, err
}

// Block returns a block. See ledger.Ledger.
func (l *Ledger) Block(ctx context.Context, number uint64) (ledger.Block, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Block{}, err
	}
	return l.block(number)
}

func (l *Ledger) block(number uint64) (b ledger.Block, err error) {
	// A block whose flush failed may be in the file, but is not on the ledger until it is opened again.
	if number >= l.height() {
		return ledger.Block{}, ledger.ErrNotFound
	}
	err = l.view(func(t trees) error {
		b, err = t.block(number)
		return err
	})
	return b, err
}

// Height is the number of blocks.
func (l *Ledger) Height(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return l.height(), nil
}

func (l *Ledger) height() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tip.number + 1
}

// Blocks follows the chain. It ends without an error when ctx ends, and with ErrClosed when the ledger is closed. A slow
// reader holds nobody up: he reads each block from the file when he comes to it.
func (l *Ledger) Blocks(ctx context.Context, from uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		for number := from; ; number++ {
			err := l.await(ctx, number)
			if ctx.Err() != nil {
				return
			}
			var b ledger.Block
			if err == nil {
				b, err = l.block(number)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// await waits until a block is there.
func (l *Ledger) await(ctx context.Context, number uint64) error {
	for {
		l.mu.RLock()
		there, grown := number <= l.tip.number, l.grown
		l.mu.RUnlock()
		if there {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.quit:
			return ErrClosed
		}
	}
}

// transaction reads one entry; found is false if there is none.
func (t trees) transaction(at version) (tx ledger.Transaction, found bool, err error) {
	b, err := t.entry(at)
	if err != nil || b == nil {
		return ledger.Transaction{}, false, err
	}
	tx, err = decodeEntry(at, b)
	return tx, err == nil, err
}

// writeAt finds the write of a key that made a version.
func (t trees) writeAt(at version, contract, key string) (ledger.Transaction, ledger.Write, error) {
	tx, found, err := t.transaction(at)
	if err != nil {
		return tx, ledger.Write{}, err
	}
	if found && tx.Validation == ledger.Valid {
		for _, w := range tx.Writes {
			if w.Contract == contract && w.Key == key {
				return tx, w, nil
			}
		}
	}
	return tx, ledger.Write{}, damage("block %d, entry %d has not the write that a key of %s leads to", at.block, at.index, contract)
}

// block reads a block, and checks that its header stands for what is in it and for the header before it.
func (t trees) block(number uint64) (ledger.Block, error) {
	h, found, err := t.header(number)
	if err != nil {
		return ledger.Block{}, err
	}
	if !found {
		return ledger.Block{}, damage("block %d is missing", number)
	}
	b := ledger.Block{Number: number, Hash: h.hash().String()}
	if number > 0 {
		before, found, err := t.header(number - 1)
		if err != nil {
			return ledger.Block{}, err
		}
		if !found || before.hash() != h.previous {
			return ledger.Block{}, damage("block %d does not follow on block %d", number, number-1)
		}
		b.PreviousHash = h.previous.String()
	}
	entries := make([][]byte, 0, min(h.entries, 1<<16)) // the count is data too
	for i := range h.entries {
		at := version{number, i}
		entry, err := t.entry(at)
		if err != nil {
			return ledger.Block{}, err
		}
		if entry == nil {
			return ledger.Block{}, damage("entry %d of block %d is missing", i, number)
		}
		tx, err := decodeEntry(at, entry)
		if err != nil {
			return ledger.Block{}, err
		}
		entries, b.Transactions = append(entries, entry), append(b.Transactions, tx)
	}
	if dataHash(entries) != h.data {
		return ledger.Block{}, damage("block %d holds other transactions than its hash says", number)
	}
	return b, nil
}
