package fabric

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"cardflow/ledger"

	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes"
	"github.com/hyperledger/fabric-protos-go/common"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/txn"
)

const nonceSize = 24 // bytes, as Fabric's own clients have it

// Prepare draws a nonce, which fixes the ID.
func (l *Ledger) Prepare(contract, function string, args [][]byte) (ledger.Proposal, error) {
	nonce := make([]byte, nonceSize)
	l.random.Lock()
	_, err := io.ReadFull(l.config.Random, nonce)
	l.random.Unlock()
	if err != nil {
		return ledger.Proposal{}, fmt.Errorf("prepare: nonce: %w", err)
	}
	p := ledger.Proposal{
		Nonce: nonce, Creator: bytes.Clone(l.network.identity.creator), Contract: contract, Function: function, Args: args,
	}
	p.TxID = txID(p)
	return p, nil
}

func txID(p ledger.Proposal) string {
	h := sha256.New()
	h.Write(p.Nonce)
	h.Write(p.Creator)
	return hex.EncodeToString(h.Sum(nil))
}

// genuine reports whether a proposal has the ID that its nonce and our identity give it.
func (l *Ledger) genuine(p ledger.Proposal) bool {
	return len(p.Nonce) > 0 && p.TxID == txID(p) && bytes.Equal(p.Creator, l.network.identity.creator)
}

// header is what the SDK takes a proposal's ID from: what was prepared, nothing of its own.
type header struct {
	ledger.Proposal
	channel string
}

func (h header) TransactionID() fab.TransactionID { return fab.TransactionID(h.TxID) }
func (h header) Creator() []byte                  { return h.Proposal.Creator }
func (h header) Nonce() []byte                    { return h.Proposal.Nonce }
func (h header) ChannelID() string                { return h.channel }

// proposed is a proposal on its way to endorsers. Each try has a time stamp of its own; all endorsers of a try see one.
type proposed struct {
	*fab.TransactionProposal
	signed *pb.SignedProposal
}

// propose makes a proposal of what was prepared.
func (l *Ledger) propose(p ledger.Proposal, transient map[string][]byte) (*proposed, error) {
	made, err := txn.CreateChaincodeInvokeProposal(header{p, l.config.Channel}, fab.ChaincodeInvokeRequest{
		ChaincodeID: p.Contract, Fcn: p.Function, Args: p.Args, TransientMap: transient,
	})
	if err != nil {
		return nil, err
	}
	if made.Proposal.Header, err = stamp(made.Proposal.Header, l.config.Clock()); err != nil {
		return nil, err
	}
	text, err := proto.Marshal(made.Proposal)
	if err != nil {
		return nil, err
	}
	signature, err := l.network.identity.sign(text)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return &proposed{made, &pb.SignedProposal{ProposalBytes: text, Signature: signature}}, nil
}

// stamp sets the time of a proposal. The SDK has put the machine's there, whatever clock it was meant to go by.
func stamp(text []byte, at time.Time) ([]byte, error) {
	var h common.Header
	var c common.ChannelHeader
	if err := proto.Unmarshal(text, &h); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(h.ChannelHeader, &c); err != nil {
		return nil, err
	}
	var err error
	if c.Timestamp, err = ptypes.TimestampProto(at); err != nil {
		return nil, err
	}
	if h.ChannelHeader, err = proto.Marshal(&c); err != nil {
		return nil, err
	}
	return proto.Marshal(&h)
}
