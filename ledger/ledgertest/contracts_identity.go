package ledgertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

var identityScenes = []scene{
	{"init is once", false, initOnce},
	{"who may be registered by whom", false, registration},
	{"keys that are refused", false, keysRefused},
	{"batches", false, batch},
	{"publish and rotate", false, publishAndRotate},
	{"suspend, resume, revoke", false, keyStates},
	{"a key with few functions", false, keyFunctions},
	{"a key whose time is over", true, keyExpires},
	{"key history", false, keyHistory},
	{"issuers", false, issuers},
	{"policies", false, policies},
	{"deadlines follow the policy", false, deadlinePolicy},
	{"anchors", false, anchors},
	{"queries", false, identityQueries},
	{"verify as a call", false, verifyCall},
}

func initOnce(t *testing.T, s *Stage) {
	a, b := s.Stranger(request.Administrator), s.Stranger(request.Administrator)
	again := request.Init{
		Administrators:     []request.Registration{s.Registration(a), s.Registration(b)},
		IssueKeyCommitment: request.IssueKeyCommitment([]byte("mine")),
	}
	s.Refused(t, contract.AlreadyInitialised, s.Sign(again))
	s.Refused(t, contract.AlreadyInitialised, s.Sign(again, s.Admins...))
	var g contract.Genesis
	s.Query(t, &g, request.Identity, "GetGenesis")
	if g.IssueKeyCommitment != request.IssueKeyCommitment(s.IssueKey) || len(g.Administrators) != 2 {
		t.Errorf("genesis %+v", g)
	}
}

func registration(t *testing.T, s *Stage) {
	shop := s.Join(t, request.Retailer)
	admins, platform := s.Admins, []*Actor{s.Platform}
	for _, c := range []struct {
		role request.Role
		by   []*Actor
		code string
	}{
		{request.Consumer, platform, ""},
		{request.Retailer, platform, ""},
		{request.Distributor, platform, ""},
		{request.Consumer, admins, ""},
		{request.Carrier, admins, ""},
		{request.Regulator, admins, ""},
		{request.Platform, admins, ""},
		{request.Carrier, platform, contract.RoleForbidden},
		{request.Regulator, platform, contract.RoleForbidden},
		{request.Platform, platform, contract.RoleForbidden},
		{request.Administrator, admins, contract.RoleForbidden},
		{request.Administrator, platform, contract.RoleForbidden},
		{"emperor", admins, contract.RoleForbidden},
		{request.Consumer, []*Actor{shop}, contract.RoleForbidden},
		{request.Consumer, []*Actor{s.Regulator}, contract.RoleForbidden},
		{request.Consumer, admins[:1], contract.RoleForbidden},
		{request.Carrier, []*Actor{admins[0], s.Platform}, contract.RoleForbidden},
		{request.Carrier, []*Actor{admins[0], admins[0]}, contract.SignatureMissing},
	} {
		a := s.Stranger(c.role)
		signed := s.Sign(request.Register{Registration: s.Registration(a)}, c.by...)
		if c.code != "" {
			s.Refused(t, c.code, signed)
			continue
		}
		s.Must(t, signed)
		p := s.Participant(t, a)
		registrar := ""
		if len(c.by) == 1 {
			registrar = c.by[0].ID
		}
		if p.Role != c.role || p.Registrar != registrar || len(p.Keys) != 1 || p.Keys[0] != a.Key.Public().KeyID() || p.Version != 1 {
			t.Errorf("registered as %+v", p)
		}
	}
	for _, id := range []string{"", "ab", "UPPER", "with space", "张三三", "a/b/c", "a\x00bc", "-abc", "abc\n", strings.Repeat("a", 64)} {
		a := s.Stranger(request.Consumer)
		a.ID = id
		s.Refused(t, contract.BadArguments, s.Sign(request.Register{Registration: s.Registration(a)}, s.Platform))
	}
	again := shop.WithKey(s.GenerateKey())
	s.Refused(t, contract.ParticipantExists, s.Sign(request.Register{Registration: s.Registration(again)}, s.Platform))
}

func batch(t *testing.T, s *Stage) {
	people := make([]*Actor, 20)
	items := make([]request.Registration, len(people))
	for i := range people {
		people[i] = s.Stranger(request.Consumer)
		items[i] = s.Registration(people[i])
	}
	try := func(code string, items ...request.Registration) {
		t.Helper()
		s.Refused(t, code, s.Sign(request.RegisterBatch{Items: items}, s.Platform))
	}
	sameKey := s.Registration(&Actor{ID: s.Name("batch"), Role: request.Consumer, Key: people[0].Key})
	try(contract.KeyExists, items[0], sameKey)
	try(contract.ParticipantExists, items[0], items[1], items[0])
	try(contract.RoleForbidden, items[0], s.Registration(s.Stranger(request.Carrier)))
	try(contract.BadArguments)
	many := slices.Repeat(items, request.MaxBatch/len(items))
	try(contract.ParticipantExists, many...) // which is not too many
	try(contract.BadArguments, append(many, items[0])...)
	s.QueryRefused(t, contract.ParticipantUnknown, request.Identity, "GetParticipant", people[0].ID) // all or none
	s.Must(t, s.Sign(request.RegisterBatch{Items: items}, s.Platform))
	for _, p := range people {
		if got := s.Participant(t, p); got.Registrar != s.Platform.ID {
			t.Errorf("registered as %+v", got)
		}
	}
}

