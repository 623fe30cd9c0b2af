package contract_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/ledgertest"
)

// world is a ledger in memory with the semantics of Fabric and nothing else: reads see what was committed before, never
// the transaction's own writes; writes apply at commit, and only if nothing that was read has changed since. A panic of
// a contract is a panic of the test.
type world struct {
	*ledgertest.Clock
	organisation string
	contracts    map[string]contract.Contract
	refused      func(code string) // hears of every refusal

	mu      sync.Mutex
	state   map[string]record // by contract NUL key
	history map[string][]contract.Modification
	blocks  []ledger.Block
	grown   chan struct{}
}

type record struct {
	value   []byte // nil: deleted
	version int    // block number of the last write
}

var _ ledgertest.Timed = (*world)(nil)

const (
	channel  = "cards"
	deployer = "PlatformMSP"
)

func newWorld() *world {
	return &world{
		Clock: ledgertest.NewClock(), organisation: deployer, refused: func(string) {},
		contracts: map[string]contract.Contract{
			"identity": &contract.Identity{Deployer: deployer}, "ownership": &contract.Ownership{},
		},
		state: map[string]record{}, history: map[string][]contract.Modification{}, grown: make(chan struct{}),
		blocks: []ledger.Block{{Hash: "00"}},
	}
}

func (w *world) Channel() string             { return channel }
func (w *world) Ready(context.Context) error { return nil }
func (w *world) Close() error                { return nil }

func (w *world) Prepare(contract, function string, args [][]byte) (ledger.Proposal, error) {
	p := ledger.Proposal{Nonce: make([]byte, 24), Creator: []byte(w.organisation), Contract: contract, Function: function, Args: args}
	if _, err := rand.Read(p.Nonce); err != nil {
		return p, err
	}
	id := sha256.Sum256(append(bytes.Clone(p.Nonce), p.Creator...))
	p.TxID = hex.EncodeToString(id[:])
	return p, nil
}

func (w *world) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	s := &simulation{world: w, id: p.TxID, at: w.Now(), transient: transient, reads: map[string]int{}, writes: map[string]ledger.Write{}}
	w.mu.Lock()
	result, err := s.run(p.Contract, p.Function, p.Args)
	w.mu.Unlock()
	if err != nil {
		return ledger.Commit{}, err
	}
	if sending != nil {
		if err := sending(); err != nil {
			return ledger.Commit{}, &ledger.Failure{Class: ledger.NotSent, Err: err}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	tx := ledger.Transaction{
		ID: p.TxID, BlockNumber: uint64(len(w.blocks)), Time: s.at, Creator: w.organisation, Contract: p.Contract,
		Function: p.Function, Args: p.Args, Validation: ledger.Valid,
	}
	for key, version := range s.reads {
		if w.state[key].version != version {
			tx.Validation = ledger.ReadConflict
		}
	}
	if tx.Validation == ledger.Valid {
		for _, key := range slices.Sorted(maps.Keys(s.writes)) {
			v := s.writes[key]
			tx.Writes = append(tx.Writes, v)
			w.state[key] = record{v.Value, len(w.blocks)}
			w.history[key] = append(w.history[key], contract.Modification{TxID: p.TxID, Time: s.at, Value: v.Value, Deleted: v.Deleted})
		}
		tx.Event = s.event
	}
	w.blocks = append(w.blocks, ledger.Block{
		Number: tx.BlockNumber, Hash: fmt.Sprintf("%02x", tx.BlockNumber), PreviousHash: w.blocks[len(w.blocks)-1].Hash,
		Transactions: []ledger.Transaction{tx},
	})
	close(w.grown)
	w.grown = make(chan struct{})
	if tx.Validation != ledger.Valid {
		return ledger.Commit{}, &ledger.Failure{Class: ledger.Conflict, Validation: tx.Validation}
	}
	return ledger.Commit{TxID: p.TxID, BlockNumber: tx.BlockNumber, Result: result}, nil
}

func (w *world) Query(_ context.Context, contract, function string, args ...[]byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &simulation{world: w, id: "query", at: w.Now(), reads: map[string]int{}, writes: map[string]ledger.Write{}}
	return s.run(contract, function, args)
}

func (w *world) Transaction(_ context.Context, id string) (ledger.Transaction, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.blocks {
		for _, tx := range b.Transactions {
			if tx.ID == id {
				return tx, nil
			}
		}
	}
	return ledger.Transaction{}, ledger.ErrNotFound
}

func (w *world) Block(_ context.Context, number uint64) (ledger.Block, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if number >= uint64(len(w.blocks)) {
		return ledger.Block{}, ledger.ErrNotFound
	}
	return w.blocks[number], nil
}

func (w *world) Height(context.Context) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(len(w.blocks)), nil
}

