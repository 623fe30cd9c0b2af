package transfer

import (
	"cmp"
	"errors"
	"slices"

	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/model"
)

// actOf finds, and locks, the act that this transaction carried out: by its transaction ID; or by the request's, when
// the act had gone on to another transaction before this one turned out to have landed. Errors: model.ErrNotFound.
func (s *Service) actOf(tx *model.Tx, t ledger.Transaction) (model.Act, error) {
	a, err := tx.LockActByTx(t.ID)
	if req, ok := s.requestOf(t); ok && errors.Is(err, model.ErrNotFound) {
		a, err = tx.LockActByRequest(req.ID())
	}
	if errors.Is(err, model.ErrNotFound) {
		return s.forgottenAct(tx, t)
	}
	return a, err
}

// requestOf is the request that a transaction carries, beside its proof. One that is no signed request of ours has none:
// a channel may have other contracts, with functions of the same names.
func (s *Service) requestOf(t ledger.Transaction) (request.Request, bool) {
	if len(t.Args) != 2 || t.Contract != request.Identity && t.Contract != request.Ownership {
		return request.Request{}, false
	}
	return request.Request{Channel: s.Ledger.Channel(), Contract: t.Contract, Function: t.Function, Args: t.Args[0]}, true
}

// forgottenAct finds the act that a transaction of ours carried out, where its row names neither transaction nor request:
// the database was put back to an older copy, which only knows that it was asked for; or it had been planned anew, or given
// up, before what was sent first turned out to have landed. It is known by its trades, by the participant that it registers,
// or as the one act of that kind on that lot by that participant. What has been planned for it since is given up. Errors:
// model.ErrNotFound, which is how it is with terminals' transactions.
func (s *Service) forgottenAct(tx *model.Tx, t ledger.Transaction) (model.Act, error) {
	none := model.Act{}
	req, ok := s.requestOf(t)
	if !ok {
		return none, model.ErrNotFound
	}
	body, err := decodeBody(req.Function, req.Args)
	if err != nil || body.Contract() != req.Contract {
		return none, model.ErrNotFound // nobody's of ours
	}
	var a model.Act
	switch b := body.(type) {
	case request.Offer:
		a, err = s.tradeActOf(tx, b)
	case request.Return:
		a, err = s.tradeActOf(tx, b.Offer)
	case request.Register:
		a, err = s.registerActOf(tx, b)
	case request.Merge:
		a, err = s.lotActOf(tx, t, slices.Min(b.Inputs))
	case request.Freeze:
		a, err = s.lotActOf(tx, t, b.Lot)
	case request.Unfreeze:
		a, err = s.lotActOf(tx, t, b.Lot)
	case request.Retire:
		a, err = s.lotActOf(tx, t, b.Lot)
	case request.Approve:
		a, err = s.approvalActOf(tx, b.Consumer, b.Carrier, model.RealNameApproving)
	case request.RevokeApproval:
		a, err = s.approvalActOf(tx, b.Consumer, b.Carrier, model.RealNameRevoking)
	default:
		return none, model.ErrNotFound // what it asks for was fixed when it was asked for
	}
	if err != nil || a.State == model.ActCommitted {
		return none, cmp.Or(err, model.ErrNotFound)
	}
	return a, s.giveUpPlan(tx, a)
}

func (s *Service) tradeActOf(tx *model.Tx, b request.Offer) (model.Act, error) {
	if len(b.Outputs) == 0 {
		return model.Act{}, model.ErrNotFound
	}
	t, err := tx.Trade(b.Outputs[0].Trade)
	if err != nil {
		return model.Act{}, err
	}
	return tx.LockAct(t.Batch)
}

func (s *Service) registerActOf(tx *model.Tx, b request.Register) (model.Act, error) {
	p, err := tx.Participant(b.Participant)
	if err != nil {
		return model.Act{}, err
	}
	return tx.LockAct(p.RegisterAct)
}

func (s *Service) lotActOf(tx *model.Tx, t ledger.Transaction, lot string) (model.Act, error) {
	proof, err := request.DecodeProof(t.Args[1])
	if err != nil || len(proof.Signatures) == 0 {
		return model.Act{}, model.ErrNotFound
	}
	open, err := tx.UnfinishedActsOn(lot)
	if err != nil {
		return model.Act{}, err
	}
	found := ""
	for _, a := range open {
		p, err := tx.Participant(a.Actor)
		if err != nil {
			return a, err
		}
		if a.Function != t.Function || p.KeyID != proof.Signatures[0].KeyID {
			continue
		}
		if found != "" {
			return model.Act{}, model.ErrNotFound // which of them it was, nobody can say
		}
		found = a.ID
	}
	return tx.LockAct(found)
}
