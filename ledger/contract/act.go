package contract

import (
	"encoding/json"
	"errors"
	"fmt"

	"cardflow/iccid"
	"cardflow/ledger/request"
)

// act is one invocation that may write: the decoded request, and the writes it will make once every check has passed.
type act struct {
	stub   Stub
	req    request.Request
	proof  request.Proof
	now    int64 // the transaction's time, ms
	writes []write
	staged map[string]int // key → index in writes, so that later checks of the same act see what it is about to write
}

type write struct {
	key   string
	value []byte // nil deletes
}

// newAct decodes the arguments of a signed function: the body and the proof. A request that was applied before is
// refused here, before its deadline and its signatures are looked at: whoever asks twice learns that it is done, even
// if he asks late.
func newAct(stub Stub, contract, function string, args [][]byte, body request.Body) (*act, error) {
	if len(args) != 2 {
		return nil, refuse(BadArguments, "%s takes a request and its proof", function)
	}
	if err := request.Decode(args[0], body); err != nil {
		return nil, refuse(BadArguments, "%s: %v", function, err)
	}
	proof, err := request.DecodeProof(args[1])
	if err != nil {
		return nil, refuse(BadArguments, "%s: %v", function, err)
	}
	a := &act{
		stub:   stub,
		req:    request.Request{Channel: stub.Channel(), Contract: contract, Function: function, Args: args[0]},
		proof:  proof,
		now:    stub.TxTime().UnixMilli(),
		staged: map[string]int{},
	}
	applied, err := stub.Get(appliedKey(a.req.ID()))
	if err != nil {
		return nil, err
	}
	if applied != nil {
		return nil, refuse(AlreadyApplied, "%s was applied before", function).With("txId", string(applied))
	}
	return a, nil
}

// appliedKey marks an act as done. It is read by every write, so two transactions of one act can't both be valid.
func appliedKey(id string) string { return "Q/" + id }

// put stages a record.
func (a *act) put(key string, record any) {
	b, err := json.Marshal(record)
	if err != nil {
		panic(fmt.Sprintf("contract: record %T always encodes: %v", record, err))
	}
	a.stage(key, b)
}

func (a *act) delete(key string) { a.stage(key, nil) }

func (a *act) stage(key string, value []byte) {
	if i, ok := a.staged[key]; ok {
		a.writes[i].value = value
		return
	}
	a.staged[key] = len(a.writes)
	a.writes = append(a.writes, write{key, value})
}

// plain refuses what can be no part of a key on any ledger. Names come out of requests, and a key that the ledger
// underneath refuses would look like a fault of its own: whoever relays the request would try it for ever.
func plain(key string) error {
	if len(key) > 200 {
		return refuse(BadArguments, "a name of %d characters", len(key))
	}
	for _, c := range []byte(key) {
		if c < ' ' || c > '~' {
			return refuse(BadArguments, "a name with characters that no name has")
		}
	}
	return nil
}

// get reads a record as this act will leave it: staged, else committed. found is false if there is none.
func (a *act) get(key string, record any) (found bool, err error) {
	if i, ok := a.staged[key]; ok {
		if a.writes[i].value == nil {
			return false, nil
		}
		return true, json.Unmarshal(a.writes[i].value, record)
	}
	return load(a.stub, key, record)
}

// load reads a committed record.
func load(stub Stub, key string, record any) (found bool, err error) {
	if err := plain(key); err != nil {
		return false, err
	}
	b, err := stub.Get(key)
	if err != nil || b == nil {
		return false, err
	}
	if err := json.Unmarshal(b, record); err != nil {
		return false, fmt.Errorf("record %q: %w", key, err)
	}
	return true, nil
}

// Event is the payload of every event: which act was applied. What it changed stands in the transaction's writes.
type Event struct {
	Function string   `json:"function"`
	Request  string   `json:"request"` // request ID
	Subjects []string `json:"subjects,omitempty"`
}

// apply makes the staged writes. It is the last thing a function does.
func (a *act) apply(subjects ...string) ([]byte, error) {
	for _, w := range a.writes {
		var err error
		if w.value == nil {
			err = a.stub.Delete(w.key)
		} else {
			err = a.stub.Put(w.key, w.value)
		}
		if err != nil {
			return nil, err
		}
	}
	id := a.req.ID()
	if err := a.stub.Put(appliedKey(id), []byte(a.stub.TxID())); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(Event{Function: a.req.Function, Request: id, Subjects: subjects})
	if err != nil {
		return nil, err
	}
	return payload, a.stub.Emit(a.req.Function, payload)
}

// answer encodes the result of a query.
func answer(v any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// ask calls a query of the identity contract.
func ask[T any](stub Stub, function string, args ...[]byte) (T, error) {
	var v T
	b, err := stub.Call(request.Identity, function, args...)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("identity %s: %w", function, err)
	}
	return v, nil
}

// refuseICCID turns a fault of package iccid into a refusal with the same code.
func refuseICCID(err error) error {
	var e *iccid.Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Message: "cards of an opening"}
	}
	return refuse(OpeningMismatch, "opening unreadable")
}

func texts(args [][]byte, n int) ([]string, error) {
	if len(args) != n {
		return nil, refuse(BadArguments, "%d arguments, want %d", len(args), n)
	}
	out := make([]string, n)
	for i, a := range args {
		if len(a) == 0 || len(a) > 128 {
			return nil, refuse(BadArguments, "argument %d", i+1)
		}
		if err := plain(string(a)); err != nil {
			return nil, err
		}
		out[i] = string(a)
	}
	return out, nil
}
