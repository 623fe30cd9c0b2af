package embedded

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"cardflow/ledger"

	"go.etcd.io/bbolt"
)

// commitAll is the committer: the only goroutine that writes to the file. It ends when the ledger is closed.
func (l *Ledger) commitAll() {
	defer close(l.done)
	expected := 1
	for {
		select {
		case first := <-l.queue:
			batch := l.gather(first, expected)
			expected = len(batch)
			l.commit(batch)
		case <-l.quit:
			return
		}
	}
}

// gather takes whoever is waiting into one block. Those whom the last block released tend to come back together, a
// moment apart, so it waits for as many as that had, but not for long; after a block of one it doesn't wait at all.
func (l *Ledger) gather(first *envelope, expected int) []*envelope {
	batch := []*envelope{first}
	limit := l.config.MaxBlockTransactions
	var timer <-chan time.Time
	for len(batch) < limit {
		select {
		case e := <-l.queue:
			batch = append(batch, e)
			continue
		default:
		}
		if len(batch) >= expected {
			break
		}
		if timer == nil {
			timer = time.After(l.config.BlockInterval)
		}
		select {
		case e := <-l.queue:
			batch = append(batch, e)
		case <-timer:
			return batch
		case <-l.quit:
			return batch
		}
	}
	return batch
}

// commit makes a block of a batch and tells everyone. A crash before the file's commit leaves nothing of the block; a
// crash after it leaves all of it, and those who weren't told find it by their ID.
func (l *Ledger) commit(batch []*envelope) {
	l.mu.RLock()
	last, stopped := l.tip, l.stopped
	l.mu.RUnlock()
	if stopped != nil {
		tell(batch, verdict{failure: notSent(stopped)})
		return
	}
	batch = slices.DeleteFunc(batch, func(e *envelope) bool {
		late := !l.inTime(e.at)
		if late {
			e.verdict <- verdict{failure: notSent(errLate)}
		}
		return late
	})
	if len(batch) == 0 {
		return
	}
	number := last.number + 1
	block, unknown, err := l.write(last, number, batch)
	if err != nil {
		failure := notSent(l.stop(err))
		if unknown {
			failure.Class = ledger.Unknown
		}
		tell(batch, verdict{failure: failure})
		return
	}
	l.mu.Lock()
	l.tip = tip{number, block.hash}
	grown := l.grown
	l.grown = make(chan struct{})
	l.mu.Unlock()
	close(grown)
	for i, e := range batch {
		e.verdict <- verdict{block: number, validation: block.verdicts[i]}
	}
}

func tell(batch []*envelope, v verdict) {
	for _, e := range batch {
		e.verdict <- v
	}
}

// write commits a block to the file. If it fails, unknown says whether the block may be there all the same.
func (l *Ledger) write(last tip, number uint64, batch []*envelope) (b written, unknown bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var id uint64
	committing := false
	defer func() { unknown = err != nil && committing && l.file.mayHold(id) }()
	defer damaged(&err)
	tx, err := l.db.Begin(true)
	if err != nil {
		return written{}, false, fmt.Errorf("begin block %d: %w", number, err)
	}
	defer tx.Rollback() // of what has been committed: nothing
	t, err := treesOf(tx)
	if err != nil {
		return written{}, false, err
	}
	if b, err = t.appendBlock(last, number, batch); err != nil {
		return written{}, false, fmt.Errorf("write block %d: %w", number, err)
	}
	id, committing = uint64(tx.ID()), true
	l.at(AtWriting)
	if err := tx.Commit(); err != nil {
		return written{}, false, fmt.Errorf("commit block %d: %w", number, err)
	}
	l.at(AtWritten)
	return b, false, nil
}

// written is a block as it was put down.
type written struct {
	hash     hash
	verdicts []ledger.Validation
}

// appendBlock validates a batch in order, and writes the block with everything that it does. The state it validates
// against has the writes of the valid transactions before, in this block too.
func (t trees) appendBlock(last tip, number uint64, batch []*envelope) (written, error) {
	entries := make([][]byte, len(batch))
	verdicts := make([]ledger.Validation, len(batch))
	for i, e := range batch {
		at := version{number, uint32(i)}
		verdict, err := t.judge(e)
		if err != nil {
			return written{}, err
		}
		effects := e.effects
		if verdict != ledger.Valid || effects == nil {
			effects = appendEffects(nil, nil, nil)
		}
		verdicts[i], entries[i] = verdict, joinEntry(verdict, e.call, effects)
		if err := put(t.entries, at.bytes(), entries[i]); err != nil {
			return written{}, err
		}
		if verdict != ledger.DuplicateID {
			if err := put(t.txs, e.id[:], at.bytes()); err != nil {
				return written{}, err
			}
		}
		if verdict != ledger.Valid {
			continue
		}
		for _, w := range e.writes {
			if err := t.apply(at, w); err != nil {
				return written{}, err
			}
		}
	}
	h := header{number: number, previous: last.hash, data: dataHash(entries), entries: uint32(len(batch))}
	if err := put(t.blocks, blockKey(number), h.bytes()); err != nil {
		return written{}, err
	}
	return written{h.hash(), verdicts}, nil
}

// judge decides on a transaction: what it read must be as it was. As on Fabric the ID comes first, then contract by
// contract the keys, then the ranges.
func (t trees) judge(e *envelope) (ledger.Validation, error) {
	_, known, err := t.first(e.id[:])
	if err != nil {
		return "", err
	}
	if known {
		return ledger.DuplicateID, nil
	}
	for _, contract := range slices.Sorted(maps.Keys(e.reads)) {
		for key, read := range e.reads[contract].keys {
			now, _, err := t.get([]byte(key))
			if err != nil {
				return "", err
			}
			if now != read {
				return ledger.ReadConflict, nil
			}
		}
		for _, r := range e.reads[contract].ranges {
			same, err := t.unchanged(r)
			if err != nil {
				return "", err
			}
			if !same {
				return ledger.PhantomConflict, nil
			}
		}
	}
	return ledger.Valid, nil
}

// unchanged reports whether a range holds what was seen in it.
func (t trees) unchanged(r rangeRead) (bool, error) {
	rest, same := r.seen, true
	err := t.scan(r.from, r.to, func(key []byte, v version, _ []byte) bool {
		same = len(rest) > 0 && rest[0].version == v && rest[0].key == string(key)
		if same {
			rest = rest[1:]
		}
		return same
	})
	return same && len(rest) == 0, err
}

// apply makes one write of a valid transaction.
func (t trees) apply(at version, w ledger.Write) error {
	if err := put(t.history, append(historyPrefix(w.Contract, w.Key), at.bytes()...), nil); err != nil {
		return err
	}
	key := stateKey(w.Contract, w.Key)
	if w.Deleted {
		return t.state.Delete(key)
	}
	return put(t.state, key, slices.Concat(at.bytes(), w.Value))
}

func put(tree *bbolt.Bucket, key, body []byte) error {
	return tree.Put(key, seal(key, body))
}
