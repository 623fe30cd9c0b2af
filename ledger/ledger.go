// Package ledger says what a ledger is: a place where a signed request becomes a transaction that either commits as a
// whole or leaves no trace but its invalid entry in a block.
//
// Two engines implement it: ledger/embedded (one file, one machine) and ledger/fabric (Hyperledger Fabric). Callers can
// rely on what both share, and on nothing else; one conformance suite (ledger/ledgertest) holds them to it.
package ledger

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Ledger is a channel with its contracts. All methods are safe for concurrent use.
type Ledger interface {
	// Channel is the channel's name.
	Channel() string
	// Prepare fixes nonce, creator and transaction ID of a transaction. Nothing leaves the process.
	Prepare(contract, function string, args [][]byte) (Proposal, error)
	// Submit endorses, sends and awaits a transaction. sending is called once endorsement has succeeded and before
	// the first byte goes to the orderers: if it fails, nothing is sent. Whoever records there that the transaction
	// may be on its way can tell, after a crash, a proposal that certainly wasn't sent from one that has to be asked
	// about. Submit never retries. The same proposal can be submitted again: it keeps its ID, so that at most one
	// entry of it ever counts. Errors are a *Failure.
	Submit(ctx context.Context, p Proposal, transient map[string][]byte, sending func() error) (Commit, error)
	// Query runs a function without committing anything. A refusal is a *contract.Error inside a *Failure.
	Query(ctx context.Context, contract, function string, args ...[]byte) ([]byte, error)
	// Transaction finds a transaction; ErrNotFound if no block holds its ID. Of several entries of one ID the first is
	// its verdict.
	Transaction(ctx context.Context, id string) (Transaction, error)
	// Block returns block number n; ErrNotFound beyond the end.
	Block(ctx context.Context, number uint64) (Block, error)
	// Height is the number of blocks.
	Height(ctx context.Context) (uint64, error)
	// Blocks yields every block from number from on, in order and without gaps, and waits for new ones until ctx ends.
	// An error ends the sequence; the caller starts again where it was.
	Blocks(ctx context.Context, from uint64) iter.Seq2[Block, error]
	// Ready reports whether a write could be taken now.
	Ready(ctx context.Context) error
	// Close releases the ledger.
	Close() error
}

// ErrNotFound: no such transaction or block.
var ErrNotFound = errors.New("not on the ledger")

// Proposal is a transaction before it is sent: everything that fixes its ID. Openings aren't part of it: they are
// transient, and are given to Submit.
type Proposal struct {
	TxID     string   `json:"txId"` // hex SHA-256(nonce ‖ creator)
	Nonce    []byte   `json:"nonce"`
	Creator  []byte   `json:"creator"`
	Contract string   `json:"contract"`
	Function string   `json:"function"`
	Args     [][]byte `json:"args"`
}

// Commit is a transaction that is on the ledger and valid.
type Commit struct {
	TxID        string
	BlockNumber uint64
	Result      []byte // what the function returned; nil if it is only known from its block
}

// Validation is the verdict on a transaction in a block, spelled as Fabric spells it.
type Validation string

// The verdicts that a caller treats differently. Any other one but Valid is definitely invalid too.
const (
	Valid           Validation = "VALID"
	ReadConflict    Validation = "MVCC_READ_CONFLICT"
	PhantomConflict Validation = "PHANTOM_READ_CONFLICT"
	DuplicateID     Validation = "DUPLICATE_TXID"
)

// Block is a block, decoded.
type Block struct {
	Number       uint64        `json:"number"`
	Hash         string        `json:"hash"`         // hex
	PreviousHash string        `json:"previousHash"` // hex, "" for block 0
	Transactions []Transaction `json:"transactions"`
}

// Transaction is an entry of a block, decoded. Transient fields are not in it: they are nowhere.
type Transaction struct {
	ID          string     `json:"id"`
	BlockNumber uint64     `json:"blockNumber"`
	Index       int        `json:"index"` // in its block
	Time        time.Time  `json:"time"`  // the proposal's
	Creator     string     `json:"creator"`
	Contract    string     `json:"contract"`
	Function    string     `json:"function"`
	Args        [][]byte   `json:"args"`
	Validation  Validation `json:"validation"`
	Writes      []Write    `json:"writes"` // of a valid transaction, in key order by contract
	Event       *Event     `json:"event,omitempty"`
}

// Write is a key written by a transaction.
type Write struct {
	Contract string `json:"contract"`
	Key      string `json:"key"`
	Value    []byte `json:"value,omitempty"`
	Deleted  bool   `json:"deleted,omitempty"`
}

// Event is what a transaction's outer contract emitted.
type Event struct {
	Name    string `json:"name"`
	Payload []byte `json:"payload"`
}
