package contract

import (
	"encoding/json"
	"fmt"
	"sort"

	"cardflow/iccid"
	"cardflow/ledger/request"
)

// Identity is the identity contract: participants, their keys, who issues which ICCID prefixes, policies, anchors.
//
// State: P/participant, K/key ID, I/prefix, Y/policy, A/stream, Q/request ID (applied), init.
type Identity struct {
	// Deployer is the organisation (MSP ID) that alone may call Init.
	Deployer string
}

var _ Contract = (*Identity)(nil)

// Name is request.Identity.
func (c *Identity) Name() string { return request.Identity }

// Genesis is what Init leaves: the issue key's commitment, for ever.
type Genesis struct {
	IssueKeyCommitment string   `json:"issueKeyCommitment"`
	Administrators     []string `json:"administrators"`
	TxID               string   `json:"txId"`
}

// Issuer says which carrier issues cards under a prefix, and how they are numbered.
type Issuer struct {
	Prefix  string `json:"prefix"`
	Carrier string `json:"carrier"` // participant
	Rule    string `json:"rule"`
	Version int    `json:"version"`
}

// PolicyRecord is a policy that someone has set.
type PolicyRecord struct {
	Name    string `json:"name"`
	Value   int64  `json:"value"`
	Version int    `json:"version"`
}

// AnchorRecord is the newest anchor of a stream.
type AnchorRecord struct {
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
	Digest   string `json:"digest"`
	TxID     string `json:"txId"`
	Time     int64  `json:"time"` // ms
}

// Invoke runs a function of the identity contract.
func (c *Identity) Invoke(stub Stub, function string, args [][]byte) ([]byte, error) {
	switch function {
	case "Init":
		return c.init(stub, args)
	case "Register":
		var b request.Register
		return c.register(stub, function, args, &b, func() []request.Registration { return []request.Registration{b.Registration} })
	case "RegisterBatch":
		var b request.RegisterBatch
		return c.register(stub, function, args, &b, func() []request.Registration { return b.Items })
	case "PublishKey":
		return c.publishKey(stub, args)
	case "RotateKey":
		return c.rotateKey(stub, args)
	case "SuspendKey":
		var b request.SuspendKey
		return c.moveKey(stub, function, args, &b, &b.KeyAct, KeySuspended)
	case "ResumeKey":
		var b request.ResumeKey
		return c.moveKey(stub, function, args, &b, &b.KeyAct, KeyActive)
	case "RevokeKey":
		var b request.RevokeKey
		return c.moveKey(stub, function, args, &b, &b.KeyAct, KeyRevoked)
	case "SetIssuer":
		return c.setIssuer(stub, args)
	case "SetPolicy":
		return c.setPolicy(stub, args)
	case "Anchor":
		return c.anchor(stub, args)
	case "Verify":
		return answer(c.verifyFor(stub, args))
	case "GetParticipant":
		return answer(one[Participant](stub, args, participantKey, ParticipantUnknown))
	case "GetKey":
		return answer(one[Key](stub, args, keyKey, KeyUnknown))
	case "KeyHistory":
		return answer(keyHistory(stub, args))
	case "GetIssuer":
		return answer(issuerOf(stub, args))
	case "GetPolicy":
		names, err := texts(args, 1)
		if err != nil {
			return nil, err
		}
		return answer(policy(stub, names[0]))
	case "GetAnchor":
		return answer(one[AnchorRecord](stub, args, anchorKey, SequencePassed))
	case "GetGenesis":
		g, err := genesis(stub)
		return answer(g, err)
	}
	return nil, refuse(UnknownFunction, "identity has no function %q", function)
}

const genesisKey = "init"

func issuerKey(prefix string) string { return "I/" + prefix }
func policyKey(name string) string   { return "Y/" + name }
func anchorKey(stream string) string { return "A/" + stream }

// one answers a query for a single record by its name.
func one[T any](stub Stub, args [][]byte, key func(string) string, missing string) (*T, error) {
	names, err := texts(args, 1)
	if err != nil {
		return nil, err
	}
	v := new(T)
	found, err := load(stub, key(names[0]), v)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, refuse(missing, "%s", names[0])
	}
	return v, nil
}

func genesis(stub Stub) (Genesis, error) {
	var g Genesis
	found, err := load(stub, genesisKey, &g)
	if err == nil && !found {
		err = refuse(NotInitialised, "Init has not been called")
	}
	return g, err
}

