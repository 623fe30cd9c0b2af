package fabric

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/msp"
	pb "github.com/hyperledger/fabric-protos-go/peer"
)

// rule is an endorsement policy: whether peers of these organisations, one for each, satisfy it together.
type rule func(msps []string) bool

// applicationRule reads the policy of a contract's definition. Config gives the channel's configuration, for a policy that
// refers to one in there.
func applicationRule(text []byte, config func() (*common.ConfigGroup, error)) (rule, error) {
	var policy pb.ApplicationPolicy
	if err := proto.Unmarshal(text, &policy); err != nil {
		return nil, fmt.Errorf("endorsement policy: %w", err)
	}
	switch p := policy.Type.(type) {
	case *pb.ApplicationPolicy_SignaturePolicy:
		return signatureRule(p.SignaturePolicy)
	case *pb.ApplicationPolicy_ChannelConfigPolicyReference:
		root, err := config()
		if err != nil {
			return nil, err
		}
		return configRule(root, p.ChannelConfigPolicyReference)
	}
	return nil, fmt.Errorf("endorsement policy: it is a %T", policy.Type)
}

// configRule reads a policy of the channel's configuration, by its path.
func configRule(root *common.ConfigGroup, path string) (rule, error) {
	parts := strings.Split(strings.TrimPrefix(path, "/Channel/"), "/")
	group := root
	for _, name := range parts[:len(parts)-1] {
		if group = group.GetGroups()[name]; group == nil {
			return nil, fmt.Errorf("endorsement policy %s: there is no group %s", path, name)
		}
	}
	return groupRule(group, parts[len(parts)-1])
}

func groupRule(group *common.ConfigGroup, name string) (rule, error) {
	policy := group.GetPolicies()[name].GetPolicy()
	switch common.Policy_PolicyType(policy.GetType()) {
	case common.Policy_SIGNATURE:
		var envelope common.SignaturePolicyEnvelope
		if err := proto.Unmarshal(policy.Value, &envelope); err != nil {
			return nil, fmt.Errorf("endorsement policy %s: %w", name, err)
		}
		return signatureRule(&envelope)
	case common.Policy_IMPLICIT_META:
		var meta common.ImplicitMetaPolicy
		if err := proto.Unmarshal(policy.Value, &meta); err != nil {
			return nil, fmt.Errorf("endorsement policy %s: %w", name, err)
		}
		return metaRule(group, &meta)
	}
	return nil, fmt.Errorf("endorsement policy %s: there is none of that name that endorsements can satisfy", name)
}

// metaRule wants any, all or most of the groups within to be satisfied, each by its own policy of the name.
func metaRule(group *common.ConfigGroup, meta *common.ImplicitMetaPolicy) (rule, error) {
	var subs []rule
	for _, sub := range group.Groups {
		r, err := groupRule(sub, meta.SubPolicy)
		if err != nil {
			r = func([]string) bool { return false } // as a peer reads it
		}
		subs = append(subs, r)
	}
	threshold := map[common.ImplicitMetaPolicy_Rule]int{
		common.ImplicitMetaPolicy_ANY: 1, common.ImplicitMetaPolicy_ALL: len(subs), common.ImplicitMetaPolicy_MAJORITY: len(subs)/2 + 1,
	}[meta.Rule]
	return func(msps []string) bool {
		n := 0
		for _, sub := range subs {
			if sub(msps) {
				n++
			}
		}
		return n >= threshold
	}, nil
}

// signatureRule reads a policy over signatures. It counts as a peer does: each endorsement is used once, in order.
func signatureRule(envelope *common.SignaturePolicyEnvelope) (rule, error) {
	if envelope.GetRule() == nil {
		return nil, errors.New("endorsement policy: it is empty")
	}
	signers := make([]string, len(envelope.Identities))
	for i, principal := range envelope.Identities {
		signers[i] = organisationOf(principal)
	}
	var count func(p *common.SignaturePolicy, msps []string, used []bool) bool
	count = func(p *common.SignaturePolicy, msps []string, used []bool) bool {
		switch t := p.GetType().(type) {
		case *common.SignaturePolicy_NOutOf_:
			n := int32(0)
			for _, sub := range t.NOutOf.Rules {
				trial := slices.Clone(used)
				if count(sub, msps, trial) {
					n++
					copy(used, trial)
				}
			}
			return n >= t.NOutOf.N
		case *common.SignaturePolicy_SignedBy:
			if t.SignedBy < 0 || int(t.SignedBy) >= len(signers) {
				return false
			}
			for i, id := range msps {
				if !used[i] && id == signers[t.SignedBy] {
					used[i] = true
					return true
				}
			}
		}
		return false
	}
	return func(msps []string) bool { return count(envelope.Rule, msps, make([]bool, len(msps))) }, nil
}

// organisationOf is the organisation whose peers are a principal, "" if that can't be said of any: an administrator, a
// client, a certain certificate.
func organisationOf(principal *msp.MSPPrincipal) string {
	var role msp.MSPRole
	if principal.PrincipalClassification != msp.MSPPrincipal_ROLE || proto.Unmarshal(principal.Principal, &role) != nil {
		return ""
	}
	if role.Role != msp.MSPRole_PEER && role.Role != msp.MSPRole_MEMBER {
		return ""
	}
	return role.MspIdentifier
}
