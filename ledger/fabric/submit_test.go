package fabric

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
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

const (
	inputSpent    = `{"code":"INPUT_SPENT","message":"gone","details":{"lot":"abc"}}`
	versionDiffer = `{"code":"VERSION_MISMATCH","message":"","details":{"version":3}}`
	versionOther  = `{"code":"VERSION_MISMATCH","message":"","details":{"version":4}}`
)

// TestSubmitClasses provokes every class at every place where it can come from.
func TestSubmitClasses(t *testing.T) {
	type want struct {
		class      ledger.Class // "": it commits
		validation ledger.Validation
		code       string // of the refusal
		sent       bool   // the hook was called
		says       string // in the error
	}
	for name, c := range map[string]struct {
		set  func(*rig)
		want want
	}{
		"commits": {func(*rig) {}, want{sent: true}},

		"refused by both": {func(r *rig) { r.carrier.endorse, r.platform.endorse = refuses(inputSpent), refuses(inputSpent) }, want{class: ledger.Refused, code: "INPUT_SPENT"}},
		"refused, wrapped by Fabric": {func(r *rig) {
			f := refuses("transaction returned with failure: " + inputSpent)
			r.carrier.endorse, r.platform.endorse = f, f
		}, want{class: ledger.Refused, code: "INPUT_SPENT"}},
		"refused by who is left": {func(r *rig) {
			r.carrier.endorse, r.platform.endorse, r.regulator.endorse = refuses(inputSpent), down, refuses(inputSpent)
		}, want{class: ledger.Refused, code: "INPUT_SPENT"}},
		"refused differently":         {func(r *rig) { r.carrier.endorse, r.platform.endorse = refuses(inputSpent), refuses(versionDiffer) }, want{class: ledger.NotSent, says: "INPUT_SPENT"}},
		"refused with other details":  {func(r *rig) { r.carrier.endorse, r.platform.endorse = refuses(versionOther), refuses(versionDiffer) }, want{class: ledger.NotSent, says: "disagree"}},
		"refused by one of two":       {func(r *rig) { r.carrier.endorse = refuses(inputSpent) }, want{class: ledger.NotSent, says: "disagree"}},
		"a fault":                     {func(r *rig) { r.carrier.endorse = refuses("a fault") }, want{class: ledger.NotSent, says: "a fault"}},
		"a fault that looks like one": {func(r *rig) { r.carrier.endorse = refuses(`{"code":""}`) }, want{class: ledger.NotSent, says: "code"}},
		"the carrier is down":         {func(r *rig) { r.carrier.endorse = down }, want{class: ledger.NotSent, says: "endorsement policy of ownership"}},
		"the platform is down":        {func(r *rig) { r.platform.endorse = down }, want{sent: true}},
		"both of one is too few":      {func(r *rig) { r.platform.endorse, r.regulator.endorse = down, down }, want{class: ledger.NotSent, says: "does not answer"}},
		"payloads differ": {func(r *rig) {
			r.platform.endorse = func(*pb.SignedProposal) (*pb.ProposalResponse, error) { return r.writes("ownership", "x"), nil }
		}, want{class: ledger.NotSent, says: "disagree"}},
		"a forged signature": {func(r *rig) {
			r.platform.endorse = func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
				response := r.writes("ownership")
				response.Endorsement.Signature = []byte("forged")
				return response, nil
			}
		}, want{class: ledger.NotSent, says: "signature"}},
		"one has seen the ID": {func(r *rig) {
			r.platform.endorse = func(p *pb.SignedProposal) (*pb.ProposalResponse, error) {
				return nil, status.New(status.GRPCTransportStatus, 2, "duplicate transaction found ["+proposedID(r.t, p)+"]. Creator [0a0b]", nil)
			}
		}, want{class: ledger.Duplicate, validation: ledger.DuplicateID}},
		"one has seen another ID": {func(r *rig) {
			r.platform.endorse = func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
				return nil, status.New(status.GRPCTransportStatus, 2, "duplicate transaction found ["+strings.Repeat("0", 64)+"]. Creator [0a0b]", nil)
			}
		}, want{sent: true}},
		"the clock is wrong": {func(r *rig) {
			late := func(*pb.SignedProposal) (*pb.ProposalResponse, error) {
				return nil, status.New(status.GRPCTransportStatus, 2, "request unauthorized due to incorrect timestamp", nil)
			}
			r.carrier.endorse, r.platform.endorse, r.regulator.endorse = late, late, late
		}, want{class: ledger.NotSent, says: "timestamp"}},

		"no orderer is there":         {everyOrderer(unreachable), want{class: ledger.NotSent, sent: true, says: "connection failed"}},
		"no orderer has a leader":     {everyOrderer(answers(common.Status_SERVICE_UNAVAILABLE, "no Raft leader")), want{class: ledger.NotSent, sent: true, says: "no Raft leader"}},
		"every orderer turns it down": {everyOrderer(answers(common.Status_BAD_REQUEST, "too big")), want{class: ledger.NotSent, sent: true, says: "too big"}},
		"one orderer is there":        {func(r *rig) { r.orderer[0].take, r.orderer[1].take = unreachable, unreachable }, want{sent: true}},
		"one orderer has a leader":    {func(r *rig) { r.orderer[0].take = answers(common.Status_SERVICE_UNAVAILABLE, "no Raft leader") }, want{sent: true}},
		"forwarded, perhaps":          {everyOrderer(answers(common.Status_SERVICE_UNAVAILABLE, "timed out (7s) waiting on forwarding to 2")), want{class: ledger.Unknown, sent: true, says: "forwarding"}},
		"forwarded, and in a block": {func(r *rig) {
			everyOrderer(func(ctx context.Context, id string) error {
				r.commit(id, pb.TxValidationCode_VALID)
				return answers(common.Status_SERVICE_UNAVAILABLE, "timed out")(ctx, id)
			})(r)
		}, want{sent: true}},
		"the connection broke": {everyOrderer(func(ctx context.Context, _ string) error {
			*ctx.Value(dialed{}).(*bool) = true
			return status.New(status.GRPCTransportStatus, 14, "broadcast recv failed: EOF", nil)
		}), want{class: ledger.Unknown, sent: true, says: "EOF"}},
		"maybe the first, certainly not the others": {func(r *rig) {
			everyOrderer(unreachable)(r)
			r.orderer[0].take = answers(common.Status_INTERNAL_SERVER_ERROR, "?")
		}, want{class: ledger.Unknown, sent: true}},
		"taken, and lost": {everyOrderer(func(ctx context.Context, _ string) error {
			*ctx.Value(dialed{}).(*bool) = true
			return nil
		}), want{class: ledger.Unknown, sent: true, says: "no block has come within 100ms"}},

		"read conflict":     {everyVerdict(pb.TxValidationCode_MVCC_READ_CONFLICT), want{class: ledger.Conflict, validation: ledger.ReadConflict, sent: true}},
		"phantom":           {everyVerdict(pb.TxValidationCode_PHANTOM_READ_CONFLICT), want{class: ledger.Conflict, validation: ledger.PhantomConflict, sent: true}},
		"duplicate":         {everyVerdict(pb.TxValidationCode_DUPLICATE_TXID), want{class: ledger.Duplicate, validation: ledger.DuplicateID, sent: true}},
		"policy not met":    {everyVerdict(pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE), want{class: ledger.Invalid, validation: "ENDORSEMENT_POLICY_FAILURE", sent: true}},
		"bad creator":       {everyVerdict(pb.TxValidationCode_BAD_CREATOR_SIGNATURE), want{class: ledger.Invalid, validation: "BAD_CREATOR_SIGNATURE", sent: true}},
		"not validated":     {everyVerdict(pb.TxValidationCode_NOT_VALIDATED), want{class: ledger.Invalid, validation: "NOT_VALIDATED", sent: true}},
		"of a later Fabric": {everyVerdict(99), want{class: ledger.Invalid, validation: "VALIDATION_CODE_99", sent: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			c.set(r)
			p, sent := r.prepare(), false
			commit, err := r.Submit(context.Background(), p, nil, func() error { sent = true; return nil })
			if sent != c.want.sent {
				t.Errorf("the hook was called: %t", sent)
			}
			if !sent && r.orderer[0].got+r.orderer[1].got+r.orderer[2].got > 0 {
				t.Error("something was sent without the hook")
			}
			if c.want.class == "" {
				if err != nil || commit.TxID != p.TxID || commit.BlockNumber != 1 || string(commit.Result) != "done" {
					t.Errorf("%v, %+v", err, commit)
				}
				return
			}
			var f *ledger.Failure
			if !errors.As(err, &f) || f.Class != c.want.class || f.Validation != c.want.validation || contract.CodeOf(err) != c.want.code || !strings.Contains(err.Error(), c.want.says) {
				t.Errorf("failure is %v, want %+v", err, c.want)
			}
		})
	}
}

