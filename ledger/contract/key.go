package contract

import (
	"encoding/json"
	"time"

	"cardflow/ledger/request"
)

// publishKey adds a key beside those a participant has.
func (c *Identity) publishKey(stub Stub, args [][]byte) ([]byte, error) {
	var b request.PublishKey
	a, err := newAct(stub, request.Identity, "PublishKey", args, &b)
	if err != nil {
		return nil, err
	}
	p, err := a.ownKeyAct(b.Participant, b.Version, "")
	if err != nil {
		return nil, err
	}
	k, err := a.newKey(p.ID, p.Role, b.Key)
	if err != nil {
		return nil, err
	}
	return a.saveParticipant(p, k.ID)
}

// rotateKey replaces a key. The old one keeps standing, so that its signatures can be verified as evidence.
func (c *Identity) rotateKey(stub Stub, args [][]byte) ([]byte, error) {
	var b request.RotateKey
	a, err := newAct(stub, request.Identity, "RotateKey", args, &b)
	if err != nil {
		return nil, err
	}
	p, err := a.ownKeyAct(b.Participant, b.Version, b.OldKey)
	if err != nil {
		return nil, err
	}
	var old Key
	if found, err := load(stub, keyKey(b.OldKey), &old); err != nil {
		return nil, err
	} else if !found || old.Participant != p.ID {
		return nil, refuse(KeyUnknown, "%s has no key %s", p.ID, b.OldKey)
	}
	if old.Status == KeyRevoked || old.Status == KeyRotated {
		return nil, refuse(TransitionForbidden, "key %s is %s", old.ID, old.Status)
	}
	k, err := a.newKey(p.ID, p.Role, b.Key)
	if err != nil {
		return nil, err
	}
	if k.Kind != old.Kind {
		return nil, refuse(BadArguments, "a rotated key keeps its kind")
	}
	if len(old.Functions) > 0 && !subset(k.Functions, old.Functions) {
		return nil, refuse(BadArguments, "a rotated key gains no functions")
	}
	old.Status, old.Version = KeyRotated, old.Version+1
	a.put(keyKey(old.ID), old)
	return a.saveParticipant(p, k.ID)
}

// ownKeyAct loads a participant for an act on his keys and checks who asks: one of his own keys (the one named by
// mustBe, if given), or two administrators where he has lost it.
func (a *act) ownKeyAct(participant string, version int, mustBe string) (Participant, error) {
	signers, err := a.verify(a.req, a.proof.Signatures, 0)
	if err != nil {
		return Participant{}, err
	}
	own := len(signers) == 1 && signers[0].Participant == participant && (mustBe == "" || signers[0].KeyID == mustBe)
	if !own && !twoAdministrators(signers) {
		return Participant{}, refuse(RoleForbidden, "keys of %s", participant)
	}
	var p Participant
	if found, err := load(a.stub, participantKey(participant), &p); err != nil {
		return p, err
	} else if !found {
		return p, refuse(ParticipantUnknown, "%s", participant)
	}
	if p.Version != version {
		return p, refuse(VersionMismatch, "participant %s", participant).With("version", p.Version)
	}
	return p, nil
}

func (a *act) saveParticipant(p Participant, newKey string) ([]byte, error) {
	p.Keys, p.Version = append(p.Keys, newKey), p.Version+1
	a.put(participantKey(p.ID), p)
	return a.apply(p.ID)
}

// moveKey suspends, resumes or revokes. A participant can stop his own key; only the registrar or two administrators
// can let it go on.
func (c *Identity) moveKey(stub Stub, function string, args [][]byte, body request.Body, at *request.KeyAct, to KeyStatus) ([]byte, error) {
	a, err := newAct(stub, request.Identity, function, args, body)
	if err != nil {
		return nil, err
	}
	signers, err := a.verify(a.req, a.proof.Signatures, 0)
	if err != nil {
		return nil, err
	}
	var k Key
	if found, err := load(stub, keyKey(at.Key), &k); err != nil {
		return nil, err
	} else if !found {
		return nil, refuse(KeyUnknown, "%s", at.Key)
	}
	var p Participant
	if found, err := load(stub, participantKey(k.Participant), &p); err != nil {
		return nil, err
	} else if !found {
		return nil, refuse(ParticipantUnknown, "%s", k.Participant)
	}
	self := len(signers) == 1 && signers[0].Participant == p.ID && to != KeyActive
	registrar := len(signers) == 1 && p.Registrar != "" && signers[0].Participant == p.Registrar
	if !self && !registrar && !twoAdministrators(signers) {
		return nil, refuse(RoleForbidden, "%s of a key of %s", function, p.ID)
	}
	if k.Version != at.Version {
		return nil, refuse(VersionMismatch, "key %s", k.ID).With("version", k.Version)
	}
	if !keyMoves(k.Status, to) {
		return nil, refuse(TransitionForbidden, "key %s: %s to %s", k.ID, k.Status, to)
	}
	k.Status, k.Version = to, k.Version+1
	a.put(keyKey(k.ID), k)
	return a.apply(k.ID)
}

// keyMoves is the transition table of a key, RotateKey apart.
func keyMoves(from, to KeyStatus) bool {
	switch to {
	case KeySuspended:
		return from == KeyActive
	case KeyActive:
		return from == KeySuspended
	case KeyRevoked:
		return from == KeyActive || from == KeySuspended || from == KeyRotated
	}
	return false
}

// KeyVersion is a key as one transaction left it.
type KeyVersion struct {
	TxID string    `json:"txId"`
	Time time.Time `json:"time"`
	Key  Key       `json:"key"`
}

// keyHistory answers "was this key valid then": every state of a key, newest first.
func keyHistory(stub Stub, args [][]byte) ([]KeyVersion, error) {
	id, err := texts(args, 1)
	if err != nil {
		return nil, err
	}
	list, err := stub.History(keyKey(id[0]))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, refuse(KeyUnknown, "%s", id[0])
	}
	out := make([]KeyVersion, len(list))
	for i, m := range list {
		out[i] = KeyVersion{TxID: m.TxID, Time: m.Time}
		if err := json.Unmarshal(m.Value, &out[i].Key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func subset(of, all []string) bool {
	if len(of) == 0 {
		return false // an empty list would mean every function
	}
	for _, f := range of {
		found := false
		for _, g := range all {
			found = found || f == g
		}
		if !found {
			return false
		}
	}
	return true
}
