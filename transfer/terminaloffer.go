package transfer

import (
	"errors"
	"regexp"
	"slices"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

// acceptSignedOffer accepts an offer as a terminal has signed it: its inputs, its lots and its codes are what they are. They are
// checked as the contract does, so that nothing is set aside for what the ledger would certainly refuse.
func (s *Service) acceptSignedOffer(tx *model.Tx, c Caller, sub submission, d draft, o request.Offer, reverses string) error {
	if o.Seller != c.Participant {
		return fail("NOT_OWNER")
	}
	if reverses == "" && sub.request.Function == "Return" || len(o.Inputs) == 0 || len(o.Inputs) > maxLots || len(o.Outputs) == 0 ||
		len(o.Outputs) > request.MaxOutputs || len(o.Remainders) > maxLots {
		return fail("REQUEST_INVALID")
	}
	if err := s.offerTerms(tx, c, o, reverses); err != nil {
		return err
	}
	var outputs, trades []string
	for _, out := range o.Outputs {
		outputs, trades = append(outputs, out.Lot), append(trades, out.Trade)
	}
	inputs, made, err := s.partition(tx, c, sub, o.Inputs, append(outputs, o.Remainders...))
	if err != nil {
		return err
	}
	for _, out := range made[:len(outputs)] {
		taken, err := tx.ReservedOverlap(c.Participant, out.cards)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return fail("CARDS_RESERVED")
		}
	}
	if err := newNames(tx, trades); err != nil {
		return err
	}
	d.Subject = d.ID
	a, err := s.accept(tx, d)
	if err != nil {
		return err
	}
	if err := s.take(tx, a, inputs, made); err != nil {
		return err
	}
	for i, out := range o.Outputs {
		if err := s.addSignedTrade(tx, c, sub, a, o, out, reverses, made[i].cards); err != nil {
			return err
		}
		if err := tx.Reserve(a.ID, c.Participant, made[i].cards); err != nil {
			return err
		}
	}
	return nil
}

// offerTerms looks at what is said of a signed offer beside its cards.
func (s *Service) offerTerms(tx *model.Tx, c Caller, o request.Offer, reverses string) error {
	if reverses == "" {
		if err := sells(c); err != nil {
			return err
		}
	} else {
		t, err := s.returnable(tx, c, reverses)
		if err != nil {
			return err
		}
		if o.Mode != request.Named || o.Receiver != t.Seller || len(o.Outputs) != 1 {
			return fail("NOT_RETURNABLE")
		}
	}
	now := int64(s.now())
	switch {
	case o.OfferedAt > now+clockTolerance || o.OfferedAt < now-request.Policies[request.PolicyClockSkew]:
		return fail("OFFER_TIME_WRONG")
	case o.ExpiresAt <= o.OfferedAt:
		return fail("EXPIRY_INVALID")
	case o.ExpiresAt <= now:
		return fail("TRADE_EXPIRED")
	case o.ExpiresAt-o.OfferedAt > s.Trade.MaxExpiry.Milliseconds() || o.ExpiresAt-o.OfferedAt < s.Trade.MinExpiry.Milliseconds():
		return fail("EXPIRY_INVALID").With("min", s.Trade.MinExpiry.String()).With("max", s.Trade.MaxExpiry.String())
	}
	_, err := s.offerMode(tx, c, OfferInput{Mode: string(o.Mode), To: o.Receiver})
	return err
}

// acceptSignedMerge accepts a merge as a terminal has signed it.
func (s *Service) acceptSignedMerge(tx *model.Tx, c Caller, sub submission, d draft, b request.Merge) error {
	if err := sells(c); err != nil {
		return err
	}
	if b.Owner != c.Participant {
		return fail("NOT_OWNER")
	}
	if len(b.Inputs) < 2 || len(b.Inputs) > maxLots {
		return fail("REQUEST_INVALID")
	}
	inputs, made, err := s.partition(tx, c, sub, b.Inputs, []string{b.Output})
	if err != nil {
		return err
	}
	d.Subject = subjectOf(b)
	a, err := s.accept(tx, d)
	if err != nil {
		return err
	}
	return s.take(tx, a, inputs, made)
}

