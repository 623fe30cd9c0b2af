package terminal

import (
	"regexp"
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// The bounds of the contract that a terminal knows.
const (
	maxLots     = 200  // inputs or remainders of one request
	lotSegments = 1000 // segments of one lot
)

// Wanted is the offer that a person has in mind: what a draft is held against before it is signed.
type Wanted struct {
	Channel   string
	Seller    string
	Cards     iccid.Set
	Mode      request.Mode
	To        string // for NAMED
	Reverses  string // trade, for a return
	ExpiresIn time.Duration
	Now       time.Time
}

// Checked is a draft that says what was wanted, and nothing else.
type Checked struct {
	Request  request.Request
	Offer    request.Offer
	Parts    []Part // in the order of the cards; usually one
	Openings request.Openings
	Cards    iccid.Set // that go out: those that were scanned
	Inputs   []iccid.Set
	Rest     []Remainder
}

// Part is a trade of an offer.
type Part struct {
	Trade string `json:"trade"`
	Code  string `json:"code,omitempty"` // BEARER
	Count uint64 `json:"count"`
}

// Trade is the first of the offer's trades.
func (c Checked) Trade() string { return c.Parts[0].Trade }

// trades is how many trades it takes to hold the cards.
func (w Wanted) trades() int { return max(1, (w.Cards.Len()+lotSegments-1)/lotSegments) }

// Count is how many cards go out.
func (c Checked) Count() uint64 { return c.Cards.Count() }

// Spans are the cards that go out.
func (c Checked) Spans() []protocol.Span { return Spans(c.Cards) }

// Remainder is what stays with the seller of his inputs.
type Remainder struct {
	Lot     string
	Opening request.LotOpening
	Cards   iccid.Set
}

// graceOfTime is by how much an offer's times may be off from what was wanted: the clocks of both sides, and the way.
const graceOfTime = 2 * protocol.MaxSkew

var (
	lotName   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	tradeName = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// Check holds a draft against what was wanted: it computes every hash in it anew, from the openings and the scanned cards. What
// it answers may be signed. Each lie has a code of its own: DRAFT_FUNCTION, DRAFT_SPELLING, DRAFT_ID, DRAFT_SELLER, DRAFT_MODE,
// DRAFT_RECEIVER, DRAFT_REVERSES, DRAFT_TIME, DRAFT_EXPIRY, DRAFT_NAMES, DRAFT_OPENING, DRAFT_CARDS, DRAFT_PARTITION, DRAFT_CODE,
// DRAFT_COUNT.
func (w Wanted) Check(d protocol.Draft) (Checked, error) {
	out := Checked{Request: request.Request{Channel: w.Channel, Contract: d.Contract, Function: d.Function, Args: []byte(d.Args)}}
	if err := w.terms(d, &out); err != nil {
		return Checked{}, err
	}
	if err := w.cards(d, &out); err != nil {
		return Checked{}, err
	}
	err := w.code(d, &out)
	return out, err
}

// terms looks at what the draft says beside its cards.
func (w Wanted) terms(d protocol.Draft, out *Checked) error {
	function, reverses := request.Offer{}.Function(), ""
	var err error
	if w.Reverses != "" {
		function = request.Return{}.Function()
	}
	if d.Contract != request.Ownership || d.Function != function {
		return Refusal("DRAFT_FUNCTION").With("got", d.Contract+"."+d.Function).With("want", function)
	}
	if w.Reverses != "" {
		var b request.Return
		err = request.Decode([]byte(d.Args), &b)
		out.Offer, reverses = b.Offer, b.Reverses
	} else {
		err = request.Decode([]byte(d.Args), &out.Offer)
	}
	o := out.Offer
	if err != nil {
		return &Error{Code: "DRAFT_SPELLING", Err: err}
	}
	now := w.Now.UnixMilli()
	life := time.Duration(o.ExpiresAt-o.OfferedAt) * time.Millisecond
	switch {
	case out.Request.ID() != d.RequestID:
		return Refusal("DRAFT_ID")
	case o.Seller != w.Seller:
		return Refusal("DRAFT_SELLER").With("got", o.Seller).With("want", w.Seller)
	case o.Mode != w.Mode:
		return Refusal("DRAFT_MODE").With("got", string(o.Mode)).With("want", string(w.Mode))
	case o.Receiver != w.To:
		return Refusal("DRAFT_RECEIVER").With("got", o.Receiver).With("want", w.To)
	case reverses != w.Reverses:
		return Refusal("DRAFT_REVERSES").With("got", reverses).With("want", w.Reverses)
	case o.OfferedAt < now-graceOfTime.Milliseconds() || o.OfferedAt > now+graceOfTime.Milliseconds():
		return Refusal("DRAFT_TIME").With("got", time.UnixMilli(o.OfferedAt))
	case o.ExpiresAt <= o.OfferedAt || o.ExpiresAt <= now || w.ExpiresIn > 0 && life != w.ExpiresIn || w.ExpiresIn == 0 && life > longestLife:
		return Refusal("DRAFT_EXPIRY").With("got", time.UnixMilli(o.ExpiresAt))
	case len(o.Outputs) != w.trades():
		return Refusal("DRAFT_CARDS").With("outputs", len(o.Outputs))
	}
	var trades, lots []string
	for _, part := range o.Outputs {
		trades, lots = append(trades, part.Trade), append(lots, part.Lot)
	}
	if !distinct(tradeName, trades) || len(o.Inputs) == 0 || len(o.Inputs) > maxLots || len(o.Remainders) > maxLots ||
		!distinct(lotName, slices.Concat(o.Inputs, lots, o.Remainders)) {
		return Refusal("DRAFT_NAMES")
	}
	return nil
}

// longestLife is the longest that an offer may stand that nobody gave a time to: as long as the contract lets any.
const longestLife = 30 * 24 * time.Hour

// cards opens every lot: the output must be exactly the scanned cards, and with the remainders exactly the inputs.
func (w Wanted) cards(d protocol.Draft, out *Checked) error {
	o := out.Offer
	out.Openings.Lots = map[string]request.LotOpening{}
	open := func(hash string) (iccid.Set, error) {
		opening, ok := d.Openings.Lots[hash]
		if !ok {
			return iccid.Set{}, Refusal("DRAFT_OPENING").With("lot", hash)
		}
		set, got, err := opening.Set()
		if err != nil || got != hash {
			return set, Refusal("DRAFT_OPENING").With("lot", hash)
		}
		out.Openings.Lots[hash] = opening
		return set, nil
	}
	var made iccid.Set
	var after []iccid.Set
	for _, part := range o.Outputs {
		set, err := open(part.Lot)
		if err != nil {
			return err
		}
		if made, err = made.Union(set); err != nil {
			return &Error{Code: "DRAFT_CARDS", Err: err}
		}
		after = append(after, set)
		out.Parts = append(out.Parts, Part{Trade: part.Trade, Count: set.Count()})
	}
	if !made.Equal(w.Cards) {
		return differ(made, w.Cards)
	}
	if d.Count != made.Count() {
		return Refusal("DRAFT_COUNT").With("got", d.Count).With("want", made.Count())
	}
	out.Cards = made
	for _, h := range o.Inputs {
		set, err := open(h)
		if err != nil {
			return err
		}
		out.Inputs = append(out.Inputs, set)
	}
	for _, h := range o.Remainders {
		set, err := open(h)
		if err != nil {
			return err
		}
		after = append(after, set)
		out.Rest = append(out.Rest, Remainder{h, out.Openings.Lots[h], set})
	}
	if err := iccid.Partition(out.Inputs, after); err != nil {
		return &Error{Code: "DRAFT_PARTITION", Err: err}
	}
	return nil
}

// differ says by which cards an output is not what was scanned.
func differ(got, want iccid.Set) error {
	e := Refusal("DRAFT_CARDS")
	if got.Rule != want.Rule {
		return e.With("rule", string(got.Rule))
	}
	for name, set := range map[string]iccid.Set{"missing": want.Minus(got), "surplus": got.Minus(want)} {
		if !set.Empty() {
			e.With(name, set.Count()).With(name+"Card", set.Rule.Format(set.Segments()[0].First()))
		}
	}
	return e
}

// code computes each trade's code and its hash: a NAMED trade has none.
func (w Wanted) code(d protocol.Draft, out *Checked) error {
	for i, trade := range out.Offer.Outputs {
		if w.Mode != request.Bearer {
			if trade.CodeHash != "" {
				return Refusal("DRAFT_CODE")
			}
			continue
		}
		code, ok := d.Openings.Codes[trade.Trade]
		if !ok || len(code.Salt) != 16 || code.Code != request.TradeCode(out.Offer.OfferedAt, out.Offer.Seller, trade.Lot, code.Salt) ||
			trade.CodeHash != request.CodeHash(trade.Trade, code.Code, code.Salt) {
			return Refusal("DRAFT_CODE")
		}
		if out.Openings.Codes == nil {
			out.Openings.Codes = map[string]request.CodeOpening{}
		}
		out.Parts[i].Code, out.Openings.Codes[trade.Trade] = code.Code, code
	}
	return nil
}

// distinct reports whether names are well formed and no two of them equal.
func distinct(form *regexp.Regexp, names []string) bool {
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] || !form.MatchString(n) {
			return false
		}
		seen[n] = true
	}
	return true
}
