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
)

// settle applies a committed transaction to the business rows, from whatever state they are in: the ledger is the
// truth, and the rows follow. It may be called for the same transaction any number of times, in any order with others:
// lots carry the ledger's version, the ends of a trade are final. What it moves is told after the commit.
func (s *Service) settle(tx *model.Tx, t ledger.Transaction, m *moves) error {
	if t.Validation != ledger.Valid {
		return nil // its relay learns it from the ledger
	}
	// The act before what it is about, as everyone else who moves both.
	a, err := s.actOf(tx, t)
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		return err
	}
	if err := s.mirrorRotation(tx, t); err != nil {
		return fmt.Errorf("transaction %s: %w", t.ID, err)
	}
	for _, w := range t.Writes {
		if err := s.mirror(tx, t, w); err != nil {
			return fmt.Errorf("transaction %s, %s: %w", t.ID, w.Key, err)
		}
	}
	if err := s.mirrorNewKey(tx, t); err != nil {
		return fmt.Errorf("transaction %s: %w", t.ID, err)
	}
	if err != nil {
		return nil // a terminal's
	}
	return s.finish(tx, t, a, m)
}

// moves is what a transaction has done that others wait for. Nobody hears of it before the commit: who looks sooner finds
// nothing, and a transaction that starts over would be counted twice.
type moves struct {
	names []string // for the hub: acts, and relayWaits if some act need not wait any longer
	ended []model.Act
}

// moved tells of moves that have been committed.
func (s *Service) moved(m moves) {
	for _, a := range m.ended {
		outcome := string(a.State)
		if a.State == model.ActFailed {
			outcome = a.ErrorCode
		}
		s.Metrics.ActEnded(a.Function, outcome, s.Clock().Sub(a.CreatedAt.Time()))
	}
	s.tell(m.names...)
}

// settleOne applies one transaction, when the reconciler found it before the listener did.
func (s *Service) settleOne(ctx context.Context, t ledger.Transaction) error {
	if err := s.followKeys(ctx, t); err != nil {
		return err
	}
	return s.settling(ctx, func(tx *model.Tx, m *moves) error { return s.settle(tx, t, m) })
}

// settling runs a transaction that settles. Where two run side by side, a row that one was about to add may be there by
// the time it does: the other is settling the same transaction, and what it left is found when this one runs again.
func (s *Service) settling(ctx context.Context, fn func(*model.Tx, *moves) error) error {
	var m moves
	run := func(tx *model.Tx) error {
		m = moves{}
		return fn(tx, &m)
	}
	err := s.DB.Write(ctx, run)
	if errors.Is(err, model.ErrConflict) {
		err = s.DB.Write(ctx, run)
	}
	if err == nil {
		s.at(AtSettled)
		s.moved(m)
	}
	return err
}

// mirror follows one key of the ledger.
func (s *Service) mirror(tx *model.Tx, t ledger.Transaction, w ledger.Write) error {
	kind, _, _ := strings.Cut(w.Key, "/")
	switch {
	case w.Contract == request.Ownership && kind == "L":
		var l contract.Lot
		if err := json.Unmarshal(w.Value, &l); err != nil {
			return err
		}
		return s.mirrorLot(tx, t, l)
	case w.Contract == request.Ownership && kind == "T":
		var tr contract.Trade
		if err := json.Unmarshal(w.Value, &tr); err != nil {
			return err
		}
		return s.mirrorTrade(tx, t, tr)
	case w.Contract == request.Ownership && kind == "F":
		var f contract.Freeze
		if err := json.Unmarshal(w.Value, &f); err != nil {
			return err
		}
		return present(tx.SetFrozen(f.Participant, roleNames(f.Frozen)))
	case w.Contract == request.Ownership && kind == "A":
		return s.mirrorApproval(tx, t, w)
	case w.Contract == request.Identity && kind == "P":
		var p contract.Participant
		if err := json.Unmarshal(w.Value, &p); err != nil {
			return err
		}
		return s.mirrorParticipant(tx, p)
	case w.Contract == request.Identity && kind == "K":
		return s.mirrorKey(tx, t, w)
	case w.Contract == request.Identity && kind == "A":
		return s.mirrorAnchor(tx, t, w)
	}
	return nil
}

// mirrorParticipant notes that the ledger has somebody. One whom this database lacks was registered after the copy that
// it was restored from, or by another platform: he is added, without a name.
func (s *Service) mirrorParticipant(tx *model.Tx, p contract.Participant) error {
	err := tx.MarkRegistered(p.ID, p.Keys[0], p.TxID, model.Millis(p.Time))
	if !errors.Is(err, model.ErrNotFound) {
		return err
	}
	kind := model.Organisation
	switch p.Role {
	case request.Consumer:
		kind = model.Consumer
	case request.Administrator, request.Platform:
		kind = model.System
	}
	return tx.AddParticipant(model.Participant{
		ID: p.ID, Role: string(p.Role), Kind: kind, State: model.ParticipantRegistered, KeyID: p.Keys[0], TxID: p.TxID,
		CreatedAt: s.now(), RegisteredAt: model.Millis(p.Time),
	})
}