// partition checks the lots of a signed request: its inputs are its signer's and free, what it makes of them is new, opened, and
// just their cards. It answers both in the order of the request.
func (s *Service) partition(tx *model.Tx, c Caller, sub submission, inputs, outputs []string) ([]model.Lot, []drawn, error) {
	if !distinct(lotName, inputs, outputs) {
		return nil, nil, fail("REQUEST_INVALID")
	}
	lots, err := tx.Lots(inputs)
	if errors.Is(err, model.ErrNotFound) {
		return nil, nil, fail("CARDS_NOT_OWNED") // as it is with others' lots
	}
	if err != nil {
		return nil, nil, err
	}
	for _, l := range lots {
		if err := spendable(l, c.Participant); err != nil {
			return nil, nil, err
		}
		if l.Issuer != lots[0].Issuer || l.Rule != lots[0].Rule {
			return nil, nil, fail("CARDS_OF_SEVERAL_ISSUERS")
		}
	}
	known, err := tx.KnownLots(outputs)
	if err != nil {
		return nil, nil, err
	}
	if len(known) > 0 {
		return nil, nil, fail("LOT_EXISTS")
	}
	for hash, o := range sub.openings.Lots { // also those of inputs, of which this side has its own
		if _, got, err := o.Set(); err != nil || got != hash {
			return nil, nil, fail("OPENING_WRONG").With("lot", hash)
		}
	}
	var in, out []iccid.Set
	for _, l := range lots {
		_, set, err := s.lotCards(tx, l.Hash)
		if err != nil {
			return nil, nil, err
		}
		in = append(in, set)
	}
	var made []drawn
	for _, h := range outputs {
		o, ok := sub.openings.Lots[h]
		if !ok {
			return nil, nil, fail("OPENING_WRONG").With("lot", h)
		}
		set, _, err := o.Set()
		if err != nil {
			return nil, nil, err
		}
		if len(set.Segments()) > lotSegments {
			return nil, nil, fail("TOO_MANY_SEGMENTS")
		}
		out, made = append(out, set), append(made, drawn{set, h, o.Salt})
	}
	if err := iccid.Partition(in, out); err != nil {
		return nil, nil, fail("PARTITION_WRONG")
	}
	return lots, made, nil
}

// spendable says whether a participant may use a lot as an input now. Of others' lots it says no more than that they are not
// his.
func spendable(l model.Lot, owner string) error {
	switch {
	case l.Owner != owner || l.Status == model.LotPending || l.Status == model.LotAbandoned:
		return fail("CARDS_NOT_OWNED")
	case l.Status == model.LotSpent:
		return fail("INPUT_SPENT")
	case l.Status == model.LotInTrade:
		return fail("CARDS_RESERVED")
	case l.Status != model.LotOwned:
		return fail("LOT_RETIRED")
	case len(l.Frozen) > 0:
		return fail("CARDS_FROZEN")
	case l.HeldBy != "":
		return fail("LOT_BUSY")
	}
	return nil
}

// take holds the inputs of an act that a terminal has signed, and stores what it makes of them.
func (s *Service) take(tx *model.Tx, a model.Act, inputs []model.Lot, made []drawn) error {
	hashes := make([]string, len(inputs))
	for i, l := range inputs {
		hashes[i] = l.Hash
	}
	var held *model.HeldError
	if err := tx.HoldLots(hashes, a.ID); errors.As(err, &held) {
		return fail("LOT_BUSY")
	} else if err != nil {
		return err
	}
	for _, m := range made {
		if err := s.addPending(tx, a, inputs[0], m, hashes...); err != nil {
			return err
		}
	}
	return nil
}

// addSignedTrade stores one trade of a signed offer, and for a BEARER trade its code, which must be the one that the ledger has
// the hash of, and nobody's else.
func (s *Service) addSignedTrade(tx *model.Tx, c Caller, sub submission, a model.Act, o request.Offer, out request.Output, reverses string, set iccid.Set) error {
	t := model.Trade{
		ID: out.Trade, Batch: a.ID, Mode: string(o.Mode), LotHash: out.Lot, Seller: o.Seller, Receiver: o.Receiver, State: model.TradeOffering,
		Count: int64(set.Count()), Reverses: reverses, OfferedAt: model.Millis(o.OfferedAt), ExpiresAt: model.Millis(o.ExpiresAt),
		CreatedAt: s.now(), CreatedBy: c.Person,
	}
	if o.Mode != request.Bearer {
		if out.CodeHash != "" {
			return fail("REQUEST_INVALID")
		}
		return tx.AddTrade(t)
	}
	code, ok := sub.openings.Codes[out.Trade]
	if !ok || len(code.Salt) != 16 || code.Code != request.TradeCode(o.OfferedAt, o.Seller, out.Lot, code.Salt) ||
		request.CodeHash(out.Trade, code.Code, code.Salt) != out.CodeHash {
		return fail("OPENING_WRONG").With("trade", out.Trade)
	}
	t.CodeIndex = s.Vault.Index("code", code.Code)
	live, err := tx.LiveCodes([]string{t.CodeIndex})
	if err != nil {
		return err
	}
	if live[t.CodeIndex] {
		return fail("CODE_TAKEN")
	}
	if t.CodeSealed, err = s.Vault.sealJSON("code/"+t.ID, code); err != nil {
		return err
	}
	t.LiveCode = t.CodeIndex
	return tx.AddTrade(t)
}

// newNames refuses names of trades that are no names, the same twice, or taken.
func newNames(tx *model.Tx, trades []string) error {
	if !distinct(tradeName, trades) {
		return fail("REQUEST_INVALID")
	}
	known, err := tx.KnownTrades(trades)
	if err == nil && len(known) > 0 {
		err = fail("TRADE_EXISTS")
	}
	return err
}

var (
	lotName   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	tradeName = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// distinct reports whether names are well formed and no two of them equal.
func distinct(form *regexp.Regexp, lists ...[]string) bool {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return len(slices.Compact(slices.Clone(all))) == len(all) && !slices.ContainsFunc(all, func(name string) bool { return !form.MatchString(name) })
}
