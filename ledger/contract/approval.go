package contract

import (
	"cardflow/ledger/request"
)

// Approval is a carrier's word that it has checked a consumer's real name. It stands for all his later trades of that
// carrier's cards.
type Approval struct {
	Carrier    string `json:"carrier"`
	Consumer   string `json:"consumer"`
	Commitment string `json:"commitment"`
	ValidUntil int64  `json:"validUntil"` // ms
	Revoked    bool   `json:"revoked,omitempty"`
	Version    int    `json:"version"`
	TxID       string `json:"txId"`
}

func (c *Ownership) approve(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Approve
	a, _, err := c.begin(stub, "Approve", args, &b)
	if err != nil {
		return nil, err
	}
	ap, err := a.approval(b.Carrier, b.Consumer, b.Version)
	if err != nil {
		return nil, err
	}
	if !isHex(b.Commitment, 64) || b.ValidUntil <= a.now {
		return nil, refuse(BadArguments, "commitment or validity")
	}
	p, err := ask[Participant](stub, "GetParticipant", []byte(b.Consumer))
	if err != nil {
		return nil, err
	}
	if p.Role != request.Consumer {
		return nil, refuse(RoleForbidden, "%s is no consumer", b.Consumer)
	}
	ap.Commitment, ap.ValidUntil, ap.Revoked = b.Commitment, b.ValidUntil, false
	return a.saveApproval(ap)
}

func (c *Ownership) revokeApproval(stub Stub, args [][]byte) ([]byte, error) {
	var b request.RevokeApproval
	a, _, err := c.begin(stub, "RevokeApproval", args, &b)
	if err != nil {
		return nil, err
	}
	ap, err := a.approval(b.Carrier, b.Consumer, b.Version)
	if err != nil {
		return nil, err
	}
	if ap.Version == 0 || ap.Revoked {
		return nil, refuse(TransitionForbidden, "no approval to revoke")
	}
	ap.Revoked = true
	return a.saveApproval(ap)
}

// approval loads the approval of a consumer by the carrier who signs, at the version he names.
func (a *act) approval(carrier, consumer string, version int) (Approval, error) {
	s, err := a.signer(carrier, 0)
	if err != nil {
		return Approval{}, err
	}
	if s.Role != request.Carrier {
		return Approval{}, refuse(RoleForbidden, "approvals are the carrier's")
	}
	ap := Approval{Carrier: carrier, Consumer: consumer}
	if _, err := a.get(approvalKey(carrier, consumer), &ap); err != nil {
		return ap, err
	}
	if ap.Version != version {
		return ap, refuse(VersionMismatch, "approval of %s", consumer).With("version", ap.Version)
	}
	return ap, nil
}

func (a *act) saveApproval(ap Approval) ([]byte, error) {
	ap.Version, ap.TxID = ap.Version+1, a.stub.TxID()
	a.put(approvalKey(ap.Carrier, ap.Consumer), ap)
	return a.apply(ap.Consumer)
}

func approvalOf(stub Stub, args [][]byte) (*Approval, error) {
	ids, err := texts(args, 2)
	if err != nil {
		return nil, err
	}
	ap := &Approval{Carrier: ids[0], Consumer: ids[1]}
	_, err = load(stub, approvalKey(ids[0], ids[1]), ap)
	return ap, err
}
