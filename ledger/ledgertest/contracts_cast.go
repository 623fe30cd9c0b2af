package ledgertest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// Actor is a participant and the private key he signs with.
type Actor struct {
	ID     string
	Role   request.Role
	Key    *gm.PrivateKey
	Prefix string     // carriers: of the ICCIDs that they issue
	Rule   iccid.Rule // carriers
}

// WithKey is the same participant signing with another key.
func (a *Actor) WithKey(k *gm.PrivateKey) *Actor {
	b := *a
	b.Key = k
	return &b
}

// Cards are cards of a carrier: runs of numbers under its prefix, each with a first and a last.
func (a *Actor) Cards(bounds ...uint32) iccid.Set {
	body := 20
	if a.Rule == iccid.Luhn {
		body = 19
	}
	var segments []iccid.Segment
	for i := 0; i+1 < len(bounds); i += 2 {
		head := fmt.Sprintf("%s%0*d", a.Prefix, body-7-len(a.Prefix), 0)
		segments = append(segments, iccid.Segment{Head: head, Width: 7, Lo: bounds[i], Hi: bounds[i+1]})
	}
	set, err := iccid.NewSet(a.Rule, segments...)
	if err != nil {
		panic(err)
	}
	return set
}

// Stranger is someone whom the ledger doesn't know, with a fresh name and key.
func (s *Stage) Stranger(role request.Role) *Actor {
	return &Actor{ID: s.Name(string(role)), Role: role, Key: s.GenerateKey()}
}

// GenerateKey makes a key pair.
func (s *Stage) GenerateKey() *gm.PrivateKey {
	k, err := gm.GenerateKey(s.Random)
	if err != nil {
		panic(err)
	}
	return k
}

// Registration is what puts a stranger on the ledger: his key of the kind that fits his role, with its proof of
// possession.
func (s *Stage) Registration(a *Actor) request.Registration {
	return request.Registration{Participant: a.ID, Role: a.Role, Key: s.NewKey(a)}
}

// NewKey is the actor's key as it goes to the ledger.
func (s *Stage) NewKey(a *Actor) request.NewKey {
	k := request.NewKey{Public: a.Key.Public(), Kind: request.DeviceKey}
	switch a.Role {
	case request.Consumer:
		k.Kind = request.AccountKey
	case request.Platform:
		k.Kind = request.PlatformKey
		k.Functions = []string{
			"Register", "RegisterBatch", "PublishKey", "RotateKey", "SuspendKey", "ResumeKey", "RevokeKey", "Anchor", "Ticket",
			"Release", "Freeze", "Unfreeze", "FreezeParticipant", "UnfreezeParticipant", "Offer", "Confirm", "Decline", "Retire",
		}
	default:
		h := sha256.Sum256([]byte("serial of " + a.ID))
		k.SerialHash = hex.EncodeToString(h[:])
	}
	k.Possession = s.sign(a.Key, request.PossessionBytes(s.Ledger.Channel(), a.ID, k.Public))
	return k
}

// Registrars are those who may register a role.
func (s *Stage) Registrars(role request.Role) []*Actor {
	switch role {
	case request.Consumer, request.Retailer, request.Distributor:
		return []*Actor{s.Platform}
	}
	return s.Admins
}

// Join registers a new participant.
func (s *Stage) Join(t T, role request.Role) *Actor {
	t.Helper()
	a := s.Stranger(role)
	s.Must(t, s.Sign(request.Register{Registration: s.Registration(a)}, s.Registrars(role)...))
	return a
}

// Carrier registers a carrier and gives it a prefix of its own.
func (s *Stage) Carrier(t T, rule iccid.Rule) *Actor {
	t.Helper()
	a := s.Join(t, request.Carrier)
	s.names++
	a.Prefix, a.Rule = fmt.Sprintf("8986%06d", s.names), rule
	s.Must(t, s.Sign(request.SetIssuer{Prefix: a.Prefix, Carrier: a.ID, Rule: string(rule)}, s.Admins...))
	return a
}

// SetPolicy sets a policy, whatever it was.
func (s *Stage) SetPolicy(t T, name string, value int64) {
	t.Helper()
	body := request.SetPolicy{Name: name, Value: value}
	for range 100 { // the same value may have been set at this version before
		_, err := s.Submit(s.Sign(body, s.Admins...))
		switch contract.CodeOf(err) {
		case contract.VersionMismatch, contract.AlreadyApplied:
			body.Version++
			continue
		}
		if err != nil {
			t.Fatalf("policy %s: %v", name, err)
		}
		return
	}
	t.Fatalf("policy %s was set too often", name)
}

// Participant is what the ledger knows of an actor.
func (s *Stage) Participant(t T, a *Actor) contract.Participant {
	t.Helper()
	var p contract.Participant
	s.Query(t, &p, request.Identity, "GetParticipant", a.ID)
	return p
}
