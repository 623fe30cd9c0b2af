package transfer

import (
	"cmp"
	"context"
	"errors"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Span is a run of cards as people write it: first and last ICCID, or a single one.
type Span struct {
	Start string
	End   string
	Count uint64 // filled in answers
}

// OfferInput is a transfer-out (转出申请) as asked for.
type OfferInput struct {
	Mode      string // BEARER or NAMED
	To        string // participant, for NAMED
	Segments  []Span
	Each      bool // a trade, and a code, for every card
	ExpiresIn time.Duration
	Reverses  string
}

// OfferResult is an offer's trades, or the job that makes them.
type OfferResult struct {
	Trades []TradeView
	JobID  string
}

// MaxEach bounds the cards of one each-card offer.
const MaxEach = 100_000

// Offer sets cards aside for a buyer and makes the trade, or one for each card. It waits a little for the ledger, so
// that the code it answers with usually works at once.
func (s *Service) Offer(ctx context.Context, c Caller, idem Idem, in OfferInput) (OfferResult, error) {
	if err := sells(c); err != nil {
		return OfferResult{}, err
	}
	set, err := s.parseSpans(in.Segments)
	if err != nil {
		return OfferResult{}, err
	}
	if in.Each && set.Count() > uint64(s.Trade.EachAtOnce) {
		return s.offerByJob(ctx, c, idem, in, set)
	}
	parts := []iccid.Set{set}
	if in.Each {
		if parts, err = eachCard(set); err != nil {
			return OfferResult{}, err
		}
	}
	act, lots := s.newID(), s.drawAll(parts...)
	err = s.authorised(ctx, c, idem, func(tx *model.Tx) ([]wish, error) {
		_, err := s.offerMode(tx, c, in)
		return []wish{s.asks(act, s.offerAsked(c, in, lots))}, err
	})
	if err != nil {
		return OfferResult{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		return s.acceptOffer(tx, c, act, in, set, lots, s.patience())
	})
	if err != nil {
		return OfferResult{}, err
	}
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
	defer cancel()
	a, err := s.Await(wait, id)
	if err != nil {
		return OfferResult{}, err
	}
	if a.Error != nil {
		return OfferResult{}, fail(a.Error.Code)
	}
	trades, err := s.batch(ctx, c, id)
	return OfferResult{Trades: trades}, err
}

// sells: organisations sell. Whether a consumer may is the ledger's policy; here he can only return.
func sells(c Caller) error {
	switch c.Role {
	case request.Carrier, request.Distributor, request.Retailer:
		return nil
	}
	return fail("FORBIDDEN")
}

// offerAsked is what of an offer is its seller's to decide: which cards, to whom and for how long.
func (s *Service) offerAsked(c Caller, in OfferInput, lots []drawn) request.Body {
	o := request.Offer{Seller: c.Participant, Mode: request.Mode(in.Mode), Receiver: in.To, ExpiresAt: s.life(in.ExpiresIn).Milliseconds()}
	for _, l := range lots {
		o.Outputs = append(o.Outputs, request.Output{Lot: l.hash})
	}
	if in.Reverses != "" {
		return request.Return{Offer: o, Reverses: in.Reverses}
	}
	return o
}

// acceptOffer checks the offer of a set, which is cut into lots; sets the cards aside, and stores trades, lots, salts and codes. Nothing of it is on the
// ledger yet; the inputs are chosen when the act's turn comes.
func (s *Service) acceptOffer(tx *model.Tx, c Caller, id string, in OfferInput, set iccid.Set, lots []drawn, deadline model.Millis) (string, error) {
	if err := tx.LockParticipant(c.Participant); err != nil {
		return "", err
	}
	mode, err := s.offerMode(tx, c, in)
	if err != nil {
		return "", err
	}
	like, err := s.offerable(tx, c.Participant, set)
	if err != nil {
		return "", err
	}
	now := int64(s.now())
	p := offerPlan{
		Seller: c.Participant, Mode: mode, Receiver: in.To, OfferedAt: now, ExpiresAt: now + s.life(in.ExpiresIn).Milliseconds(), Reverses: in.Reverses,
	}
	f := fields{Parties: []party{{c.Participant, SlotAccount}}}
	a := model.Act{ID: id}
	trades := make([]string, len(lots))
	for i := range lots {
		trades[i] = s.newID()
	}
	p.Trades, f.Offer = trades, &p
	function := "Offer"
	if in.Reverses != "" {
		function = "Return"
	}
	d := draft{ID: id, Contract: request.Ownership, Function: function, Person: c.Person, Subject: id, Fields: f, Deadline: deadline}
	if _, err := s.accept(tx, d); err != nil {
		return "", err
	}
	for i, l := range lots {
		if err := s.addPending(tx, a, like, l); err != nil {
			return "", err
		}
		if err := s.addTrade(tx, c, a, p, trades[i], l.hash, l.cards); err != nil {
			return "", err
		}
	}
	return id, tx.Reserve(id, c.Participant, set)
}

// offerMode looks at what is said of an offer beside its cards.
func (s *Service) offerMode(tx *model.Tx, c Caller, in OfferInput) (request.Mode, error) {
	if life := s.life(in.ExpiresIn); life < s.Trade.MinExpiry || life > s.Trade.MaxExpiry {
		return "", fail("EXPIRY_INVALID").With("min", s.Trade.MinExpiry.String()).With("max", s.Trade.MaxExpiry.String())
	}
	switch request.Mode(in.Mode) {
	case request.Bearer:
		if in.To != "" {
			return "", fail("MODE_INVALID")
		}
		return request.Bearer, nil
	case request.Named:
		if in.To == c.Participant {
			return "", fail("SELF_TRADE")
		}
		p, err := tx.Participant(in.To)
		if errors.Is(err, model.ErrNotFound) {
			return "", fail("RECEIVER_UNKNOWN")
		}
		if err != nil {
			return "", err
		}
		switch request.Role(p.Role) {
		case request.Carrier, request.Distributor, request.Retailer, request.Consumer:
			return request.Named, nil
		}
		return "", fail("RECEIVER_UNKNOWN")
	}
	return "", fail("MODE_INVALID")
}

// life is how long an offer stands.
func (s *Service) life(in time.Duration) time.Duration { return cmp.Or(in, s.Trade.DefaultExpiry) }

// offerable checks that the participant holds the cards free, all of one issuer, and answers one of their lots.
func (s *Service) offerable(tx *model.Tx, owner string, set iccid.Set) (model.Lot, error) {
	runs, err := tx.LiveSegmentsOwned(owner, set)
	if err != nil {
		return model.Lot{}, err
	}
	have, hashes, err := cover(set.Rule, runs)
	if err != nil {
		return model.Lot{}, err
	}
	taken, err := tx.ReservedOverlap(owner, set)
	if err != nil {
		return model.Lot{}, err
	}
	if len(taken) > 0 {
		return model.Lot{}, fail("CARDS_RESERVED")
	}
	if !have.Covers(set) {
		return model.Lot{}, s.whyNot(tx, owner, set)
	}
	if len(hashes) > maxLots {
		return model.Lot{}, fail("CARDS_IN_TOO_MANY_LOTS").With("limit", maxLots)
	}
	lots, err := tx.Lots(hashes)
	if err != nil {
		return model.Lot{}, err
	}
	for _, l := range lots {
		if len(l.Frozen) > 0 {
			return model.Lot{}, fail("CARDS_FROZEN")
		}
		if l.Issuer != lots[0].Issuer {
			return model.Lot{}, fail("CARDS_OF_SEVERAL_ISSUERS")
		}
	}
	return lots[0], nil
}

// whyNot tells cards that are the owner's own but in a trade, or retired, from those that aren't his: of others' it says
// nothing.
func (s *Service) whyNot(tx *model.Tx, owner string, set iccid.Set) error {
	runs, err := tx.LiveSegmentsIn(set)
	if err != nil {
		return err
	}
	var mine []model.Segment
	for _, r := range runs {
		if r.Owner == owner {
			mine = append(mine, r)
		}
	}
	have, _, err := cover(set.Rule, mine)
	if err != nil {
		return err
	}
	if !have.Covers(set) {
		return fail("CARDS_NOT_OWNED")
	}
	for _, r := range mine {
		l, err := tx.Lot(r.LotHash)
		if err != nil {
			return err
		}
		if l.Status == model.LotRetired {
			return fail("LOT_RETIRED")
		}
	}
	return fail("CARDS_RESERVED")
}

// addTrade stores one trade of an offer, and for a BEARER trade a code that no live trade has.
func (s *Service) addTrade(tx *model.Tx, c Caller, a model.Act, p offerPlan, id, lot string, set iccid.Set) error {
	t := model.Trade{
		ID: id, Batch: a.ID, Mode: string(p.Mode), LotHash: lot, Seller: p.Seller, Receiver: p.Receiver, State: model.TradeOffering,
		Count: int64(set.Count()), Reverses: p.Reverses, OfferedAt: model.Millis(p.OfferedAt), ExpiresAt: model.Millis(p.ExpiresAt),
		CreatedAt: s.now(), CreatedBy: c.Person,
	}
	if p.Mode != request.Bearer {
		return tx.AddTrade(t)
	}
	o, err := s.freeCode(tx, p.OfferedAt, p.Seller, lot)
	if err != nil {
		return err
	}
	if t.CodeSealed, err = s.Vault.sealJSON("code/"+id, o); err != nil {
		return err
	}
	t.CodeIndex = s.Vault.Index("code", o.Code)
	t.LiveCode = t.CodeIndex
	return tx.AddTrade(t)
}

// eachCard cuts a set into its cards.
func eachCard(set iccid.Set) ([]iccid.Set, error) {
	var out []iccid.Set
	for _, seg := range set.Segments() {
		for n := seg.Lo; ; n++ {
			one, err := iccid.NewSet(set.Rule, iccid.Segment{Head: seg.Head, Width: seg.Width, Lo: n, Hi: n})
			if err != nil {
				return nil, err
			}
			out = append(out, one)
			if n == seg.Hi {
				break
			}
		}
	}
	return out, nil
}

// maxLots is how many lots one transaction of the ledger takes as inputs.
const maxLots = 200

// maxSpans bounds the spans of one request.
const maxSpans = 1000

// parseSpans reads what a person gave as segments. All must be of one numbering rule; cards of several issuers under
// one rule are found out when their lots are looked at.
func (s *Service) parseSpans(spans []Span) (iccid.Set, error) {
	if len(spans) == 0 {
		return iccid.Set{}, fail("CARDS_REQUIRED")
	}
	if len(spans) > maxSpans {
		return iccid.Set{}, fail("TOO_MANY_CARDS").With("limit", maxSpans)
	}
	var rule iccid.Rule
	var segs []iccid.Segment
	for i, sp := range spans {
		end := sp.End
		if end == "" {
			end = sp.Start
		}
		seg, issuer, err := s.Plan.Range(sp.Start, end)
		if err != nil {
			return iccid.Set{}, err
		}
		if i > 0 && issuer.Rule != rule {
			return iccid.Set{}, fail("CARDS_OF_SEVERAL_ISSUERS")
		}
		rule = issuer.Rule
		segs = append(segs, seg)
	}
	return iccid.NewSet(rule, segs...)
}

// spans writes a set as people read it.
func spans(set iccid.Set) []Span {
	var out []Span
	for _, seg := range set.Segments() {
		out = append(out, Span{Start: set.Rule.Format(seg.First()), End: set.Rule.Format(seg.Last()), Count: seg.Count()})
	}
	return out
}
