package ledgertest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"

	"pgregory.net/rapid"
)

// RunHistories plays random histories of ten participants, each of so many steps on a fresh ledger, and compares the
// ledger with a naive model after every step. Some steps are honest and have to commit; others are mischief of every
// kind and have to be refused; which is which, the model says. The invariants that docs/contract.md lists are checked on
// what the blocks say, not on what the contract answers.
//
// The number of histories is the flag -rapid.checks, where it is given.
func RunHistories(t *testing.T, histories, steps int, open func(*testing.T) ledger.Ledger) {
	runHistories(t, histories, steps, func(r *rapid.T) (*Stage, uint64) { return NewStage(r, open(t)), 0 })
}

// PlayHistories plays histories one after another on a stage that is there already, where a fresh ledger takes long to
// come by. Nobody else may write to it meanwhile, and its policies have to stand as they did at first.
func PlayHistories(t *testing.T, histories, steps int, s *Stage) {
	runHistories(t, histories, steps, func(r *rapid.T) (*Stage, uint64) {
		s.SetPolicy(r, request.PolicyRealNameCap, request.Policies[request.PolicyRealNameCap])
		s.SetPolicy(r, request.PolicyConsumerSells, request.Policies[request.PolicyConsumerSells])
		height, err := s.Ledger.Height(context.Background())
		if err != nil {
			r.Fatalf("height: %v", err)
		}
		return s, height
	})
}

// runHistories plays on stages, and looks at what their ledgers hold from a block on.
func runHistories(t *testing.T, histories, steps int, stage func(*rapid.T) (*Stage, uint64)) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set(f.Name, strconv.Itoa(histories)); err != nil {
			t.Fatal(err)
		}
		defer flag.Set(f.Name, f.DefValue)
	}
	rapid.Check(t, func(r *rapid.T) {
		s, from := stage(r)
		h := newHistory(r, s, from)
		for range steps {
			h.step()
		}
		h.keepsSecrets()
	})
}

// history is one random history: the cast, what it has made so far, the model, and the ledger as its blocks tell it.
type history struct {
	t *rapid.T
	*Stage
	census
	carriers, people []*Actor // people: everyone who can own cards, carriers too
	consumers        []*Actor
	lots             []Lot // in order of making
	trades           []*trade
	suspended        map[string]int // keys by ID: version
	keyVersions      map[string]int
	done             []Signed // what committed
	draws            uint64
	secrets          []string

	next       uint64 // block
	lotState   map[string]contract.Lot
	tradeState map[string]contract.Trade
	codes      map[string]bool     // code records, by trade
	cardsOf    map[string][]string // of lots, by hash
	raw        [][]byte            // everything that the blocks hold
}

// trade is a trade as the model knows it.
type trade struct {
	Trade
	receiver *Actor // whom it names
	state    contract.TradeState
	buyer    *Actor // who confirmed
	ended    time.Time
}

func newHistory(r *rapid.T, s *Stage, from uint64) *history {
	h := &history{
		t: r, Stage: s, next: from, suspended: map[string]int{}, keyVersions: map[string]int{},
		census: census{
			cards: map[string]*card{}, approvals: map[[2]string]approval{}, frozen: map[string]map[request.Role]bool{},
			freezes: map[string]int{}, most: int(request.Policies[request.PolicyRealNameCap]),
		},
		lotState: map[string]contract.Lot{}, tradeState: map[string]contract.Trade{}, codes: map[string]bool{}, cardsOf: map[string][]string{},
	}
	h.carriers = []*Actor{h.Carrier(r, iccid.Serial), h.Carrier(r, iccid.Luhn)}
	h.people = append(h.people, h.carriers...)
	for _, role := range []request.Role{request.Distributor, request.Retailer, request.Consumer, request.Consumer, request.Consumer} {
		a := h.Join(r, role)
		h.people = append(h.people, a)
		if role == request.Consumer {
			h.consumers = append(h.consumers, a)
		}
	}
	h.secrets = append(h.secrets, forms(h.IssueKey)...)
	h.secrets = append(h.secrets, persons...)
	h.read()
	return h
}

// persons are real people behind the accounts: fewer than accounts, so some have two.
var persons = []string{"Zhang Wei 110101199003070011", "Wang Fang 310101198512120022"}

func (h *history) step() {
	plays := map[string]func(){
		"issue": h.issue, "offer": h.offer, "confirm": h.confirm, "decline": h.decline, "cancel": h.cancel, "release": h.release,
		"return": h.giveBack, "merge": h.merge, "control": h.control, "approval": h.approval, "person": h.person, "policy": h.setPolicy,
		"key": h.keys, "replay": h.replay, "race": h.race,
	}
	if _, ok := h.Ledger.(Timed); ok {
		plays["clock"] = func() {
			h.Later(pick(h, []time.Duration{time.Millisecond, time.Minute, time.Minute, 5 * time.Hour, 5 * time.Hour, 60 * time.Hour}, "wait"))
		}
	}
	often := []string{ // the others are rare
		"issue", "issue", "issue", "offer", "offer", "offer", "offer", "confirm", "confirm", "confirm", "confirm", "confirm", "decline", "cancel",
		"release", "return", "return", "merge", "merge", "control", "control", "control", "approval", "approval", "person", "policy",
		"key", "replay", "race", "clock",
	}
	if play := plays[pick(h, often, "step")]; play != nil {
		play()
	}
	h.read()
	h.compare()
	h.traceOne()
}

