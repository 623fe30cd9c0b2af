package contract

import (
	"cardflow/iccid"
	"cardflow/ledger/request"
)

// Freeze is whether a participant may trade.
type Freeze struct {
	Participant string         `json:"participant"`
	Frozen      []request.Role `json:"frozen,omitempty"` // who froze him, sorted
	Version     int            `json:"version"`
}

// notFrozen refuses if a participant is frozen.
func (a *act) notFrozen(participant string) error {
	var f Freeze
	if _, err := a.get(frozenKey(participant), &f); err != nil {
		return err
	}
	if len(f.Frozen) > 0 {
		return refuse(ParticipantFrozen, "%s", participant).With("participant", participant)
	}
	return nil
}

// change is what an act does to the cards it means.
type change func(l *Lot, s Signer) error

// changeLot freezes, unfreezes or retires a lot, or the subset of it that is named; the subset is then split off under
// the partition check, and nothing else of it changes.
func (c *Ownership) changeLot(stub Stub, function string, args [][]byte, body request.Body, at *request.LotAct, do change) ([]byte, error) {
	a, openings, err := c.begin(stub, function, args, body)
	if err != nil {
		return nil, err
	}
	l, err := a.lot(at.Lot)
	if err != nil {
		return nil, err
	}
	signers, err := a.signers(0)
	if err != nil {
		return nil, err
	}
	if len(signers) != 1 {
		return nil, refuse(SignatureMissing, "%s has one signer", function)
	}
	s := signers[0]
	if err := a.mayRule(s, l); err != nil {
		return nil, err
	}
	if l.Status == StatusSpent {
		live, err := liveChildren(stub, l)
		if err != nil {
			return nil, err
		}
		return nil, refuse(InputSpent, "lot %s is spent", l.Hash).With("lot", l.Hash).With("children", live)
	}
	if l.Version != at.Version {
		return nil, refuse(VersionMismatch, "lot %s", l.Hash).With("version", l.Version)
	}
	whole := l
	if err := do(&l, s); err != nil {
		return nil, err
	}
	if at.Subset == "" && at.Rest == "" {
		if l.Status == StatusRetired {
			if err := a.uncount(&l, openings); err != nil {
				return nil, err
			}
		}
		a.saveLot(l)
		return a.apply(l.Hash)
	}
	if whole.Status == StatusRetired {
		return nil, refuse(LotRetired, "lot %s is retired", l.Hash).With("lot", l.Hash)
	}
	if whole.Status != StatusOwned {
		return nil, refuse(LotInTrade, "lot %s is %s: only all of it", l.Hash, whole.Status).With("lot", l.Hash)
	}
	if err := a.split(whole, at, openings); err != nil {
		return nil, err
	}
	part := whole
	part.Parents, part.Children, part.Trade, part.Device = []string{whole.Hash}, nil, "", s.Device()
	rest := part
	rest.Hash = at.Rest
	part.Hash, part.Frozen, part.Status = at.Subset, l.Frozen, l.Status
	if part.Status == StatusRetired {
		if err := a.uncount(&part, openings); err != nil {
			return nil, err
		}
	}
	for _, child := range []Lot{part, rest} {
		if err := a.addLot(child); err != nil {
			return nil, err
		}
	}
	return a.apply(whole.Hash, part.Hash, rest.Hash)
}

// split stages a lot as spent by its two parts. Its being frozen does not stop this: the cards stay where they are.
func (a *act) split(l Lot, at *request.LotAct, openings request.Openings) error {
	thawed := l
	thawed.Frozen = nil
	a.put(lotKey(l.Hash), thawed) // so that spend sees an input that may be used; it writes the lot again, as spent
	if _, err := a.spend([]string{l.Hash}, l.Owner, openings, [][]string{{at.Subset, at.Rest}}, anySegments); err != nil {
		return err
	}
	spent, err := a.lot(l.Hash)
	if err != nil {
		return err
	}
	spent.Frozen = l.Frozen
	a.put(lotKey(l.Hash), spent)
	return nil
}

// anySegments lets a supervisor's split be as scattered as it comes out: a card in the middle of a lot that has as many
// segments as policy allows must still be frozen alone. iccid.MaxSegments bounds it all the same.
func anySegments(iccid.Set) error { return nil }

// uncount takes retired cards off their person's count.
func (a *act) uncount(l *Lot, openings request.Openings) error {
	if l.Counted == "" {
		return nil
	}
	set, err := a.cards(openings, l.Hash)
	if err != nil {
		return err
	}
	if err := a.count(l.Issuer, l.Counted, -int64(set.Count())); err != nil {
		return err
	}
	l.Counted = ""
	return nil
}

