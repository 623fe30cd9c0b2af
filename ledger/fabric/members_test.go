package fabric

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/msp"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/status"
)

// configBlock has peers answer the recorded configuration, as change leaves it.
func configBlock(t *testing.T, change func(*common.ConfigGroup)) func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
	t.Helper()
	text, err := os.ReadFile("testdata/0.block")
	if err != nil {
		t.Fatal(err)
	}
	root, err := readConfigBlock(text)
	if err != nil {
		t.Fatal(err)
	}
	change(root)
	envelope := marshal(t, &common.Envelope{Payload: marshal(t, &common.Payload{Data: marshal(t, &common.ConfigEnvelope{Config: &common.Config{ChannelGroup: root}})})})
	answer := marshal(t, &common.Block{Data: &common.BlockData{Data: [][]byte{envelope}}})
	return says(string(answer))
}

// endorsements are those of a recorded transaction, with what was signed.
func endorsements(t *testing.T) (list []*pb.Endorsement, payload []byte) {
	t.Helper()
	blocks := goldenBlocks(t)
	var envelope common.Envelope
	var whole common.Payload
	var tx pb.Transaction
	var action pb.ChaincodeActionPayload
	for _, each := range []struct {
		text func() []byte
		into proto.Message
	}{
		{func() []byte { return blocks[len(blocks)-1].Data.Data[0] }, &envelope}, {func() []byte { return envelope.Payload }, &whole},
		{func() []byte { return whole.Data }, &tx}, {func() []byte { return tx.Actions[0].Payload }, &action},
	} {
		if err := proto.Unmarshal(each.text(), each.into); err != nil {
			t.Fatal(err)
		}
	}
	return action.Action.Endorsements, action.Action.ProposalResponsePayload
}

// TestMembers checks recorded endorsements against the recorded configuration of their channel: as it is, and with every
// root signed with the high S that the SDK can't read.
func TestMembers(t *testing.T) {
	list, payload := endorsements(t)
	if len(list) < 2 {
		t.Fatalf("%d endorsements", len(list))
	}
	for name, change := range map[string]func(*common.ConfigGroup){
		"as it is":        func(*common.ConfigGroup) {},
		"with high roots": func(root *common.ConfigGroup) { raiseRoots(t, root) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.members.expire()
			r.platform.endorse = configBlock(t, change)
			known, err := r.members.get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				message := slices.Concat(payload, e.Endorser)
				for range 2 { // the second time it is known
					if err := known.Validate(e.Endorser); err != nil {
						t.Errorf("a member: %v", err)
					}
				}
				if err := known.Verify(e.Endorser, message, e.Signature); err != nil {
					t.Errorf("his signature: %v", err)
				}
				if err := known.Verify(e.Endorser, append(message, 0), e.Signature); err == nil {
					t.Error("his signature is over anything")
				}
			}
			if bytes.Equal(list[0].Endorser, list[1].Endorser) || known.Verify(list[0].Endorser, slices.Concat(payload, list[1].Endorser), list[1].Signature) == nil {
				t.Error("one's signature is another's")
			}
			cert, _ := makeCertificate(t, time.Hour)
			if err := known.Validate(marshal(t, &msp.SerializedIdentity{Mspid: "CarrierMSP", IdBytes: cert})); err == nil {
				t.Error("anyone is a member")
			}
			for range 3 {
				if again, err := r.members.get(t.Context()); err != nil || again != known {
					t.Errorf("it was read again: %v", err)
				}
			}
			if r.platform.count() != 1 {
				t.Errorf("the configuration was asked for %d times", r.platform.count())
			}
		})
	}
}

// raiseRoots gives every root the other signature that verifies.
func raiseRoots(t *testing.T, root *common.ConfigGroup) {
	t.Helper()
	for _, group := range root.Groups["Application"].Groups {
		var config msp.MSPConfig
		var f msp.FabricMSPConfig
		if err := proto.Unmarshal(group.Values["MSP"].Value, &config); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(config.Config, &f); err != nil {
			t.Fatal(err)
		}
		f.RootCerts[0] = raise(t, f.RootCerts[0])
		for _, ou := range []*msp.FabricOUIdentifier{f.FabricNodeOus.PeerOuIdentifier, f.FabricNodeOus.ClientOuIdentifier, f.FabricNodeOus.AdminOuIdentifier} {
			ou.Certificate = raise(t, ou.Certificate)
		}
		config.Config = marshal(t, &f)
		group.Values["MSP"].Value = marshal(t, &config)
	}
}

func raise(t *testing.T, text []byte) []byte {
	t.Helper()
	cert := parse(t, lowerRoot(text))
	var sig struct{ R, S *big.Int }
	var whole struct {
		Signed, Algorithm asn1.RawValue
		Signature         asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.Signature, &sig); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(cert.Raw, &whole); err != nil {
		t.Fatal(err)
	}
	sig.S.Sub(cert.PublicKey.(*ecdsa.PublicKey).Params().N, sig.S)
	high, err := asn1.Marshal(sig)
	if err != nil {
		t.Fatal(err)
	}
	whole.Signature = asn1.BitString{Bytes: high, BitLength: len(high) * 8}
	der, err := asn1.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestMembersUnknown: a transaction whose endorsers can't be checked is not sent.
func TestMembersUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*pb.SignedProposal) (*pb.ProposalResponse, error)
		says   string
	}{
		"nobody says":      {down, "does not answer"},
		"no block":         {says("\xff"), "configuration of the channel"},
		"no configuration": {says(""), "no configuration"},
		"no organisations": {configBlock(t, func(root *common.ConfigGroup) { root.Groups["Application"].Groups = nil }), "no organisation"},
		"an MSP of another": {configBlock(t, func(root *common.ConfigGroup) {
			root.Groups["Application"].Groups["x"] = &common.ConfigGroup{Values: map[string]*common.ConfigValue{"MSP": {Value: []byte{0xff}}}}
		}), "MSP of x"},
		"not allowed": {func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
			return nil, status.New(status.ChaincodeStatus, 500, "access denied for [GetConfigBlock]", nil)
		}, "access denied"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.members.expire()
			for _, a := range []*actor{r.platform, r.carrier, r.regulator} {
				endorse := a.endorse
				a.endorse = func(p *pb.SignedProposal) (*pb.ProposalResponse, error) {
					if argsOf(t, p)[0] == "GetConfigBlock" {
						return c.answer(p)
					}
					return endorse(p)
				}
			}
			_, err := r.Submit(t.Context(), r.prepare(), nil, func() error { t.Error("it is about to be sent"); return nil })
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want %q", err, c.says)
			}
		})
	}
}

// TestDefinitions: a contract's policy is read once, again in the background when it is old, and not at all if the channel
// has no such contract.
func TestDefinitions(t *testing.T) {
	r := newRig(t)
	for _, a := range []*actor{r.platform, r.carrier, r.regulator} {
		a.endorse = refuses("namespace other is not defined")
	}
	r.policies.known["ownership"].at = time.Now().Add(-2 * definitionAge)
	if rule, err := r.policies.of(t.Context(), "ownership"); err != nil || !rule(letters("CP")) {
		t.Fatalf("an old one is used meanwhile: %v", err)
	}
	if _, err := r.policies.of(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), "not defined") {
		t.Errorf("a contract that isn't there: %v", err)
	}
	r.policies.expire()
	if _, err := r.policies.of(t.Context(), "ownership"); err == nil {
		t.Error("an expired one is used")
	}
}
