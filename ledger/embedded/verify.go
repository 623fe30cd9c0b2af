package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"cardflow/ledger"

	"go.etcd.io/bbolt"
)

// stride is how many keys one snapshot is held for: a long one would hold up a file that has to grow.
const stride = 1024

// tally is how many records the blocks account for. The trees must hold that many: as each of those is looked up, there
// can be no other.
type tally struct{ blocks, entries, ids, writes uint64 }

// Verify reads the whole ledger and checks that everything in it follows from its blocks: every hash is the one of what
// it stands for, every ID leads to its first entry, every write is in the history of its key, the state is the newest
// write of each key, and there is nothing else. progress, if not nil, is told after each block how many of how many are
// done; blocks that are added meanwhile are not waited for. Errors: ErrDamaged with what is wrong, or ctx's.
//
// It takes no more memory for a long chain than for a short one.
func (l *Ledger) Verify(ctx context.Context, progress func(done, height uint64)) error {
	err := l.verify(ctx, progress)
	if errors.Is(err, ErrDamaged) {
		l.stop(err)
	}
	return err
}

func (l *Ledger) verify(ctx context.Context, progress func(done, height uint64)) error {
	height := l.height()
	expected := tally{blocks: height}
	for number := range height {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.view(func(t trees) error { return t.verifyBlock(number, &expected) }); err != nil {
			return err
		}
		if progress != nil {
			progress(number+1, height)
		}
	}
	return l.verifyTrees(ctx, height, expected)
}

// verifyTrees looks for what no block accounts for. What blocks from height on have added isn't counted, but there must
// be such a block.
func (l *Ledger) verifyTrees(ctx context.Context, height uint64, expected tally) error {
	var found tally
	count := func(t trees, counter *uint64, block uint64) error {
		if block < height {
			*counter++
			return nil
		}
		_, there, err := t.header(block)
		if err == nil && !there {
			err = damage("there is something of block %d, which is not there", block)
		}
		return err
	}
	for _, each := range []struct {
		name  string
		tree  func(trees) *bbolt.Bucket
		check func(t trees, key, record []byte) error
	}{
		{"blocks", func(t trees) *bbolt.Bucket { return t.blocks }, func(t trees, key, _ []byte) error {
			if len(key) != 8 {
				return damage("a key of blocks has %d bytes", len(key))
			}
			return count(t, &found.blocks, binary.BigEndian.Uint64(key))
		}},
		{"entries", func(t trees) *bbolt.Bucket { return t.entries }, func(t trees, key, _ []byte) error {
			if len(key) != versionSize {
				return damage("a key of entries has %d bytes", len(key))
			}
			return count(t, &found.entries, versionOf(key).block)
		}},
		{"txs", func(t trees) *bbolt.Bucket { return t.txs }, func(t trees, key, _ []byte) error {
			at, _, err := t.first(key)
			if err != nil {
				return err
			}
			return count(t, &found.ids, at.block)
		}},
		{"history", func(t trees) *bbolt.Bucket { return t.history }, func(t trees, key, record []byte) error {
			if len(key) <= versionSize {
				return damage("a key of history is too short")
			}
			if _, err := unseal("history", key, record); err != nil {
				return err
			}
			return count(t, &found.writes, versionOf(key[len(key)-versionSize:]).block)
		}},
		{"state", func(t trees) *bbolt.Bucket { return t.state }, trees.verifyState},
	} {
		if err := l.verifyTree(ctx, each.name, each.tree, each.check); err != nil {
			return err
		}
	}
	if found != expected {
		return damage("blocks, entries, IDs and writes are %v, by the blocks %v", found, expected)
	}
	return nil
}

// verifyTree walks a tree, a stride at a time.
func (l *Ledger) verifyTree(ctx context.Context, name string, tree func(trees) *bbolt.Bucket, check func(trees, []byte, []byte) error) error {
	var last []byte
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := l.view(func(t trees) error {
			cursor := tree(t).Cursor()
			key, record := cursor.Seek(last)
			if last != nil && bytes.Equal(key, last) {
				key, record = cursor.Next()
			}
			for range stride {
				if key == nil {
					break
				}
				if last != nil && bytes.Compare(key, last) <= 0 {
					return damage("the keys of %s are out of order", name) // and so can't be found
				}
				if err := check(t, key, record); err != nil {
					return err
				}
				last = bytes.Clone(key)
				key, record = cursor.Next()
			}
			more = key != nil
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyBlock checks a block, and that everything it added can be found.
func (t trees) verifyBlock(number uint64, expected *tally) error {
	b, err := t.block(number)
	if err != nil {
		return err
	}
	expected.entries += uint64(len(b.Transactions))
	for i, tx := range b.Transactions {
		at := version{number, uint32(i)}
		id, _ := parseID(tx.ID)
		first, found, err := t.first(id[:])
		if err != nil {
			return err
		}
		earlier := first.block < number || first.block == number && first.index < at.index
		switch {
		case !found || !earlier && first != at || earlier != (tx.Validation == ledger.DuplicateID):
			return damage("the ID of entry %d of block %d does not lead to its first entry", i, number)
		case !earlier:
			expected.ids++
		}
		expected.writes += uint64(len(tx.Writes))
		for _, w := range tx.Writes {
			if err := t.verifyWrite(at, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyWrite checks that a write is in the history of its key and, if it is the newest there, makes its state.
func (t trees) verifyWrite(at version, w ledger.Write) error {
	there, newest, err := t.written(w.Contract, w.Key, at)
	if err != nil {
		return err
	}
	if !there {
		return damage("a write of entry %d of block %d is not in the history of its key", at.index, at.block)
	}
	if !newest {
		return nil
	}
	now, value, err := t.get(stateKey(w.Contract, w.Key))
	if err != nil {
		return err
	}
	if w.Deleted {
		at = version{}
	}
	if now != at || !bytes.Equal(value, w.Value) {
		return damage("the state of a key of %s is not its newest write", w.Contract)
	}
	return nil
}

// verifyState checks that a key of the state is there in the version of its newest write. That its value is that write's
// is checked from the block.
func (t trees) verifyState(key, record []byte) error {
	v, _, err := stateRecord(key, record)
	if err != nil {
		return err
	}
	contract, name, ok := stateKeyOf(key)
	if !ok {
		return damage("a key of the state has no contract")
	}
	_, newest, err := t.written(contract, name, v)
	if err == nil && !newest {
		err = damage("a key of the state of %s is not in the version of its newest write", contract)
	}
	return err
}