func everyOrderer(take func(context.Context, string) error) func(*rig) {
	return func(r *rig) {
		for _, o := range r.orderer {
			o.take = take
		}
	}
}

func everyVerdict(code pb.TxValidationCode) func(*rig) {
	return func(r *rig) { r.orderer[0].code = code }
}

func (r *rig) prepare() ledger.Proposal {
	r.t.Helper()
	p, err := r.Prepare("ownership", "Confirm", [][]byte{[]byte("body"), []byte("proof")})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// proposedID is the transaction ID in a signed proposal.
func proposedID(t *testing.T, p *pb.SignedProposal) string { return headerOf(t, p).TxId }

func headerOf(t *testing.T, p *pb.SignedProposal) *common.ChannelHeader {
	t.Helper()
	var proposal pb.Proposal
	var h common.Header
	var c common.ChannelHeader
	for _, each := range []struct {
		text func() []byte
		into proto.Message
	}{{func() []byte { return p.ProposalBytes }, &proposal}, {func() []byte { return proposal.Header }, &h}, {func() []byte { return h.ChannelHeader }, &c}} {
		if err := proto.Unmarshal(each.text(), each.into); err != nil {
			t.Fatal(err)
		}
	}
	return &c
}

// TestProposalIsWhatWasPrepared: nonce, creator and ID come from the proposal, the time from the clock, and everyone who is
// asked in one try is asked the very same, whoever takes whose place.
func TestProposalIsWhatWasPrepared(t *testing.T) {
	r := newRig(t)
	at := time.Date(2026, 3, 2, 8, 0, 0, 123, time.UTC)
	r.config.Clock = func() time.Time { return at }
	r.platform.endorse = down
	p := r.prepare()
	if sum := sha256.Sum256(append(bytes.Clone(p.Nonce), p.Creator...)); p.TxID != hex.EncodeToString(sum[:]) || len(p.Nonce) != 24 {
		t.Errorf("proposal %+v", p)
	}
	if _, err := r.Submit(context.Background(), p, map[string][]byte{"opening": []byte("secret")}, nil); err != nil {
		t.Fatal(err)
	}
	first := r.carrier.asked[0]
	if h := headerOf(t, first); h.TxId != p.TxID || h.ChannelId != "cardflow" || !h.Timestamp.AsTime().Equal(at) {
		t.Errorf("header is %v", h)
	}
	for _, a := range []*actor{r.platform, r.regulator} {
		if a.count() != 1 || !bytes.Equal(a.asked[0].ProposalBytes, first.ProposalBytes) {
			t.Errorf("%s was asked something else, or not once", a.name)
		}
	}
	if r.carrier.count() != 1 {
		t.Error("who had endorsed was asked again")
	}
}

// TestForged: an ID that isn't the hash, and somebody else's creator, go nowhere.
func TestForged(t *testing.T) {
	r := newRig(t)
	for name, forge := range map[string]func(*ledger.Proposal){
		"another ID":      func(p *ledger.Proposal) { p.TxID = strings.Repeat("0", 64) },
		"another nonce":   func(p *ledger.Proposal) { p.Nonce = []byte("n") },
		"another creator": func(p *ledger.Proposal) { p.Creator = []byte("c"); p.TxID = txID(*p) },
		"no nonce":        func(p *ledger.Proposal) { p.Nonce = nil; p.TxID = txID(*p) },
	} {
		p := r.prepare()
		forge(&p)
		if _, err := r.Submit(context.Background(), p, nil, nil); ledger.ClassOf(err) != ledger.NotSent || !errors.Is(err, errForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r.carrier.count() > 0 {
		t.Error("an endorser was asked")
	}
}

// TestSlowEndorser: one that hangs is not given up before there is another, and does not hold up what the others can do.
func TestSlowEndorser(t *testing.T) {
	r := newRig(t)
	r.platform.hang = true
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if r.regulator.count() != 1 {
		t.Error("the third endorser was not asked")
	}
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if r.platform.count() != 1 || r.regulator.count() != 2 {
		t.Error("the one that hangs was asked first, again")
	}
	r.platform.hang = false
	r.platform.note(true) // it has recovered
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); err != nil || r.platform.count() != 2 || r.regulator.count() != 2 {
		t.Errorf("when it is well again it is not preferred: %v", err)
	}
	r.carrier.hang = true // whom nobody can replace
	ctx, cancel := context.WithTimeout(context.Background(), 3*r.slow/2)
	defer cancel()
	_, err := r.Submit(ctx, r.prepare(), nil, func() error { t.Error("it is about to be sent"); return nil })
	if ledger.ClassOf(err) != ledger.NotSent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the carrier: %v", err)
	}
}

// TestLaggingEndorser: one that lacks what the caller has seen is waited for, or passed over, and asked only if all else
// fails.
func TestLaggingEndorser(t *testing.T) {
	r := newRig(t)
	behind := func(a *actor) {
		for _, each := range []*actor{r.carrier, r.platform, r.regulator} {
			if each != a {
				r.chain.committed(each.peer, 5, nil)
			}
		}
		r.chain.tell(6)
	}
	behind(r.platform)
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if r.platform.count() != 0 || r.regulator.count() != 1 {
		t.Error("the peer that lags was asked")
	}

	done := make(chan error)
	r.chain.lost(r.regulator.peer)
	go func() {
		_, err := r.Submit(context.Background(), r.prepare(), nil, nil)
		done <- err
	}()
	r.chain.committed(r.platform.peer, 6, nil) // it has caught up
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	r.chain.tell(1000) // nobody has come that far
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); err != nil {
		t.Errorf("everyone lags: %v", err)
	}
}