// init is open to the pinned organisation only, and once: an organisation that could call it again could name
// administrators of its own.
func (c *Identity) init(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Init
	a, err := newAct(stub, request.Identity, "Init", args, &b)
	if err != nil {
		return nil, err
	}
	if stub.Creator() != c.Deployer {
		return nil, refuse(WrongOrganisation, "Init is for %s", c.Deployer)
	}
	if found, err := load(stub, genesisKey, &Genesis{}); err != nil {
		return nil, err
	} else if found {
		return nil, refuse(AlreadyInitialised, "Init was called before")
	}
	if len(b.Administrators) < 2 || len(b.Administrators) > 16 || !isHex(b.IssueKeyCommitment, 64) {
		return nil, refuse(BadArguments, "Init takes 2 to 16 administrators and the commitment of the issue key")
	}
	g := Genesis{IssueKeyCommitment: b.IssueKeyCommitment, TxID: stub.TxID()}
	for _, r := range b.Administrators {
		if r.Role != request.Administrator {
			return nil, refuse(RoleForbidden, "Init registers administrators")
		}
		if err := a.addParticipant(r, ""); err != nil {
			return nil, err
		}
		g.Administrators = append(g.Administrators, r.Participant)
	}
	a.put(genesisKey, g)
	return a.apply(g.Administrators...)
}

// addParticipant checks and stages one participant with his first key.
func (a *act) addParticipant(r request.Registration, registrar string) error {
	if !participantID.MatchString(r.Participant) {
		return refuse(BadArguments, "participant ID")
	}
	var p Participant
	if found, err := a.get(participantKey(r.Participant), &p); err != nil {
		return err
	} else if found {
		return refuse(ParticipantExists, "%s", r.Participant)
	}
	k, err := a.newKey(r.Participant, r.Role, r.Key)
	if err != nil {
		return err
	}
	a.put(participantKey(r.Participant), Participant{
		ID: r.Participant, Role: r.Role, Registrar: registrar, Keys: []string{k.ID}, Version: 1, TxID: a.stub.TxID(), Time: a.now,
	})
	return nil
}

// register: the platform may add consumers, retailers and distributors; whoever makes or watches cards needs two
// administrators.
func (c *Identity) register(stub Stub, function string, args [][]byte, body request.Body, items func() []request.Registration) ([]byte, error) {
	a, err := newAct(stub, request.Identity, function, args, body)
	if err != nil {
		return nil, err
	}
	list := items()
	if len(list) == 0 || len(list) > request.MaxBatch {
		return nil, refuse(BadArguments, "1 to %d registrations", request.MaxBatch)
	}
	signers, err := a.verify(a.req, a.proof.Signatures, 0)
	if err != nil {
		return nil, err
	}
	registrar := ""
	if !twoAdministrators(signers) {
		if len(signers) != 1 || signers[0].Role != request.Platform {
			return nil, refuse(RoleForbidden, "registration is for the platform or two administrators")
		}
		registrar = signers[0].Participant
	}
	var subjects []string
	for _, r := range list {
		switch r.Role {
		case request.Consumer, request.Retailer, request.Distributor:
		case request.Carrier, request.Regulator, request.Platform:
			if registrar != "" {
				return nil, refuse(RoleForbidden, "a %s is registered by two administrators", r.Role)
			}
		default:
			return nil, refuse(RoleForbidden, "role %q is not registered", r.Role)
		}
		if err := a.addParticipant(r, registrar); err != nil {
			return nil, err
		}
		subjects = append(subjects, r.Participant)
	}
	return a.apply(subjects...)
}

func (c *Identity) setIssuer(stub Stub, args [][]byte) ([]byte, error) {
	var b request.SetIssuer
	a, err := newAct(stub, request.Identity, "SetIssuer", args, &b)
	if err != nil {
		return nil, err
	}
	if err := a.byAdministrators(); err != nil {
		return nil, err
	}
	if rule := iccid.Rule(b.Rule); rule != iccid.Serial && rule != iccid.Luhn {
		return nil, refuse(BadArguments, "numbering rule %q", b.Rule)
	}
	if len(b.Prefix) < minPrefix || len(b.Prefix) > maxPrefix || !isUpperHex(b.Prefix) {
		return nil, refuse(BadArguments, "prefix")
	}
	var p Participant
	if found, err := load(stub, participantKey(b.Carrier), &p); err != nil {
		return nil, err
	} else if !found || p.Role != request.Carrier {
		return nil, refuse(ParticipantUnknown, "no carrier %s", b.Carrier)
	}
	var old Issuer
	if _, err := load(stub, issuerKey(b.Prefix), &old); err != nil {
		return nil, err
	}
	if old.Version != b.Version {
		return nil, refuse(VersionMismatch, "prefix %s", b.Prefix).With("version", old.Version)
	}
	if err := sameRule(stub, b.Prefix, b.Rule); err != nil {
		return nil, err
	}
	a.put(issuerKey(b.Prefix), Issuer{b.Prefix, b.Carrier, b.Rule, b.Version + 1})
	return a.apply(b.Prefix)
}

