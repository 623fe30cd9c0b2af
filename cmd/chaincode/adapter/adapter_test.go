package adapter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cardflow/cmd/chaincode/adapter"
	"cardflow/ledger/contract"
)

func TestInvoke(t *testing.T) {
	p := newPeer("Do", "one", "", "three")
	p.transient = map[string][]byte{"openings": []byte("secret")}
	response := invoke(p, func(stub contract.Stub, function string, args [][]byte) ([]byte, error) {
		got := fmt.Sprintf("%s %q %s %s %s %s %q", function, args, stub.Channel(), stub.TxID(), stub.Creator(), stub.TxTime().Format(time.RFC3339Nano), stub.Transient()["openings"])
		if want := `Do ["one" "" "three"] cardflow tx PlatformMSP 2026-03-01T12:00:00.000000005Z "secret"`; got != want {
			t.Errorf("the contract sees\n%s, want\n%s", got, want)
		}
		stub.Transient()["openings"] = nil // its own copy
		if stub.TxTime().Location() != time.UTC || string(stub.Transient()["openings"]) != "secret" {
			t.Error("the time is not UTC, or the transient fields can be changed")
		}
		return []byte("done"), nil
	})
	if response.GetStatus() != shim.OK || string(response.GetPayload()) != "done" || response.GetMessage() != "" {
		t.Errorf("response is %v", response)
	}
	if p.batches != 1 {
		t.Errorf("%d batches of writes were begun, want one", p.batches)
	}
}

func TestNoArguments(t *testing.T) {
	invoke(newPeer(), func(_ contract.Stub, function string, args [][]byte) ([]byte, error) {
		if function != "" || len(args) != 0 {
			t.Errorf("function %q with %d arguments", function, len(args))
		}
		return nil, nil
	})
}

// TestRefusal: a client can read back what the contract said.
func TestRefusal(t *testing.T) {
	said := (&contract.Error{Code: "TRADE_OPEN", Message: "交易未完成 \xff"}).With("until", 1_700_000_000_000).With("lot", "ab")
	response := invoke(newPeer("f"), func(contract.Stub, string, [][]byte) ([]byte, error) {
		return nil, fmt.Errorf("somewhere inside: %w", said)
	})
	if response.GetStatus() != adapter.Refused || response.GetMessage() != said.Encode() || response.GetPayload() != nil {
		t.Fatalf("response is %v", response)
	}
	var heard contract.Error
	if err := json.Unmarshal([]byte(response.GetMessage()), &heard); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(&heard, said) || heard.Details["until"] != float64(1_700_000_000_000) || heard.Details["lot"] != "ab" {
		t.Errorf("heard %+v", heard)
	}
	if _, err := proto.Marshal(response); err != nil {
		t.Errorf("the response can't leave the process: %v", err)
	}
}

func TestFaultAndPanic(t *testing.T) {
	for name, s := range map[string]script{
		"fault": func(contract.Stub, string, [][]byte) ([]byte, error) {
			return []byte("half a result"), errors.New("disk \xff gone")
		},
		"panic": func(contract.Stub, string, [][]byte) ([]byte, error) { panic("disk \xff gone") },
		"nil": func(contract.Stub, string, [][]byte) ([]byte, error) {
			var m map[string]int
			m["disk"]++
			return nil, nil
		},
	} {
		c := adapter.NewChaincode(s, quiet)
		for range 2 { // the process is there for the next call
			response := c.Invoke(newPeer("f"))
			if response.GetStatus() != shim.ERROR || response.GetPayload() != nil {
				t.Errorf("%s: response is %v", name, response)
			}
			if m := response.GetMessage(); name != "nil" && !strings.Contains(m, "disk") || !utf8.ValidString(m) {
				t.Errorf("%s: message is %q", name, m)
			}
		}
	}
}

func TestInitOfThePeer(t *testing.T) {
	if response := adapter.NewChaincode(script(nil), quiet).Init(newPeer()); response.GetStatus() != shim.ERROR {
		t.Errorf("response is %v", response)
	}
}

// TestProposalsThatAreNone: without an organisation or a time no contract is asked.
func TestProposalsThatAreNone(t *testing.T) {
	for name, spoil := range map[string]func(*fakePeer){
		"no creator":         func(p *fakePeer) { p.creator = nil },
		"creator is no MSP":  func(p *fakePeer) { p.creator = []byte("\xff\xff\xff") },
		"creator without ID": func(p *fakePeer) { p.creator = creator("") },
		"no time":            func(p *fakePeer) { p.stamp = nil },
		"time out of bounds": func(p *fakePeer) { p.stamp = &timestamppb.Timestamp{Seconds: 1 << 60} },
	} {
		p := newPeer("f")
		spoil(p)
		response := invoke(p, func(contract.Stub, string, [][]byte) ([]byte, error) {
			t.Errorf("%s: the contract was asked", name)
			return nil, nil
		})
		if response.GetStatus() != shim.ERROR {
			t.Errorf("%s: response is %v", name, response)
		}
	}
}

// TestStopping: what runs ends, what comes is told to try again.
func TestStopping(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	c := adapter.NewChaincode(script(func(contract.Stub, string, [][]byte) ([]byte, error) {
		close(inside)
		<-leave
		return []byte("done"), nil
	}), quiet)
	result := make(chan *peer.Response, 1)
	go func() { result <- c.Invoke(newPeer("f")) }()
	<-inside
	idle := adapter.Stop(c)
	select {
	case <-idle:
		t.Error("it is idle while a call runs")
	default:
	}
	if response := c.Invoke(newPeer("f")); response.GetStatus() != shim.ERROR || !strings.Contains(response.GetMessage(), "try again") {
		t.Errorf("a call after the stop: %v", response)
	}
	close(leave)
	<-idle
	if response := <-result; response.GetStatus() != shim.OK || string(response.GetPayload()) != "done" {
		t.Errorf("the call that ran: %v", response)
	}
	<-adapter.Stop(c) // again
	<-adapter.Stop(adapter.NewChaincode(script(nil), quiet))
}
