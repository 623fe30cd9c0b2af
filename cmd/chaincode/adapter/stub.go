package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"cardflow/ledger/contract"
)

// stub is what a contract sees of a peer's transaction.
type stub struct {
	peer      shim.ChaincodeStubInterface
	creator   string
	time      time.Time
	transient map[string][]byte
}

var _ contract.Stub = (*stub)(nil)

func (s *stub) Channel() string              { return s.peer.GetChannelID() }
func (s *stub) TxID() string                 { return s.peer.GetTxID() }
func (s *stub) TxTime() time.Time            { return s.time }
func (s *stub) Creator() string              { return s.creator }
func (s *stub) Transient() map[string][]byte { return maps.Clone(s.transient) }

func (s *stub) Get(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	value, err := s.peer.GetState(key)
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	if len(value) == 0 {
		return nil, nil // a peer knows no empty values, and may answer either
	}
	return value, nil
}

// Put refuses an empty value, which a peer takes for a deletion.
func (s *stub) Put(key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(value) == 0 {
		return errors.New("put: value is empty")
	}
	if err := s.peer.PutState(key, value); err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

func (s *stub) Delete(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := s.peer.DelState(key); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// Range with an empty end goes on to the last key. A peer sends its answer in pieces and notes all of a piece as read:
// whoever stops early may depend on more keys than he was given, never on fewer.
func (s *stub) Range(from, to string) iter.Seq2[contract.KV, error] {
	return func(yield func(contract.KV, error) bool) {
		for _, bound := range []string{from, to} {
			if strings.Contains(bound, "\x00") || !utf8.ValidString(bound) {
				yield(contract.KV{}, fmt.Errorf("range from %q to %q: %w", from, to, errKey))
				return
			}
		}
		if to != "" && from >= to {
			return
		}
		it, err := s.peer.GetStateByRange(from, to)
		if err != nil {
			yield(contract.KV{}, fmt.Errorf("range from %q: %w", from, err))
			return
		}
		defer it.Close() // an answer that isn't closed stays in the peer's memory until the transaction ends
		for it.HasNext() {
			kv, err := it.Next()
			if err != nil {
				yield(contract.KV{}, fmt.Errorf("range from %q: %w", from, err))
				return
			}
			if !yield(contract.KV{Key: kv.GetKey(), Value: kv.GetValue()}, nil) {
				return
			}
		}
	}
}

// History is newest first, as the peer gives it.
func (s *stub) History(key string) ([]contract.Modification, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	it, err := s.peer.GetHistoryForKey(key)
	if err != nil {
		return nil, fmt.Errorf("history of %q: %w", key, err)
	}
	defer it.Close()
	list := []contract.Modification{}
	for it.HasNext() {
		m, err := it.Next()
		if err != nil {
			return nil, fmt.Errorf("history of %q: %w", key, err)
		}
		change := contract.Modification{TxID: m.GetTxId(), Time: m.GetTimestamp().AsTime(), Deleted: m.GetIsDelete()}
		if !change.Deleted {
			change.Value = m.GetValue()
		}
		list = append(list, change)
	}
	return list, nil
}

// Call runs a function of another chaincode of the channel. Its refusal is a refusal here, as it has crossed the peer.
func (s *stub) Call(name, function string, args ...[]byte) ([]byte, error) {
	if !utf8.ValidString(name) {
		return nil, fmt.Errorf("call of %q: no name", name)
	}
	response := s.peer.InvokeChaincode(name, append([][]byte{[]byte(function)}, args...), "")
	switch status := response.GetStatus(); {
	case status == Refused:
		refusal, err := parseRefusal(response.GetMessage())
		if err != nil {
			return nil, fmt.Errorf("call of %s in %q: %w", function, name, err)
		}
		return nil, refusal
	case status < shim.ERRORTHRESHOLD && status >= shim.OK:
		return response.GetPayload(), nil
	default:
		return nil, fmt.Errorf("call of %s in %q: status %d: %s", function, name, status, cause(response))
	}
}

// cause is what went wrong: the peer's own faults are in the payload, a chaincode's in the message.
func cause(r *peer.Response) string {
	if r.GetMessage() != "" {
		return r.GetMessage()
	}
	return string(r.GetPayload())
}

// parseRefusal reads the text of a refusal.
func parseRefusal(message string) (*contract.Error, error) {
	var refusal contract.Error
	if err := json.Unmarshal([]byte(message), &refusal); err != nil {
		return nil, fmt.Errorf("a refusal that can't be read: %w", err)
	}
	if refusal.Code == "" {
		return nil, errors.New("a refusal without a code")
	}
	return &refusal, nil
}

// Emit sets the event. A peer takes it from the outer contract only.
func (s *stub) Emit(name string, payload []byte) error {
	if name == "" {
		return errors.New("emit: name is empty")
	}
	if !utf8.ValidString(name) {
		return errors.New("emit: name is not UTF-8") // the answer would not leave the process, nor any other after it
	}
	return s.peer.SetEvent(name, payload)
}

// maxKey is the embedded ledger's bound, in bytes: what one takes, the other takes.
const maxKey = 16 << 10

var errKey = errors.New("key is empty, too long, not UTF-8, or holds a NUL byte")

// checkKey refuses what a peer would refuse, choke on, or mistake for a key of its own making.
func checkKey(key string) error {
	if key == "" || len(key) > maxKey || strings.Contains(key, "\x00") || !utf8.ValidString(key) {
		return errKey
	}
	return nil
}
