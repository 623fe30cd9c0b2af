package contract

import (
	"encoding/json"
	"strconv"

	"cardflow/iccid"
	"cardflow/ledger/request"
)

// Ownership is the ownership contract: lots, trades, and what moves one through the other.
//
// State: L/lot hash, T/trade, C/trade (code hash, while the trade is open), B/mark of an issued block of cards,
// A/carrier/consumer (approval), N/carrier/person (cards held), F/participant (freeze), Q/request ID (applied).
type Ownership struct{}

var _ Contract = (*Ownership)(nil)

// Name is request.Ownership.
func (c *Ownership) Name() string { return request.Ownership }

// Invoke runs a function of the ownership contract.
func (c *Ownership) Invoke(stub Stub, function string, args [][]byte) ([]byte, error) {
	switch function {
	case "Issue":
		return c.issue(stub, args)
	case "Offer":
		var b request.Offer
		return c.offer(stub, function, args, &b, &b, "")
	case "Return":
		return c.giveBack(stub, args)
	case "Confirm":
		return c.confirm(stub, args)
	case "Decline":
		return c.decline(stub, args)
	case "Cancel":
		return c.cancel(stub, args)
	case "Release":
		return c.release(stub, args)
	case "Merge":
		return c.merge(stub, args)
	case "Approve":
		return c.approve(stub, args)
	case "RevokeApproval":
		return c.revokeApproval(stub, args)
	case "Freeze":
		var b request.Freeze
		return c.changeLot(stub, function, args, &b, &b.LotAct, freezeLot)
	case "Unfreeze":
		var b request.Unfreeze
		return c.changeLot(stub, function, args, &b, &b.LotAct, unfreezeLot)
	case "Retire":
		var b request.Retire
		return c.changeLot(stub, function, args, &b, &b.LotAct, retireLot)
	case "FreezeParticipant":
		var b request.FreezeParticipant
		return c.changeParticipant(stub, function, args, &b, &b.ParticipantAct, true)
	case "UnfreezeParticipant":
		var b request.UnfreezeParticipant
		return c.changeParticipant(stub, function, args, &b, &b.ParticipantAct, false)
	case "GetLot":
		return answer(one[Lot](stub, args, lotKey, LotUnknown))
	case "GetTrade":
		return answer(one[Trade](stub, args, tradeKey, TradeUnknown))
	case "GetApproval":
		return answer(approvalOf(stub, args))
	case "GetFreeze":
		return answer(freezeOf(stub, args))
	case "History":
		return answer(lotHistory(stub, args))
	case "Trace":
		return answer(trace(stub, args))
	}
	return nil, refuse(UnknownFunction, "ownership has no function %q", function)
}

// begin decodes a request, asks identity who signed it, and reads the openings.
func (c *Ownership) begin(stub Stub, function string, args [][]byte, body request.Body) (*act, request.Openings, error) {
	a, err := newAct(stub, request.Ownership, function, args, body)
	if err != nil {
		return nil, request.Openings{}, err
	}
	o, err := request.DecodeOpenings(stub.Transient())
	if err != nil {
		return nil, o, refuse(OpeningMismatch, "openings can't be read")
	}
	return a, o, nil
}

// signers asks the identity contract who signed. latest: see act.verify.
func (a *act) signers(latest int64) ([]Signer, error) {
	return askVerify(a.stub, a.req, a.proof.Signatures, latest)
}

// signer is the only signer of the request, who must be the participant named in it.
func (a *act) signer(participant string, latest int64) (Signer, error) {
	s, err := a.signers(latest)
	if err != nil {
		return Signer{}, err
	}
	if len(s) != 1 || s[0].Participant != participant {
		return Signer{}, refuse(SignatureMissing, "%s is to be signed by %s", a.req.Function, participant)
	}
	return s[0], nil
}

func askVerify(stub Stub, r request.Request, signatures []request.Signature, latest int64) ([]Signer, error) {
	b, err := json.Marshal(signatures)
	if err != nil {
		return nil, err
	}
	return ask[[]Signer](stub, "Verify", []byte(r.Contract), []byte(r.Function), r.Args, b, []byte(strconv.FormatInt(latest, 10)))
}

// issue is the first registration of cards. Whoever issues must hold their prefix; and each card is issued once, which
// no salt can hide: every aligned block of the cards leaves a mark under the pinned issue key, and a card that was
// issued before lies in a block that is marked, or is marked as having marked descendants.
func (c *Ownership) issue(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Issue
	a, openings, err := c.begin(stub, "Issue", args, &b)
	if err != nil {
		return nil, err
	}
	s, err := a.signer(b.Carrier, 0)
	if err != nil {
		return nil, err
	}
	if s.Role != request.Carrier {
		return nil, refuse(RoleForbidden, "a %s does not issue", s.Role)
	}
	if err := a.notFrozen(b.Carrier); err != nil {
		return nil, err
	}
	if b.RetailPolicy != request.Open && b.RetailPolicy != request.RealName {
		return nil, refuse(BadArguments, "retail policy %q", b.RetailPolicy)
	}
	if err := restrictions(b.Restrictions); err != nil {
		return nil, err
	}
	if !isHex(b.Lot, 64) {
		return nil, refuse(BadArguments, "lot hash")
	}
	set, err := a.cards(openings, b.Lot)
	if err != nil {
		return nil, err
	}
	if string(set.Rule) != b.Rule {
		return nil, refuse(OpeningMismatch, "rule %s, opened as %s", b.Rule, set.Rule)
	}
	if err := a.fewSegments(set); err != nil {
		return nil, err
	}
	for _, seg := range set.Segments() {
		i, err := ask[Issuer](stub, "GetIssuer", []byte(set.Rule.Format(seg.First())))
		if err != nil {
			return nil, err
		}
		if i.Carrier != b.Carrier || i.Rule != b.Rule {
			return nil, refuse(RoleForbidden, "%s does not issue under prefix %s", b.Carrier, i.Prefix)
		}
	}
	if err := a.markIssued(set, openings.IssueKey); err != nil {
		return nil, err
	}
	if err := a.addLot(Lot{
		Hash: b.Lot, Issuer: b.Carrier, Rule: b.Rule, Owner: b.Carrier, Status: StatusOwned,
		RetailPolicy: b.RetailPolicy, Restrictions: b.Restrictions, Device: s.Device(),
	}); err != nil {
		return nil, err
	}
	return a.apply(b.Lot)
}

