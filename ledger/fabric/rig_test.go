package fabric

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cardflow/ledger"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go/ledger/rwset/kvrwset"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/status"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
	pkgerrors "github.com/pkg/errors"
)

// rig is a ledger whose peers and orderers do as a test says. Everything between is the real thing.
type rig struct {
	*Ledger
	t                            *testing.T
	carrier, platform, regulator *actor
	orderer                      [3]*clerk
}

// newRig makes a network in which everyone is up, at height 1, and endorses; the first orderer that is asked takes it, and
// a block with it comes at once. The policy is: the carrier, and one of the other two.
func newRig(t *testing.T) *rig {
	t.Helper()
	l, err := build(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.patience, l.slow = 50*time.Millisecond, 100*time.Millisecond
	r := &rig{Ledger: l, t: t}
	for i, at := range []**actor{&r.platform, &r.carrier, &r.regulator} { // the gateway's own first
		*at = &actor{rig: r, peer: l.peers[i], endorse: func(*pb.SignedProposal) (*pb.ProposalResponse, error) { return r.writes("ownership"), nil }}
		l.peers[i].Peer = *at
		l.chain.committed(l.peers[i], 0, nil)
	}
	for i := range r.orderer {
		r.orderer[i] = &clerk{rig: r}
		l.orderers.list[i].Orderer = r.orderer[i]
	}
	l.orderers.next = 2 // so that the first transaction goes to the first
	and := func(msps []string) bool {
		has := map[string]bool{}
		for _, id := range msps {
			has[id] = true
		}
		return has["CarrierMSP"] && (has["PlatformMSP"] || has["RegulatorMSP"])
	}
	for _, name := range []string{"ownership", "identity"} {
		l.policies.known[name] = &definition{and, time.Now().Add(time.Hour)}
	}
	l.members.known = &membersKnown{ChannelMembership: believer{}, proven: map[string]time.Time{}}
	return r
}

// testConfig is a configuration whose files are there and whose network isn't.
func testConfig(t *testing.T) Config {
	t.Helper()
	dir := t.TempDir()
	cert, key := makeCertificate(t, time.Hour)
	c := Config{
		Profile: filepath.Join(dir, "connection.yaml"), Channel: "cardflow", MSPID: "PlatformMSP",
		Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
		EndorseTimeout: 5 * time.Second, BroadcastTimeout: time.Second, CommitTimeout: 100 * time.Millisecond,
	}
	profile, err := os.ReadFile("testdata/connection.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{c.Profile: profile, c.Certificate: cert, c.Key: key, filepath.Join(dir, "ca.pem"): cert} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// makeCertificate makes a certificate that signed itself, and its key.
func makeCertificate(t *testing.T, life time.Duration) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// actor is a peer.
type actor struct {
	*rig
	*peer
	endorse func(*pb.SignedProposal) (*pb.ProposalResponse, error)
	hang    bool // until the caller has enough

	mu    sync.Mutex
	asked []*pb.SignedProposal
}

func (a *actor) MSPID() string              { return a.msp }
func (a *actor) URL() string                { return a.name }
func (a *actor) Properties() fab.Properties { return nil }

func (a *actor) ProcessTransactionProposal(ctx context.Context, request fab.ProcessProposalRequest) (*fab.TransactionProposalResponse, error) {
	a.mu.Lock()
	a.asked = append(a.asked, request.SignedProposal)
	a.mu.Unlock()
	if a.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	response, err := a.endorse(request.SignedProposal)
	if err != nil { // as the SDK wraps it
		return &fab.TransactionProposalResponse{Endorser: a.name}, pkgerrors.Wrapf(err, "Transaction processing for endorser [%s]", a.name)
	}
	return &fab.TransactionProposalResponse{Endorser: a.name, Status: 200, ChaincodeStatus: 200, ProposalResponse: response}, nil
}

func (a *actor) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// writes is an endorsement of a transaction that writes as these contracts.
func (r *rig) writes(contracts ...string) *pb.ProposalResponse {
	var sets rwset.TxReadWriteSet
	for _, name := range contracts {
		sets.NsRwset = append(sets.NsRwset, &rwset.NsReadWriteSet{
			Namespace: name, Rwset: marshal(r.t, &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: "k", Value: []byte("v")}}}),
		})
	}
	action := &pb.ChaincodeAction{Results: marshal(r.t, &sets), Response: &pb.Response{Status: 200, Payload: []byte("done")}}
	return &pb.ProposalResponse{
		Response:    &pb.Response{Status: 200, Payload: []byte("done")},
		Payload:     marshal(r.t, &pb.ProposalResponsePayload{Extension: marshal(r.t, action)}),
		Endorsement: &pb.Endorsement{Endorser: []byte("someone"), Signature: []byte("signature")},
	}
}

// refuses has a peer refuse with a code; the SDK makes a status of it.
func refuses(message string) func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
	return func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
		return nil, status.New(status.ChaincodeStatus, 500, message, nil)
	}
}

// down has a peer not be there.
func down(*pb.SignedProposal) (*pb.ProposalResponse, error) {
	return nil, pkgerrors.WithMessage(status.New(status.EndorserClientStatus, status.ConnectionFailed.ToInt32(), "it does not answer", nil), "connection failed")
}

// clerk is an orderer.
type clerk struct {
	*rig
	mu   sync.Mutex
	got  int
	take func(ctx context.Context, id string) error // what happens, nil: a block with the transaction, valid
	code pb.TxValidationCode
}

func (c *clerk) URL() string { return "orderer" }
func (c *clerk) SendDeliver(context.Context, *fab.SignedEnvelope) (chan *common.Block, chan error) {
	panic("no test asks for it")
}

func (c *clerk) SendBroadcast(ctx context.Context, e *fab.SignedEnvelope) (*common.Status, error) {
	c.mu.Lock()
	c.got++
	c.mu.Unlock()
	var tx ledger.Transaction
	if _, err := decodeEnvelope(marshal(c.t, &common.Envelope{Payload: e.Payload, Signature: e.Signature}), &tx); err != nil {
		c.t.Errorf("an orderer was sent what can't be read: %v", err)
	}
	if c.take != nil {
		return nil, c.take(ctx, tx.ID)
	}
	*ctx.Value(dialed{}).(*bool) = true
	c.commit(tx.ID, c.code)
	s := common.Status_SUCCESS
	return &s, nil
}

// answers has an orderer answer what isn't success; it was connected.
func answers(code common.Status, info string) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		*ctx.Value(dialed{}).(*bool) = true
		return pkgerrors.Wrap(status.New(status.OrdererServerStatus, int32(code), info, nil), "broadcast")
	}
}

// unreachable has an orderer not be there.
func unreachable(context.Context, string) error { return errors.New("connection failed") }

// commit lets every peer commit a block with a transaction.
func (r *rig) commit(id string, code pb.TxValidationCode) {
	s, _ := r.chain.now()
	for _, p := range r.peers {
		if s.heights[p] > 0 {
			r.chain.committed(p, s.height(), []entry{{id, int32(code)}})
		}
	}
}

// believer believes every signature.
type believer struct{}

func (believer) Validate([]byte) error { return nil }
func (believer) Verify(_, _, signature []byte) error {
	if string(signature) != "signature" {
		return errors.New("the signature is not good")
	}
	return nil
}
func (believer) ContainsMSP(string) bool { return true }

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	text, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