func (w *world) Blocks(ctx context.Context, from uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		for {
			w.mu.Lock()
			grown := w.grown
			w.mu.Unlock()
			b, err := w.Block(ctx, from)
			if err == nil {
				from++
				if !yield(b, nil) {
					return
				}
				continue
			}
			select {
			case <-grown:
			case <-ctx.Done():
				yield(ledger.Block{}, ctx.Err())
				return
			}
		}
	}
}

// simulation is one transaction before its commit.
type simulation struct {
	*world
	id        string
	at        time.Time
	transient map[string][]byte
	depth     int
	reads     map[string]int
	writes    map[string]ledger.Write
	event     *ledger.Event
}

func (s *simulation) run(name, function string, args [][]byte) ([]byte, error) {
	result, err := (&stub{s, name}).Call(name, function, args...)
	var refusal *contract.Error
	switch {
	case err == nil:
		return result, nil
	case !errors.As(err, &refusal):
		return nil, &ledger.Failure{Class: ledger.NotSent, Err: err}
	}
	s.refused(refusal.Code)
	var crossed contract.Error // the form it has after a network
	if err := json.Unmarshal([]byte(refusal.Encode()), &crossed); err != nil {
		return nil, err
	}
	return nil, &ledger.Failure{Class: ledger.Refused, Refusal: &crossed}
}

// stub is what one contract sees of a simulation.
type stub struct {
	*simulation
	contract string
}

var _ contract.Stub = (*stub)(nil)

func (s *stub) TxID() string                 { return s.id }
func (s *stub) TxTime() time.Time            { return s.at }
func (s *stub) Creator() string              { return s.organisation }
func (s *stub) Transient() map[string][]byte { return s.transient }

func (s *stub) full(key string) (string, error) {
	if key == "" || strings.Contains(key, "\x00") || !utf8.ValidString(key) || len(key) > 1024 {
		return "", errors.New("no key") // a contract that gets here lets a request be tried for ever
	}
	return s.contract + "\x00" + key, nil
}

func (s *stub) Get(key string) ([]byte, error) {
	at, err := s.full(key)
	if err != nil {
		return nil, err
	}
	r := s.state[at]
	s.reads[at] = r.version
	return bytes.Clone(r.value), nil
}

func (s *stub) Put(key string, value []byte) error {
	if len(value) == 0 {
		return errors.New("empty value")
	}
	return s.write(ledger.Write{Contract: s.contract, Key: key, Value: bytes.Clone(value)})
}

func (s *stub) Delete(key string) error {
	return s.write(ledger.Write{Contract: s.contract, Key: key, Deleted: true})
}

func (s *stub) write(v ledger.Write) error {
	at, err := s.full(v.Key)
	s.writes[at] = v
	return err
}

// Range is not used by the contracts' checks through this world beyond exact keys, so its phantoms are those of its keys.
func (s *stub) Range(from, to string) iter.Seq2[contract.KV, error] {
	return func(yield func(contract.KV, error) bool) {
		for _, at := range slices.Sorted(maps.Keys(s.state)) {
			name, key, _ := strings.Cut(at, "\x00")
			if name != s.contract || key < from || key >= to || s.state[at].value == nil {
				continue
			}
			s.reads[at] = s.state[at].version
			if !yield(contract.KV{Key: key, Value: bytes.Clone(s.state[at].value)}, nil) {
				return
			}
		}
	}
}

func (s *stub) History(key string) ([]contract.Modification, error) {
	at, err := s.full(key)
	list := slices.Clone(s.history[at])
	slices.Reverse(list)
	return list, err
}

func (s *stub) Call(name, function string, args ...[]byte) ([]byte, error) {
	s.depth++
	defer func() { s.depth-- }()
	return s.contracts[name].Invoke(&stub{s.simulation, name}, function, args)
}

func (s *stub) Emit(name string, payload []byte) error {
	if s.depth == 1 {
		s.event = &ledger.Event{Name: name, Payload: payload}
	}
	return nil
}
