package transfer_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// tryOffer makes a BEARER offer and answers its error.
func (r *rig) tryOffer(c transfer.Caller, spans []transfer.Span) error {
	_, err := r.Offer(r.ctx, c, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: spans})
	return err
}

// set is spans as cards.
func (r *rig) set(spans []transfer.Span) iccid.Set {
	r.t.Helper()
	var segs []iccid.Segment
	for _, s := range spans {
		segs = append(segs, must2(iccid.Serial.Range(s.Start, s.End))(r.t))
	}
	return must2(iccid.NewSet(iccid.Serial, segs...))(r.t)
}

// Every offer that can't be is refused before anything is set aside.
func TestOffersThatCannotBe(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	reserved := r.offer(retailer, 500, 510)
	frozen := r.offer(retailer, 600, 600)
	act, err := r.Cancel(r.ctx, retailer, idem("cancel"), frozen.TradeID)
	check(t, err)
	r.await(act, "")
	act, err = r.Freeze(r.ctx, carrier, idem("freeze"), frozen.LotHash, nil)
	check(t, err)
	if act.State != "committed" {
		t.Fatalf("%+v", act)
	}

	spans := func(s ...transfer.Span) transfer.OfferInput { return transfer.OfferInput{Mode: "BEARER", Segments: s} }
	cards := func(a, b int) transfer.OfferInput { return spans(span(a, b)...) }
	many := transfer.OfferInput{Mode: "BEARER"}
	for n := range 1001 {
		many.Segments = append(many.Segments, transfer.Span{Start: id(2*n + 1)})
	}
	with := func(in transfer.OfferInput, change func(*transfer.OfferInput)) transfer.OfferInput {
		change(&in)
		return in
	}
	to := func(mode, to string) transfer.OfferInput {
		return with(cards(1, 1), func(in *transfer.OfferInput) { in.Mode, in.To = mode, to })
	}
	expires := func(d time.Duration) transfer.OfferInput {
		return with(cards(1, 1), func(in *transfer.OfferInput) { in.ExpiresIn = d })
	}
	for _, c := range []struct {
		what string
		who  transfer.Caller
		in   transfer.OfferInput
		code string
	}{
		{"cards of nobody", retailer, cards(300_001, 300_002), "CARDS_NOT_OWNED"},
		{"someone else's", retailer, cards(20_000, 20_010), "CARDS_NOT_OWNED"},
		{"someone else's, who is his buyer", distributor, cards(1, 10), "CARDS_NOT_OWNED"},
		{"partly his", retailer, cards(9_999, 10_001), "CARDS_NOT_OWNED"},
		{"partly anybody's", distributor, cards(49_999, 50_001), "CARDS_NOT_OWNED"},
		{"in a trade", retailer, cards(500, 510), "CARDS_RESERVED"},
		{"partly in a trade", retailer, cards(505, 515), "CARDS_RESERVED"},
		{"one card in a trade", retailer, spans(transfer.Span{Start: id(505)}), "CARDS_RESERVED"},
		{"frozen", retailer, cards(600, 600), "CARDS_FROZEN"},
		{"partly frozen", retailer, cards(599, 601), "CARDS_FROZEN"},
		{"no card", retailer, spans(), "CARDS_REQUIRED"},
		{"an empty span", retailer, spans(transfer.Span{}), "ICCID_FORMAT"},
		{"more spans than a request may have", retailer, many, "TOO_MANY_CARDS"},
		{"start after end", retailer, cards(10, 1), "ICCID_RANGE_REVERSED"},
		{"spans that overlap", retailer, spans(span(1, 10)[0], span(10, 20)[0]), "ICCID_DUPLICATE"},
		{"a card twice", retailer, spans(transfer.Span{Start: id(1)}, transfer.Span{Start: id(1)}), "ICCID_DUPLICATE"},
		{"start and end of two issuers", retailer, spans(transfer.Span{Start: id(1), End: "89860617010001351357"}), "ICCID_RANGE_MIXED"},
		{"spans of two rules", retailer, spans(transfer.Span{Start: id(1)}, transfer.Span{Start: "89860617010001351357"}), "CARDS_OF_SEVERAL_ISSUERS"},
		{"start and end of two lengths", retailer, spans(transfer.Span{Start: id(1), End: id(1)[:19]}), "ICCID_RANGE_MIXED"},
		{"10^9 cards", retailer, spans(transfer.Span{Start: "898604B7190000000000", End: "898604B7190999999999"}), "ICCID_RANGE_OVERFLOW"},
		{"a range over the seven-digit tail", retailer, spans(transfer.Span{Start: "898604B7192209999999", End: "898604B7192210000000"}), "ICCID_RANGE_OVERFLOW"},
		{"10^7 cards that are not his", retailer, spans(transfer.Span{Start: "898604B7192200000000", End: "898604B7192209999999"}), "CARDS_NOT_OWNED"},
		{"an unknown prefix", retailer, spans(transfer.Span{Start: "89990099999999999999"}), "ICCID_ISSUER_UNKNOWN"},
		{"no ICCID", retailer, spans(transfer.Span{Start: "hello"}), "ICCID_FORMAT"},
		{"a wrong check digit", retailer, spans(transfer.Span{Start: "89860617010001351350"}), "ICCID_CHECK_DIGIT"},
		{"nibbles swapped", retailer, spans(transfer.Span{Start: swapNibbles("89860617010001351357")}), "ICCID_NIBBLE_SWAPPED"},
		{"no mode", retailer, to("", ""), "MODE_INVALID"},
		{"an unknown mode", retailer, to("GIFT", ""), "MODE_INVALID"},
		{"to a name, for whoever comes", retailer, to("BEARER", distributor.Participant), "MODE_INVALID"},
		{"to nobody", retailer, to("NAMED", ""), "RECEIVER_UNKNOWN"},
		{"to a stranger", retailer, to("NAMED", "nobody"), "RECEIVER_UNKNOWN"},
		{"to a regulator", retailer, to("NAMED", regulator.Participant), "RECEIVER_UNKNOWN"},
		{"to the platform", retailer, to("NAMED", transfer.PlatformID), "RECEIVER_UNKNOWN"},
		{"to himself", retailer, to("NAMED", retailer.Participant), "SELF_TRADE"},
		{"too short", retailer, expires(time.Minute - 1), "EXPIRY_INVALID"},
		{"too long", retailer, expires(7*24*time.Hour + time.Millisecond), "EXPIRY_INVALID"},
		{"over before it begins", retailer, expires(-time.Hour), "EXPIRY_INVALID"},
		{"by a consumer", ann, cards(1, 1), "FORBIDDEN"},
		{"by a regulator", regulator, cards(1, 1), "FORBIDDEN"},
		{"a return of nothing", retailer, with(to("NAMED", distributor.Participant), func(in *transfer.OfferInput) { in.Reverses = "00000000000000000000000000000000" }), "NOT_RETURNABLE"},
	} {
		_, err := r.Offer(r.ctx, c.who, idem("offer"), c.in)
		wants(t, c.what, err, c.code)
	}
	if v := r.trade(retailer, reserved.TradeID); v.State != "offered" || v.Count != 11 {
		t.Errorf("the trade that was there: %+v", v)
	}
	r.offer(retailer, 1, 1) // none of it has set this card aside
	r.fsck()
}

