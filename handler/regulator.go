package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"cardflow/custody"
	"cardflow/transfer"
)

// Regulators are what those do who watch over others' cards. The ledger itself holds hashes and pseudonyms only, so that
// all staff may read it.
type Regulators interface {
	Freeze(ctx context.Context, c transfer.Caller, idem transfer.Idem, lotHash string, subset []transfer.Span) (transfer.Act, error)
	// MayUnfreeze says why his organisation can't let cards go, whoever approves it.
	MayUnfreeze(ctx context.Context, c transfer.Caller, lotHash string, subset []transfer.Span) error
	LedgerTransaction(ctx context.Context, txID string) (transfer.TransactionView, error)
	LedgerBlock(ctx context.Context, number uint64) (transfer.BlockView, error)
}

// freeze is POST /lots/{hash}/freeze.
func freeze(c *call) error { return c.onLot(c.Service.Freeze) }

// unfreeze is POST /lots/{hash}/unfreeze: a proposal. What comes of it when another person of his organisation has approved it is
// an act under the ID of the proposal.
func unfreeze(c *call) error {
	in, err := bind[struct {
		Segments []spanInput `json:"segments"`
		Reason   string      `json:"reason"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("reason", in.Reason), bounded(4096, "reason", in.Reason)); err != nil {
		return err
	}
	spans, err := spansOf(in.Segments)
	if err != nil {
		return err
	}
	arguments, err := json.Marshal(custody.UnfreezeLot{
		Organisation: c.who.Participant, Lot: c.Param("hash"), Segments: each(spans, func(s transfer.Span) custody.CardRange { return custody.CardRange{Start: s.Start, End: s.End} }),
	})
	if err != nil {
		return err
	}
	p, err := c.proposed(custody.OperationUnfreeze, arguments, in.Reason)
	if errors.Is(err, custody.ErrNotFrozen) || errors.Is(err, custody.ErrArguments) {
		if why := c.Service.MayUnfreeze(c.ctx(), c.caller(), c.Param("hash"), spans); why != nil {
			err = why // which says more
		}
	}
	return c.shown(http.StatusCreated, p, err)
}

type transactionView struct {
	TxID        string          `json:"txId"`
	BlockNumber uint64          `json:"blockNumber"`
	Index       int             `json:"index"`
	Time        time.Time       `json:"time"`
	Creator     string          `json:"creator"`
	Contract    string          `json:"contract"`
	Function    string          `json:"function"`
	Arguments   json.RawMessage `json:"arguments,omitempty"`
	Signers     []string        `json:"signers"`
	Validation  string          `json:"validation"`
	Writes      []writeView     `json:"writes"`
	Event       string          `json:"event,omitempty"`
}

type writeView struct {
	Contract string          `json:"contract"`
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value,omitempty"`
	Deleted  bool            `json:"deleted,omitempty"`
}

func viewTransaction(t transfer.TransactionView) transactionView {
	return transactionView{
		TxID: t.TxID, BlockNumber: t.BlockNumber, Index: t.Index, Time: t.Time, Creator: t.Creator, Contract: t.Contract,
		Function: t.Function, Arguments: t.Arguments, Signers: texts(t.Signers), Validation: t.Validation,
		Writes: each(t.Writes, func(w transfer.WriteView) writeView { return writeView(w) }), Event: t.Event,
	}
}

// showTransaction is GET /transactions/{txId}.
func showTransaction(c *call) error {
	t, err := c.Service.LedgerTransaction(c.ctx(), c.Param("txId"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewTransaction(t))
}

type blockView struct {
	Number       uint64            `json:"number"`
	Hash         string            `json:"hash"`
	PreviousHash string            `json:"previousHash"`
	Transactions []transactionView `json:"transactions"`
}

// showBlock is GET /blocks/{number}.
func showBlock(c *call) error {
	n, err := strconv.ParseUint(c.Param("number"), 10, 63)
	if err != nil {
		return refuse("NOT_FOUND")
	}
	b, err := c.Service.LedgerBlock(c.ctx(), n)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, blockView{b.Number, b.Hash, b.PreviousHash, each(b.Transactions, viewTransaction)})
}
