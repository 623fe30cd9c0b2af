package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cardflow/ledger"
	"cardflow/ledger/contract"
)

// simulation runs one transaction on a snapshot, and keeps what it read and what it would write.
type simulation struct {
	ledger    *Ledger
	trees     trees
	id        string
	at        time.Time
	transient map[string][]byte
	running   []string // contracts, each called by the one before
	reads     readSet
	writes    map[string]ledger.Write // by key of the state
	event     *ledger.Event
}

// readSet is what a transaction saw, by contract.
type readSet map[string]*contractReads

type contractReads struct {
	keys   map[string]version // by key of the state
	ranges []rangeRead
}

// rangeRead is what was seen between two keys of the state, the second exclusive: exactly these, in these versions.
type rangeRead struct {
	from, to []byte
	seen     []keyVersion
}

type keyVersion struct {
	key     string // of the state
	version version
}

func (s *simulation) readsOf(contract string) *contractReads {
	r := s.reads[contract]
	if r == nil {
		r = &contractReads{keys: map[string]version{}}
		s.reads[contract] = r
	}
	return r
}

// sortedWrites returns the writes by contract and key.
func (s *simulation) sortedWrites() []ledger.Write {
	list := make([]ledger.Write, 0, len(s.writes))
	for _, key := range slices.Sorted(maps.Keys(s.writes)) {
		list = append(list, s.writes[key])
	}
	return list
}

// run calls a function of a contract. A contract that panics has failed; the process has not.
func (s *simulation) run(name, function string, args [][]byte) (result []byte, err error) {
	c := s.ledger.contracts[name]
	if c == nil {
		return nil, fmt.Errorf("contract %q is not on this channel", name)
	}
	if slices.Contains(s.running, name) {
		return nil, fmt.Errorf("contract %q is already running in this transaction", name) // as on Fabric: one context each
	}
	s.running = append(s.running, name)
	defer func() { s.running = s.running[:len(s.running)-1] }()
	defer func() {
		if p := recover(); p != nil {
			s.ledger.log.Error("contract panicked", "contract", name, "function", function, "tx", s.id, "stack", string(debug.Stack()))
			result, err = nil, fmt.Errorf("contract %q panicked in %s: %v", name, function, p)
		}
	}()
	result, err = c.Invoke(&stub{s, name}, function, args)
	return result, plain(err)
}

// plain gives a refusal the form it has after it has crossed a network: numbers in its details are float64 on either
// ledger, and nobody can come to lean on anything else.
func plain(err error) error {
	var refusal *contract.Error
	if !errors.As(err, &refusal) {
		return err
	}
	var crossed contract.Error
	if err := json.Unmarshal([]byte(refusal.Encode()), &crossed); err != nil {
		return fmt.Errorf("refusal %s: %w", refusal.Code, err)
	}
	return &crossed
}

// stub is what one contract sees of the simulation.
type stub struct {
	*simulation
	contract string
}

var _ contract.Stub = (*stub)(nil)

func (s *stub) Channel() string              { return s.ledger.config.Channel }
func (s *stub) TxID() string                 { return s.id }
func (s *stub) TxTime() time.Time            { return s.at }
func (s *stub) Creator() string              { return s.ledger.config.Organisation }
func (s *stub) Transient() map[string][]byte { return maps.Clone(s.transient) }

func (s *stub) Get(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	at := stateKey(s.contract, key)
	v, value, err := s.trees.get(at)
	if err != nil {
		return nil, err
	}
	s.readsOf(s.contract).keys[string(at)] = v
	return bytes.Clone(value), nil
}

// Put refuses an empty value, which Fabric takes for a deletion.
func (s *stub) Put(key string, value []byte) error {
	if len(value) == 0 {
		return errors.New("put: value is empty")
	}
	return s.write(ledger.Write{Contract: s.contract, Key: key, Value: bytes.Clone(value)})
}

func (s *stub) Delete(key string) error {
	return s.write(ledger.Write{Contract: s.contract, Key: key, Deleted: true})
}

func (s *stub) write(w ledger.Write) error {
	if err := checkKey(w.Key); err != nil {
		return err
	}
	s.writes[string(stateKey(w.Contract, w.Key))] = w
	return nil
}

// Range with an empty end goes on to the last key. Whoever stops early has read, and depends on, what he was given.
func (s *stub) Range(from, to string) iter.Seq2[contract.KV, error] {
	return func(yield func(contract.KV, error) bool) {
		r := rangeRead{from: stateKey(s.contract, from), to: stateKey(s.contract, to)}
		if to == "" {
			r.to[len(s.contract)] = 1 // just beyond the separator: beyond every key of the contract
		}
		defer func() { reads := s.readsOf(s.contract); reads.ranges = append(reads.ranges, r) }()
		err := s.trees.scan(r.from, r.to, func(key []byte, v version, value []byte) bool {
			r.seen = append(r.seen, keyVersion{string(key), v})
			if yield(contract.KV{Key: string(key[len(s.contract)+1:]), Value: bytes.Clone(value)}, nil) {
				return true
			}
			r.to = append(bytes.Clone(key), 0)
			return false
		})
		if err != nil {
			yield(contract.KV{}, err)
		}
	}
}

func (s *stub) History(key string) ([]contract.Modification, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	versions, err := s.trees.versions(s.contract, key)
	if err != nil {
		return nil, err
	}
	list := make([]contract.Modification, 0, len(versions))
	for _, v := range versions {
		tx, w, err := s.trees.writeAt(v, s.contract, key)
		if err != nil {
			return nil, err
		}
		list = append(list, contract.Modification{TxID: tx.ID, Time: tx.Time, Value: w.Value, Deleted: w.Deleted})
	}
	return list, nil
}

func (s *stub) Call(name, function string, args ...[]byte) ([]byte, error) {
	return s.run(name, function, args)
}

func (s *stub) Emit(name string, payload []byte) error {
	if name == "" {
		return errors.New("emit: name is empty")
	}
	if len(s.running) == 1 { // the outer contract
		s.event = &ledger.Event{Name: name, Payload: bytes.Clone(payload)}
	}
	return nil
}

// checkKey refuses what Fabric would refuse or mistake for one of its own keys.
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("key is empty")
	case len(key) > maxKey:
		return fmt.Errorf("key has %d bytes, more than %d", len(key), maxKey)
	case strings.Contains(key, "\x00"):
		return errors.New("key holds a NUL byte")
	case !utf8.ValidString(key):
		return errors.New("key is not UTF-8")
	}
	return nil
}