// one draws from a list, late elements more often: what is new is where things happen.
func one[E any](h *history, list []E, label string) (e E, ok bool) {
	if len(list) == 0 {
		return e, false
	}
	i := h.below(len(list), label)
	if h.chance(2, label+", lately") {
		i = max(i, len(list)-1-i%8)
	}
	return list[i], true
}

// below draws a number below n, each as often as any other. Rapid's own numbers are mostly small, which is right for sizes
// and wrong for choices: the same few plays would make up every history.
func (h *history) below(n int, label string) int {
	h.draws++
	x := rapid.Uint64().Draw(h.t, label) + h.draws*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9 // splitmix64
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(n))
}

// pick draws one of a list that isn't empty.
func pick[E any](h *history, list []E, label string) E { return list[h.below(len(list), label)] }

// chance is true once in so many times.
func (h *history) chance(of int, label string) bool {
	return h.below(of, label) == 0
}

// play sends what has to commit if there are no reasons against it, and has to be refused for one of them otherwise.
// What commits is bent or raced first, now and then: neither may leave a trace.
func (h *history) play(c Signed, why reasons, effect func()) {
	for _, s := range c.Proof.Signatures {
		why.add(h.suspended[s.KeyID] > 0, contract.KeyInactive)
	}
	if len(why) == 0 && h.chance(4, "bend") {
		h.bend(c)
	}
	var err error
	if len(why) == 0 && h.chance(10, "twice at once") {
		_, late := h.SubmitWhile(c, func() error {
			_, err = h.Submit(c)
			return nil
		})
		if ledger.ClassOf(late) != ledger.Conflict {
			h.t.Fatalf("%s twice at once: %v", c.Request.Function, late)
		}
	} else {
		_, err = h.Submit(c)
	}
	switch {
	case err == nil && len(why) > 0:
		h.t.Fatalf("%s committed, against %v", c.Request.Function, why)
	case err == nil:
		h.done = append(h.done, c)
		effect()
	case !why[contract.CodeOf(err)]:
		h.t.Fatalf("%s: got %v, want %v", c.Request.Function, err, why)
	}
}

// bend sends a good request with something about it changed.
func (h *history) bend(c Signed) {
	bent := c
	bent.Proof.Signatures = slices.Clone(c.Proof.Signatures)
	sig := &bent.Proof.Signatures[0]
	stranger := pick(h, h.people, "stranger")
	how := pick(h, []string{"unsigned", "someone else's", "deadline", "function", "arguments", "openings", "late"}, "how")
	switch how {
	case "unsigned":
		bent.Proof.Signatures = nil
	case "someone else's":
		sig.Bytes = h.sign(stranger.Key, c.Request.SigningBytes(sig.KeyID, sig.NotAfter))
		if stranger.Key.Public().KeyID() == sig.KeyID {
			sig.KeyID = "none"
		}
	case "deadline":
		sig.NotAfter += 1000
	case "function":
		bent.Request.Function = map[string]string{"Confirm": "Decline", "Freeze": "Unfreeze", "Approve": "RevokeApproval"}[c.Request.Function]
		if bent.Request.Function == "" {
			bent.Request.Function = "Cancel"
		}
		if c.Request.Function == "Cancel" {
			bent.Request.Function = "Release"
		}
	case "arguments":
		at := h.below(len(c.Request.Args), "at")
		bent.Request.Args = slices.Clone(c.Request.Args)
		bent.Request.Args[at] ^= 1
	case "openings":
		if f := c.Request.Function; f != "Issue" && f != "Offer" && f != "Return" && f != "Merge" {
			return // which may need none of what it has
		}
		bent.Openings.Lots = map[string]request.LotOpening{}
		for _, l := range h.lots {
			if o, ok := c.Openings.Lots[l.Hash]; ok {
				bent.Openings.Lots[l.Hash] = o // inputs only: the outputs are not among the lots yet
			}
		}
	case "late":
		bent.Proof.Signatures[0] = request.Signature{KeyID: sig.KeyID, NotAfter: h.Now().Add(-time.Second).UnixMilli(), Bytes: sig.Bytes}
	}
	refusedSomehow(h.t, h.Stage, "bent: "+how, bent)
}

// read follows the ledger block by block, and checks each transaction as it stands there.
func (h *history) read() {
	ctx := context.Background()
	for ; ; h.next++ {
		b, err := h.Ledger.Block(ctx, h.next)
		if errors.Is(err, ledger.ErrNotFound) {
			return
		}
		if err != nil {
			h.t.Fatalf("block %d: %v", h.next, err)
		}
		for _, tx := range b.Transactions {
			h.raw = append(h.raw, tx.Args...)
			if tx.Event != nil {
				h.raw = append(h.raw, tx.Event.Payload)
			}
			if tx.Validation == ledger.Valid {
				h.apply(tx)
			}
		}
	}
}

