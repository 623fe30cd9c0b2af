package adapter_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cardflow/cmd/chaincode/adapter"
	"cardflow/ledger/contract"
)

// fakePeer is a peer's side of one transaction, as far as the adapter uses it. What it isn't told to answer it answers
// as a peer without any state would; anything else that is called is a nil pointer, and so a failure.
type fakePeer struct {
	shim.ChaincodeStubInterface

	args      [][]byte
	creator   []byte
	stamp     *timestamppb.Timestamp
	transient map[string][]byte
	fails     error // of every call that can

	state    map[string][]byte
	kvs      []*queryresult.KV
	changes  []*queryresult.KeyModification
	nextFail int // the iterator's call of Next that fails, from 1; 0: none
	answer   *peer.Response

	batches     int
	opened      int // iterators
	closed      int
	asked       []string // ranges
	called      []string // chaincode, channel, arguments
	events      []string
	put, delete []string
}

func newPeer(args ...string) *fakePeer {
	p := &fakePeer{creator: creator("PlatformMSP"), stamp: timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)), state: map[string][]byte{}}
	for _, a := range args {
		p.args = append(p.args, []byte(a))
	}
	return p
}

func creator(organisation string) []byte {
	b, err := proto.Marshal(&msp.SerializedIdentity{Mspid: organisation, IdBytes: []byte("a certificate")})
	if err != nil {
		panic(err)
	}
	return b
}

func (p *fakePeer) GetArgs() [][]byte           { return p.args }
func (p *fakePeer) GetTxID() string             { return "tx" }
func (p *fakePeer) GetChannelID() string        { return "cardflow" }
func (p *fakePeer) GetCreator() ([]byte, error) { return p.creator, nil }
func (p *fakePeer) StartWriteBatch()            { p.batches++ }
func (p *fakePeer) GetTxTimestamp() (*timestamppb.Timestamp, error) {
	return p.stamp, nil
}
func (p *fakePeer) GetTransient() (map[string][]byte, error) { return p.transient, nil }
func (p *fakePeer) GetState(key string) ([]byte, error)      { return p.state[key], p.fails }

func (p *fakePeer) PutState(key string, value []byte) error {
	p.put = append(p.put, key+"="+string(value))
	return p.fails
}

func (p *fakePeer) DelState(key string) error {
	p.delete = append(p.delete, key)
	return p.fails
}

func (p *fakePeer) GetStateByRange(from, to string) (shim.StateQueryIteratorInterface, error) {
	p.asked = append(p.asked, from+" to "+to)
	if p.fails != nil {
		return nil, p.fails
	}
	p.opened++
	return &stateIterator{iterator{p, 0, len(p.kvs)}}, nil
}

func (p *fakePeer) GetHistoryForKey(string) (shim.HistoryQueryIteratorInterface, error) {
	if p.fails != nil {
		return nil, p.fails
	}
	p.opened++
	return &historyIterator{iterator{p, 0, len(p.changes)}}, nil
}

func (p *fakePeer) InvokeChaincode(name string, args [][]byte, channel string) *peer.Response {
	line := name + " on " + channel + ":"
	for _, a := range args {
		line += " " + string(a)
	}
	p.called = append(p.called, line)
	return p.answer
}

func (p *fakePeer) SetEvent(name string, payload []byte) error {
	p.events = append(p.events, name+"="+string(payload))
	return p.fails
}

type iterator struct {
	peer *fakePeer
	at   int
	n    int
}

func (i *iterator) HasNext() bool { return i.at < i.n }
func (i *iterator) Close() error  { i.peer.closed++; return nil }
func (i *iterator) step() error {
	if i.at++; i.at == i.peer.nextFail {
		return errors.New("the peer has hung up")
	}
	return nil
}

type stateIterator struct{ iterator }

func (i *stateIterator) Next() (*queryresult.KV, error) {
	if err := i.step(); err != nil {
		return nil, err
	}
	return i.peer.kvs[i.at-1], nil
}

type historyIterator struct{ iterator }

func (i *historyIterator) Next() (*queryresult.KeyModification, error) {
	if err := i.step(); err != nil {
		return nil, err
	}
	return i.peer.changes[i.at-1], nil
}

// script is a contract that does what a test says.
type script func(stub contract.Stub, function string, args [][]byte) ([]byte, error)

func (s script) Name() string { return "script" }
func (s script) Invoke(stub contract.Stub, function string, args [][]byte) ([]byte, error) {
	return s(stub, function, args)
}

// invoke runs a script in a transaction of a peer.
func invoke(p *fakePeer, s script) *peer.Response {
	return adapter.NewChaincode(s, quiet).Invoke(p)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// with runs a script and reports what went wrong in it.
func with(t *testing.T, p *fakePeer, s func(stub contract.Stub)) {
	t.Helper()
	response := invoke(p, func(stub contract.Stub, _ string, _ [][]byte) ([]byte, error) {
		s(stub)
		return nil, nil
	})
	if response.GetStatus() != shim.OK {
		t.Fatalf("response is %v", response)
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