func swapNibbles(s string) string {
	b := []byte(s)
	for i := 0; i+1 < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return string(b)
}

func TestExpiryWithinBounds(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	for i, d := range []time.Duration{0, time.Minute, 7 * 24 * time.Hour} {
		o, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(i+1, i+1), ExpiresIn: d})
		check(t, err)
		want := d
		if d == 0 {
			want = time.Hour
		}
		if got := time.Until(o.Trades[0].ExpiresAt); got > want || got < want-time.Minute {
			t.Errorf("%v: expires in %v", d, got)
		}
	}
}

// A consumer may be named: he needs no code, and nobody else gets at it.
func TestNamedOfferToAConsumer(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	o, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: ann.Participant, Segments: span(1, 1)})
	check(t, err)
	trade := o.Trades[0]
	for _, who := range []transfer.Caller{bob, distributor, retailer, regulator} {
		_, err := r.Confirm(r.ctx, who, idem("confirm"), trade.TradeID, "", "")
		wants(t, string(who.Role)+" confirms", err, "TRADE_NOT_FOUND")
		_, err = r.Decline(r.ctx, who, idem("decline"), trade.TradeID, "", "", "NOT_MINE", "")
		wants(t, string(who.Role)+" declines", err, "TRADE_NOT_FOUND")
	}
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, "", "")
	check(t, err)
	r.await(act, "")
	r.fsck()
}

