package embedded

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"

	"go.etcd.io/bbolt"
)

// The file holds five trees. Numbers in keys are big-endian, so that they sort; every value ends in a checksum over its
// key and itself, so that a record that was hit or moved is found when it is read.
//
//	blocks   number(8)                            → previous hash(32) ‖ data hash(32) ‖ entries(4)
//	entries  block(8) ‖ index(4)                  → the transaction, see entry
//	txs      ID(32)                               → block(8) ‖ index(4) of its first entry
//	state    contract ‖ 0 ‖ key                   → block(8) ‖ index(4) of the write ‖ value
//	history  contract ‖ 0 ‖ key ‖ 0 ‖ version(12) → nothing: the write is in the entry
//
// Neither contract names nor keys hold a NUL byte.
var (
	blocksTree  = []byte("blocks")
	entriesTree = []byte("entries")
	txsTree     = []byte("txs")
	stateTree   = []byte("state")
	historyTree = []byte("history")
)

// maxKey is the longest key a contract may write, in bytes: with contract and version it stays below bbolt's limit.
const maxKey = 16 << 10

// trees are the five within one transaction of the file.
type trees struct {
	blocks, entries, txs, state, history *bbolt.Bucket
}

func treesOf(tx *bbolt.Tx) (trees, error) {
	t := trees{tx.Bucket(blocksTree), tx.Bucket(entriesTree), tx.Bucket(txsTree), tx.Bucket(stateTree), tx.Bucket(historyTree)}
	for _, b := range []*bbolt.Bucket{t.blocks, t.entries, t.txs, t.state, t.history} {
		if b == nil {
			return t, damage("a tree is missing")
		}
	}
	// These two only grow at their end; half-filled pages would stay so for ever.
	t.blocks.FillPercent, t.entries.FillPercent = 1, 1
	return t, nil
}

// version is where a value was written. The zero version is that of a key that isn't there: block 0 writes no state.
type version struct {
	block uint64
	index uint32
}

const versionSize = 12

func (v version) bytes() []byte {
	b := make([]byte, 0, versionSize)
	b = binary.BigEndian.AppendUint64(b, v.block)
	return binary.BigEndian.AppendUint32(b, v.index)
}

func versionOf(b []byte) version {
	return version{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])}
}

func blockKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func stateKey(contract, key string) []byte {
	b := make([]byte, 0, len(contract)+1+len(key))
	b = append(b, contract...)
	b = append(b, 0)
	return append(b, key...)
}

// stateKeyOf takes a key of the state apart.
func stateKeyOf(b []byte) (contract, key string, ok bool) {
	return strings.Cut(string(b), "\x00")
}

// historyPrefix begins the history of a key; a version follows.
func historyPrefix(contract, key string) []byte {
	return append(stateKey(contract, key), 0)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// seal appends its checksum to a record.
func seal(key, body []byte) []byte {
	return binary.BigEndian.AppendUint32(body[:len(body):len(body)], checksum(key, body))
}

// unseal checks a record and returns it without its checksum. It points into the file: copy what must outlive the
// transaction.
func unseal(tree string, key, record []byte) ([]byte, error) {
	n := len(record) - 4
	if n < 0 || binary.BigEndian.Uint32(record[n:]) != checksum(key, record[:n]) {
		return nil, damage("checksum of a record in %s", tree)
	}
	return record[:n:n], nil
}

// get reads a value and its version: the zero version if there is none.
func (t trees) get(key []byte) (v version, value []byte, err error) {
	defer damaged(&err)
	record := t.state.Get(key)
	if record == nil {
		return version{}, nil, nil
	}
	return stateRecord(key, record)
}

func stateRecord(key, record []byte) (version, []byte, error) {
	body, err := unseal("state", key, record)
	if err != nil {
		return version{}, nil, err
	}
	if len(body) <= versionSize {
		return version{}, nil, damage("a record in state is too short")
	}
	return versionOf(body), body[versionSize:], nil
}

// first finds the first entry of an ID; ok is false if there is none.
func (t trees) first(id []byte) (v version, ok bool, err error) {
	defer damaged(&err)
	record := t.txs.Get(id)
	if record == nil {
		return version{}, false, nil
	}
	body, err := unseal("txs", id, record)
	if err != nil {
		return version{}, false, err
	}
	if len(body) != versionSize {
		return version{}, false, damage("a record in txs is too short")
	}
	return versionOf(body), true, nil
}

// entry reads an entry's bytes; nil if there is none.
func (t trees) entry(at version) (b []byte, err error) {
	defer damaged(&err)
	key := at.bytes()
	record := t.entries.Get(key)
	if record == nil {
		return nil, nil
	}
	return unseal("entries", key, record)
}

// header reads a block's header; ok is false if there is none.
func (t trees) header(number uint64) (h header, ok bool, err error) {
	defer damaged(&err)
	key := blockKey(number)
	record := t.blocks.Get(key)
	if record == nil {
		return header{}, false, nil
	}
	body, err := unseal("blocks", key, record)
	if err != nil {
		return header{}, false, err
	}
	h, err = headerOf(number, body)
	return h, err == nil, err
}

// scan walks the state from a key up to another, exclusively, until each says no more. Its own panics are its own: only
// the steps through the file are watched.
func (t trees) scan(from, to []byte, each func(key []byte, v version, value []byte) bool) error {
	cursor := t.state.Cursor()
	step := func(move func() ([]byte, []byte)) (key []byte, v version, value []byte, err error) {
		defer damaged(&err)
		key, record := move()
		if key == nil || bytes.Compare(key, to) >= 0 {
			return nil, version{}, nil, nil
		}
		v, value, err = stateRecord(key, record)
		return key, v, value, err
	}
	key, v, value, err := step(func() ([]byte, []byte) { return cursor.Seek(from) })
	for ; err == nil && key != nil; key, v, value, err = step(cursor.Next) {
		if !each(key, v, value) {
			return nil
		}
	}
	return err
}

// versions lists the writes of a key, newest first.
func (t trees) versions(contract, key string) (list []version, err error) {
	defer damaged(&err)
	prefix := historyPrefix(contract, key)
	cursor := t.history.Cursor()
	after := append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, versionSize)...)
	at, record := cursor.Seek(after)
	if at == nil {
		at, record = cursor.Last()
	}
	for at != nil && bytes.Compare(at, after) > 0 {
		at, record = cursor.Prev()
	}
	for ; at != nil && bytes.HasPrefix(at, prefix); at, record = cursor.Prev() {
		if _, err := unseal("history", at, record); err != nil {
			return nil, err
		}
		if len(at) != len(prefix)+versionSize {
			return nil, damage("a key of history is too short")
		}
		list = append(list, versionOf(at[len(prefix):]))
	}
	return list, nil
}

// written reports whether a write is in the history of its key, and whether it is the newest there.
func (t trees) written(contract, key string, at version) (there, newest bool, err error) {
	defer damaged(&err)
	prefix := historyPrefix(contract, key)
	line := append(bytes.Clone(prefix), at.bytes()...)
	cursor := t.history.Cursor()
	if found, _ := cursor.Seek(line); !bytes.Equal(found, line) {
		return false, false, nil
	}
	next, _ := cursor.Next()
	return true, !bytes.HasPrefix(next, prefix), nil
}
