package terminal

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// rewrite changes the offer in a draft, and gives it the ID that it has then: a liar who knows his trade.
func rewrite(d *protocol.Draft, change func(o *request.Offer)) {
	var o request.Offer
	if err := request.Decode([]byte(d.Args), &o); err != nil {
		panic(err)
	}
	change(&o)
	r := request.New("cardflow", o)
	d.Args, d.RequestID = string(r.Args), r.ID()
}

// TestLyingDrafts: a draft that says anything else than what was wanted isn't signed, and the lie has its name.
func TestLyingDrafts(t *testing.T) {
	other := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name, code string
		alter      func(t *testing.T, d *protocol.Draft)
	}{
		{"another function", "DRAFT_FUNCTION", func(_ *testing.T, d *protocol.Draft) { d.Function = "Return" }},
		{"another contract", "DRAFT_FUNCTION", func(_ *testing.T, d *protocol.Draft) { d.Contract = "identity" }},
		{"another spelling", "DRAFT_SPELLING", func(_ *testing.T, d *protocol.Draft) { d.Args = strings.Replace(d.Args, ":", ": ", 1) }},
		{"another member", "DRAFT_SPELLING", func(_ *testing.T, d *protocol.Draft) { d.Args = `{"x":1,` + d.Args[1:] }},
		{"another ID", "DRAFT_ID", func(_ *testing.T, d *protocol.Draft) { d.RequestID = other }},
		{"another seller", "DRAFT_SELLER", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.Seller = "carrier-1" }) }},
		{"another mode", "DRAFT_MODE", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.Mode = request.Named }) }},
		{"a receiver", "DRAFT_RECEIVER", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.Receiver = "thief-1" }) }},
		{"an old offer", "DRAFT_TIME", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { o.OfferedAt -= time.Hour.Milliseconds() })
		}},
		{"an offer from the future", "DRAFT_TIME", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { o.OfferedAt += time.Hour.Milliseconds() })
		}},
		{"a longer life", "DRAFT_EXPIRY", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.ExpiresAt++ }) }},
		{"a past life", "DRAFT_EXPIRY", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { o.ExpiresAt = o.OfferedAt })
		}},
		{"a second output", "DRAFT_CARDS", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { o.Outputs = append(o.Outputs, o.Outputs[0]) })
		}},
		{"no output", "DRAFT_CARDS", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.Outputs = nil }) }},
		{"no input", "DRAFT_NAMES", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.Inputs = nil }) }},
		{"an input twice", "DRAFT_NAMES", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { o.Inputs = append(o.Inputs, o.Inputs[0]) })
		}},
		{"a trade that is no name", "DRAFT_NAMES", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { o.Outputs[0].Trade = "T1" })
		}},
		{"another lot", "DRAFT_OPENING", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.Outputs[0].Lot = other }) }},
		{"an input unopened", "DRAFT_OPENING", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { delete(d.Openings.Lots, o.Inputs[0]) })
		}},
		{"a remainder unopened", "DRAFT_OPENING", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { delete(d.Openings.Lots, o.Remainders[0]) })
		}},
		{"an opening of other cards", "DRAFT_OPENING", func(t *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) {
				_, d.Openings.Lots[o.Outputs[0].Lot] = request.OpeningOf(box(t, 10, 20), [32]byte{})
			})
		}},
		{"more cards than were scanned", "DRAFT_CARDS", func(t *testing.T, d *protocol.Draft) { outputOf(d, box(t, 10, 20)) }},
		{"fewer cards than were scanned", "DRAFT_CARDS", func(t *testing.T, d *protocol.Draft) { outputOf(d, box(t, 10, 18)) }},
		{"other cards", "DRAFT_CARDS", func(t *testing.T, d *protocol.Draft) { outputOf(d, box(t, 30, 39)) }},
		{"another count", "DRAFT_COUNT", func(_ *testing.T, d *protocol.Draft) { d.Count++ }},
		{"a remainder that is dropped", "DRAFT_PARTITION", func(_ *testing.T, d *protocol.Draft) { rewrite(d, func(o *request.Offer) { o.Remainders = nil }) }},
		{"a remainder that is too small", "DRAFT_PARTITION", func(t *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) {
				hash, opening := request.OpeningOf(box(t, 20, 98), [32]byte{1})
				d.Openings.Lots[hash] = opening
				o.Remainders = []string{hash}
			})
		}},
		{"another code", "DRAFT_CODE", func(_ *testing.T, d *protocol.Draft) { codeOf(d, func(c *request.CodeOpening) { c.Code = "KW1DHF39" }) }},
		{"a short salt", "DRAFT_CODE", func(_ *testing.T, d *protocol.Draft) { codeOf(d, func(c *request.CodeOpening) { c.Salt = c.Salt[:8] }) }},
		{"another code's hash", "DRAFT_CODE", func(_ *testing.T, d *protocol.Draft) {
			rewrite(d, func(o *request.Offer) { o.Outputs[0].CodeHash = other })
		}},
		{"no code", "DRAFT_CODE", func(_ *testing.T, d *protocol.Draft) { d.Openings.Codes = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, newGateway(t), seller, "SN-0001")
			r.give(0, 99)
			order := Order{Cards: box(t, 10, 19), ExpiresIn: time.Hour}
			_, offline, err := r.Prepare(t.Context(), order)
			if check(t, err); offline {
				t.Error("drafted here")
			}
			r.g.Locked(func() { r.g.Alter = func(d *protocol.Draft) { c.alter(t, d) } })
			_, _, err = r.Prepare(t.Context(), order)
			wants(t, c.name, err, c.code)
		})
	}
}

