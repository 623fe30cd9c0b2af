package fabric

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cardflow/ledger"
	"cardflow/ledger/contract"

	"github.com/hyperledger/fabric-protos-go/common"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/status"
)

// Why a ledger can't be used. Each says what to do about it to the person who runs the machine.
var (
	ErrClosed  = errors.New("LEDGER_CLOSED: 账本已关闭；请重启服务")
	ErrDamaged = errors.New("LEDGER_DAMAGED: 节点给出的区块与其哈希不符，或与前一区块不相连；请检查连接配置中的节点，并联系该节点的运营方")
)

// Why a transaction was not sent.
var (
	errForged   = errors.New("proposal: its ID is not the hash of its nonce and creator, or its creator is another identity than the gateway's")
	errDisagree = errors.New("the endorsers disagree")
)

// notSent is a failure before anything went to an orderer.
func notSent(err error) *ledger.Failure { return &ledger.Failure{Class: ledger.NotSent, Err: err} }

func refused(by *contract.Error) *ledger.Failure {
	return &ledger.Failure{Class: ledger.Refused, Refusal: by}
}

// refusalIn finds a contract's refusal in an endorser's error, nil if there is none. A refusal crosses the network as the
// response's message, in which Fabric may have put something before it. The SDK would join the answers of several endorsers
// into one text ("Multiple errors occurred: …"); here each endorser is asked alone, and so is each error.
func refusalIn(err error) *contract.Error {
	s, ok := statusOf(err)
	if !ok || s.Group != status.ChaincodeStatus && s.Group != status.EndorserClientStatus && s.Group != status.EndorserServerStatus {
		return nil
	}
	at := strings.Index(s.Message, `{"code":`)
	if at < 0 {
		return nil
	}
	var refusal contract.Error
	if json.NewDecoder(strings.NewReader(s.Message[at:])).Decode(&refusal) != nil || refusal.Code == "" {
		return nil
	}
	return &refusal
}

// statusOf is the SDK's status in an error.
func statusOf(err error) (*status.Status, bool) {
	if err == nil {
		return nil, false
	}
	return status.FromError(err)
}

var duplicateText = regexp.MustCompile(`duplicate transaction found \[([0-9a-f]+)\]`)

// isDuplicate reports whether an endorser says that a block holds the ID already.
func isDuplicate(err error, id string) bool {
	s, ok := statusOf(err)
	if !ok {
		return false
	}
	m := duplicateText.FindStringSubmatch(s.Message)
	return m != nil && m[1] == id
}

func duplicate() *ledger.Failure {
	return &ledger.Failure{Class: ledger.Duplicate, Validation: ledger.DuplicateID}
}

// validation is a verdict as Fabric spells it.
func validation(code int32) ledger.Validation {
	if name, ok := pb.TxValidationCode_name[code]; ok {
		return ledger.Validation(name)
	}
	return ledger.Validation(fmt.Sprintf("VALIDATION_CODE_%d", code)) // of a newer Fabric
}

// invalid is the failure that a verdict other than valid is.
func invalid(v ledger.Validation) *ledger.Failure {
	switch v {
	case ledger.DuplicateID:
		return duplicate()
	case ledger.ReadConflict, ledger.PhantomConflict:
		return &ledger.Failure{Class: ledger.Conflict, Validation: v}
	}
	return &ledger.Failure{Class: ledger.Invalid, Validation: v}
}

// taken is what is known of an orderer's having a transaction.
type taken int

const (
	certainlyNot taken = iota
	maybe
	certainly
)

// takenBy sorts an orderer's answer to a transaction. connected says whether there was a connection to send it on.
//
// SUCCESS means that it was passed on: a leader that dies at once takes it along, so only a block is proof. An orderer
// that follows passes it to its leader, and SERVICE_UNAVAILABLE may mean that it has done so and not heard of it again;
// only that it knows no leader, or has checked the transaction and turned it down, is certain.
func takenBy(err error, connected bool) taken {
	if err == nil {
		return certainly
	}
	if !connected {
		return certainlyNot
	}
	s, ok := statusOf(err)
	if !ok || s.Group != status.OrdererServerStatus {
		return maybe
	}
	switch common.Status(s.Code) {
	case common.Status_BAD_REQUEST, common.Status_FORBIDDEN, common.Status_NOT_FOUND, common.Status_REQUEST_ENTITY_TOO_LARGE:
		return certainlyNot
	case common.Status_SERVICE_UNAVAILABLE:
		if s.Message == "no Raft leader" {
			return certainlyNot
		}
	}
	return maybe
}

// absent are the texts by which peers say that they have no such block or transaction.
var absent = []string{"no such block number", "no such transaction ID", "Entry not found in index"}

// isAbsent reports whether a peer says that it has no such block or transaction.
func isAbsent(err error) bool {
	s, ok := statusOf(err)
	if !ok || s.Group != status.ChaincodeStatus {
		return false
	}
	for _, text := range absent {
		if strings.Contains(s.Message, text) {
			return true
		}
	}
	return false
}