func (h *history) apply(tx ledger.Transaction) {
	before := h.lotState
	h.lotState = make(map[string]contract.Lot, len(before))
	for k, l := range before {
		h.lotState[k] = l
	}
	var made []contract.Lot
	for _, w := range tx.Writes {
		h.raw = append(h.raw, []byte(w.Key), w.Value)
		kind, name, _ := strings.Cut(w.Key, "/")
		switch {
		case w.Contract != request.Ownership:
		case kind == "C":
			h.codes[name] = !w.Deleted
		case w.Deleted:
			h.t.Fatalf("%s deleted a record %s", tx.Function, kind)
		case kind == "L":
			var l contract.Lot
			h.decode(w.Value, &l)
			if _, old := before[name]; !old {
				made = append(made, l)
			}
			h.lotState[name] = l
		case kind == "T":
			var now contract.Trade
			h.decode(w.Value, &now)
			if old, ok := h.tradeState[name]; ok && old.State != contract.TradeOpen { // one winner
				h.t.Fatalf("trade %s was %s and is %s", name, old.State, now.State)
			}
			h.tradeState[name] = now
		}
	}
	for _, l := range made {
		h.born(tx, l, before)
	}
}

// born checks a new lot: it was issued, or its parents are spent, and nothing about it is looser than about them.
func (h *history) born(tx ledger.Transaction, l contract.Lot, before map[string]contract.Lot) {
	if len(l.Parents) == 0 && tx.Function != "Issue" || len(l.Parents) > 0 && tx.Function == "Issue" {
		h.t.Fatalf("%s made a lot with %d parents", tx.Function, len(l.Parents))
	}
	for _, p := range l.Parents {
		was, now := before[p], h.lotState[p]
		switch {
		case now.Status != contract.StatusSpent || was.Status == contract.StatusSpent || !slices.Contains(now.Children, l.Hash):
			h.t.Fatalf("%s made a lot of a parent that was %s and is %s", tx.Function, was.Status, now.Status)
		case was.RetailPolicy == request.RealName && l.RetailPolicy != request.RealName:
			h.t.Fatalf("%s loosened the retail policy", tx.Function)
		case was.Issuer != l.Issuer || was.Rule != l.Rule || was.Owner != l.Owner:
			h.t.Fatalf("%s changed issuer, rule or owner", tx.Function)
		}
		for _, r := range was.Restrictions {
			if !slices.Contains(l.Restrictions, r) {
				h.t.Fatalf("%s dropped the restriction %s", tx.Function, r)
			}
		}
		for _, r := range was.Frozen {
			if !slices.Contains(l.Frozen, r) && tx.Function != "Unfreeze" {
				h.t.Fatalf("%s thawed what a %s froze", tx.Function, r)
			}
		}
	}
}

// compare holds the lots that are not spent against the cards of the model: they partition what was issued, no card is
// in two, and each is what the model says.
func (h *history) compare() {
	in := map[string]string{}
	for hash, l := range h.lotState {
		if l.Status == contract.StatusSpent {
			continue
		}
		for _, n := range h.cardsOf[hash] {
			if other, twice := in[n]; twice {
				h.t.Fatalf("a card is in lots %s and %s", other, hash)
			}
			in[n] = hash
		}
		c := h.cards[h.cardsOf[hash][0]]
		strict := l.RetailPolicy == request.RealName
		if c == nil || c.lot != hash || l.Owner != c.owner || l.Status != c.status || l.Issuer != c.issuer || strict != c.strict ||
			l.Acquired != c.acquired || !slices.Equal(l.Frozen, roles(c.frozen)) || !slices.Equal(l.Restrictions, c.restrictions) ||
			l.Counted != commitmentOf(c.counted) {
			h.t.Fatalf("the ledger has %+v, the model %+v", l, c)
		}
	}
	for n, c := range h.cards {
		if in[n] != c.lot {
			h.t.Fatalf("a card that was issued is in lot %q, not in %q", in[n], c.lot)
		}
	}
	if len(in) != len(h.cards) {
		h.t.Fatalf("%d cards in live lots, %d were issued", len(in), len(h.cards))
	}
	for _, each := range h.trades {
		if got := h.tradeState[each.ID].State; got != each.state {
			h.t.Fatalf("trade %s is %s, the model says %s", each.ID, got, each.state)
		}
		if open := each.state == contract.TradeOpen && each.Mode == request.Bearer; h.codes[each.ID] != open {
			h.t.Fatalf("trade %s is %s %s, its code record is there: %v", each.ID, each.Mode, each.state, !open)
		}
	}
}

func commitmentOf(person string) string {
	if person == "" {
		return ""
	}
	return Commitment(person)
}

func (h *history) decode(b []byte, into any) {
	if err := json.Unmarshal(b, into); err != nil {
		h.t.Fatalf("record: %v", err)
	}
}