// outputOf makes other cards of an offer's output, opened and coded as it should be.
func outputOf(d *protocol.Draft, set iccid.Set) {
	hash, opening := request.OpeningOf(set, [32]byte{2})
	d.Openings.Lots[hash] = opening
	d.Count = set.Count()
	rewrite(d, func(o *request.Offer) { o.Outputs[0].Lot = hash })
	codeOf(d, func(*request.CodeOpening) {})
}

// codeOf changes the code of the output, and its hash with it.
func codeOf(d *protocol.Draft, change func(*request.CodeOpening)) {
	rewrite(d, func(o *request.Offer) {
		out := &o.Outputs[0]
		c := d.Openings.Codes[out.Trade]
		c.Code = request.TradeCode(o.OfferedAt, o.Seller, out.Lot, c.Salt)
		change(&c)
		d.Openings.Codes[out.Trade], out.CodeHash = c, request.CodeHash(out.Trade, c.Code, c.Salt)
	})
}

// TestDraftOffline: without a network the terminal drafts from the stock that it knows, over several lots, and the platform takes
// it when it is back.
func TestDraftOffline(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	r.give(0, 99)
	r.give(100, 199)
	r.give(300, 399)
	check(t, r.RefreshStock(t.Context()))
	for name, to := range map[string]string{"by code": "", "to one": buyer.ID} {
		a := 50
		if to != "" {
			a = 320
		}
		cards := box(t, a, a+70)
		c, offline, err := r.Prepare(t.Context(), Order{Cards: cards, To: to, Offline: true})
		check(t, err)
		left := uint64(0)
		for _, rest := range c.Rest {
			left += rest.Cards.Count()
		}
		if !offline || !c.Cards.Equal(cards) || (c.Parts[0].Code == "") != (to != "") || c.Offer.Receiver != to {
			t.Errorf("%s: %+v", name, c.Offer)
		}
		if to == "" && (len(c.Offer.Inputs) != 2 || left != 129) {
			t.Errorf("%s: of %d lots, %d cards left", name, len(c.Offer.Inputs), left)
		}
		if again := request.New("cardflow", c.Offer); again.ID() != c.Request.ID() {
			t.Errorf("%s: another body than the offer's", name)
		}
		e, err := r.Sell(c, nil)
		check(t, err)
		if e.State != Waiting || e.Spends[0] == "" {
			t.Errorf("%s: queued as %+v", name, e)
		}
	}
	if _, _, err := r.Prepare(t.Context(), Order{Cards: box(t, 0, 10), Offline: true}); CodeOf(err) != "NOT_IN_STOCK" {
		t.Errorf("what is left of a lot before its offer is on the ledger: %v", err)
	}
	sent, err := r.Send(t.Context())
	check(t, err)
	for _, e := range sent {
		if e.State != Committed {
			t.Errorf("became %s, %+v", e.State, e.Error)
		}
	}
	r.onlyOnce()
	stock, err := r.state.Stock()
	check(t, err)
	total := uint64(0)
	for _, l := range stock {
		total += l.Cards.Count()
	}
	if want := r.g.Owned(seller.ID); total != want || want != 300-71-71 {
		t.Errorf("%d cards are known, %d there", total, want)
	}
	check(t, r.RefreshStock(t.Context()))
	again, err := r.state.Stock()
	check(t, err)
	if len(again) != len(stock) {
		t.Errorf("%d lots were known, %d are there", len(stock), len(again))
	}
}