// sameRule refuses another numbering rule than that of a prefix that shares cards with this one: the same, one around it,
// or one inside it. Lots are hashed under a rule and blocks are marked under it, so the cards could be issued again.
func sameRule(stub Stub, prefix, rule string) error {
	for n := minPrefix; n <= len(prefix); n++ {
		var i Issuer
		if found, err := load(stub, issuerKey(prefix[:n]), &i); err != nil {
			return err
		} else if found && i.Rule != rule {
			return refuse(TransitionForbidden, "the numbering rule of prefix %s is for ever", i.Prefix)
		}
	}
	for kv, err := range stub.Range(issuerKey(prefix), issuerKey(prefix)+"~") {
		if err != nil {
			return err
		}
		var i Issuer
		if err := json.Unmarshal(kv.Value, &i); err != nil {
			return fmt.Errorf("record %q: %w", kv.Key, err)
		}
		if i.Rule != rule {
			return refuse(TransitionForbidden, "the numbering rule of prefix %s is for ever", i.Prefix)
		}
	}
	return nil
}

// Prefixes of ICCIDs that can be given to a carrier: 89 + country + issuer, at least.
const (
	minPrefix = 5
	maxPrefix = 10
)

// issuerOf answers who issues a card: the longest prefix wins.
func issuerOf(stub Stub, args [][]byte) (*Issuer, error) {
	id, err := texts(args, 1)
	if err != nil {
		return nil, err
	}
	for n := min(maxPrefix, len(id[0])); n >= minPrefix; n-- {
		var i Issuer
		if found, err := load(stub, issuerKey(id[0][:n]), &i); err != nil {
			return nil, err
		} else if found {
			return &i, nil
		}
	}
	return nil, refuse(IssuerUnknown, "no carrier holds this prefix")
}

func (c *Identity) setPolicy(stub Stub, args [][]byte) ([]byte, error) {
	var b request.SetPolicy
	a, err := newAct(stub, request.Identity, "SetPolicy", args, &b)
	if err != nil {
		return nil, err
	}
	if err := a.byAdministrators(); err != nil {
		return nil, err
	}
	if _, ok := request.Policies[b.Name]; !ok {
		return nil, refuse(PolicyUnknown, "policy %q", b.Name)
	}
	if b.Value < 0 || b.Value > maxPolicy || b.Name == request.PolicyNotAfterMax && b.Value < minNotAfter {
		return nil, refuse(BadArguments, "policy %s out of bounds", b.Name)
	}
	var old PolicyRecord
	if _, err := load(stub, policyKey(b.Name), &old); err != nil {
		return nil, err
	}
	if old.Version != b.Version {
		return nil, refuse(VersionMismatch, "policy %s", b.Name).With("version", old.Version)
	}
	a.put(policyKey(b.Name), PolicyRecord{b.Name, b.Value, b.Version + 1})
	return a.apply(b.Name)
}

const (
	// maxPolicy keeps sums of times with a policy from overflowing, also in days (8.64e18 ms): three years, in ms.
	maxPolicy = 100_000_000_000
	// minNotAfter, ten minutes, leaves administrators the time to sign what would undo their mistake.
	minNotAfter = 10 * 60 * 1000
)

// policy is the value of a policy: as set, else its default.
func policy(stub Stub, name string) (int64, error) {
	value, ok := request.Policies[name]
	if !ok {
		return 0, refuse(PolicyUnknown, "policy %q", name)
	}
	var r PolicyRecord
	found, err := load(stub, policyKey(name), &r)
	if found {
		value = r.Value
	}
	return value, err
}

func (c *Identity) anchor(stub Stub, args [][]byte) ([]byte, error) {
	var b request.Anchor
	a, err := newAct(stub, request.Identity, "Anchor", args, &b)
	if err != nil {
		return nil, err
	}
	signers, err := a.verify(a.req, a.proof.Signatures, 0)
	if err != nil {
		return nil, err
	}
	if len(signers) != 1 || signers[0].Role != request.Platform {
		return nil, refuse(RoleForbidden, "anchors are the platform's")
	}
	if !participantID.MatchString(b.Stream) || !isHex(b.Digest, 64) {
		return nil, refuse(BadArguments, "stream or digest")
	}
	var old AnchorRecord
	if found, err := load(stub, anchorKey(b.Stream), &old); err != nil {
		return nil, err
	} else if found && b.Sequence <= old.Sequence {
		return nil, refuse(SequencePassed, "stream %s is at %d", b.Stream, old.Sequence).With("sequence", old.Sequence)
	}
	a.put(anchorKey(b.Stream), AnchorRecord{b.Stream, b.Sequence, b.Digest, stub.TxID(), a.now})
	return a.apply(b.Stream)
}

func (a *act) byAdministrators() error {
	signers, err := a.verify(a.req, a.proof.Signatures, 0)
	if err != nil {
		return err
	}
	if !twoAdministrators(signers) {
		return refuse(RoleForbidden, "%s is for two administrators", a.req.Function)
	}
	return nil
}

func isUpperHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// sorted returns the elements in order, each once.
func sorted(in []string) []string {
	out := append([]string(nil), in...)
	sort.Strings(out)
	n := 0
	for i, s := range out {
		if i == 0 || s != out[n-1] {
			out[n] = s
			n++
		}
	}
	return out[:n]
}
