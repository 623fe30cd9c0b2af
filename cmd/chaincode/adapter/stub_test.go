package adapter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cardflow/cmd/chaincode/adapter"
	"cardflow/ledger/contract"
)

func TestValues(t *testing.T) {
	p := newPeer("f")
	p.state["a"], p.state["empty"] = []byte("1"), []byte{}
	with(t, p, func(stub contract.Stub) {
		for key, want := range map[string]string{"a": "1", "none": "", "empty": ""} {
			got, err := stub.Get(key)
			if err != nil || string(got) != want || (got == nil) != (want == "") {
				t.Errorf("%s is %q (nil %t), %v", key, got, got == nil, err)
			}
		}
		if err := errors.Join(stub.Put("b", []byte("2")), stub.Delete("a")); err != nil {
			t.Error(err)
		}
		for _, nothing := range [][]byte{nil, {}} {
			if stub.Put("c", nothing) == nil {
				t.Error("an empty value was put: to a peer that is a deletion")
			}
		}
	})
	if got := fmt.Sprint(p.put, p.delete); got != "[b=2] [a]" {
		t.Errorf("the peer was told %s", got)
	}
}

func TestKeys(t *testing.T) {
	for _, key := range []string{"", "\x00", "a\x00b", "a\xff", "\xc3\x28", strings.Repeat("k", 16<<10+1)} {
		p := newPeer("f")
		p.fails = errors.New("the peer was asked")
		with(t, p, func(stub contract.Stub) {
			_, get := stub.Get(key)
			_, history := stub.History(key)
			for what, err := range map[string]error{
				"get": get, "history": history, "put": stub.Put(key, []byte("1")), "delete": stub.Delete(key),
			} {
				if err == nil || errors.Is(err, p.fails) {
					t.Errorf("%s of key %.10q: %v", what, key, err)
				}
			}
		})
	}
	p := newPeer("f")
	with(t, p, func(stub contract.Stub) {
		for _, key := range []string{" ", "a b/中文", "\x01", strings.Repeat("k", 16<<10), "\U0010ffff"} {
			if err := stub.Put(key, []byte("1")); err != nil {
				t.Errorf("key %.10q: %v", key, err)
			}
		}
	})
}

// TestPeerFails: what the peer fails at is a fault, never a refusal, and the cause is kept.
func TestPeerFails(t *testing.T) {
	cause := errors.New("no connection to the state database")
	for name, call := range map[string]func(contract.Stub) error{
		"get":     func(s contract.Stub) error { _, err := s.Get("k"); return err },
		"put":     func(s contract.Stub) error { return s.Put("k", []byte("1")) },
		"delete":  func(s contract.Stub) error { return s.Delete("k") },
		"history": func(s contract.Stub) error { _, err := s.History("k"); return err },
		"emit":    func(s contract.Stub) error { return s.Emit("e", nil) },
		"range": func(s contract.Stub) error {
			for _, err := range s.Range("a", "b") {
				return err
			}
			return nil
		},
	} {
		p := newPeer("f")
		p.fails = cause
		response := invoke(p, func(stub contract.Stub, _ string, _ [][]byte) ([]byte, error) {
			err := call(stub)
			if !errors.Is(err, cause) {
				t.Errorf("%s: %v", name, err)
			}
			return nil, err
		})
		if response.GetStatus() != 500 || !strings.Contains(response.GetMessage(), cause.Error()) {
			t.Errorf("%s: response is %v", name, response)
		}
	}
}

func kvs(keys ...string) (list []*queryresult.KV) {
	for _, k := range keys {
		list = append(list, &queryresult.KV{Namespace: "script", Key: k, Value: []byte("of " + k)})
	}
	return list
}

