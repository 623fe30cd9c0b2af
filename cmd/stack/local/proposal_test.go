//go:build stack

package local_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cardflow/cmd/stack/local"
	"cardflow/ledger/ledgertest"
)

// testStale: no peer endorses a proposal whose time is not now. A gateway that could choose the time could use what has
// expired.
func testStale(t *testing.T, f *fabric) {
	for _, s := range f.Servers() {
		if s.Kind != local.KindPeer {
			continue
		}
		conn, err := grpc.NewClient(local.Address(s.Port), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots(t, f.caOf(s.Name))})))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		endorser := peer.NewEndorserClient(conn)
		for _, c := range []struct {
			off  time.Duration
			want bool
		}{
			{0, true}, {-time.Minute, true}, {time.Minute, true},
			{-3 * time.Minute, false}, {3 * time.Minute, false}, {-24 * time.Hour, false},
		} {
			response, err := endorser.ProcessProposal(soon(t), f.propose(time.Now().Add(c.off)))
			switch {
			case c.want && (err != nil || response.GetResponse().GetStatus() != 200 || response.GetEndorsement() == nil):
				t.Errorf("%s, %v off: %v, %v", s.Name, c.off, response.GetResponse(), err)
			case !c.want && (err == nil || !strings.Contains(err.Error(), "incorrect timestamp")):
				t.Errorf("%s endorsed what is %v off: %v, %v", s.Name, c.off, response.GetResponse(), err)
			}
		}
	}
}

func roots(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

// propose makes a proposal of the platform's user, with a time of its own.
func (f *fabric) propose(at time.Time) *peer.SignedProposal {
	f.t.Helper()
	user := filepath.Join(f.Dir(), "crypto-config/peerOrganizations/platform.cardflow.example/users/User1@platform.cardflow.example/msp")
	cert, err := os.ReadFile(filepath.Join(user, "signcerts/User1@platform.cardflow.example-cert.pem"))
	f.must(err)
	text, err := os.ReadFile(filepath.Join(user, "keystore/priv_sk"))
	f.must(err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	f.must(err)
	creator := f.encode(&msp.SerializedIdentity{Mspid: "PlatformMSP", IdBytes: cert})
	nonce := make([]byte, 24)
	_, err = rand.Read(nonce)
	f.must(err)
	id := sha256.Sum256(append(nonce[:len(nonce):len(nonce)], creator...))
	name := &peer.ChaincodeID{Name: ledgertest.Outer}
	proposal := f.encode(&peer.Proposal{
		Header: f.encode(&common.Header{
			ChannelHeader: f.encode(&common.ChannelHeader{
				Type: int32(common.HeaderType_ENDORSER_TRANSACTION), TxId: hex.EncodeToString(id[:]), ChannelId: local.Channel,
				Timestamp: timestamppb.New(at), Extension: f.encode(&peer.ChaincodeHeaderExtension{ChaincodeId: name}),
			}),
			SignatureHeader: f.encode(&common.SignatureHeader{Creator: creator, Nonce: nonce}),
		}),
		Payload: f.encode(&peer.ChaincodeProposalPayload{Input: f.encode(&peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
			Type: peer.ChaincodeSpec_GOLANG, ChaincodeId: name, Input: &peer.ChaincodeInput{Args: [][]byte{[]byte(ledgertest.Script), ledgertest.Self()}},
		}})}),
	})
	digest := sha256.Sum256(proposal)
	private := key.(*ecdsa.PrivateKey)
	r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
	f.must(err)
	if n := private.Params().N; s.Cmp(new(big.Int).Rsh(n, 1)) > 0 {
		s.Sub(n, s)
	}
	signature, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	f.must(err)
	return &peer.SignedProposal{ProposalBytes: proposal, Signature: signature}
}

func (f *fabric) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fabric) encode(m proto.Message) []byte {
	f.t.Helper()
	b, err := proto.Marshal(m)
	f.must(err)
	return b
}

// testTLS: every port speaks TLS and nothing else, and where only the network's own are to come in, it asks who is there.
func testTLS(t *testing.T, f *fabric) {
	for _, s := range f.Status(soon(t)) {
		for _, at := range listening(t, s.Pid) {
			address := strings.TrimPrefix(at, "tcp ")
			conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
			if err != nil {
				t.Errorf("%s, %s: %v", s.Name, address, err)
				continue
			}
			if s.Kind == local.KindChaincode { // the server's word on our missing certificate comes with the first bytes
				if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
					t.Errorf("%s lets in anybody: %v", s.Name, err)
				}
			}
			conn.Close()
		}
	}
}
