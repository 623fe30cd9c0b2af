// Package contract holds the rules on the ledger: who is who (Identity, 身份管理合约) and who owns which cards
// (Ownership, 物权流转合约), paper §2.5.
//
// The threat is everyone else: a backend whose database lies, a gateway that sets clocks and adds openings at will, a
// participant who signs anything. No card may come to have two owners, nobody may sell what he does not hold, and
// nothing may be lost or added on the way, whatever they send.
//
// The code is plain Go against Stub. It uses no clock, no randomness and no order of maps, so that every endorser
// computes the same writes; it never counts on reading its own writes, because Fabric does not show them; and all
// writes of a function come after all of its checks.
package contract

import (
	"iter"
	"time"
)

// Stub is what a ledger gives a contract during one transaction. Keys are non-empty UTF-8 strings without NUL bytes.
// Reads see the state as committed before the transaction, never its own writes.
type Stub interface {
	// Channel is the channel's name; it is part of everything that is signed.
	Channel() string
	// TxID is the ID of the transaction, fixed before it was first sent.
	TxID() string
	// TxTime is the proposal's time stamp in UTC, which the peers hold within minutes of their own clocks.
	TxTime() time.Time
	// Creator is the organisation (MSP ID) of whoever relayed the transaction.
	Creator() string
	// Transient returns the transient fields: seen by the endorsers, never stored.
	Transient() map[string][]byte
	// Get returns a value, nil if there is none.
	Get(key string) ([]byte, error)
	// Put writes a value at commit.
	Put(key string, value []byte) error
	// Delete removes a key at commit.
	Delete(key string) error
	// Range yields the keys in [from, to) in byte order. Whoever commits a change in that range first makes this
	// transaction invalid (phantom read).
	Range(from, to string) iter.Seq2[KV, error]
	// History returns all writes of a key, newest first. It is not protected by versions: queries only.
	History(key string) ([]Modification, error)
	// Call runs a function of another contract on the same channel, within this transaction.
	Call(contract, function string, args ...[]byte) ([]byte, error)
	// Emit sets the transaction's event; the last one wins, and one set by a called contract is dropped.
	Emit(name string, payload []byte) error
}

// KV is one key with its value.
type KV struct {
	Key   string
	Value []byte
}

// Modification is one committed write of a key.
type Modification struct {
	TxID    string    `json:"txId"`
	Time    time.Time `json:"time"`
	Value   []byte    `json:"value,omitempty"` // nil if deleted
	Deleted bool      `json:"deleted,omitempty"`
}

// Contract is one contract of the channel.
type Contract interface {
	// Name is what other contracts call it by.
	Name() string
	// Invoke runs a function. A refusal is an *Error; any other error is a fault of the ledger underneath.
	Invoke(stub Stub, function string, args [][]byte) ([]byte, error)
}