func TestRange(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		stop     int // after so many
		nextFail int
		want     string
		asked    string
	}{
		"all":               {"a", "z", 9, 0, "a=of a b=of b c=of c", "[a to z]"},
		"without an end":    {"a", "", 9, 0, "a=of a b=of b c=of c", "[a to ]"},
		"from the begin":    {"", "z", 9, 0, "a=of a b=of b c=of c", "[ to z]"},
		"stopped early":     {"a", "z", 1, 0, "a=of a", "[a to z]"},
		"the peer hangs up": {"a", "z", 9, 2, "a=of a error", "[a to z]"},
		"empty":             {"m", "m", 9, 0, "", "[]"},
		"backwards":         {"z", "a", 9, 0, "", "[]"},
		"NUL in the begin":  {"a\x00", "z", 9, 0, "error", "[]"},
		"NUL in the end":    {"a", "\x00", 9, 0, "error", "[]"},
		"not UTF-8":         {"a", "z\xff", 9, 0, "error", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer("f")
			p.kvs, p.nextFail = kvs("a", "b", "c"), c.nextFail
			var got []string
			with(t, p, func(stub contract.Stub) {
				for kv, err := range stub.Range(c.from, c.to) {
					if err != nil {
						got = append(got, "error")
						continue // nothing may follow
					}
					got = append(got, kv.Key+"="+string(kv.Value))
					if len(got) == c.stop {
						break
					}
				}
			})
			if s := strings.Join(got, " "); s != c.want || fmt.Sprint(p.asked) != c.asked {
				t.Errorf("got %q by asking for %v, want %q by %s", s, p.asked, c.want, c.asked)
			}
			if p.opened != p.closed {
				t.Errorf("%d iterators were opened, %d closed", p.opened, p.closed)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	newest := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	p := newPeer("f")
	p.changes = []*queryresult.KeyModification{
		{TxId: "3", Timestamp: timestamppb.New(newest), Value: []byte("three")},
		{TxId: "2", Timestamp: timestamppb.New(newest.Add(-time.Hour)), IsDelete: true, Value: []byte{}},
		{TxId: "1", Timestamp: timestamppb.New(newest.Add(-2 * time.Hour)), Value: []byte("one")},
	}
	with(t, p, func(stub contract.Stub) {
		got, err := stub.History("k")
		if err != nil || len(got) != 3 {
			t.Fatalf("history has %d writes, %v", len(got), err)
		}
		if got[0].TxID != "3" || string(got[0].Value) != "three" || !got[0].Time.Equal(newest) || got[2].TxID != "1" {
			t.Errorf("history is %+v", got)
		}
		if !got[1].Deleted || got[1].Value != nil || got[1].Time.Location() != time.UTC {
			t.Errorf("the deletion is %+v", got[1])
		}
	})
	p.nextFail = 2
	with(t, p, func(stub contract.Stub) {
		if got, err := stub.History("k"); err == nil || got != nil {
			t.Errorf("half a history: %v, %v", got, err)
		}
	})
	p.changes = nil
	with(t, p, func(stub contract.Stub) {
		if got, err := stub.History("k"); err != nil || got == nil || len(got) != 0 {
			t.Errorf("no history: %v, %v", got, err)
		}
	})
	if p.opened != 3 || p.closed != 3 {
		t.Errorf("%d iterators were opened, %d closed", p.opened, p.closed)
	}
}

func TestCall(t *testing.T) {
	inner := (&contract.Error{Code: "KEY_UNKNOWN", Message: "no such key"}).With("version", 3)
	for name, c := range map[string]struct {
		answer *peer.Response
		want   string
		refuse string // code
		fault  string // part of it
	}{
		"answer":              {&peer.Response{Status: 200, Payload: []byte("{}")}, "{}", "", ""},
		"nothing":             {&peer.Response{Status: 200}, "", "", ""},
		"refusal":             {&peer.Response{Status: adapter.Refused, Message: inner.Encode()}, "", "KEY_UNKNOWN", ""},
		"fault of the callee": {&peer.Response{Status: 500, Message: "it panicked"}, "", "", "it panicked"},
		"fault of the peer":   {&peer.Response{Status: 500, Payload: []byte("no such chaincode")}, "", "", "no such chaincode"},
		"refusal of another":  {&peer.Response{Status: adapter.Refused, Message: "no"}, "", "", "can't be read"},
		"refusal, no code":    {&peer.Response{Status: adapter.Refused, Message: "{}"}, "", "", "without a code"},
		"a status of its own": {&peer.Response{Status: 404, Message: "lost"}, "", "", "404"},
		"no status":           {&peer.Response{}, "", "", "status 0"},
		"no response":         {nil, "", "", "status 0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer("f")
			p.answer = c.answer
			with(t, p, func(stub contract.Stub) {
				got, err := stub.Call("identity", "GetKey", []byte("k1"), []byte("k2"))
				if contract.CodeOf(err) != c.refuse || string(got) != c.want || (err != nil) != (c.refuse+c.fault != "") {
					t.Errorf("got %q, %v", got, err)
				}
				if c.fault != "" && !strings.Contains(err.Error(), c.fault) {
					t.Errorf("error is %v, want %q in it", err, c.fault)
				}
				var refusal *contract.Error
				if errors.As(err, &refusal) && (refusal.Details["version"] != float64(3) || refusal.Encode() != inner.Encode()) {
					t.Errorf("the refusal arrived as %+v", refusal)
				}
			})
			if got := fmt.Sprint(p.called); got != "[identity on : GetKey k1 k2]" {
				t.Errorf("the peer was asked for %s", got)
			}
		})
	}
	p := newPeer("f")
	with(t, p, func(stub contract.Stub) {
		if _, err := stub.Call("id\xff", "f"); err == nil || len(p.called) != 0 {
			t.Errorf("a name that is not UTF-8: %v", err)
		}
	})
}

// TestRefusalOfACalledContract goes all the way through: outside it is what it was inside.
func TestRefusalOfACalledContract(t *testing.T) {
	inner := (&contract.Error{Code: "KEY_UNKNOWN", Message: "no such key"}).With("keys", []string{"a", "b"})
	p := newPeer("f")
	p.answer = &peer.Response{Status: adapter.Refused, Message: inner.Encode()}
	response := invoke(p, func(stub contract.Stub, _ string, _ [][]byte) ([]byte, error) { return stub.Call("identity", "GetKey") })
	if response.GetStatus() != adapter.Refused || response.GetMessage() != inner.Encode() {
		t.Errorf("response is %v", response)
	}
}

func TestEmit(t *testing.T) {
	p := newPeer("f")
	with(t, p, func(stub contract.Stub) {
		if err := stub.Emit("Confirm", []byte("payload")); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"", "\xff"} {
			if stub.Emit(name, nil) == nil {
				t.Errorf("an event named %q", name)
			}
		}
	})
	if got := fmt.Sprint(p.events); got != "[Confirm=payload]" {
		t.Errorf("events are %s", got)
	}
}
