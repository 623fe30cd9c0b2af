package fabric

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/errors/status"
)

// says has a peer answer a query.
func says(text string) func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
	return func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
		return &pb.ProposalResponse{Response: &pb.Response{Status: 200, Payload: []byte(text)}}, nil
	}
}

// TestQuery: one peer answers; another is asked only if the first doesn't, or hasn't got as far as the caller.
func TestQuery(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*rig)
		want  string // answer
		code  string // refusal
		class ledger.Class
		asked string // how often platform, carrier, regulator were
		says  string
	}{
		"the first answers":   {set: func(r *rig) {}, want: "platform", asked: "1 0 0"},
		"the first refuses":   {set: func(r *rig) { r.platform.endorse = refuses(inputSpent) }, code: "INPUT_SPENT", class: ledger.Refused, asked: "1 0 0"},
		"the first is down":   {set: func(r *rig) { r.platform.endorse = down }, want: "carrier", asked: "1 1 0"},
		"the first is lost":   {set: func(r *rig) { r.chain.lost(r.platform.peer) }, want: "carrier", asked: "0 1 0"},
		"the first hangs":     {set: func(r *rig) { r.platform.hang = true }, want: "carrier", asked: "1 1 0"},
		"the first lags":      {set: func(r *rig) { r.ahead(r.carrier, 9) }, want: "carrier", asked: "0 1 0"},
		"the first is faulty": {set: func(r *rig) { r.platform.endorse = refuses("chaincode server is down") }, want: "carrier", asked: "1 1 0"},
		"two are down, one refuses": {set: func(r *rig) {
			r.platform.endorse, r.carrier.endorse, r.regulator.endorse = down, down, refuses(inputSpent)
		}, code: "INPUT_SPENT", class: ledger.Refused, asked: "1 1 1"},
		"all are faulty": {set: func(r *rig) {
			r.platform.endorse, r.carrier.endorse, r.regulator.endorse = refuses("a"), refuses("b"), refuses("c")
		}, class: ledger.NotSent, asked: "1 1 1", says: "c"},
		"all are lost": {set: func(r *rig) {
			for _, p := range r.peers {
				r.chain.lost(p)
			}
		}, class: ledger.NotSent, asked: "0 0 0", says: "does not answer"},
		"all lag": {set: func(r *rig) { r.chain.tell(100) }, class: ledger.NotSent, asked: "0 0 0", says: "height 100"},
		"all hang": {set: func(r *rig) {
			r.config.QueryTimeout = 500 * time.Millisecond
			r.platform.hang, r.carrier.hang, r.regulator.hang = true, true, true
		}, class: ledger.NotSent, asked: "1 1 1", says: "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.platform.endorse, r.carrier.endorse, r.regulator.endorse = says("platform"), says("carrier"), says("regulator")
			c.set(r)
			got, err := r.Query(context.Background(), "ownership", "GetLot", []byte("x"))
			if string(got) != c.want || contract.CodeOf(err) != c.code || err != nil && ledger.ClassOf(err) != c.class || err == nil && c.class != "" {
				t.Errorf("got %q, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("error does not say %q: %v", c.says, err)
			}
			if asked := fmt.Sprint(r.platform.count(), r.carrier.count(), r.regulator.count()); asked != c.asked {
				t.Errorf("asked were %s, want %s", asked, c.asked)
			}
		})
	}
}

// ahead lets a peer commit up to a height, and a caller learn of it.
func (r *rig) ahead(a *actor, height uint64) {
	r.chain.committed(a.peer, height-1, nil)
	r.chain.tell(height)
}

