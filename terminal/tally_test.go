package terminal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// childScans scans until it is killed: at the given hit of a point, or where it has scanned enough.
func childScans(state *State, at string, hit int) error {
	hits := 0
	state.at = func(point string) {
		if point == at {
			if hits++; hits == hit {
				die()
			}
		}
	}
	t, err := state.Tally("out")
	if err != nil {
		return err
	}
	for n := range 6 {
		t.Add(card(n), card(n))
		if n == 3 { // keeping comes by for the undo, too
			if err := t.Keep(time.Now()); err != nil {
				return err
			}
			t.Undo()
			t.Add(card(100), card(109))
		}
		if err := t.Keep(time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// TestKilledScanning: a terminal that is killed while it scans, at any point of it, has every scan that was kept, and goes on there.
func TestKilledScanning(t *testing.T) {
	steps := [][]int{{}, {0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 100}, {0, 1, 2, 100, 4}, {0, 1, 2, 100, 4, 5}}
	for hit := 1; hit < len(steps); hit++ {
		for after, at := range []string{AtKeeping, AtKept} {
			t.Run(fmt.Sprint(at, hit), func(t *testing.T) {
				dir := t.TempDir()
				killed(t, "scan", at, dir, strconv.Itoa(hit))
				s, err := OpenState(StatePath(dir))
				check(t, err)
				defer s.Close()
				tally, err := s.Tally("out")
				check(t, err)
				want := steps[hit-1+after]
				if got := firsts(tally); !slices.Equal(got, cardsOf(want)) || len(want) > 0 && tally.Since() == 0 {
					t.Errorf("%d scans are there, not %d: %q", len(got), len(want), got)
				}
			})
		}
	}
}

func firsts(t *Tally) (list []string) {
	for _, s := range t.Scans() {
		list = append(list, s.First)
	}
	return list
}

func cardsOf(numbers []int) (list []string) {
	for _, n := range numbers {
		list = append(list, card(n))
	}
	return list
}

// TestTornScans: a disk that wrote half of the last change leaves what was there before it.
func TestTornScans(t *testing.T) {
	path := StatePath(t.TempDir())
	s, err := OpenState(path)
	check(t, err)
	tally, err := s.Tally("out")
	check(t, err)
	for n := range 3 {
		tally.Add(card(n), card(n))
		check(t, tally.Keep(time.Now()))
	}
	check(t, s.Close())
	data, err := os.ReadFile(path)
	check(t, err)
	// The two pages that say where everything is are written by turns; each holds a transaction's number and a checksum.
	const transaction, end = 16 + 48, 16 + 64
	page := os.Getpagesize()
	newest := 0
	if binary.LittleEndian.Uint64(data[page+transaction:]) > binary.LittleEndian.Uint64(data[transaction:]) {
		newest = page
	}
	clear(data[newest+transaction+4 : newest+end])
	check(t, os.WriteFile(path, data, 0o600))
	if s, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if tally, err = s.Tally("out"); err != nil || !slices.Equal(firsts(tally), cardsOf([]int{0, 1})) {
		t.Errorf("%v: %q", err, firsts(tally))
	}
}

// TestTallyEnds: scans go when what was made of them is queued, and with nothing else; and when nobody has gone on for a month.
func TestTallyEnds(t *testing.T) {
	g := newGateway(t)
	r := newRig(t, g, seller, "SN-0001")
	r.give(0, 99)
	other, err := r.state.Tally("in/x")
	check(t, err)
	other.Add(card(50), card(50))
	check(t, other.Keep(time.Now().Add(-40*24*time.Hour)))
	tally, err := r.state.Tally("out")
	check(t, err)
	tally.Add(card(0), card(9))
	tally.Undo()
	tally.Undo() // nothing
	tally.Add(card(0), card(9))
	check(t, tally.Keep(time.Now()))
	left := func(name string) int {
		l, err := r.state.Tally(name)
		check(t, err)
		return len(l.Scans())
	}
	if left("in/x") != 0 {
		t.Error("scans are kept for ever")
	}
	c, _, err := r.Prepare(t.Context(), Order{Cards: box(t, 0, 9)})
	check(t, err)
	_, err = r.Sell(c, nil)
	check(t, err)
	if left("out") != 1 {
		t.Error("the scans are gone, by a request that wasn't made of them")
	}
	_, err = r.Sell(c, tally)
	check(t, err)
	if left("out") != 0 {
		t.Error("the scans are still there")
	}
	tally.Restart()
	tally.Add(card(1), card(1))
	check(t, tally.Keep(time.Now()))
	tally.Restart()
	check(t, tally.Keep(time.Now()))
	if left("out") != 0 {
		t.Error("begun anew, the scans are still there")
	}
}

// scattered is a basket with n cards of which no two are neighbours.
func scattered(t *testing.T, stock []Lot, n, step int) *Basket {
	t.Helper()
	b := NewBasket(stock)
	for i := range n {
		check(t, b.Card(card(step*i)))
	}
	return b
}

// TestTenThousandSingles: ten thousand cards that lie apart go out as one signed request, of as many trades as it takes, each with
// a code of its own if nobody is named; ten thousand in a row as one trade. The other side takes all of it in at once.
func TestTenThousandSingles(t *testing.T) {
	const n = 10_000
	g := newGateway(t)
	a, b := newRig(t, g, seller, "SN-0001"), newRig(t, g, buyer, "SN-0002")
	a.give(0, 2*n-1)
	check(t, a.RefreshStock(t.Context()))
	stock, err := a.state.Stock()
	check(t, err)
	apart, err := scattered(t, stock, n, 2).Cards()
	check(t, err)
	row, err := scattered(t, stock, n, 1).Cards()
	check(t, err)
	if c, here, err := a.Prepare(t.Context(), Order{Cards: row, To: buyer.ID}); err != nil || here || len(c.Parts) != 1 || row.Len() != 1 {
		t.Errorf("in a row: %d trades, drafted here: %v, %v", len(c.Parts), here, err)
	}
	c, here, err := a.Prepare(t.Context(), Order{Cards: apart})
	check(t, err)
	codes := map[string]bool{}
	for _, p := range c.Parts {
		codes[p.Code] = p.Count == 1000
	}
	if len(c.Parts) != 10 || !here || len(codes) != 10 || codes[""] || c.Count() != n {
		t.Errorf("without a name: %+v", c.Parts)
	}
	_, _, err = a.Prepare(t.Context(), Order{Cards: apart, To: buyer.ID, Reverses: c.Trade()})
	wants(t, "a return of so many runs", err, "TOO_MANY_SEGMENTS")

	c, _, err = a.Prepare(t.Context(), Order{Cards: apart, To: buyer.ID})
	check(t, err)
	e, err := a.Sell(c, nil)
	check(t, err)
	if e, err = a.Deliver(t.Context(), e.Sequence, time.Minute); err != nil || e.State != Committed || len(e.Parts) != 10 || e.Count != n {
		t.Fatalf("%s, %d trades of %d cards: %v", e.State, len(e.Parts), e.Count, err)
	}
	var trades []Incoming
	for _, p := range e.Parts {
		in, err := b.OpenOffer(t.Context(), protocol.ConfirmAsk{Trade: p.Trade})
		check(t, err)
		trades = append(trades, in)
	}
	all, err := Together(trades)
	check(t, err)
	got := NewReceipt(all)
	for i := range n {
		_, err := got.Card(card(2 * i))
		check(t, err)
	}
	_, err = b.Take(NewReceipt(trades[0].Cards), nil, trades...)
	wants(t, "nothing scanned", err, "GOODS_WRONG")
	entries, err := b.Take(got, nil, trades...)
	check(t, err)
	_, err = b.Deliver(t.Context(), entries[9].Sequence, time.Minute)
	check(t, err)
	a.onlyOnceWith(b)
	if g.Owned(buyer.ID) != n || g.Owned(seller.ID) != n {
		t.Errorf("the buyer has %d cards, the seller %d", g.Owned(buyer.ID), g.Owned(seller.ID))
	}
	// What is too scattered for one request is refused before it can wait in the queue for ever.
	huge := c
	huge.Openings.Lots = map[string]request.LotOpening{"": {Canonical: string(make([]byte, maxRequest))}}
	_, err = a.Sell(huge, nil)
	wants(t, "a request of more than the platform takes", err, "REQUEST_TOO_LONG")
	_, err = scattered(t, []Lot{{Cards: box(t, 0, 3*n)}}, n+1, 2).Cards()
	if e := new(iccid.Error); !errors.As(err, &e) || e.Code != iccid.CodeTooManySegments {
		t.Errorf("more than ten thousand runs: %v", err)
	}
}

// TestDraftOfParts: a draft of several trades that says anything else than was wanted is refused.
func TestDraftOfParts(t *testing.T) {
	g := newGateway(t)
	r := newRig(t, g, seller, "SN-0001")
	r.give(0, 4999)
	check(t, r.RefreshStock(context.Background()))
	stock, err := r.state.Stock()
	check(t, err)
	cards, err := scattered(t, stock, 2001, 2).Cards()
	check(t, err)
	w := Wanted{Channel: r.profile.Channel, Seller: seller.ID, Cards: cards, Mode: request.Named, To: buyer.ID, Now: time.Now()}
	for name, c := range map[string]struct {
		code  string
		alter func(o *request.Offer)
	}{
		"as it is":        {"", func(*request.Offer) {}},
		"a trade twice":   {"DRAFT_NAMES", func(o *request.Offer) { o.Outputs[1].Trade = o.Outputs[0].Trade }},
		"a lot twice":     {"DRAFT_NAMES", func(o *request.Offer) { o.Outputs[1].Lot = o.Outputs[0].Lot }},
		"a trade less":    {"DRAFT_CARDS", func(o *request.Offer) { o.Outputs = o.Outputs[:2] }},
		"the rest, too":   {"DRAFT_CARDS", func(o *request.Offer) { o.Outputs[2].Lot, o.Remainders[0] = o.Remainders[0], o.Outputs[2].Lot }},
		"a code on one":   {"DRAFT_CODE", func(o *request.Offer) { o.Outputs[2].CodeHash = o.Inputs[0] }},
		"to someone else": {"DRAFT_RECEIVER", func(o *request.Offer) { o.Receiver = "retailer-2" }},
	} {
		d, err := w.Draft(stock, r.random)
		check(t, err)
		rewrite(&d, c.alter)
		got, err := w.Check(d)
		if wants(t, name, err, c.code); c.code == "" && len(got.Parts) != 3 {
			t.Errorf("%d trades", len(got.Parts))
		}
	}
}
