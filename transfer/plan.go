package transfer

import (
	"encoding/json"
	"errors"
	"fmt"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Some bodies depend on how things stand when their turn comes: an offer that was accepted behind another one is built
// on the lots that the first one leaves. What was asked is kept as a plan, and becomes a body inside intend.

// offerPlan is an offer before its inputs are chosen. Its outputs are the trades whose batch is the act.
type offerPlan struct {
	Seller    string
	Mode      request.Mode
	Receiver  string
	OfferedAt int64
	ExpiresAt int64
	Reverses  string
	Trades    []string // in order
}

// lotPlan is an act on cards of a lot. Cards is empty for all of it; with Inputs it is a merge.
type lotPlan struct {
	Lot    string
	Cards  string    // canonical
	Salts  *lotSalts `json:",omitempty"` // of what the lot splits into
	Inputs []string
}

// lotSalts make the lots into which another one splits the same at each attempt.
type lotSalts struct{ Subset, Rest [32]byte }

// enrolPlan is the registration of a participant, whose key custody makes when it is reached.
type enrolPlan struct {
	Participant string
	Role        request.Role
	Slot        string
	Publish     bool // a further key of a participant that is registered
	Version     int  // his version, for Publish
}

// plan builds the body of an act from its plan. It runs inside the transaction that records the body, and holds the
// lots that it uses: until the act ends, no other act of this platform uses them.
func (s *Service) plan(tx *model.Tx, a model.Act, f fields, key *request.NewKey) (request.Body, error) {
	switch {
	case f.Enrol != nil:
		if f.Enrol.Publish {
			return request.PublishKey{Participant: f.Enrol.Participant, Version: f.Enrol.Version, Key: *key}, nil
		}
		return request.Register{Registration: request.Registration{Participant: f.Enrol.Participant, Role: f.Enrol.Role, Key: *key}}, nil
	case f.Offer != nil:
		return s.planOffer(tx, a, *f.Offer)
	case f.Lot != nil && len(f.Lot.Inputs) > 0:
		return s.planMerge(tx, a, *f.Lot)
	case f.Lot != nil:
		return s.planLot(tx, a, *f.Lot)
	}
	return nil, fmt.Errorf("act %s has neither body nor plan", a.ID)
}

// planOffer chooses the inputs: the seller's lots that hold the cards now. What is left of each becomes a lot of its
// own. If another act has one of them in hand, this one waits for it.
func (s *Service) planOffer(tx *model.Tx, a model.Act, p offerPlan) (request.Body, error) {
	if err := tx.LockParticipant(p.Seller); err != nil {
		return nil, err
	}
	var outputs []request.Output
	var want iccid.Set
	for _, id := range p.Trades {
		t, err := tx.Trade(id)
		if err != nil {
			return nil, err
		}
		l, set, err := s.lotCards(tx, t.LotHash)
		if err != nil {
			return nil, err
		}
		if want, err = joined(want, set); err != nil {
			return nil, err
		}
		out := request.Output{Trade: t.ID, Lot: l.Hash}
		if t.CodeSealed != nil {
			o, err := s.codeOpening(t)
			if err != nil {
				return nil, err
			}
			out.CodeHash = request.CodeHash(t.ID, o.Code, o.Salt)
		}
		outputs = append(outputs, out)
	}
	inputs, err := s.takeLots(tx, a, p.Seller, want)
	if err != nil {
		return nil, err
	}
	offer := request.Offer{Seller: p.Seller, Mode: p.Mode, Receiver: p.Receiver, OfferedAt: p.OfferedAt, ExpiresAt: p.ExpiresAt, Outputs: outputs}
	for _, l := range inputs {
		offer.Inputs = append(offer.Inputs, l.Hash)
		_, set, err := s.lotCards(tx, l.Hash)
		if err != nil {
			return nil, err
		}
		for rest, err := range remainders(set, want) {
			if err != nil {
				return nil, err
			}
			d := draw(rest, s.salt())
			if err := s.addPending(tx, a, l, d, l.Hash); err != nil {
				return nil, err
			}
			offer.Remainders = append(offer.Remainders, d.hash)
		}
	}
	for _, out := range outputs {
		if err := tx.AddParents(out.Lot, offer.Inputs); err != nil {
			return nil, err
		}
	}
	if p.Reverses != "" {
		return request.Return{Offer: offer, Reverses: p.Reverses}, nil
	}
	return offer, nil
}

// takeLots finds and holds the lots of an owner that hold all of these cards.
func (s *Service) takeLots(tx *model.Tx, a model.Act, owner string, want iccid.Set) ([]model.Lot, error) {
	runs, err := tx.LiveSegmentsOwned(owner, want)
	if err != nil {
		return nil, err
	}
	have, hashes, err := cover(want.Rule, runs)
	if err != nil {
		return nil, err
	}
	if !have.Covers(want) {
		return nil, fail("CARDS_NOT_OWNED")
	}
	if len(hashes) > maxLots { // they have been cut since the offer was accepted
		return nil, fail("CARDS_IN_TOO_MANY_LOTS").With("limit", maxLots)
	}
	lots, err := tx.Lots(hashes)
	if err != nil {
		return nil, err
	}
	for _, l := range lots {
		if l.HeldBy != "" && l.HeldBy != a.ID {
			return nil, &later{after: waitForAct, waitsFor: l.HeldBy, err: fmt.Errorf("lot %s is in the hands of act %s", l.Hash, l.HeldBy)}
		}
		if len(l.Frozen) > 0 {
			return nil, fail("CARDS_FROZEN")
		}
		if l.Issuer != lots[0].Issuer {
			return nil, fail("CARDS_OF_SEVERAL_ISSUERS")
		}
	}
	return lots, hold(tx, hashes, a.ID)
}

// hold sets lots aside for an act, which waits if another one has got hold of one of them just now.
func hold(tx *model.Tx, hashes []string, act string) error {
	err := tx.HoldLots(hashes, act)
	var held *model.HeldError
	if errors.As(err, &held) {
		return &later{after: waitForAct, waitsFor: held.Act, err: err}
	}
	return err
}

// waitForAct is how long an act sleeps behind another one if nobody wakes it.
const waitForAct = 2 * 1e9

// cover joins runs to a set and lists their lots, each once, in order of their first run.
func cover(rule iccid.Rule, runs []model.Segment) (iccid.Set, []string, error) {
	var segs []iccid.Segment
	var hashes []string
	seen := map[string]bool{}
	for _, r := range runs {
		segs = append(segs, r.Cards())
		if !seen[r.LotHash] {
			seen[r.LotHash] = true
			hashes = append(hashes, r.LotHash)
		}
	}
	if len(segs) == 0 {
		return iccid.Set{Rule: rule}, nil, nil
	}
	set, err := iccid.NewSet(rule, segs...)
	return set, hashes, err
}

// joined is the union of a set, which may be empty, with another that shares no card with it.
func joined(a, b iccid.Set) (iccid.Set, error) {
	if a.Empty() {
		return b, nil
	}
	return a.Union(b)
}

// planLot builds a freeze, unfreeze or retirement of a lot or of some of its cards.
func (s *Service) planLot(tx *model.Tx, a model.Act, p lotPlan) (request.Body, error) {
	l, set, err := s.lotCards(tx, p.Lot)
	if err != nil {
		return nil, err
	}
	if l.HeldBy != "" && l.HeldBy != a.ID {
		return nil, &later{after: waitForAct, waitsFor: l.HeldBy, err: fmt.Errorf("lot %s is in the hands of act %s", l.Hash, l.HeldBy)}
	}
	at, made, err := p.split(l, set)
	if err != nil {
		return nil, err
	}
	for _, d := range made {
		if err := s.addPending(tx, a, l, d, l.Hash); err != nil {
			return nil, err
		}
	}
	if err := hold(tx, []string{l.Hash}, a.ID); err != nil {
		return nil, err
	}
	return onLot(a.Function, at)
}

// split says of a lot, as it stands, what a plan means of it, and which lots it splits into.
func (p lotPlan) split(l model.Lot, set iccid.Set) (at request.LotAct, made []drawn, err error) {
	at = request.LotAct{Lot: l.Hash, Version: l.Version}
	if p.Cards == "" {
		return at, nil, nil
	}
	part, err := iccid.ParseCanonical(l.Rule, p.Cards)
	if err != nil {
		return at, nil, err
	}
	if !set.Covers(part) {
		return at, nil, fail("CARDS_NOT_OWNED")
	}
	rest := set.Minus(part)
	if rest.Empty() {
		return at, nil, nil
	}
	made = []drawn{draw(part, p.Salts.Subset), draw(rest, p.Salts.Rest)}
	at.Subset, at.Rest = made[0].hash, made[1].hash
	return at, made, nil
}

// onLot is an act on a lot as a request.
func onLot(function string, at request.LotAct) (request.Body, error) {
	switch function {
	case "Freeze":
		return request.Freeze{LotAct: at}, nil
	case "Unfreeze":
		return request.Unfreeze{LotAct: at}, nil
	case "Retire":
		return request.Retire{LotAct: at}, nil
	}
	return nil, fmt.Errorf("no plan for %s", function)
}

func (s *Service) planMerge(tx *model.Tx, a model.Act, p lotPlan) (request.Body, error) {
	if err := tx.LockParticipant(a.Actor); err != nil {
		return nil, err
	}
	lots, err := tx.Lots(p.Inputs)
	if err != nil {
		return nil, err
	}
	var all iccid.Set
	for _, l := range lots {
		switch {
		case l.HeldBy != "" && l.HeldBy != a.ID:
			return nil, &later{after: waitForAct, waitsFor: l.HeldBy, err: fmt.Errorf("lot %s is in the hands of act %s", l.Hash, l.HeldBy)}
		case l.Owner != a.Actor || l.Status != model.LotOwned:
			return nil, fail("INPUT_SPENT")
		}
		_, set, err := s.lotCards(tx, l.Hash)
		if err != nil {
			return nil, err
		}
		if all, err = joined(all, set); err != nil {
			return nil, err
		}
	}
	if err := hold(tx, p.Inputs, a.ID); err != nil {
		return nil, err
	}
	d := draw(all, s.salt())
	if err := s.addPending(tx, a, lots[0], d, p.Inputs...); err != nil {
		return nil, err
	}
	return request.Merge{Owner: a.Actor, Inputs: p.Inputs, Output: d.hash}, nil
}

// addPending stores a lot that an act is going to make: its cards and its salt, under a hash that nobody has seen yet; but
// for an attempt before this one, which has given it up: the ledger will bring it back. like is the lot it comes from.
func (s *Service) addPending(tx *model.Tx, a model.Act, like model.Lot, d drawn, parents ...string) error {
	if old, err := tx.Lot(d.hash); err == nil && old.MadeByAct == a.ID {
		return nil
	} else if err = ignore(err, model.ErrNotFound); err != nil {
		return err
	}
	sealed, err := s.Vault.Seal("lot/"+d.hash, d.salt)
	if err != nil {
		return err
	}
	return tx.AddLot(model.Lot{
		Hash: d.hash, Issuer: like.Issuer, Rule: d.cards.Rule, Owner: like.Owner, Status: model.LotPending,
		RetailPolicy: like.RetailPolicy, Restrictions: like.Restrictions, SaltSealed: sealed, MadeByAct: a.ID,
		Parents: parents,
	}, d.cards.Segments())
}

// giveUpPlan undoes what plan set aside for an attempt that can't commit any more.
func (s *Service) giveUpPlan(tx *model.Tx, a model.Act) error {
	if !plannedLate(a.Function) || a.Body == nil {
		return nil
	}
	body, err := decodeBody(a.Function, a.Body)
	if err != nil {
		return err
	}
	var made []string
	switch b := body.(type) {
	case request.Offer:
		made = b.Remainders
	case request.Return:
		made = b.Remainders
	case request.Merge:
		made = []string{b.Output}
	case request.Freeze:
		made = actHashes(b.LotAct)
	case request.Unfreeze:
		made = actHashes(b.LotAct)
	case request.Retire:
		made = actHashes(b.LotAct)
	}
	if err := s.abandon(tx, made); err != nil {
		return err
	}
	return tx.ReleaseHold(a.ID)
}

// abandon marks lots that never came to be. Lots that did are left alone.
func (s *Service) abandon(tx *model.Tx, hashes []string) error {
	for _, h := range hashes {
		l, err := tx.Lot(h)
		if err != nil {
			return err
		}
		if l.Status != model.LotPending {
			continue
		}
		l.Status = model.LotAbandoned
		if err := tx.UpdateLot(l); err != nil {
			return err
		}
	}
	return nil
}

// lotCards reads a lot and its cards.
func (s *Service) lotCards(tx *model.Tx, hash string) (model.Lot, iccid.Set, error) {
	l, err := tx.Lot(hash)
	if err != nil {
		return l, iccid.Set{}, err
	}
	rows, err := tx.SegmentsOf(hash)
	if err != nil {
		return l, iccid.Set{}, err
	}
	set, _, err := cover(l.Rule, rows)
	return l, set, err
}

// lotOpening unseals what opens a lot hash.
func (s *Service) lotOpening(tx *model.Tx, l model.Lot) (request.LotOpening, error) {
	salt, err := s.Vault.Open("lot/"+l.Hash, l.SaltSealed)
	if err != nil {
		return request.LotOpening{}, fmt.Errorf("salt of lot %s: %w", l.Hash, err)
	}
	_, set, err := s.lotCards(tx, l.Hash)
	return request.LotOpening{Rule: string(l.Rule), Salt: salt, Canonical: set.Canonical()}, err
}

// codeOpening unseals the code of a trade and its salt.
func (s *Service) codeOpening(t model.Trade) (o request.CodeOpening, err error) {
	err = s.Vault.openJSON("code/"+t.ID, t.CodeSealed, &o)
	if err != nil {
		err = fmt.Errorf("code of trade %s: %w", t.ID, err)
	}
	return o, err
}

// DecodeBody reads a request that the relay has signed: of those that it carries, or a ticket.
func DecodeBody(function string, args []byte) (request.Body, error) {
	if function == "Ticket" {
		return decode[request.Ticket](args)
	}
	return decodeBody(function, args)
}

// decodeBody reads a stored body as the value that custody takes. It was encoded by this program, but it decodes as
// strictly as the contract does: what is signed is what is sent.
func decodeBody(function string, args []byte) (request.Body, error) {
	switch function {
	case "Init":
		return decode[request.Init](args)
	case "Register":
		return decode[request.Register](args)
	case "RegisterBatch":
		return decode[request.RegisterBatch](args)
	case "PublishKey":
		return decode[request.PublishKey](args)
	case "RotateKey":
		return decode[request.RotateKey](args)
	case "SuspendKey":
		return decode[request.SuspendKey](args)
	case "ResumeKey":
		return decode[request.ResumeKey](args)
	case "RevokeKey":
		return decode[request.RevokeKey](args)
	case "FreezeParticipant":
		return decode[request.FreezeParticipant](args)
	case "UnfreezeParticipant":
		return decode[request.UnfreezeParticipant](args)
	case "SetIssuer":
		return decode[request.SetIssuer](args)
	case "SetPolicy":
		return decode[request.SetPolicy](args)
	case "Anchor":
		return decode[request.Anchor](args)
	case "Issue":
		return decode[request.Issue](args)
	case "Offer":
		return decode[request.Offer](args)
	case "Return":
		return decode[request.Return](args)
	case "Confirm":
		return decode[request.Confirm](args)
	case "Decline":
		return decode[request.Decline](args)
	case "Cancel":
		return decode[request.Cancel](args)
	case "Release":
		return decode[request.Release](args)
	case "Merge":
		return decode[request.Merge](args)
	case "Approve":
		return decode[request.Approve](args)
	case "RevokeApproval":
		return decode[request.RevokeApproval](args)
	case "Freeze":
		return decode[request.Freeze](args)
	case "Unfreeze":
		return decode[request.Unfreeze](args)
	case "Retire":
		return decode[request.Retire](args)
	}
	return nil, fmt.Errorf("the relay carries no %q", function)
}

func decode[B request.Body](args []byte) (request.Body, error) {
	var b B
	if err := json.Unmarshal(args, &b); err != nil {
		return nil, err
	}
	if err := request.Decode(args, any(&b).(request.Body)); err != nil {
		return nil, err
	}
	return b, nil
}