// Cards of two carriers under one numbering rule are not one offer.
func TestOfferOfTwoCarriersCards(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	other := transfer.Caller{Participant: "cmcc-2", Role: request.Carrier, Person: "person-cmcc-2"}
	ctx, cancel := context.WithTimeout(r.ctx, 30*time.Second)
	defer cancel()
	check(t, r.AddOrganisation(ctx, other.Participant, other.Role, "另一家"))
	const theirs = "898602B7193000000001"
	check(t, r.SetIssuer(ctx, theirs[:6], other.Participant, "SERIAL"))
	_, err := r.Issue(r.ctx, other, idem("issue"), transfer.IssueInput{Segments: []transfer.Span{{Start: theirs}}})
	check(t, err)
	o, err := r.Offer(r.ctx, other, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: retailer.Participant, Segments: []transfer.Span{{Start: theirs}}})
	check(t, err)
	act, err := r.Confirm(r.ctx, retailer, idem("confirm"), o.Trades[0].TradeID, "", "")
	check(t, err)
	r.await(act, "")
	wants(t, "cards of two carriers", r.tryOffer(retailer, []transfer.Span{{Start: id(1)}, {Start: theirs}}), "CARDS_OF_SEVERAL_ISSUERS")
	_, err = r.Issue(r.ctx, carrier, idem("issue"), transfer.IssueInput{Segments: []transfer.Span{{Start: "898602B7193000000002"}}})
	wants(t, "issue under another carrier's prefix", err, "CARD_FILE_MIXED")
	r.fsck()
}

// Offers at once on different cards of one lot all go through: each is built on what the one before leaves.
func TestOffersAtOnceOnOneLot(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	const n = 8
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			o, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(10*i+1, 10*i+10)})
			if err != nil {
				t.Errorf("offer %d: %v", i, err)
				return
			}
			r.until("the offer is on the ledger", func() bool { return r.trade(retailer, o.Trades[0].TradeID).State == "offered" })
		})
	}
	wg.Wait()
	inv, err := r.Inventory(r.ctx, retailer)
	check(t, err)
	if inv.Total != 10_000-10*n {
		t.Errorf("%d cards are left", inv.Total)
	}
	r.fsck()
}

// Offers at once on the same cards: one wins, the others are told why.
func TestOffersAtOnceOnTheSameCards(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 10 {
		wg.Go(func() {
			err := r.tryOffer(retailer, span(1+i, 20+i)) // each overlaps each
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if transfer.CodeOf(err) != "CARDS_RESERVED" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d offers won", won)
	}
	r.fsck()
}

// The same wish at once, or again: one offer.
func TestOfferTwice(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	key := idem("POST /trades")
	in := transfer.OfferInput{Mode: "BEARER", Segments: span(1, 3)}
	ids := make([]string, 6)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			o, err := r.Offer(r.ctx, retailer, key, in)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = o.Trades[0].TradeID + o.Trades[0].Code
		})
	}
	wg.Wait()
	for _, x := range ids {
		if x != ids[0] || len(x) != 40 {
			t.Errorf("%q and %q", ids[0], x)
		}
	}
	key.BodyDigest = "another"
	_, err := r.Offer(r.ctx, retailer, key, transfer.OfferInput{Mode: "BEARER", Segments: span(5, 6)})
	wants(t, "another body", err, "IDEMPOTENCY_KEY_REUSED")
	r.fsck()
}