// TestQueryRemembers: a peer that failed is asked last, for a while.
func TestQueryRemembers(t *testing.T) {
	r := newRig(t)
	r.platform.endorse, r.carrier.endorse = down, says("carrier")
	for range 5 {
		if got, err := r.Query(context.Background(), "ownership", "GetLot"); err != nil || string(got) != "carrier" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if r.platform.count() != 1 {
		t.Errorf("the one that is down was asked %d times", r.platform.count())
	}
	r.carrier.endorse, r.platform.endorse = down, says("platform")
	if got, err := r.Query(context.Background(), "ownership", "GetLot"); err != nil || string(got) != "regulator" && string(got) != "done" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestQueryWaits: a peer that lags by a moment is waited for.
func TestQueryWaits(t *testing.T) {
	r := newRig(t)
	r.platform.endorse = says("platform")
	r.patience = time.Minute
	r.chain.tell(7)
	done := make(chan string)
	go func() {
		got, err := r.Query(context.Background(), "ownership", "GetLot")
		done <- fmt.Sprint(string(got), err)
	}()
	r.chain.committed(r.platform.peer, 6, nil)
	if got := <-done; got != "platform<nil>" {
		t.Errorf("got %s", got)
	}
}

// library has peers answer look-ups from blocks that they have.
func library(t *testing.T, blocks ...*common.Block) func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
	return func(p *pb.SignedProposal) (*pb.ProposalResponse, error) {
		args := argsOf(t, p)
		for _, b := range blocks {
			found := args[0] == "GetBlockByNumber" && args[2] == fmt.Sprint(b.Header.Number)
			for i := range b.Data.Data {
				if tx, _, _ := decodeEntry(b, i); args[0] == "GetBlockByTxID" && tx.ID == args[2] {
					found = true
				}
			}
			if found {
				return &pb.ProposalResponse{Response: &pb.Response{Status: 200, Payload: marshal(t, b)}}, nil
			}
		}
		text := "no such block number [" + args[2] + "] in index"
		if args[0] == "GetBlockByTxID" {
			text = "no such transaction ID [" + args[2] + "] in index"
		}
		return nil, status.New(status.ChaincodeStatus, 500, "Failed: "+text, nil)
	}
}

func argsOf(t *testing.T, p *pb.SignedProposal) (list []string) {
	t.Helper()
	var proposal pb.Proposal
	var payload pb.ChaincodeProposalPayload
	var call pb.ChaincodeInvocationSpec
	for _, each := range []struct {
		text func() []byte
		into proto.Message
	}{{func() []byte { return p.ProposalBytes }, &proposal}, {func() []byte { return proposal.Payload }, &payload}, {func() []byte { return payload.Input }, &call}} {
		if err := proto.Unmarshal(each.text(), each.into); err != nil {
			t.Fatal(err)
		}
	}
	for _, arg := range call.ChaincodeSpec.Input.Args {
		list = append(list, string(arg))
	}
	return list
}

// TestLookups on the golden blocks: found on one peer is found, and absent is what all agree on.
func TestLookups(t *testing.T) {
	blocks := goldenBlocks(t)
	r := newRig(t)
	r.platform.endorse, r.carrier.endorse, r.regulator.endorse = library(t), library(t, blocks...), library(t)
	last := blocks[len(blocks)-1]
	height := last.Header.Number + 1
	for _, p := range r.peers {
		r.chain.committed(p, height-1, nil)
	}
	decoded, err := decodeBlock(last)
	if err != nil {
		t.Fatal(err)
	}
	id := decoded.Transactions[0].ID // a duplicate of what stands in the block before it
	tx, err := r.Transaction(t.Context(), id)
	if err != nil || tx.ID != id || tx.BlockNumber != last.Header.Number-1 || tx.Validation != ledger.Valid || decoded.Transactions[0].Validation != ledger.DuplicateID {
		t.Errorf("transaction: %v, %+v", err, tx)
	}
	if r.platform.count() != 1 || r.carrier.count() != 1 {
		t.Error("the one that hasn't got it was not asked first")
	}
	b, err := r.Block(t.Context(), last.Header.Number)
	if err != nil || b.Hash != decoded.Hash {
		t.Errorf("block: %v, %+v", err, b)
	}
	for _, id := range []string{"", "nonsense", strings.ToUpper(id), id[2:], strings.Repeat("0", 64)} {
		if _, err := r.Transaction(t.Context(), id); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("transaction %q: %v", id, err)
		}
	}
	asked := r.carrier.count()
	for _, n := range []uint64{height, height + 1000, math.MaxUint64} {
		if _, err := r.Block(t.Context(), n); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("block %d: %v", n, err)
		}
	}
	if r.carrier.count() != asked {
		t.Error("peers were asked for what no one can have")
	}
	if h, err := r.Height(t.Context()); err != nil || h != height {
		t.Errorf("height is %d, %v", h, err)
	}

	// One that is down is not one that says no; but two that say no are enough.
	r.carrier.endorse = down
	if _, err := r.Transaction(t.Context(), id); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("one is down, two say no: %v", err)
	}
	r.platform.endorse, r.regulator.endorse = down, down
	if _, err := r.Transaction(t.Context(), id); err == nil || errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("all are down: %v", err)
	}
	for _, p := range r.peers {
		r.chain.lost(p)
	}
	if _, err := r.Block(t.Context(), 0); err == nil || errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("nobody is up: %v", err)
	}
	r.chain.told = 0
	if h, err := r.Height(t.Context()); err == nil {
		t.Errorf("nobody is up, height is %d", h)
	}
}

// TestLyingPeers: a block that is not what was asked for, or not what its hash says, is no block.
func TestLyingPeers(t *testing.T) {
	r := newRig(t)
	blocks := goldenBlocks(t)
	last := blocks[len(blocks)-1]
	for _, p := range r.peers {
		r.chain.committed(p, last.Header.Number, nil)
	}
	forged := proto.Clone(last).(*common.Block)
	forged.Data.Data[0] = append([]byte{}, blocks[len(blocks)-2].Data.Data[0]...)
	for _, a := range []*actor{r.platform, r.carrier, r.regulator} {
		a.endorse = func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
			return &pb.ProposalResponse{Response: &pb.Response{Status: 200, Payload: marshal(t, forged)}}, nil
		}
	}
	for name, ask := range map[string]func() error{
		"other transactions": func() error { _, err := r.Block(t.Context(), last.Header.Number); return err },
		"another number":     func() error { _, err := r.Block(t.Context(), last.Header.Number-1); return err },
		"another ID":         func() error { _, err := r.Transaction(t.Context(), strings.Repeat("0", 64)); return err },
	} {
		if err := ask(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