// Marks of blocks of cards.
const (
	markCovered    = "covered"    // every card of the block is issued
	markDescendant = "descendant" // some block inside it is covered
)

// markIssued refuses cards that were issued before, and marks the new ones.
func (a *act) markIssued(set iccid.Set, issueKey []byte) error {
	g, err := ask[Genesis](a.stub, "GetGenesis")
	if err != nil {
		return err
	}
	if request.IssueKeyCommitment(issueKey) != g.IssueKeyCommitment {
		return refuse(IssueKeyWrong, "not the issue key that Init pinned")
	}
	mark := func(b iccid.Block) (string, string, error) {
		key := markKey(request.IssueMark(issueKey, set.Rule, b))
		if i, ok := a.staged[key]; ok {
			return key, string(a.writes[i].value), nil
		}
		v, err := a.stub.Get(key)
		return key, string(v), err
	}
	for _, b := range set.Blocks() {
		key, old, err := mark(b)
		if err != nil {
			return err
		}
		if old != "" {
			return refuse(AlreadyIssued, "cards of this lot were issued before")
		}
		a.stage(key, []byte(markCovered))
		for _, up := range b.Ancestors() {
			key, old, err := mark(up)
			if err != nil {
				return err
			}
			switch old {
			case markCovered:
				return refuse(AlreadyIssued, "cards of this lot were issued before")
			case "":
				a.stage(key, []byte(markDescendant))
			}
		}
	}
	return nil
}

// restrictions must be few, plain, sorted, each once: they are compared and joined along every lineage.
func restrictions(list []string) error {
	if len(list) > 16 {
		return refuse(BadArguments, "more than 16 restrictions")
	}
	for i, r := range list {
		if r == "" || len(r) > 32 || i > 0 && list[i-1] >= r {
			return refuse(BadArguments, "restrictions are sorted, each once, at most 32 characters")
		}
		for _, c := range []byte(r) {
			if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
				return refuse(BadArguments, "restriction %q", r)
			}
		}
	}
	return nil
}

func (a *act) policy(name string) (int64, error) {
	return ask[int64](a.stub, "GetPolicy", []byte(name))
}

func (a *act) fewSegments(set iccid.Set) error {
	most, err := a.policy(request.PolicySegmentsMax)
	if err != nil {
		return err
	}
	if n := int64(len(set.Segments())); n > most {
		return refuse(TooManySegments, "%d segments in a lot, at most %d", n, most).With("limit", most)
	}
	return nil
}

// merge makes one lot of several of one owner.
func (c *Ownership) merge(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Merge
	a, openings, err := c.begin(stub, "Merge", args, &b)
	if err != nil {
		return nil, err
	}
	s, err := a.signer(b.Owner, 0)
	if err != nil {
		return nil, err
	}
	if err := a.notFrozen(b.Owner); err != nil {
		return nil, err
	}
	if len(b.Inputs) < 2 || len(b.Inputs) > maxInputs {
		return nil, refuse(BadArguments, "a merge takes 2 to %d lots", maxInputs)
	}
	inputs, err := a.spend(b.Inputs, b.Owner, openings, [][]string{{b.Output}}, a.fewSegments)
	if err != nil {
		return nil, err
	}
	out, err := inherit(inputs)
	if err != nil {
		return nil, err
	}
	out.Hash, out.Device = b.Output, s.Device()
	if err := a.addLot(out); err != nil {
		return nil, err
	}
	return a.apply(b.Output)
}

// maxInputs bounds the inputs of one act.
const maxInputs = 200

// spend checks the inputs of an act against its owner, checks that the outputs exactly partition them, and stages them
// as spent. limit says which outputs are too scattered. This is the heart: the openings come from a relay that may lie, the hashes are what was signed.
func (a *act) spend(inputs []string, owner string, openings request.Openings, outputs [][]string, limit func(iccid.Set) error) ([]Lot, error) {
	if err := distinct(append([][]string{inputs}, outputs...)...); err != nil {
		return nil, err
	}
	var lots []Lot
	var in, out []iccid.Set
	for _, h := range inputs {
		l, err := a.lot(h)
		if err != nil {
			return nil, err
		}
		if err := a.spendable(l, owner); err != nil {
			return nil, err
		}
		lots = append(lots, l)
	}
	if _, err := inherit(lots); err != nil {
		return nil, err
	}
	for _, h := range inputs {
		set, err := a.cards(openings, h)
		if err != nil {
			return nil, err
		}
		in = append(in, set)
	}
	var children []string
	for _, list := range outputs {
		for _, h := range list {
			set, err := a.cards(openings, h)
			if err != nil {
				return nil, err
			}
			if err := limit(set); err != nil {
				return nil, err
			}
			out = append(out, set)
			children = append(children, h)
		}
	}
	if err := iccid.Partition(in, out); err != nil {
		return nil, refuse(PartitionWrong, "outputs do not partition inputs: %v", err)
	}
	for _, l := range lots {
		l.Status, l.Children = StatusSpent, children
		a.saveLot(l)
	}
	return lots, nil
}