// A code for each card of a box in one transaction of the ledger; each leads to its own card only.
func TestEachCardOffer(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.Relay.Lease = 2 * time.Minute })
	trades := r.each(retailer, 1, boxOfCards)
	codes, tx := map[string]bool{}, r.trade(retailer, trades[0].TradeID).OfferTx
	for i, trade := range trades {
		codes[trade.Code] = true
		if trade.Count != 1 || trade.Segments[0].Start != id(i+1) {
			t.Fatalf("trade %d is of %v", i, trade.Segments)
		}
	}
	if len(codes) != boxOfCards {
		t.Errorf("%d codes", len(codes))
	}
	if last := r.trade(retailer, trades[len(trades)-1].TradeID); last.OfferTx != tx {
		t.Errorf("two transactions: %s, %s", tx, last.OfferTx)
	}
	ann := r.consumer("ann")
	_, err := r.Lookup(r.ctx, ann, trades[6].Code, last6(8))
	wants(t, "a code with its neighbour's card", err, "TRADE_CODE_NOT_FOUND")
	r.confirm(ann, trades[6], 7)
	r.fsck()
}

// Cards that lie in more lots than one transaction of the ledger takes are refused with a way out.
func TestOfferOutOfTooManyLots(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	const n = 201
	// As they would lie after an each-card offer that nobody took. Each would be an act of its own; here they only have
	// to be counted.
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		for i := range n {
			set := r.set(span(200_001+i, 200_001+i))
			hash, _ := request.OpeningOf(set, [32]byte{byte(i)})
			l := model.Lot{Hash: hash, Issuer: carrier.Participant, Rule: set.Rule, Owner: retailer.Participant, Status: model.LotOwned, RetailPolicy: "OPEN", SaltSealed: []byte{}}
			if err := tx.AddLot(l, set.Segments()); err != nil {
				return err
			}
		}
		return nil
	}))
	wants(t, "out of 201 lots", r.tryOffer(retailer, span(200_001, 200_000+n)), "CARDS_IN_TOO_MANY_LOTS")
	page, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Side: "seller"})
	check(t, err)
	if len(page.Items) != 0 {
		t.Errorf("%d trades were made", len(page.Items))
	}
}

// A code that a live trade has is not given out again.
func TestCodesDoNotCollide(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var script [][]byte // what the randomness of 16 and of 32 bytes is, as long as it lasts
	fixed := readerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(script) > 0 && len(script[0]) == len(p) {
			n := copy(p, script[0])
			script = script[1:]
			return n, nil
		}
		return rand.Read(p)
	})
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.Random = fixed })
	var at time.Time
	r.config = func(c *transfer.Config) {
		c.Random, c.Clock = fixed, func() time.Time { return at }
		c.Relay.Poll = time.Hour // whoever looks for work draws a name for it
	}
	at = r.clock.now()
	r.reopen(t)

	bytesOf := func(n int, b byte) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = b
		}
		return p
	}
	// The order in which an offer draws: its act, the lot's salt, its trade, the code's salt until one is free.
	act, tradeID, salt, first, second := bytesOf(16, 1), bytesOf(16, 2), bytesOf(32, 3), bytesOf(16, 4), bytesOf(16, 5)
	set := r.set(span(1, 1))
	lot, _ := request.OpeningOf(set, [32]byte(salt))
	taken := request.TradeCode(at.UnixMilli(), retailer.Participant, lot, first)
	vault := must2(transfer.OpenVault(r.path("data.key"), rand.Reader))(t)
	lots, err := r.Lots(r.ctx, retailer, "", 1)
	check(t, err)
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		index := vault.Index("code", taken)
		return tx.AddTrade(model.Trade{
			ID: fmt.Sprintf("%032x", 77), Mode: "BEARER", LotHash: lots.Items[0].Hash, Seller: retailer.Participant, State: model.TradeOffering,
			CodeIndex: index, LiveCode: index, OfferedAt: 1, ExpiresAt: 2, Count: 1,
		})
	}))
	mu.Lock()
	script = [][]byte{act, salt, tradeID, first, second}
	mu.Unlock()
	v := r.offer(retailer, 1, 1)
	if want := request.TradeCode(at.UnixMilli(), retailer.Participant, lot, second); v.Code == taken || v.Code != want {
		t.Fatalf("code %q, taken was %q, the next %q; %d draws are left", v.Code, taken, want, len(script))
	}
	r.fsck()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var _ io.Reader = readerFunc(nil)
