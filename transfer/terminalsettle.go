package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// TransSuccess (paper §2.4.3) settles what a transaction of the ledger has done, if the listener has not, and answers which of
// its lots and trades are the caller's. Asked again it answers the same. Errors: NOT_FOUND; LEDGER_INVALID for one that stands in
// a block and doesn't count.
func (s *Service) TransSuccess(ctx context.Context, c Caller, txID string) (protocol.Settled, error) {
	t, err := s.committed(ctx, txID)
	if err != nil {
		return protocol.Settled{}, err
	}
	if err := s.settleBeforeItsBlock(ctx, t); err != nil {
		return protocol.Settled{}, err
	}
	v := protocol.Settled{TxID: t.ID, BlockNumber: t.BlockNumber, Lots: []protocol.SettledLot{}, Trades: []protocol.SettledTrade{}}
	lots, trades, err := written(t)
	if err != nil {
		return v, err
	}
	mine := map[string]bool{} // trades of which the caller is a side
	for _, tr := range trades {
		if mine[tr.ID] = tr.Seller == c.Participant || tr.Receiver == c.Participant; mine[tr.ID] {
			v.Trades = append(v.Trades, protocol.SettledTrade{Trade: tr.ID, State: string(tr.State), Lot: tr.Lot})
		}
	}
	for _, l := range lots {
		if l.Owner == c.Participant || mine[l.Trade] || mine[l.Acquired] {
			v.Lots = append(v.Lots, protocol.SettledLot{Lot: l.Hash, Status: string(l.Status), Mine: l.Owner == c.Participant})
		}
	}
	return v, nil
}

// committed is a transaction that stands in a block and counts.
func (s *Service) committed(ctx context.Context, txID string) (ledger.Transaction, error) {
	if txID == "" || len(txID) > 128 {
		return ledger.Transaction{}, fail("NOT_FOUND")
	}
	t, err := s.Ledger.Transaction(ctx, txID)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return t, fail("NOT_FOUND")
	case err != nil:
		return t, failf("UNAVAILABLE", "transaction %s: %w", txID, err)
	case t.Validation != ledger.Valid:
		return t, failf("LEDGER_INVALID", "transaction %s is %s", t.ID, t.Validation)
	}
	return t, nil
}

// settleBeforeItsBlock settles a transaction that the listener may not have come to, with everything that comes before it in
// the same order: what custody has signed of it is taken over first. Where what it was built on isn't here yet either, the
// listener is waited for.
func (s *Service) settleBeforeItsBlock(ctx context.Context, t ledger.Transaction) error {
	next, err := s.nextBlock(ctx)
	if err != nil {
		return failf("UNAVAILABLE", "the listener's place: %w", err)
	}
	if t.BlockNumber < next {
		return nil
	}
	if t.BlockNumber == next {
		if err := s.adopt(ctx, ledger.Block{Number: t.BlockNumber, Transactions: []ledger.Transaction{t}}); err != nil {
			return err
		}
		if err := s.settleOne(ctx, t); err == nil {
			return nil
		}
	}
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
	defer cancel()
	if err := s.CatchUp(wait); err != nil {
		return failf("UNAVAILABLE", "the listener is not there yet: %w", err)
	}
	return nil
}

// written decodes the lots and trades that a transaction wrote.
func written(t ledger.Transaction) (lots []contract.Lot, trades []contract.Trade, err error) {
	for _, w := range t.Writes {
		kind, _, _ := strings.Cut(w.Key, "/")
		if w.Contract != request.Ownership || w.Deleted {
			continue
		}
		switch kind {
		case "L":
			var l contract.Lot
			err = json.Unmarshal(w.Value, &l)
			lots = append(lots, l)
		case "T":
			var tr contract.Trade
			err = json.Unmarshal(w.Value, &tr)
			trades = append(trades, tr)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("transaction %s, %s: %w", t.ID, w.Key, err)
		}
	}
	return lots, trades, nil
}

// TerminalTransaction shows a transaction of the ledger to an organisation that is a side of it: one of its keys has signed
// it, or it wrote a lot or a trade of its. Errors: NOT_FOUND, also for all others.
func (s *Service) TerminalTransaction(ctx context.Context, c Caller, txID string) (protocol.Transaction, error) {
	t, err := s.committed(ctx, txID)
	if err != nil {
		return protocol.Transaction{}, err
	}
	lots, trades, err := written(t)
	if err != nil {
		return protocol.Transaction{}, err
	}
	v := transactionView(t)
	side := false
	for _, l := range lots {
		side = side || l.Owner == c.Participant
	}
	for _, tr := range trades {
		side = side || tr.Seller == c.Participant || tr.Receiver == c.Participant
	}
	for _, key := range v.Signers {
		if side {
			break
		}
		k, err := query[contract.Key](ctx, s.Ledger, request.Identity, "GetKey", key)
		if errors.Is(err, fail("UNAVAILABLE")) {
			return protocol.Transaction{}, err
		}
		side = err == nil && k.Participant == c.Participant
	}
	if !side {
		return protocol.Transaction{}, fail("NOT_FOUND")
	}
	out := protocol.Transaction{
		TxID: v.TxID, BlockNumber: v.BlockNumber, Time: int64(model.MillisOf(v.Time)), Contract: v.Contract, Function: v.Function, Args: v.Arguments,
		Signers: v.Signers, Validation: v.Validation,
	}
	if req, ok := s.requestOf(t); ok {
		out.RequestID = req.ID()
	}
	return out, nil
}