// TestOtherContractsPolicy: a transaction that writes as another contract is endorsed for that one too.
func TestOtherContractsPolicy(t *testing.T) {
	r := newRig(t)
	all := func(msps []string) bool { return len(msps) == 3 }
	r.policies.known["identity"] = &definition{all, time.Now().Add(time.Hour)}
	for _, a := range []*actor{r.carrier, r.platform, r.regulator} {
		a.endorse = func(*pb.SignedProposal) (*pb.ProposalResponse, error) { return r.writes("ownership", "identity"), nil }
	}
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if r.carrier.count() != 1 || r.platform.count() != 1 || r.regulator.count() != 1 {
		t.Error("they were not asked once each")
	}
	r.regulator.endorse = down
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); ledger.ClassOf(err) != ledger.NotSent || !strings.Contains(err.Error(), "identity") {
		t.Errorf("without the third: %v", err)
	}
}

// TestHookAndContext: nothing is sent when the hook fails or the context has ended.
func TestHookAndContext(t *testing.T) {
	r := newRig(t)
	cause := errors.New("the database is down")
	if _, err := r.Submit(context.Background(), r.prepare(), nil, func() error { return cause }); ledger.ClassOf(err) != ledger.NotSent || !errors.Is(err, cause) {
		t.Errorf("the hook failed: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := r.Submit(ctx, r.prepare(), nil, func() error { cancel(); return nil }); ledger.ClassOf(err) != ledger.NotSent {
		t.Errorf("the context ended in the hook: %v", err)
	}
	if r.orderer[0].got+r.orderer[1].got+r.orderer[2].got > 0 {
		t.Error("something was sent")
	}
	r.orderer[0].take = func(ctx context.Context, _ string) error {
		*ctx.Value(dialed{}).(*bool) = true
		<-ctx.Done()
		return ctx.Err()
	}
	ending, end := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer end()
	r.orderers.next = 2
	if _, err := r.Submit(ending, r.prepare(), nil, nil); ledger.ClassOf(err) != ledger.Unknown {
		t.Errorf("the context ended while an orderer had it: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Submit(context.Background(), r.prepare(), nil, nil); ledger.ClassOf(err) != ledger.NotSent || !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestVerdictOfTheFirstEntry: whoever waits gets the verdict of the first block that comes after he began, from whichever
// peer is first, once.
func TestVerdictOfTheFirstEntry(t *testing.T) {
	c := newChain()
	a, b := &peer{name: "a"}, &peer{name: "b"}
	c.committed(a, 7, []entry{{"tx", 0}}) // before anyone waits
	v, done := c.await("tx")
	c.committed(b, 7, []entry{{"tx", 0}}) // the same block, from another
	select {
	case got := <-v:
		t.Fatalf("a block that was there before: %+v", got)
	default:
	}
	c.committed(b, 8, []entry{{"other", 0}, {"tx", 11}, {"tx", 30}})
	c.committed(a, 8, []entry{{"other", 0}, {"tx", 11}, {"tx", 30}})
	if got := <-v; got != (verdict{8, 11}) {
		t.Errorf("verdict is %+v", got)
	}
	done()
	if len(c.waiting) != 0 {
		t.Errorf("someone waits still: %v", c.waiting)
	}
	first, firstDone := c.await("x")
	_, secondDone := c.await("x")
	secondDone()
	c.committed(a, 9, []entry{{"x", 0}})
	if got := <-first; got != (verdict{9, 0}) {
		t.Errorf("verdict is %+v", got)
	}
	firstDone()
}

// TestFrom: where a peer is followed from.
func TestFrom(t *testing.T) {
	c := newChain()
	a, b := &peer{}, &peer{}
	if _, ok := c.from(a); ok {
		t.Error("before anything is known")
	}
	c.committed(a, 99, nil)
	for i, each := range []struct {
		p    *peer
		do   func()
		want uint64
	}{
		{b, func() {}, 99},                           // one that was never followed: what another has committed last
		{b, func() { c.committed(b, 42, nil) }, 42},  // one that lags: where it is
		{a, func() { c.lost(a) }, 99},                // one that is lost: where it was
		{a, func() { c.committed(b, 120, nil) }, 99}, // wherever others have gone meanwhile
	} {
		each.do()
		if got, ok := c.from(each.p); !ok || got != each.want {
			t.Errorf("%d: from %d, %t, want %d", i, got, ok, each.want)
		}
	}
}

func TestOrderersInTurn(t *testing.T) {
	list := []*orderer{{name: "0"}, {name: "1"}, {name: "2"}}
	o := &orderers{list: list}
	turn := func() (s string) {
		for _, each := range o.inTurn() {
			s += each.name
		}
		return s
	}
	got := []string{turn(), turn(), turn()}
	o.note(list[0], errors.New("down"))
	got = append(got, turn(), turn(), turn())
	o.note(list[0], nil)
	got = append(got, turn())
	if want := []string{"120", "201", "012", "120", "210", "120", "120"}; !slices.Equal(got, want) {
		t.Errorf("turns are %v, want %v", got, want)
	}
}
