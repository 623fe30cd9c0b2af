package ledgertest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cardflow/ledger/contract"
)

// The contracts that the suite runs, and that a network must have deployed for it.
const (
	Outer = "probe"
	Inner = "probe-inner" // called by Outer
)

// Probes returns the contracts of the suite.
func Probes() []contract.Contract { return []contract.Contract{Probe(Outer), Probe(Inner)} }

// Probe is a contract that does as it is told, by any name. Its one function, Script, takes steps as arguments, each made
// by one of the functions below, and returns what the steps saw, see Read.
func Probe(name string) contract.Contract { return probe(name) }

// Script is the function of a probe.
const Script = "Script"

// Seen is what one step saw. Of steps that see nothing all fields are empty.
type Seen struct {
	Found     bool                    `json:"found,omitempty"` // Get
	Value     []byte                  `json:"value,omitempty"` // Get
	List      []contract.KV           `json:"list,omitempty"`  // Range
	History   []contract.Modification `json:"history,omitempty"`
	Inner     []Seen                  `json:"inner,omitempty"`     // Call
	Transient map[string]string       `json:"transient,omitempty"` // Transient: name → hex SHA-256 of the value
	Channel   string                  `json:"channel,omitempty"`   // Self, and the next three
	TxID      string                  `json:"txId,omitempty"`
	Time      time.Time               `json:"time,omitzero"`
	Creator   string                  `json:"creator,omitempty"`
}

// Read decodes what a Script returned.
func Read(result []byte) ([]Seen, error) {
	var seen []Seen
	err := json.Unmarshal(result, &seen)
	return seen, err
}

type step struct {
	Do       string         `json:"do"`
	Key      []byte         `json:"key,omitempty"` // bytes, because a test wants to try what is no text
	To       []byte         `json:"to,omitempty"`
	Value    []byte         `json:"value,omitempty"`
	Contract string         `json:"contract,omitempty"`
	Code     string         `json:"code,omitempty"`
	Details  map[string]any `json:"details,omitempty"`
	Steps    [][]byte       `json:"steps,omitempty"`
}

func (s step) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a test made a detail that is no JSON
	}
	return b
}

// Get reads a key.
func Get(key string) []byte { return step{Do: "get", Key: []byte(key)}.encode() }

// Expect reads a key, and refuses with UNEXPECTED if its value is another.
func Expect(key, value string) []byte {
	return step{Do: "expect", Key: []byte(key), Value: []byte(value)}.encode()
}

// Put writes a key.
func Put(key, value string) []byte {
	return step{Do: "put", Key: []byte(key), Value: []byte(value)}.encode()
}

// Delete removes a key.
func Delete(key string) []byte { return step{Do: "delete", Key: []byte(key)}.encode() }

// Range reads all keys from one up to another.
func Range(from, to string) []byte {
	return step{Do: "range", Key: []byte(from), To: []byte(to)}.encode()
}

// First reads the first key from one up to another, and stops there.
func First(from, to string) []byte {
	return step{Do: "first", Key: []byte(from), To: []byte(to)}.encode()
}

// History reads the history of a key.
func History(key string) []byte { return step{Do: "history", Key: []byte(key)}.encode() }

// Call runs steps in another probe.
func Call(name string, steps ...[]byte) []byte {
	return step{Do: "call", Contract: name, Steps: steps}.encode()
}

// Emit sets the event.
func Emit(name, payload string) []byte {
	return step{Do: "emit", Key: []byte(name), Value: []byte(payload)}.encode()
}

// Refuse ends the script with a refusal.
func Refuse(code string, details map[string]any) []byte {
	return step{Do: "refuse", Code: code, Details: details}.encode()
}

// Fault ends the script with an error that is no refusal.
func Fault() []byte { return step{Do: "fault"}.encode() }

// Panic ends the script with a panic.
func Panic() []byte { return step{Do: "panic"}.encode() }

// Transient sees the digests of the transient fields.
func Transient() []byte { return step{Do: "transient"}.encode() }

// Self sees channel, transaction ID, time and creator.
func Self() []byte { return step{Do: "self"}.encode() }

// Digest is how Transient shows a field.
func Digest(field []byte) string {
	sum := sha256.Sum256(field)
	return hex.EncodeToString(sum[:])
}

type probe string

func (p probe) Name() string { return string(p) }

func (p probe) Invoke(stub contract.Stub, function string, args [][]byte) ([]byte, error) {
	if function != Script {
		return nil, fmt.Errorf("a probe has no function %q", function)
	}
	all := make([]Seen, 0, len(args))
	for _, arg := range args {
		var s step
		if err := json.Unmarshal(arg, &s); err != nil {
			return nil, fmt.Errorf("step: %w", err)
		}
		seen, err := s.run(stub)
		if err != nil {
			return nil, err
		}
		all = append(all, seen)
	}
	return json.Marshal(all)
}

func (s step) run(stub contract.Stub) (seen Seen, err error) {
	key := string(s.Key)
	switch s.Do {
	case "get":
		seen.Value, err = stub.Get(key)
		seen.Found = seen.Value != nil
	case "expect":
		if seen.Value, err = stub.Get(key); err == nil && string(seen.Value) != string(s.Value) {
			err = &contract.Error{Code: "UNEXPECTED", Message: "the value is another"}
		}
	case "put":
		err = stub.Put(key, s.Value)
	case "delete":
		err = stub.Delete(key)
	case "range", "first":
		for kv, err := range stub.Range(key, string(s.To)) {
			if err != nil {
				return Seen{}, err
			}
			seen.List = append(seen.List, kv)
			if s.Do == "first" {
				break
			}
		}
	case "history":
		seen.History, err = stub.History(key)
	case "call":
		var result []byte
		if result, err = stub.Call(s.Contract, Script, slices.Clone(s.Steps)...); err == nil {
			seen.Inner, err = Read(result)
		}
	case "emit":
		err = stub.Emit(key, s.Value)
	case "refuse":
		return Seen{}, &contract.Error{Code: s.Code, Message: "as the script says", Details: s.Details}
	case "fault":
		return Seen{}, errors.New("a fault, as the script says")
	case "panic":
		panic("as the script says")
	case "transient":
		seen.Transient = map[string]string{}
		for name, value := range stub.Transient() {
			seen.Transient[name] = Digest(value)
		}
	case "self":
		seen = Seen{Channel: stub.Channel(), TxID: stub.TxID(), Time: stub.TxTime(), Creator: stub.Creator()}
	default:
		err = fmt.Errorf("no step %q", s.Do)
	}
	return seen, err
}
