package fabric

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"

	"github.com/hyperledger/fabric-sdk-go/pkg/client/channel/invoke"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/fab"
)

// endorsed is a proposal with endorsements that agree, are signed by whom they say, and satisfy every policy.
type endorsed struct {
	*proposed
	responses []*fab.TransactionProposalResponse
	result    []byte // what the function returned
}

// answer is what one endorser made of a proposal.
type answer struct {
	peer     *peer
	response *fab.TransactionProposalResponse
	err      error
}

// endorse has a proposal endorsed. Errors are a *ledger.Failure: Refused, Duplicate or NotSent.
//
// A first set of peers is asked that satisfies the contract's policy. If one fails, or takes long, the set is chosen again
// without it, and who is new in it gets the very same proposal, so that what others have answered counts on. When the
// answers show that the transaction writes as another contract too, the set grows by what that one's policy wants.
func (l *Ledger) endorse(ctx context.Context, p ledger.Proposal, transient map[string][]byte) (*endorsed, error) {
	ctx, cancel := l.within(ctx, l.config.EndorseTimeout)
	defer cancel() // before anything else: who is still being asked is not waited for
	e := endorsement{
		Ledger: l, rules: map[string]rule{}, failed: map[*peer]error{}, late: map[*peer]bool{}, answers: map[*peer]answer{},
		pending: map[*peer]bool{}, arrived: make(chan answer, len(l.peers)),
	}
	if err := e.want(ctx, p.Contract); err != nil {
		return nil, notSent(err)
	}
	made, err := l.propose(p, transient)
	if err != nil {
		return nil, notSent(err)
	}
	e.made, e.id = made, p.TxID
	set, err := e.collect(ctx)
	if err != nil {
		var f *ledger.Failure
		if !errors.As(err, &f) {
			f = notSent(err)
		}
		return nil, f
	}
	if err := l.check(ctx, set); err != nil {
		return nil, notSent(err)
	}
	return &endorsed{made, set, set[0].ProposalResponse.GetResponse().GetPayload()}, nil
}

// endorsement is one try to get a proposal endorsed.
type endorsement struct {
	*Ledger
	made    *proposed
	id      string
	rules   map[string]rule // by contract
	failed  map[*peer]error
	late    map[*peer]bool // asked, and not waited for if there are others
	answers map[*peer]answer
	pending map[*peer]bool
	arrived chan answer
}

// want adds a contract whose policy must be satisfied.
func (e *endorsement) want(ctx context.Context, contract string) error {
	if e.rules[contract] != nil {
		return nil
	}
	r, err := e.policies.of(ctx, contract)
	if err != nil {
		return err
	}
	e.rules[contract] = r
	return nil
}