func issuers(t *testing.T, s *Stage) {
	a, b, shop := s.Carrier(t, iccid.Serial), s.Carrier(t, iccid.Luhn), s.Join(t, request.Retailer)
	set := func(prefix string, carrier *Actor, rule string, version int) Signed {
		return s.Sign(request.SetIssuer{Prefix: prefix, Carrier: carrier.ID, Rule: rule, Version: version}, s.Admins...)
	}
	serial, luhn := string(iccid.Serial), string(iccid.Luhn)
	for _, prefix := range []string{"", "8986", "89860012345", "8986x", "8986a", "89 86"} {
		s.Refused(t, contract.BadArguments, set(prefix, a, serial, 0))
	}
	s.Refused(t, contract.BadArguments, set("898699", a, "ROMAN", 0))
	s.Refused(t, contract.ParticipantUnknown, set("898699", shop, serial, 0))
	s.Refused(t, contract.ParticipantUnknown, set("898699", s.Stranger(request.Carrier), serial, 0))
	s.Refused(t, contract.RoleForbidden, s.Sign(request.SetIssuer{Prefix: "898699", Carrier: a.ID, Rule: serial}, a))
	if got := s.Refused(t, contract.VersionMismatch, set(a.Prefix, a, serial, 2)); got.Details["version"] != 1.0 {
		t.Errorf("version %v", got.Details)
	}
	// Another numbering rule would let cards be issued again, under the same prefix, one inside it or one around it.
	s.Refused(t, contract.TransitionForbidden, set(a.Prefix, a, luhn, 1))
	s.Must(t, set("8986A5", a, serial, 0))
	s.Refused(t, contract.TransitionForbidden, set("8986A51", b, luhn, 0))
	s.Refused(t, contract.TransitionForbidden, set("8986A", b, luhn, 0))
	s.Must(t, set("8986A51", b, serial, 0))
	s.Must(t, set("8986A6", b, luhn, 0)) // a neighbour

	var i contract.Issuer
	for card, carrier := range map[string]*Actor{"8986A500000000000000": a, "8986A510000000000000": b, "8986A60": b} {
		s.Query(t, &i, request.Identity, "GetIssuer", card)
		if i.Carrier != carrier.ID {
			t.Errorf("%s is issued by %+v", card, i)
		}
	}
	for _, card := range []string{"8944000000000000000", "89", "号码号码号码"} {
		_, err := s.ask(request.Identity, "GetIssuer", []string{card})
		if code := contract.CodeOf(err); code != contract.IssuerUnknown && code != contract.BadArguments {
			t.Errorf("%q: %v", card, err)
		}
	}
	s.QueryRefused(t, contract.IssuerUnknown, request.Identity, "GetIssuer", "8944000000000000000")

	// The prefix changes hands: who has lost it issues nothing more.
	s.Must(t, set(a.Prefix, b, serial, 1))
	s.Refused(t, contract.RoleForbidden, s.Issue(a, s.Lot(a.Cards(0, 9)), request.Open))
}

func policies(t *testing.T, s *Stage) {
	get := func(name string) (value int64) {
		t.Helper()
		s.Query(t, &value, request.Identity, "GetPolicy", name)
		return value
	}
	for name, standard := range request.Policies {
		if got := get(name); got != standard {
			t.Errorf("%s is %d before it was set, want %d", name, got, standard)
		}
	}
	set := request.SetPolicy{Name: request.PolicyReturnDays, Value: 7}
	s.QueryRefused(t, contract.PolicyUnknown, request.Identity, "GetPolicy", "tax")
	s.Refused(t, contract.PolicyUnknown, s.Sign(request.SetPolicy{Name: "tax", Value: 1}, s.Admins...))
	s.Refused(t, contract.RoleForbidden, s.Sign(set, s.Regulator))
	s.Refused(t, contract.BadArguments, s.Sign(request.SetPolicy{Name: set.Name, Value: -1}, s.Admins...))
	// Sums with it would overflow, and every deadline be too far.
	s.Refused(t, contract.BadArguments, s.Sign(request.SetPolicy{Name: request.PolicyNotAfterMax, Value: 1<<63 - 1}, s.Admins...))
	// No signature would live long enough to set it again.
	s.Refused(t, contract.BadArguments, s.Sign(request.SetPolicy{Name: request.PolicyNotAfterMax}, s.Admins...))
	s.Refused(t, contract.VersionMismatch, s.Sign(request.SetPolicy{Name: set.Name, Value: 3, Version: 1}, s.Admins...))
	s.Must(t, s.Sign(set, s.Admins...))
	set.Value, set.Version = 8, 1
	s.Must(t, s.Sign(set, s.Admins...))
	set.Value, set.Version = 7, 2
	s.Must(t, s.Sign(set, s.Admins...))
	if get(set.Name) != 7 {
		t.Error("the policy was not set")
	}
}

