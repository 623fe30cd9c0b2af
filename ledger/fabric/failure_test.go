package fabric

import (
	"errors"
	"fmt"
	"testing"

	"cardflow/ledger"

	"github.com/hyperledger/fabric-protos-go/common"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/multi"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/status"
	pkgerrors "github.com/pkg/errors"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

// endorserError is an error as the SDK makes it of what an endorser answered.
func endorserError(group status.Group, code int32, message string) error {
	return pkgerrors.Wrapf(status.New(group, code, message, nil), "Transaction processing for endorser [%s]", "127.0.0.1:7051")
}

func TestRefusalIn(t *testing.T) {
	refusal := `{"code":"NOT_OWNER","message":"it is another's","details":{"lot":"ab","n":2}}`
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"a refusal":                        {endorserError(status.ChaincodeStatus, 500, refusal), "NOT_OWNER"},
		"with a status of its own":         {endorserError(status.ChaincodeStatus, 409, refusal), "NOT_OWNER"},
		"with words of Fabric's before it": {endorserError(status.ChaincodeStatus, 500, "error in simulation: transaction returned with failure: "+refusal), "NOT_OWNER"},
		"with words after it":              {endorserError(status.ChaincodeStatus, 500, refusal+" (channel cardflow)"), "NOT_OWNER"},
		"a message like another error's":   {endorserError(status.EndorserClientStatus, 23, `{"code":"NOT_OWNER","message":"chaincode x not found"}`), "NOT_OWNER"},
		"no JSON":                          {endorserError(status.ChaincodeStatus, 500, "a fault"), ""},
		"half of one":                      {endorserError(status.ChaincodeStatus, 500, refusal[:30]), ""},
		"without a code":                   {endorserError(status.ChaincodeStatus, 500, `{"code":"","message":"x"}`), ""},
		"a number for a code":              {endorserError(status.ChaincodeStatus, 500, `{"code":7}`), ""},
		"of the transport":                 {endorserError(status.GRPCTransportStatus, 14, refusal), ""},
		"not the SDK's":                    {errors.New(refusal), ""},
		"none":                             {nil, ""},
	} {
		got := refusalIn(c.err)
		if (got == nil) != (c.code == "") || got != nil && (got.Code != c.code || got.Message == "") {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := refusalIn(endorserError(status.ChaincodeStatus, 500, refusal)); got.Details["n"] != 2.0 || got.Details["lot"] != "ab" {
		t.Errorf("details are %v", got.Details)
	}
}

func TestIsDuplicate(t *testing.T) {
	id := fmt.Sprintf("%064x", 7)
	text := "duplicate transaction found [" + id + "]. Creator [0a]"
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"over gRPC":        {pkgerrors.Wrap(status.NewFromGRPCStatus(grpcstatus.New(codes.Unknown, text)), "x"), true},
		"in a response":    {endorserError(status.ChaincodeStatus, 500, text), true},
		"of another ID":    {endorserError(status.ChaincodeStatus, 500, "duplicate transaction found ["+id[1:]+"8]. Creator [0a]"), false},
		"something else":   {endorserError(status.ChaincodeStatus, 500, id), false},
		"not the SDK's":    {errors.New(text), false},
		"no error at all":  {nil, false},
		"a duplicate key?": {endorserError(status.ChaincodeStatus, 500, "duplicate key "+id), false},
	} {
		if got := isDuplicate(c.err, id); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestTakenBy(t *testing.T) {
	orderer := func(code common.Status, info string) error {
		return status.New(status.OrdererServerStatus, int32(code), info, nil)
	}
	for name, c := range map[string]struct {
		err       error
		connected bool
		want      taken
	}{
		"success":                        {nil, true, certainly},
		"no connection":                  {pkgerrors.WithMessage(errors.New("it does not answer"), "connection failed"), false, certainlyNot},
		"no leader":                      {orderer(common.Status_SERVICE_UNAVAILABLE, "no Raft leader"), true, certainlyNot},
		"forwarding timed out":           {orderer(common.Status_SERVICE_UNAVAILABLE, "timed out (7s) waiting on forwarding to 2"), true, maybe},
		"the chain is stopped":           {orderer(common.Status_SERVICE_UNAVAILABLE, "chain is stopped"), true, maybe},
		"too big":                        {orderer(common.Status_BAD_REQUEST, "message payload is too big"), true, certainlyNot},
		"not allowed":                    {orderer(common.Status_FORBIDDEN, "permission denied"), true, certainlyNot},
		"no such channel":                {orderer(common.Status_NOT_FOUND, "channel does not exist"), true, certainlyNot},
		"too large":                      {orderer(common.Status_REQUEST_ENTITY_TOO_LARGE, ""), true, certainlyNot},
		"something inside":               {orderer(common.Status_INTERNAL_SERVER_ERROR, ""), true, maybe},
		"the stream broke":               {pkgerrors.Wrap(status.NewFromGRPCStatus(grpcstatus.New(codes.Unavailable, "EOF")), "broadcast recv failed"), true, maybe},
		"the time was up":                {pkgerrors.Wrap(status.NewFromGRPCStatus(grpcstatus.New(codes.DeadlineExceeded, "")), "broadcast recv failed"), true, maybe},
		"sending failed":                 {pkgerrors.Wrap(errors.New("EOF"), "failed to send envelope to orderer"), true, maybe},
		"several, one of them certain":   {multi.New(orderer(common.Status_BAD_REQUEST, ""), errors.New("EOF")), true, maybe},
		"a transport's SERVICE_UNAVAIL.": {status.New(status.GRPCTransportStatus, 503, "no Raft leader", nil), true, maybe},
	} {
		if got := takenBy(c.err, c.connected); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestVerdicts: every verdict that Fabric has is spelled as Fabric spells it, and all but three mean that someone has to
// look.
func TestVerdicts(t *testing.T) {
	special := map[ledger.Validation]ledger.Class{
		ledger.ReadConflict: ledger.Conflict, ledger.PhantomConflict: ledger.Conflict, ledger.DuplicateID: ledger.Duplicate,
	}
	for code, name := range pb.TxValidationCode_name {
		v := validation(code)
		if string(v) != name {
			t.Errorf("%d is %s, want %s", code, v, name)
		}
		if v == ledger.Valid {
			continue
		}
		want, ok := special[v]
		if !ok {
			want = ledger.Invalid
		}
		if f := invalid(v); f.Class != want || f.Validation != v {
			t.Errorf("%s is %+v, want %s", v, f, want)
		}
		delete(special, v)
	}
	if len(special) > 0 {
		t.Errorf("Fabric has no %v", special)
	}
}

func TestIsAbsent(t *testing.T) {
	for text, want := range map[string]bool{
		"Failed to get block number 7, error no such block number [7] in index":                           true,
		"Failed to get block for txID ab, error error while trying: no such transaction ID [ab] in index": true,
		"Failed to get block for txID ab, error Entry not found in index":                                 true, // Fabric 2
		"Failed to get block for txID ab, error leveldb: closed":                                          false,
		"access denied for [GetBlockByTxID][cardflow]: [Failed evaluating policy]":                        false,
	} {
		if got := isAbsent(endorserError(status.ChaincodeStatus, 500, text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	if isAbsent(errors.New("no such block number [7] in index")) || isAbsent(nil) {
		t.Error("what is not a peer's word")
	}
}