// mirrorNewKey notes which key a participant signs with from now on, where another one has come in the place of the one
// that is noted. The platform has several, and the one that is noted is its registrar's.
func (s *Service) mirrorNewKey(tx *model.Tx, t ledger.Transaction) error {
	if t.Contract != request.Identity || t.Function != "RotateKey" && t.Function != "PublishKey" || len(t.Args) != 2 {
		return nil
	}
	body, err := decodeBody(t.Function, t.Args[0])
	if err != nil {
		return nil // nobody's of ours
	}
	id, key := "", request.NewKey{}
	switch b := body.(type) {
	case request.RotateKey:
		p, err := tx.Participant(b.Participant)
		if err != nil || p.KeyID != b.OldKey {
			return present(err)
		}
		id, key = b.Participant, b.Key
	case request.PublishKey:
		p, err := tx.Participant(b.Participant)
		if err != nil || p.Kind == model.System || b.Key.Kind != request.AccountKey {
			return present(err)
		}
		id, key = b.Participant, b.Key
	}
	return tx.SetKey(id, key.Public.KeyID())
}

// present forgives that the ledger knows somebody whom this database does not: another platform registered him.
func present(err error) error {
	if errors.Is(err, model.ErrNotFound) {
		return nil
	}
	return err
}

func roleNames(roles []request.Role) []string {
	out := make([]string, 0, len(roles))
	for _, r := range roles {
		out = append(out, string(r))
	}
	return out
}

func (s *Service) mirrorLot(tx *model.Tx, t ledger.Transaction, l contract.Lot) error {
	row, err := tx.LockLot(l.Hash) // what is made of it here starts from what another server has just made of it
	if errors.Is(err, model.ErrNotFound) {
		row, err = s.recoverLot(tx, l)
	}
	if err != nil {
		return err
	}
	if row.Version > l.Version {
		return nil
	}
	if row.Version == 0 && len(l.Parents) > 0 {
		if err := tx.AddParents(l.Hash, l.Parents); err != nil {
			return err
		}
	}
	return tx.UpdateLot(lotAs(row, t, l))
}

// lotAs is a lot's row as the ledger has it after a transaction.
func lotAs(row model.Lot, t ledger.Transaction, l contract.Lot) model.Lot {
	if l.Owner != row.Owner || row.OwnedSince == 0 {
		row.OwnedSince = model.MillisOf(t.Time)
	}
	row.Owner, row.Status, row.Frozen = l.Owner, model.LotStatus(l.Status), roleNames(l.Frozen)
	row.RetailPolicy, row.Restrictions = string(l.RetailPolicy), l.Restrictions
	row.Parents, row.Children, row.Version = l.Parents, l.Children, l.Version
	row.MadeTx, row.TradeID = l.TxID, l.Acquired
	if l.Status == contract.StatusInTrade {
		row.TradeID = l.Trade
	}
	row.BlockNumber = int64(t.BlockNumber)
	return row
}

var tradeStates = map[contract.TradeState]model.TradeState{
	contract.TradeOpen: model.TradeOffered, contract.TradeConfirmed: model.TradeConfirmed, contract.TradeDeclined: model.TradeDeclined,
	contract.TradeCancelled: model.TradeCancelled, contract.TradeReleased: model.TradeReleased,
}

func (s *Service) mirrorTrade(tx *model.Tx, t ledger.Transaction, l contract.Trade) error {
	state, ok := tradeStates[l.State]
	if !ok {
		return fmt.Errorf("trade state %q", l.State)
	}
	// Locked: whoever confirms it at this moment must find what is made of it here, or this must find that he has.
	row, err := tx.LockTrade(l.ID)
	switch {
	case errors.Is(err, model.ErrNotFound):
		row = model.Trade{ID: l.ID, CreatedAt: model.Millis(l.OfferedAt)}
		if state == model.TradeOffered {
			if err := s.recoverCode(&row); err != nil {
				return err
			}
		}
		if lot, err := tx.Lot(l.Lot); err == nil {
			row.Count = lot.CardCount
		}
	case err != nil:
		return err
	case row.State.Ended():
		return nil
	case state == model.TradeOffered && row.State != model.TradeOffering && row.State != model.TradeFailed:
		return nil // the offer, seen again: the row is further
	}
	row = tradeAs(row, t, l, state)
	if err := tx.SaveTradeMirror(row); err != nil {
		return err
	}
	return s.answered(tx, row)
}

// tradeAs is a trade's row as the ledger has it after a transaction.
func tradeAs(row model.Trade, t ledger.Transaction, l contract.Trade, state model.TradeState) model.Trade {
	row.Mode, row.LotHash, row.Seller, row.Receiver, row.State = string(l.Mode), l.Lot, l.Seller, l.Receiver, state
	row.Reverses, row.ReasonCode, row.ExpiresAt = l.Reverses, l.Reason, model.Millis(l.ExpiresAt)
	row.OfferTx, row.OfferedAt, row.OfferDevice = l.OfferTx, model.Millis(l.OfferedAt), l.OfferDevice
	row.EndTx, row.EndedAt, row.EndDevice = l.EndTx, model.Millis(l.EndedAt), l.EndDevice
	if state == model.TradeOffered {
		row.OfferBlock = int64(t.BlockNumber)
	} else {
		row.EndBlock = int64(t.BlockNumber)
	}
	return row
}

