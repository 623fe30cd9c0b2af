package transfer_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// terminal is a device of an organisation: it knows what it is told and what it has signed.
type terminal struct {
	r   *rig
	key *gm.PrivateKey
	transfer.Caller
	serialHash string
}

var terminals atomic.Int64

// terminal puts a device of an organisation on the ledger.
func (r *rig) terminal(of transfer.Caller) *terminal {
	r.t.Helper()
	n := terminals.Add(1)
	k, err := gm.GenerateKey(rand.Reader)
	check(r.t, err)
	d := &terminal{r: r, key: k, Caller: transfer.Caller{Participant: of.Participant, Role: of.Role}, serialHash: protocol.SerialHash([32]byte{byte(n)}, "SN-TEST")}
	r.publish(of, d.newKey())
	return d
}

// newKey is the device's key as it goes to the ledger.
func (d *terminal) newKey() request.NewKey {
	d.r.t.Helper()
	possession, err := d.key.Sign(rand.Reader, request.PossessionBytes("test", d.Participant, d.key.Public()))
	check(d.r.t, err)
	return request.NewKey{Public: d.key.Public(), Kind: request.DeviceKey, SerialHash: d.serialHash, Functions: protocol.Functions, Possession: possession}
}

// publish puts a key on the ledger that its organisation's account key signs for.
func (r *rig) publish(of transfer.Caller, key request.NewKey) {
	r.t.Helper()
	body := request.PublishKey{Participant: of.Participant, Version: must2(r.ledgerParticipant(of.Participant))(r.t).Version, Key: key}
	subject, until := fmt.Sprintf("device-%d", terminals.Add(1)), r.clock.now().Add(time.Hour).UnixMilli()
	check(r.t, r.keys.AuthoriseDevice(r.ctx, custody.LoginToken(r.console(of).Session), subject, until))
	check(r.t, r.keys.NameDevice(r.ctx, subject, body))
	sig, _, err := r.keys.Sign(r.ctx, custody.Ask{Owner: of.Participant, Slot: custody.Account, Subject: subject + "-key", Attempt: 1, NotAfter: until, Actor: of.Person}, body)
	check(r.t, err)
	proof := request.Proof{Signatures: []request.Signature{sig}}
	p, err := r.file.Prepare(request.Identity, "PublishKey", [][]byte{request.Encode(body), proof.Encode()})
	check(r.t, err)
	_, err = r.file.Submit(r.ctx, p, nil, func() error { return nil })
	check(r.t, err)
	r.caughtUp()
}

// signed is a request as the device submits it.
func (d *terminal) signed(body request.Body) protocol.Submit {
	d.r.t.Helper()
	req := request.New("test", body)
	return d.signedUntil(protocol.Submit{Contract: req.Contract, Function: req.Function, Args: string(req.Args)}, d.r.clock.now().Add(24*time.Hour))
}

// signedUntil signs a request, however it is spelt.
func (d *terminal) signedUntil(in protocol.Submit, until time.Time) protocol.Submit {
	d.r.t.Helper()
	req := request.Request{Channel: "test", Contract: in.Contract, Function: in.Function, Args: []byte(in.Args)}
	keyID, notAfter := d.key.Public().KeyID(), until.UnixMilli()
	sig, err := d.key.Sign(rand.Reader, req.SigningBytes(keyID, notAfter))
	check(d.r.t, err)
	in.Signature = request.Signature{KeyID: keyID, NotAfter: notAfter, Bytes: sig}
	return in
}

// drafted asks for a draft of an offer, checks it as a terminal does, and signs it.
func (d *terminal) drafted(in protocol.RecentHash) (protocol.Submit, request.Offer) {
	d.r.t.Helper()
	draft, err := d.r.TransRecentHash(d.r.ctx, d.Caller, in)
	check(d.r.t, err)
	var offer request.Offer
	if draft.Function == "Return" {
		var b request.Return
		check(d.r.t, request.Decode([]byte(draft.Args), &b))
		offer = b.Offer
	} else {
		check(d.r.t, request.Decode([]byte(draft.Args), &offer))
	}
	for hash, o := range draft.Openings.Lots {
		if _, got, err := o.Set(); err != nil || got != hash {
			d.r.t.Errorf("the draft's opening of %s opens %s, %v", hash, got, err)
		}
	}
	for _, h := range slices.Concat(offer.Inputs, offer.Remainders) {
		if _, ok := draft.Openings.Lots[h]; !ok {
			d.r.t.Errorf("the draft doesn't open %s", h)
		}
	}
	req := request.Request{Channel: "test", Contract: draft.Contract, Function: draft.Function, Args: []byte(draft.Args)}
	if req.ID() != draft.RequestID {
		d.r.t.Errorf("the draft's request is %s, not %s", req.ID(), draft.RequestID)
	}
	in2 := protocol.Submit{Contract: draft.Contract, Function: draft.Function, Args: draft.Args, Openings: &draft.Openings}
	return d.signedUntil(in2, d.r.clock.now().Add(24*time.Hour)), offer
}

// offers sells cards to somebody, or to whoever has the code, and answers the trade.
func (d *terminal) offers(to string, a, b int) transfer.TradeView {
	d.r.t.Helper()
	mode := request.Named
	if to == "" {
		mode = request.Bearer
	}
	sub, offer := d.drafted(protocol.RecentHash{Segments: boxed(a, b), Mode: mode, To: to})
	d.committed(sub)
	return d.r.trade(d.Caller, offer.Outputs[0].Trade)
}