// deadlinePolicy: a trade's life may be longer than the policy, then its confirmation may wait as long.
func deadlinePolicy(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	l := s.Stock(t, c, c.Cards(0, 9))
	trade := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}, Expires: 20 * 24 * time.Hour})[0]
	signed := s.Confirm(trade, shop)
	sign := func(notAfter time.Time) Signed {
		c := signed
		c.Proof.Signatures = []request.Signature{s.Signature(signed.Request, shop, notAfter)}
		return c
	}
	s.Refused(t, contract.NotAfterTooFar, sign(trade.Expires.Add(time.Millisecond)))
	s.Must(t, sign(trade.Expires))
}

func anchors(t *testing.T, s *Stage) {
	at := func(sequence uint64) request.Anchor {
		return request.Anchor{Stream: "chain-of-audit", Sequence: sequence, Digest: Commitment(fmt.Sprint(sequence))}
	}
	s.Refused(t, contract.RoleForbidden, s.Sign(at(1), s.Regulator))
	s.Refused(t, contract.RoleForbidden, s.Sign(at(1), s.Admins...))
	for _, bad := range []request.Anchor{{Stream: "x", Digest: Commitment("")}, {Stream: "audit-2", Digest: "ABC"}} {
		s.Refused(t, contract.BadArguments, s.Sign(bad, s.Platform))
	}
	s.QueryRefused(t, contract.SequencePassed, request.Identity, "GetAnchor", "chain-of-audit")
	s.Must(t, s.Sign(at(5), s.Platform))
	for _, n := range []uint64{0, 4} {
		if got := s.Refused(t, contract.SequencePassed, s.Sign(at(n), s.Platform)); got.Details["sequence"] != 5.0 {
			t.Errorf("sequence %v", got.Details)
		}
	}
	fork := at(5)
	fork.Digest = Commitment("fork")
	s.Refused(t, contract.SequencePassed, s.Sign(fork, s.Platform))
	s.Must(t, s.Sign(at(6), s.Platform))
	var a contract.AnchorRecord
	s.Query(t, &a, request.Identity, "GetAnchor", "chain-of-audit")
	if a.Sequence != 6 || a.Digest != Commitment("6") {
		t.Errorf("anchor %+v", a)
	}
}

func identityQueries(t *testing.T, s *Stage) {
	s.QueryRefused(t, contract.UnknownFunction, request.Identity, "Nothing")
	s.QueryRefused(t, contract.ParticipantUnknown, request.Identity, "GetParticipant", "nobody")
	s.QueryRefused(t, contract.KeyUnknown, request.Identity, "GetKey", "none")
	for _, args := range [][]string{{}, {""}, {"a", "b"}, {strings.Repeat("a", 129)}, {"a\x00b"}, {"\xff"}} {
		for _, function := range []string{"GetParticipant", "GetKey", "KeyHistory", "GetIssuer", "GetPolicy", "GetAnchor"} {
			s.QueryRefused(t, contract.BadArguments, request.Identity, function, args...)
		}
	}
	var k contract.Key
	s.Query(t, &k, request.Identity, "GetKey", s.Platform.Key.Public().KeyID())
	if k.Participant != s.Platform.ID || k.Public != s.Platform.Key.Public() || k.Kind != request.PlatformKey {
		t.Errorf("key %+v", k)
	}
}

// verifyCall asks identity what another contract asks it.
func verifyCall(t *testing.T, s *Stage) {
	c := s.Sign(request.Cancel{Trade: "x"}, s.Regulator, s.Platform)
	signatures := func(list string) []string {
		return []string{c.Request.Contract, c.Request.Function, string(c.Request.Args), list, "0"}
	}
	for _, args := range [][]string{{}, {"a"}, signatures("x"), signatures("[{},{},{}]"), append(signatures("[]")[:4], "soon")} {
		s.QueryRefused(t, contract.BadArguments, request.Identity, "Verify", args...)
	}
	s.QueryRefused(t, contract.SignatureMissing, request.Identity, "Verify", signatures("[]")...)
	// The platform's key of this stage does not sign Cancel.
	proof := c.Proof.Encode()
	list := string(proof[len(`{"signatures":`) : len(proof)-1])
	s.QueryRefused(t, contract.KeyFunction, request.Identity, "Verify", signatures(list)...)
	only := request.Proof{Signatures: c.Proof.Signatures[:1]}.Encode()
	var signers []contract.Signer
	s.Query(t, &signers, request.Identity, "Verify", signatures(string(only[len(`{"signatures":`):len(only)-1]))...)
	if len(signers) != 1 || signers[0].Participant != s.Regulator.ID || signers[0].Role != request.Regulator || len(signers[0].Device()) != 64 {
		t.Errorf("signers %+v", signers)
	}
}
