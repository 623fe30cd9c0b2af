package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/request"
)

// query asks the ledger. Errors: the refusal of the contract; UNAVAILABLE if it could not be asked.
func query[T any](ctx context.Context, l ledger.Ledger, contract, function string, args ...string) (T, error) {
	var v T
	raw := make([][]byte, len(args))
	for i, a := range args {
		raw[i] = []byte(a)
	}
	b, err := l.Query(ctx, contract, function, raw...)
	if err != nil {
		if ledger.ClassOf(err) == ledger.Refused {
			return v, err
		}
		return v, failf("UNAVAILABLE", "%s.%s: %w", contract, function, err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%s.%s: %w", contract, function, err)
	}
	return v, nil
}

// policy asks the ledger for a policy, for people to see: the ledger itself decides by it. While it can't be asked it is
// taken to be what it is by default.
func (s *Service) policy(ctx context.Context, name string) int64 {
	v, err := query[int64](ctx, s.Ledger, request.Identity, "GetPolicy", name)
	if err != nil {
		return request.Policies[name]
	}
	return v
}

// TransactionView is a transaction of the ledger, decoded for people (paper §3.1).
type TransactionView struct {
	TxID        string
	BlockNumber uint64
	Index       int
	Time        time.Time
	Creator     string // organisation of the gateway that relayed it
	Contract    string
	Function    string
	Arguments   json.RawMessage // hashes and pseudonyms: what everyone on the ledger sees
	Signers     []string        // key IDs
	Validation  string
	Writes      []WriteView
	Event       string
}

// WriteView is a key that a transaction wrote.
type WriteView struct {
	Contract string
	Key      string
	Value    json.RawMessage
	Deleted  bool
}

// BlockView is a block of the ledger.
type BlockView struct {
	Number       uint64
	Hash         string
	PreviousHash string
	Transactions []TransactionView
}

// LedgerTransaction shows a transaction. Who has its ID may see it: it holds hashes and pseudonyms only.
func (s *Service) LedgerTransaction(ctx context.Context, id string) (TransactionView, error) {
	t, err := s.Ledger.Transaction(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return TransactionView{}, fail("NOT_FOUND")
	}
	return transactionView(t), err
}

// LedgerBlock shows a block.
func (s *Service) LedgerBlock(ctx context.Context, number uint64) (BlockView, error) {
	b, err := s.Ledger.Block(ctx, number)
	if errors.Is(err, ledger.ErrNotFound) {
		return BlockView{}, fail("NOT_FOUND")
	}
	v := BlockView{Number: b.Number, Hash: b.Hash, PreviousHash: b.PreviousHash}
	for _, t := range b.Transactions {
		v.Transactions = append(v.Transactions, transactionView(t))
	}
	return v, err
}

func transactionView(t ledger.Transaction) TransactionView {
	v := TransactionView{
		TxID: t.ID, BlockNumber: t.BlockNumber, Index: t.Index, Time: t.Time, Creator: t.Creator, Contract: t.Contract, Function: t.Function,
		Validation: string(t.Validation),
	}
	if len(t.Args) > 0 && json.Valid(t.Args[0]) {
		v.Arguments = t.Args[0]
	}
	if len(t.Args) > 1 {
		if p, err := request.DecodeProof(t.Args[1]); err == nil {
			for _, sig := range p.Signatures {
				v.Signers = append(v.Signers, sig.KeyID)
			}
			if p.Ticket != nil {
				v.Signers = append(v.Signers, p.Ticket.KeyID)
			}
		}
	}
	for _, w := range t.Writes {
		view := WriteView{Contract: w.Contract, Key: w.Key, Deleted: w.Deleted}
		if json.Valid(w.Value) {
			view.Value = w.Value
		} else if len(w.Value) > 0 {
			view.Value, _ = json.Marshal(string(w.Value))
		}
		v.Writes = append(v.Writes, view)
	}
	if t.Event != nil {
		v.Event = t.Event.Name
	}
	return v
}