// TestDraftRefuses: what can't be drafted has its reason.
func TestDraftRefuses(t *testing.T) {
	lot := func(set iccid.Set, issuer string, salt byte) Lot {
		hash, opening := request.OpeningOf(set, [32]byte{salt})
		return Lot{protocol.StockLot{Lot: hash, Opening: opening, Issuer: protocol.Party{ID: issuer}}, set}
	}
	var scattered []string
	for i := range 1001 {
		scattered = append(scattered, card(2*i))
	}
	many, err := iccid.SetOf(iccid.Luhn, scattered...)
	check(t, err)
	for name, c := range map[string]struct {
		stock []Lot
		cards iccid.Set
		code  string
	}{
		"no stock":           {nil, box(t, 0, 9), "NOT_IN_STOCK"},
		"one card short":     {[]Lot{lot(box(t, 0, 8), "a", 1)}, box(t, 0, 9), "NOT_IN_STOCK"},
		"two carriers":       {[]Lot{lot(box(t, 0, 4), "a", 1), lot(box(t, 5, 9), "b", 2)}, box(t, 0, 9), "SEVERAL_ISSUERS"},
		"a scattered return": {[]Lot{lot(box(t, 0, 2100), "a", 1)}, many, "TOO_MANY_SEGMENTS"},
	} {
		w := Wanted{Channel: "cardflow", Seller: "a", Cards: c.cards, Mode: request.Named, To: "b", Reverses: strings.Repeat("ab", 16), Now: time.Now()}
		_, err := w.Draft(c.stock, zeros{})
		wants(t, name, err, c.code)
	}
	w := Wanted{Channel: "cardflow", Seller: "a", Cards: box(t, 0, 9), Mode: request.Bearer, Now: time.Now()}
	if _, err := w.Draft([]Lot{lot(box(t, 0, 99), "a", 1)}, noRandom{}); err == nil {
		t.Error("drafted without randomness")
	}
}

// zeros is a source of randomness for drafts that nobody signs.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestOfferedLies: what the platform shows of an incoming trade is held against the hash on the ledger.
func TestOfferedLies(t *testing.T) {
	g := newGateway(t)
	a, b := newRig(t, g, seller, "SN-0001"), newRig(t, g, buyer, "SN-0002")
	a.give(0, 99)
	trade := a.sells(box(t, 0, 9), buyer.ID).Trade
	in, err := b.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: trade})
	check(t, err)
	for name, spoil := range map[string]func(*protocol.Offered){
		"another lot":      func(o *protocol.Offered) { o.Lot = hex.EncodeToString(make([]byte, 32)) },
		"other segments":   func(o *protocol.Offered) { o.Segments = Spans(box(t, 0, 8)) },
		"another count":    func(o *protocol.Offered) { o.Count++ },
		"another trade":    func(o *protocol.Offered) { o.Trade = strings.Repeat("0", 32) },
		"another opening":  func(o *protocol.Offered) { _, o.Opening = request.OpeningOf(box(t, 0, 8), [32]byte{}) },
		"no opening":       func(o *protocol.Offered) { o.Opening = request.LotOpening{} },
		"a missing number": func(o *protocol.Offered) { o.Segments = nil },
	} {
		o := in.Offered
		spoil(&o)
		g.Locked(func() { g.Lie = lieAbout(protocol.PathConfirm, o) })
		_, err := b.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: trade})
		wants(t, name, err, "OFFERED_WRONG")
	}
}

// TestOfferOfOneCard: a run of one card has no end, however the platform tells it.
func TestOfferOfOneCard(t *testing.T) {
	g := newGateway(t)
	a, b := newRig(t, g, seller, "SN-0001"), newRig(t, g, buyer, "SN-0002")
	a.give(0, 9)
	trade := a.sells(box(t, 4, 4), buyer.ID).Trade
	in, err := b.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: trade})
	check(t, err)
	o := in.Offered
	o.Segments = []protocol.Span{{Start: card(4), End: card(4)}}
	g.Locked(func() { g.Lie = lieAbout(protocol.PathConfirm, o) })
	in, err = b.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: trade})
	if err != nil || !slices.Equal(in.Segments, Spans(box(t, 4, 4))) {
		t.Errorf("%+v, %v", in.Segments, err)
	}
	o.Segments = []protocol.Span{{Start: card(4), End: card(5)}}
	g.Locked(func() { g.Lie = lieAbout(protocol.PathConfirm, o) })
	_, err = b.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: trade})
	wants(t, "two cards told of one", err, "OFFERED_WRONG")
}