// collect asks until a set of peers that satisfies the policies has endorsed.
func (e *endorsement) collect(ctx context.Context) ([]*fab.TransactionProposalResponse, error) {
	hurry := time.NewTicker(e.slow)
	defer hurry.Stop()
	for {
		set, err := e.choose(ctx)
		if err != nil {
			return nil, errors.Join(append(slices.Collect(maps.Values(e.failed)), err)...)
		}
		complete := true
		for _, p := range set {
			if _, ok := e.answers[p]; ok {
				continue
			}
			complete = false
			if !e.pending[p] {
				e.ask(ctx, p)
			}
		}
		if complete {
			more, err := e.complete(ctx, set)
			if err != nil || !more {
				return e.responses(set), err
			}
			continue
		}
		select {
		case a := <-e.arrived:
			if err := e.take(ctx, a); err != nil {
				return nil, err
			}
		case <-hurry.C:
			for p := range e.pending {
				e.late[p] = true
				p.note(false)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for endorsements: %w", ctx.Err())
		}
	}
}

func (e *endorsement) ask(ctx context.Context, p *peer) {
	e.pending[p] = true
	go func() {
		response, err := e.process(ctx, p, e.made)
		e.arrived <- answer{p, response, err}
	}()
}

// take notes an answer. A refusal is one: whether it is the contract's word depends on what the others say.
func (e *endorsement) take(ctx context.Context, a answer) error {
	delete(e.pending, a.peer)
	delete(e.late, a.peer)
	well := a.err == nil || refusalIn(a.err) != nil || isDuplicate(a.err, e.id)
	if well || ctx.Err() == nil { // else it is the caller who has had enough
		a.peer.note(well)
	}
	switch {
	case a.err == nil, refusalIn(a.err) != nil:
		e.answers[a.peer] = a
	case isDuplicate(a.err, e.id):
		return duplicate() // a block of this peer has it, whatever others have seen
	default:
		e.failed[a.peer] = a.err
	}
	return nil
}

// complete looks at the answers of a whole set. more says that another contract's policy is to be satisfied too.
func (e *endorsement) complete(ctx context.Context, set []*peer) (more bool, err error) {
	var refusals []*contract.Error
	for _, p := range set {
		if refusal := refusalIn(e.answers[p].err); refusal != nil {
			refusals = append(refusals, refusal)
		}
	}
	if len(refusals) > 0 {
		same := !slices.ContainsFunc(refusals, func(r *contract.Error) bool { return r.Encode() != refusals[0].Encode() })
		if len(refusals) < len(set) || !same {
			return false, fmt.Errorf("%w: %s", errDisagree, e.describe(set)) // one of them lags, or is not honest
		}
		return false, refused(refusals[0])
	}
	for _, p := range set {
		if !bytes.Equal(e.payload(p), e.payload(set[0])) {
			return false, errDisagree
		}
	}
	written, err := writtenBy(e.payload(set[0]))
	if err != nil {
		return false, err
	}
	before := len(e.rules)
	for _, name := range written {
		if err := e.want(ctx, name); err != nil {
			return false, err
		}
	}
	return len(e.rules) > before, nil
}

// payload is what an endorser signed.
func (e *endorsement) payload(p *peer) []byte {
	return e.answers[p].response.ProposalResponse.GetPayload()
}

func (e *endorsement) describe(set []*peer) string {
	var text []string
	for _, p := range set {
		said := "endorses"
		if refusal := refusalIn(e.answers[p].err); refusal != nil {
			said = refusal.Code
		}
		text = append(text, p.name+": "+said)
	}
	return strings.Join(text, ", ")
}

func (e *endorsement) responses(set []*peer) []*fab.TransactionProposalResponse {
	var list []*fab.TransactionProposalResponse
	for _, p := range set {
		list = append(list, e.answers[p].response)
	}
	return list
}

// choose finds peers that satisfy the policies together: as few as can be, the most preferred first. At first only those
// are candidates who have committed what callers were told of: one that lags would refuse, or endorse what can't be valid
// any more. If that is not enough after a while, whoever is followed is a candidate.
func (e *endorsement) choose(ctx context.Context) ([]*peer, error) {
	before, _ := e.chain.now()
	peers := inTurn(e.peers)
	var set []*peer
	enough := func(s state, least uint64, late bool) bool {
		var candidates []*peer
		for _, p := range peers {
			up := s.heights[p] > 0 || !p.roles.EventSource
			if _, answered := e.answers[p]; answered || p.roles.EndorsingPeer && up && s.heights[p] >= least && e.failed[p] == nil && (late || !e.late[p]) {
				candidates = append(candidates, p)
			}
		}
		set = smallest(candidates, func(set []*peer) bool {
			msps := make([]string, len(set))
			for i, p := range set {
				msps[i] = p.msp
			}
			for _, r := range e.rules {
				if !r(msps) {
					return false
				}
			}
			return true
		})
		return set != nil
	}
	waiting, done := context.WithTimeout(ctx, e.patience)
	defer done()
	if len(e.failed)+len(e.late) > 0 {
		done() // time was lost already
	}
	if e.chain.until(waiting, func(s state) bool { return enough(s, before.told, false) }) {
		return set, nil
	}
	s, _ := e.chain.now()
	if enough(s, 0, false) || enough(s, 0, true) {
		return set, nil
	}
	return nil, fmt.Errorf("the peers that can be reached don't satisfy the endorsement policy of %s: %s",
		strings.Join(slices.Sorted(maps.Keys(e.rules)), ", "), e.reach())
}

// reach says which organisations have a peer that can be asked.
func (e *endorsement) reach() string {
	s, _ := e.chain.now()
	var text []string
	for _, p := range e.peers {
		how := "down"
		switch {
		case e.failed[p] != nil:
			how = "failed"
		case s.heights[p] > 0:
			how = "up"
		case !p.roles.EventSource:
			how = "not followed"
		}
		text = append(text, fmt.Sprintf("%s (%s) is %s", p.name, p.msp, how))
	}
	return strings.Join(text, ", ")
}

// mostCandidates bounds the search for a set: 2^12 sets are tried in no time.
const mostCandidates = 12

// smallest finds the first of the smallest sets of candidates of which something holds; nil if there is none.
func smallest(candidates []*peer, holds func([]*peer) bool) []*peer {
	candidates = candidates[:min(len(candidates), mostCandidates)]
	var pick func(from, n int, set []*peer) []*peer
	pick = func(from, n int, set []*peer) []*peer {
		if n == 0 {
			if holds(set) {
				return slices.Clone(set)
			}
			return nil
		}
		for i := from; i <= len(candidates)-n; i++ {
			if found := pick(i+1, n-1, append(set, candidates[i])); found != nil {
				return found
			}
		}
		return nil
	}
	for n := 1; n <= len(candidates); n++ {
		if found := pick(0, n, nil); found != nil {
			return found
		}
	}
	return nil
}

// check is the last thing before a transaction may go: each signature is that of a member of the channel, over what all
// agree on. What fails here would take a block, to be found invalid.
func (l *Ledger) check(ctx context.Context, set []*fab.TransactionProposalResponse) error {
	known, err := l.members.get(ctx)
	if err != nil {
		return err
	}
	request := &invoke.RequestContext{Ctx: ctx, Response: invoke.Response{Responses: set}}
	invoke.NewEndorsementValidationHandler(invoke.NewSignatureValidationHandler()).Handle(request, &invoke.ClientContext{Membership: known})
	if request.Error != nil {
		l.members.expire() // a certificate may have been renewed
	}
	return request.Error
}