// takes confirms a trade: by code and card if they are given.
func (d *terminal) takes(v transfer.TradeView, code, last6 string) protocol.Submit {
	d.r.t.Helper()
	seen, err := d.r.TransConfirm(d.r.ctx, d.Caller, protocol.ConfirmAsk{Trade: v.TradeID, Code: code, ICCIDLast6: last6})
	check(d.r.t, err)
	if _, hash, err := seen.Opening.Set(); err != nil || hash != seen.Lot {
		d.r.t.Errorf("what is offered opens %s, not %s, %v", hash, seen.Lot, err)
	}
	if one := seen.Segments[0]; seen.Count == 1 && one.End != "" {
		d.r.t.Errorf("one card is told as %+v", one)
	}
	if seen.Issuer.ID != carrier.Participant || seen.Issuer.Role != request.Carrier || seen.Issuer.Name == "" {
		d.r.t.Errorf("issued by %+v", seen.Issuer)
	}
	sub := d.signed(request.Confirm{Trade: seen.Trade, Lot: seen.Lot, Receiver: d.Participant})
	sub.Code, sub.ICCIDLast6 = code, last6
	return sub
}

// committed submits a request that must go through.
func (d *terminal) committed(sub protocol.Submit) protocol.Submitted {
	d.r.t.Helper()
	got, err := d.r.SubmitSigned(d.r.ctx, d.Caller, sub)
	check(d.r.t, err)
	if got.State != "committed" || got.TxID == "" || got.Error != nil {
		d.r.t.Fatalf("%s became %+v, %+v", sub.Function, got, got.Error)
	}
	return got
}

// refused submits a request that must be refused, or fail, with a code.
func (d *terminal) refused(what string, sub protocol.Submit, code string) {
	d.r.t.Helper()
	got, err := d.r.SubmitSigned(d.r.ctx, d.Caller, sub)
	if err == nil && got.State == "failed" {
		err = &transfer.Error{Code: got.Error.Code}
	}
	wants(d.r.t, what, err, code)
}

func boxed(a, b int) []protocol.Span { return []protocol.Span{{Start: id(a), End: id(b)}} }

// Both worlds trade: terminals with each other, with consumers, with organisations at their consoles; and cards go back.
func TestTerminalsTrade(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	north, shop := r.terminal(distributor), r.terminal(retailer)

	named := north.offers(retailer.Participant, 20_001, 20_100) // terminal → terminal
	shop.committed(shop.takes(named, "", ""))
	bearer := north.offers("", 20_101, 20_110) // the same, by a code
	shop.committed(shop.takes(bearer, bearer.Code, last6(20_105)))
	refused := north.offers(retailer.Participant, 20_111, 20_112)
	shop.committed(shop.signed(request.Decline{Trade: refused.TradeID, Receiver: shop.Participant, Reason: "DAMAGED"}))
	taken := north.offers("", 20_111, 20_112)
	north.committed(north.signed(request.Cancel{Trade: taken.TradeID}))

	sale := shop.offers("", 20_042, 20_042) // terminal → consumer
	ann := r.consumer("ann")
	r.confirm(ann, sale, 20_042)

	console, err := r.Offer(r.ctx, distributor, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: shop.Participant, Segments: span(20_201, 20_210)})
	check(t, err) // console → terminal
	shop.committed(shop.takes(r.offered(distributor, console.Trades[0]), "", ""))
	atConsole := north.offers(retailer.Participant, 20_211, 20_220) // terminal → console
	act, err := r.Confirm(r.ctx, retailer, idem("confirm"), atConsole.TradeID, "", "")
	check(t, err)
	r.await(act, "")

	back, err := r.Return(r.ctx, ann, idem("return"), sale.TradeID, "")
	check(t, err) // consumer → terminal
	r.await(back, "")
	page, err := r.TerminalTrades(r.ctx, shop.Caller, "", "receiver", "", 10)
	check(t, err)
	if len(page.Trades) != 1 || page.Trades[0].Reverses != sale.TradeID || page.Trades[0].Seller.Role != request.Consumer {
		t.Fatalf("the shop is offered %+v", page.Trades)
	}
	shop.committed(shop.takes(transfer.TradeView{TradeID: page.Trades[0].Trade}, "", ""))

	sub, _ := shop.drafted(protocol.RecentHash{Segments: boxed(20_101, 20_110), Mode: request.Named, Reverses: bearer.TradeID})
	shop.committed(sub) // terminal → terminal, back
	page, err = r.TerminalTrades(r.ctx, north.Caller, "offered", "receiver", "", 10)
	check(t, err)
	if len(page.Trades) != 1 || page.Trades[0].Reverses != bearer.TradeID {
		t.Fatalf("the distributor is offered %+v", page.Trades)
	}
	north.committed(north.takes(transfer.TradeView{TradeID: page.Trades[0].Trade}, "", ""))

	// One of the two was enrolled here, so that its number is known and not only the hash.
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		d, err := tx.DeviceByKey(shop.key.Public().KeyID())
		if err == nil {
			_, err = tx.UpdateDevice(d.ID, func(d *model.Device) { d.Serial = "SN-00017" })
		}
		return err
	}))
	tr, err := r.TerminalTrace(r.ctx, shop.Caller, id(20_042))
	check(t, err)
	var got []string
	for _, h := range tr.Hops {
		got = append(got, fmt.Sprintf("%s %s>%s", h.Kind, h.Device, h.EndDevice))
	}
	want := []string{"TRADE " + north.serialHash + ">SN-00017", "TRADE SN-00017>WECHAT", "RETURN WECHAT>SN-00017"}
	if !slices.Equal(got, want) || !tr.Mine {
		t.Errorf("traced %q, mine %v", got, tr.Mine)
	}
	r.noneUnfinished()
	if rep := r.fsck(); rep.Cards != 100_000 {
		t.Errorf("%d cards", rep.Cards)
	}
}
