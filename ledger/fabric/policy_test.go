package fabric

import (
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/msp"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/third_party/github.com/hyperledger/fabric/common/policydsl"
)

// letters turn "CP" into the organisations of an endorsement.
func letters(s string) (msps []string) {
	for _, c := range s {
		msps = append(msps, map[rune]string{'C': "CarrierMSP", 'P': "PlatformMSP", 'R': "RegulatorMSP", 'X': "OtherMSP"}[c])
	}
	return msps
}

func TestSignaturePolicies(t *testing.T) {
	for policy, c := range map[string]struct{ yes, no string }{
		"AND('CarrierMSP.peer', OR('PlatformMSP.peer','RegulatorMSP.peer'))":                                               {"CP CR RC CPR PXC", "C P PR CX CC -"},
		"AND('CarrierMSP.peer','PlatformMSP.peer','RegulatorMSP.peer')":                                                    {"CPR RPC", "CP CR PR CPP"},
		"OutOf(2,'CarrierMSP.peer','PlatformMSP.peer','RegulatorMSP.peer')":                                                {"CP CR PR CPR", "C P CC"},
		"OutOf(2,'CarrierMSP.peer','CarrierMSP.peer')":                                                                     {"CC CCP", "C CP"},
		"OR('CarrierMSP.member','PlatformMSP.admin')":                                                                      {"C CP", "P R"},
		"OR('PlatformMSP.client', AND('CarrierMSP.peer', OutOf(1,'PlatformMSP.peer','RegulatorMSP.peer')))":                {"CP CR", "P C"},
		"OutOf(2, AND('CarrierMSP.peer','PlatformMSP.peer'), AND('CarrierMSP.peer','RegulatorMSP.peer'), 'OtherMSP.peer')": {"CCPR CPX", "CPR"},
	} {
		envelope, err := policydsl.FromString(policy)
		if err != nil {
			t.Fatal(err)
		}
		text := marshal(t, &pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}})
		r, err := applicationRule(text, nil)
		if err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
		for _, each := range strings.Fields(c.yes) {
			if !r(letters(each)) {
				t.Errorf("%s: %s does not satisfy it", policy, each)
			}
		}
		for _, each := range strings.Fields(c.no) {
			if r(letters(strings.Trim(each, "-"))) {
				t.Errorf("%s: %s satisfies it", policy, each)
			}
		}
	}
}

func TestChannelPolicies(t *testing.T) {
	peerOf := func(id string) *common.ConfigPolicy {
		envelope, err := policydsl.FromString("OR('" + id + ".peer')")
		if err != nil {
			t.Fatal(err)
		}
		return &common.ConfigPolicy{Policy: &common.Policy{Type: int32(common.Policy_SIGNATURE), Value: marshal(t, envelope)}}
	}
	meta := func(rule common.ImplicitMetaPolicy_Rule) *common.ConfigPolicy {
		return &common.ConfigPolicy{Policy: &common.Policy{
			Type: int32(common.Policy_IMPLICIT_META), Value: marshal(t, &common.ImplicitMetaPolicy{SubPolicy: "Endorsement", Rule: rule}),
		}}
	}
	application := &common.ConfigGroup{
		Groups: map[string]*common.ConfigGroup{"no policy": {}},
		Policies: map[string]*common.ConfigPolicy{
			"Endorsement": meta(common.ImplicitMetaPolicy_MAJORITY), "All": meta(common.ImplicitMetaPolicy_ALL), "Any": meta(common.ImplicitMetaPolicy_ANY),
			"Odd": {Policy: &common.Policy{Type: int32(common.Policy_MSP)}}, "Broken": {Policy: &common.Policy{Type: int32(common.Policy_SIGNATURE), Value: []byte{0xff}}},
		},
	}
	for _, id := range []string{"CarrierMSP", "PlatformMSP", "RegulatorMSP"} {
		application.Groups[id] = &common.ConfigGroup{Policies: map[string]*common.ConfigPolicy{"Endorsement": peerOf(id)}}
	}
	root := &common.ConfigGroup{Groups: map[string]*common.ConfigGroup{"Application": application}}
	read := func(path string) (rule, error) {
		text := marshal(t, &pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: path}})
		return applicationRule(text, func() (*common.ConfigGroup, error) { return root, nil })
	}
	for path, c := range map[string]struct{ yes, no string }{
		"/Channel/Application/Endorsement":            {"CPR", "CP C -"}, // three of four, one of which has no policy
		"Application/Endorsement":                     {"CPR", "CP"},
		"/Channel/Application/Any":                    {"C P R CP", "X -"},
		"/Channel/Application/All":                    {"", "CPR"}, // the fourth can't be satisfied
		"/Channel/Application/CarrierMSP/Endorsement": {"C CP", "P"},
	} {
		r, err := read(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, each := range strings.Fields(c.yes) {
			if !r(letters(each)) {
				t.Errorf("%s: %s does not satisfy it", path, each)
			}
		}
		for _, each := range strings.Fields(c.no) {
			if r(letters(strings.Trim(each, "-"))) {
				t.Errorf("%s: %s satisfies it", path, each)
			}
		}
	}
	for _, path := range []string{"", "/Channel/Application/None", "/Channel/Nowhere/Endorsement", "/Channel/Application/Odd", "/Channel/Application/Broken"} {
		if _, err := read(path); err == nil {
			t.Errorf("%q was read", path)
		}
	}
}

func TestPoliciesThatMakeNoSense(t *testing.T) {
	for name, text := range map[string][]byte{
		"nothing": nil, "no protobuf": {0xff}, "no rule": marshal(t, &pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_SignaturePolicy{}}),
	} {
		if _, err := applicationRule(text, nil); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	r, err := signatureRule(&common.SignaturePolicyEnvelope{
		Rule:       &common.SignaturePolicy{Type: &common.SignaturePolicy_SignedBy{SignedBy: 7}},
		Identities: []*msp.MSPPrincipal{{PrincipalClassification: msp.MSPPrincipal_IDENTITY, Principal: []byte("someone")}},
	})
	if err != nil || r(letters("CPR")) {
		t.Errorf("a signer who isn't in the list: %v", err)
	}
}

func TestSmallest(t *testing.T) {
	var all []*peer
	for _, name := range []string{"a", "b", "c", "d"} {
		all = append(all, &peer{name: name})
	}
	names := func(set []*peer) (s string) {
		for _, p := range set {
			s += p.name
		}
		return s
	}
	for _, c := range []struct {
		holds func(string) bool
		want  string
	}{
		{func(s string) bool { return true }, "a"},
		{func(s string) bool { return strings.Contains(s, "c") }, "c"},
		{func(s string) bool { return strings.Contains(s, "b") && strings.ContainsAny(s, "cd") }, "bc"},
		{func(s string) bool { return len(s) == 4 }, "abcd"},
		{func(s string) bool { return false }, ""},
	} {
		if got := names(smallest(all, func(set []*peer) bool { return c.holds(names(set)) })); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if smallest(nil, func([]*peer) bool { return true }) != nil {
		t.Error("of nobody there is a set")
	}
}
