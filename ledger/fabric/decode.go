package fabric

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"cardflow/ledger"

	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes"
	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go/msp"
	pb "github.com/hyperledger/fabric-protos-go/peer"
)

// decodeBlock decodes a block, and checks that it holds what its header says. Configuration is no transaction: a block of
// it is there, with its number and hashes, and empty.
func decodeBlock(block *common.Block) (ledger.Block, error) {
	h := block.GetHeader()
	if h == nil {
		return ledger.Block{}, fmt.Errorf("%w: a block without a header", ErrDamaged)
	}
	if !bytes.Equal(dataHash(block.GetData().GetData()), h.DataHash) {
		return ledger.Block{}, fmt.Errorf("%w: block %d holds other transactions than its hash says", ErrDamaged, h.Number)
	}
	hash, err := headerHash(h)
	if err != nil {
		return ledger.Block{}, err
	}
	b := ledger.Block{Number: h.Number, Hash: hex.EncodeToString(hash)}
	if h.Number > 0 {
		b.PreviousHash = hex.EncodeToString(h.PreviousHash)
	}
	for i := range block.Data.Data {
		tx, is, err := decodeEntry(block, i)
		if err != nil {
			return ledger.Block{}, err
		}
		if is {
			b.Transactions = append(b.Transactions, tx)
		}
	}
	return b, nil
}

// dataHash is what a header says of its block's entries.
func dataHash(entries [][]byte) []byte {
	sum := sha256.Sum256(bytes.Join(entries, nil))
	return sum[:]
}

// headerHash is a block's hash as Fabric computes it: SHA-256 over the header in ASN.1.
func headerHash(h *common.BlockHeader) ([]byte, error) {
	text, err := asn1.Marshal(struct {
		Number                 *big.Int
		PreviousHash, DataHash []byte
	}{new(big.Int).SetUint64(h.Number), h.PreviousHash, h.DataHash})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return sum[:], nil
}

// verdictOn is the validation code of an entry.
func verdictOn(block *common.Block, i int) int32 {
	all := block.GetMetadata().GetMetadata()
	if at := int(common.BlockMetadataIndex_TRANSACTIONS_FILTER); at < len(all) && i < len(all[at]) {
		return int32(all[at][i])
	}
	return int32(pb.TxValidationCode_NOT_VALIDATED)
}

// decodeEntry decodes an entry of a block; is says whether it is a transaction. What a peer has found invalid may be
// anything at all: of it as much is decoded as can be, because a block that can't be read would hold up everything after
// it. What is valid must make sense.
func decodeEntry(block *common.Block, i int) (tx ledger.Transaction, is bool, err error) {
	number := block.Header.Number
	tx = ledger.Transaction{BlockNumber: number, Index: i, Validation: validation(verdictOn(block, i))}
	is, err = decodeEnvelope(block.Data.Data[i], &tx)
	if err != nil && tx.Validation == ledger.Valid {
		return tx, true, fmt.Errorf("entry %d of block %d: %w", i, number, err)
	}
	if tx.Validation != ledger.Valid {
		tx.Writes, tx.Event = nil, nil
	}
	return tx, is || err != nil, nil
}

func decodeEnvelope(text []byte, tx *ledger.Transaction) (is bool, err error) {
	var envelope common.Envelope
	var payload common.Payload
	var channel common.ChannelHeader
	var signature common.SignatureHeader
	if err := unmarshal(text, &envelope); err != nil {
		return false, err
	}
	if err := unmarshal(envelope.Payload, &payload); err != nil {
		return false, err
	}
	if err := unmarshal(payload.GetHeader().GetChannelHeader(), &channel); err != nil {
		return false, err
	}
	if kind := common.HeaderType(channel.Type); kind != common.HeaderType_ENDORSER_TRANSACTION {
		return false, nil
	}
	tx.ID = channel.TxId
	if t, err := ptypes.Timestamp(channel.Timestamp); err == nil {
		tx.Time = t.UTC()
	}
	if err := unmarshal(payload.Header.SignatureHeader, &signature); err != nil {
		return true, err
	}
	var creator msp.SerializedIdentity
	if err := unmarshal(signature.Creator, &creator); err != nil {
		return true, err
	}
	tx.Creator = creator.Mspid
	return true, decodeTransaction(payload.Data, tx)
}