// finish ends the act that this transaction carried out.
func (s *Service) finish(tx *model.Tx, t ledger.Transaction, a model.Act, m *moves) error {
	if a.State == model.ActCommitted {
		return nil
	}
	a, err := tx.MoveAct(a.ID, a.State, model.ActCommitted, s.carriedOut(t))
	if err != nil {
		return err
	}
	if err := s.confirmed(tx, a, ConfirmationDone); err != nil {
		return err
	}
	return s.letGo(tx, a, m)
}

// carriedOut is what an act's row says of the transaction that carried it out. Its request is the ledger's too: where the
// database was put back to an older copy, or is damaged, the row has another one, or none.
func (s *Service) carriedOut(t ledger.Transaction) func(*model.Act) {
	return func(r *model.Act) {
		r.TxID, r.BlockNumber, r.CommittedAt = t.ID, int64(t.BlockNumber), model.MillisOf(t.Time)
		r.ErrorCode, r.ErrorText = "", ""
		if req, ok := s.requestOf(t); ok {
			r.Body, r.Proof, r.RequestID = req.Args, t.Args[1], req.ID()
		}
	}
}

// letGo frees what an act that has ended had set aside, and wakes whoever waited for it.
func (s *Service) letGo(tx *model.Tx, a model.Act, m *moves) error {
	if err := tx.ReleaseHold(a.ID); err != nil {
		return err
	}
	if err := tx.Unreserve(a.ID); err != nil {
		return err
	}
	woken, err := tx.WakeWaiters(a.ID, s.now())
	if woken > 0 {
		m.names = append(m.names, relayWaits)
	}
	m.names, m.ended = append(m.names, a.ID), append(m.ended, a)
	return err
}

// fail ends an act that can't succeed, and puts back what it had set aside. An act that was sent never comes here
// without proof that it can't land.
func (s *Service) fail(ctx context.Context, a model.Act, why *Error) {
	var m moves
	err := s.DB.Write(ctx, func(tx *model.Tx) error {
		m = moves{}
		failed, err := tx.MoveAct(a.ID, a.State, model.ActFailed, func(r *model.Act) { r.ErrorCode, r.ErrorText = why.Code, brief(why) })
		if err != nil {
			return err
		}
		if err := s.putBack(tx, failed); err != nil {
			return err
		}
		if err := s.confirmed(tx, failed, ConfirmationFailed); err != nil {
			return err
		}
		err = s.letGo(tx, failed, &m)
		s.at(AtFailing)
		return err
	})
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, model.ErrState) {
			s.Logger.Error("relay: fail", "act", a.ID, "error", err)
		}
		return
	}
	s.Logger.Info("relay: act failed", "act", a.ID, "function", a.Function, "code", why.Code)
	s.moved(m)
}

// putBack undoes an act's reservations: its trades fail or are open again, its lots never were.
func (s *Service) putBack(tx *model.Tx, a model.Act) error {
	if err := s.giveUpPlan(tx, a); err != nil {
		return err
	}
	switch a.Function {
	case "Offer", "Return":
		trades, err := tx.TradesOfBatch(a.ID)
		if err != nil {
			return err
		}
		for _, t := range trades {
			if t.State != model.TradeOffering {
				continue
			}
			if _, err := tx.MoveTrade(t.ID, model.TradeOffering, model.TradeFailed, nil); err != nil {
				return err
			}
			if err := s.abandon(tx, []string{t.LotHash}); err != nil {
				return err
			}
		}
	case "Issue":
		return s.abandon(tx, []string{a.Subject})
	case "Confirm", "Decline", "Cancel", "Release":
		t, err := tx.LockTrade(a.Subject)
		if err != nil {
			return err
		}
		if t.PendingAct != a.ID || t.State.Ended() || t.State == model.TradeOffered {
			return nil
		}
		_, err = tx.MoveTrade(t.ID, t.State, model.TradeOffered, func(r *model.Trade) {
			r.PendingAct = ""
			if a.Function == "Release" {
				r.ReleaseAfter = s.now() + model.Millis(releasePause.Milliseconds())
			}
		})
		return err
	case "Approve", "RevokeApproval":
		return s.reopen(tx, a)
	case "PublishKey":
		return s.notEnrolled(tx, a)
	case "RegisterBatch":
		return s.unregister(tx, a)
	case "Register":
		p, err := tx.Participant(a.Subject)
		if err != nil || p.State != model.ParticipantRegistering {
			return present(err)
		}
		_, err = tx.MoveParticipant(p.ID, p.State, model.ParticipantPending, nil)
		return err
	}
	return nil
}
