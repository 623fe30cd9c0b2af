// Package adapter runs the contracts of ledger/contract as Fabric chaincode. It is the one place that knows both sides.
//
// Its promise: a contract sees on a peer what it sees on the embedded ledger, and a client gets the same answers. A
// refusal is a response with status Refused whose message is the refusal's text (contract.Error.Encode), byte for byte the
// same from every endorser. Everything else that goes wrong is a fault, status 500: of the peer, of this process, of the
// contract. A contract that panics has failed one call; the process goes on with the others.
package adapter

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"cardflow/ledger/contract"
)

// Refused is the status of a response that is a refusal. Peers don't endorse from 400 on, and never use this one
// themselves.
const Refused = 400

// Chaincode is a contract as a peer calls it.
type Chaincode struct {
	contract contract.Contract
	log      *slog.Logger

	mu       sync.Mutex
	running  int
	stopping bool
	idle     chan struct{} // closed when stopping and nothing runs
}

var _ shim.Chaincode = (*Chaincode)(nil)

// NewChaincode is the chaincode of a contract.
func NewChaincode(c contract.Contract, log *slog.Logger) *Chaincode {
	return &Chaincode{contract: c, log: log, idle: make(chan struct{})}
}

// Init is not for our contracts: their definitions don't ask for it (no --init-required), so a peer never calls it.
func (c *Chaincode) Init(shim.ChaincodeStubInterface) *peer.Response {
	return shim.Error("this chaincode has no Init of the peer's; its first function is an ordinary one")
}

// Invoke runs a function of the contract: the first argument is its name, the others are what it is given.
func (c *Chaincode) Invoke(s shim.ChaincodeStubInterface) *peer.Response {
	if !c.begin() {
		return shim.Error("this chaincode process is stopping: try again")
	}
	defer c.end()
	result, err := c.run(s)
	var refusal *contract.Error
	switch {
	case err == nil:
		return shim.Success(result)
	case errors.As(err, &refusal):
		return &peer.Response{Status: Refused, Message: refusal.Encode()}
	default:
		c.log.Error("contract failed", "contract", c.contract.Name(), "tx", s.GetTxID(), "cause", err)
		return shim.Error(strings.ToValidUTF8(err.Error(), "�")) // a message that isn't UTF-8 would not leave the process
	}
}

func (c *Chaincode) run(s shim.ChaincodeStubInterface) (result []byte, err error) {
	function, args := "", [][]byte(nil)
	if all := s.GetArgs(); len(all) > 0 {
		function, args = string(all[0]), all[1:]
	}
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("contract panicked", "contract", c.contract.Name(), "function", function, "tx", s.GetTxID(), "stack", string(debug.Stack()))
			result, err = nil, fmt.Errorf("contract %q panicked in %s: %v", c.contract.Name(), function, p)
		}
	}()
	stub, err := newStub(s)
	if err != nil {
		return nil, err
	}
	// The writes travel to the peer together, at the end: our contracts never look at what they write, so nothing else
	// changes but the number of messages.
	s.StartWriteBatch()
	return c.contract.Invoke(stub, function, args)
}

// newStub reads what every call needs; a proposal without it can't be endorsed.
func newStub(s shim.ChaincodeStubInterface) (*stub, error) {
	creator, err := s.GetCreator()
	if err != nil {
		return nil, fmt.Errorf("creator: %w", err)
	}
	var identity msp.SerializedIdentity
	if err := proto.Unmarshal(creator, &identity); err != nil {
		return nil, fmt.Errorf("creator: %w", err)
	}
	if identity.GetMspid() == "" {
		return nil, errors.New("creator: no organisation")
	}
	stamp, err := s.GetTxTimestamp()
	if err != nil {
		return nil, fmt.Errorf("time stamp: %w", err)
	}
	if err := stamp.CheckValid(); err != nil {
		return nil, fmt.Errorf("time stamp: %w", err)
	}
	transient, err := s.GetTransient()
	if err != nil {
		return nil, fmt.Errorf("transient fields: %w", err)
	}
	return &stub{peer: s, creator: identity.GetMspid(), time: stamp.AsTime(), transient: transient}, nil
}

// begin counts a call in, unless no more are taken.
func (c *Chaincode) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return false
	}
	c.running++
	return true
}

func (c *Chaincode) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running--; c.running == 0 && c.stopping {
		close(c.idle)
	}
}

// stop takes no more calls; the channel that it returns is closed when those that run have ended.
func (c *Chaincode) stop() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopping {
		if c.stopping = true; c.running == 0 {
			close(c.idle)
		}
	}
	return c.idle
}