// mayRule says who may freeze and unfreeze: the carrier its own cards, a regulator any, the platform those of consumers
// it registered.
func (a *act) mayRule(s Signer, l Lot) error {
	switch s.Role {
	case request.Carrier:
		if l.Issuer == s.Participant {
			return nil
		}
	case request.Regulator:
		return nil
	case request.Platform:
		return a.registeredBy(l.Owner, s.Participant)
	}
	return refuse(RoleForbidden, "%s on lot %s", a.req.Function, l.Hash)
}

// registeredBy refuses unless a participant is a consumer whom the platform registered.
func (a *act) registeredBy(participant, platform string) error {
	p, err := ask[Participant](a.stub, "GetParticipant", []byte(participant))
	if err != nil {
		return err
	}
	if p.Role != request.Consumer || p.Registrar != platform {
		return refuse(RoleForbidden, "%s is not a consumer of %s", participant, platform)
	}
	return nil
}

func freezeLot(l *Lot, s Signer) error {
	if l.Status == StatusRetired {
		return refuse(LotRetired, "lot %s is retired", l.Hash).With("lot", l.Hash)
	}
	frozen, ok := with(l.Frozen, s.Role)
	if !ok {
		return refuse(AlreadyFrozen, "lot %s is frozen by a %s", l.Hash, s.Role)
	}
	l.Frozen = frozen
	return nil
}

func unfreezeLot(l *Lot, s Signer) error {
	frozen, ok := without(l.Frozen, s.Role)
	if !ok {
		return refuse(NotFrozen, "lot %s is not frozen by a %s", l.Hash, s.Role)
	}
	l.Frozen = frozen
	return nil
}

func retireLot(l *Lot, s Signer) error {
	switch {
	case s.Role != request.Carrier:
		return refuse(RoleForbidden, "cards are retired by their carrier")
	case l.Status == StatusRetired:
		return refuse(LotRetired, "lot %s is retired", l.Hash).With("lot", l.Hash)
	case l.Status == StatusInTrade:
		return refuse(LotInTrade, "lot %s is in trade %s", l.Hash, l.Trade).With("lot", l.Hash)
	}
	for _, r := range l.Frozen {
		if r != request.Carrier {
			return refuse(LotFrozen, "lot %s is frozen by a %s", l.Hash, r).With("lot", l.Hash)
		}
	}
	l.Status = StatusRetired
	return nil
}

// changeParticipant freezes or unfreezes a participant: a regulator anyone, the platform the consumers it registered.
func (c *Ownership) changeParticipant(stub Stub, function string, args [][]byte, body request.Body, at *request.ParticipantAct, freeze bool) ([]byte, error) {
	a, _, err := c.begin(stub, function, args, body)
	if err != nil {
		return nil, err
	}
	signers, err := a.signers(0)
	if err != nil {
		return nil, err
	}
	if len(signers) != 1 {
		return nil, refuse(SignatureMissing, "%s has one signer", function)
	}
	s := signers[0]
	switch s.Role {
	case request.Regulator:
		if _, err := ask[Participant](stub, "GetParticipant", []byte(at.Participant)); err != nil {
			return nil, err
		}
	case request.Platform:
		if err := a.registeredBy(at.Participant, s.Participant); err != nil {
			return nil, err
		}
	default:
		return nil, refuse(RoleForbidden, "a %s does not freeze participants", s.Role)
	}
	f := Freeze{Participant: at.Participant}
	if _, err := load(stub, frozenKey(at.Participant), &f); err != nil {
		return nil, err
	}
	if f.Version != at.Version {
		return nil, refuse(VersionMismatch, "freeze of %s", at.Participant).With("version", f.Version)
	}
	var ok bool
	if freeze {
		if f.Frozen, ok = with(f.Frozen, s.Role); !ok {
			return nil, refuse(AlreadyFrozen, "%s is frozen by a %s", at.Participant, s.Role)
		}
	} else if f.Frozen, ok = without(f.Frozen, s.Role); !ok {
		return nil, refuse(NotFrozen, "%s is not frozen by a %s", at.Participant, s.Role)
	}
	f.Version++
	a.put(frozenKey(at.Participant), f)
	return a.apply(at.Participant)
}

func freezeOf(stub Stub, args [][]byte) (*Freeze, error) {
	id, err := texts(args, 1)
	if err != nil {
		return nil, err
	}
	f := &Freeze{Participant: id[0]}
	_, err = load(stub, frozenKey(id[0]), f)
	return f, err
}

// with adds a role to a sorted list; false if it was there.
func with(list []request.Role, r request.Role) ([]request.Role, bool) {
	var out []request.Role
	added := false
	for _, x := range list {
		if x == r {
			return list, false
		}
		if !added && r < x {
			out, added = append(out, r), true
		}
		out = append(out, x)
	}
	if !added {
		out = append(out, r)
	}
	return out, true
}

// without removes a role from a list; false if it was not there.
func without(list []request.Role, r request.Role) ([]request.Role, bool) {
	var out []request.Role
	for _, x := range list {
		if x != r {
			out = append(out, x)
		}
	}
	return out, len(out) < len(list)
}