func decodeTransaction(text []byte, tx *ledger.Transaction) error {
	var whole pb.Transaction
	var action pb.ChaincodeActionPayload
	var proposal pb.ChaincodeProposalPayload
	var call pb.ChaincodeInvocationSpec
	if err := unmarshal(text, &whole); err != nil {
		return err
	}
	if len(whole.Actions) != 1 {
		return fmt.Errorf("it has %d actions", len(whole.Actions))
	}
	if err := unmarshal(whole.Actions[0].Payload, &action); err != nil {
		return err
	}
	if err := unmarshal(action.ChaincodeProposalPayload, &proposal); err != nil {
		return err
	}
	if err := unmarshal(proposal.Input, &call); err != nil {
		return err
	}
	tx.Contract = call.GetChaincodeSpec().GetChaincodeId().GetName()
	if args := call.GetChaincodeSpec().GetInput().GetArgs(); len(args) > 0 {
		tx.Function = string(args[0])
		for _, arg := range args[1:] {
			tx.Args = append(tx.Args, append([]byte{}, arg...))
		}
	}
	return decodeEffects(action.GetAction().GetProposalResponsePayload(), tx)
}

// decodeEffects decodes what a transaction did, if it was valid.
func decodeEffects(text []byte, tx *ledger.Transaction) error {
	action, err := actionIn(text)
	if err != nil {
		return err
	}
	if tx.Writes, err = writesIn(action.Results); err != nil {
		return err
	}
	if len(action.Events) == 0 {
		return nil
	}
	var event pb.ChaincodeEvent
	if err := unmarshal(action.Events, &event); err != nil {
		return err
	}
	if event.EventName != "" {
		tx.Event = &ledger.Event{Name: event.EventName, Payload: append([]byte{}, event.Payload...)}
	}
	return nil
}

func actionIn(text []byte) (*pb.ChaincodeAction, error) {
	var response pb.ProposalResponsePayload
	var action pb.ChaincodeAction
	if err := unmarshal(text, &response); err != nil {
		return nil, err
	}
	return &action, unmarshal(response.Extension, &action)
}

// writesIn are the writes of contracts, in key order by contract. What the peers' own contracts write (a definition of a
// contract, say) is their affair.
func writesIn(text []byte) ([]ledger.Write, error) {
	var sets rwset.TxReadWriteSet
	if err := unmarshal(text, &sets); err != nil {
		return nil, err
	}
	var list []ledger.Write
	for _, set := range sets.NsRwset {
		if strings.HasPrefix(set.Namespace, "_") {
			continue
		}
		var kv kvrwset.KVRWSet
		if err := unmarshal(set.Rwset, &kv); err != nil {
			return nil, err
		}
		for _, w := range kv.Writes {
			each := ledger.Write{Contract: set.Namespace, Key: w.Key, Deleted: w.IsDelete}
			if !w.IsDelete {
				each.Value = append([]byte{}, w.Value...)
			}
			list = append(list, each)
		}
	}
	slices.SortFunc(list, func(a, b ledger.Write) int {
		return cmp.Or(strings.Compare(a.Contract, b.Contract), strings.Compare(a.Key, b.Key))
	})
	return list, nil
}

// writtenBy names the contracts that an endorsed transaction writes as.
func writtenBy(responsePayload []byte) ([]string, error) {
	action, err := actionIn(responsePayload)
	if err != nil {
		return nil, fmt.Errorf("endorsement: %w", err)
	}
	writes, err := writesIn(action.Results)
	if err != nil {
		return nil, fmt.Errorf("endorsement: %w", err)
	}
	var names []string
	for _, w := range writes {
		if !slices.Contains(names, w.Contract) {
			names = append(names, w.Contract)
		}
	}
	return names, nil
}

func unmarshal(text []byte, into proto.Message) error {
	if err := proto.Unmarshal(text, into); err != nil {
		return fmt.Errorf("it can't be read: %w", err)
	}
	return nil
}
