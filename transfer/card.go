package transfer

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

// CardView is one card as the caller may see it.
type CardView struct {
	CardID       string
	ICCID        string
	IssuerName   string
	OwnerName    string
	Mine         bool
	Status       string // OWNED, IN_TRADE, RETIRED
	Frozen       bool
	Restrictions []string
	LotHash      string
	Since        time.Time
}

// Hop is one step in the life of a card.
type Hop struct {
	Kind        string // ISSUE, TRADE, RETURN
	From        string // names; "" where nobody is to be named
	To          string
	OfferedAt   time.Time
	ConfirmedAt time.Time
	Device      string // through what it was offered
	EndDevice   string // through what it was confirmed
	TxIDs       []string
	BlockNumber uint64
	TradeID     string
	LotHash     string
}

// Trace is the life of a card, cut to what the caller may see: a consumer the step that brought it to him, an
// organisation those of which it was a side (one up and one down), a regulator all (paper §2.4.4).
type Trace struct {
	CardID string
	ICCID  string
	Hops   []Hop
}

// seesAll: who watches sees every card.
func seesAll(c Caller) bool { return c.Role == request.Regulator }

// FindCard leads from an ICCID to a card that the caller may know of.
func (s *Service) FindCard(ctx context.Context, c Caller, typed string) (CardView, error) {
	card, issuer, err := s.Plan.Parse(typed)
	if err != nil {
		return CardView{}, err
	}
	return s.card(ctx, c, issuer.Rule, card)
}

func (s *Service) card(ctx context.Context, c Caller, rule iccid.Rule, card iccid.Card) (CardView, error) {
	var v CardView
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		hops, l, err := s.hops(tx, c, rule, card)
		if err != nil {
			return err
		}
		if len(hops) == 0 && l.Owner != c.Participant {
			return errNoSuchCard
		}
		names, err := tx.ParticipantNames([]string{l.Issuer, l.Owner})
		if err != nil {
			return err
		}
		v = CardView{
			CardID: s.Vault.CardID(rule, card), ICCID: rule.Format(card), IssuerName: names[l.Issuer], Mine: l.Owner == c.Participant,
			Status: string(l.Status), Frozen: len(l.Frozen) > 0, Restrictions: l.Restrictions, LotHash: l.Hash, Since: l.OwnedSince.Time(),
		}
		if v.Mine || seesAll(c) {
			v.OwnerName = names[l.Owner]
		}
		return nil
	})
	return v, err
}

// Trace shows the life of a card.
func (s *Service) Trace(ctx context.Context, c Caller, cardID string) (Trace, error) {
	rule, card, err := s.Vault.Card(cardID)
	if err != nil {
		return Trace{}, errNoSuchCard
	}
	var t Trace
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		hops, l, err := s.hops(tx, c, rule, card)
		if err != nil {
			return err
		}
		if len(hops) == 0 && l.Owner != c.Participant {
			return errNoSuchCard
		}
		t = Trace{CardID: cardID, ICCID: rule.Format(card), Hops: hops}
		return nil
	})
	return t, err
}

// hops answers, oldest first, the steps in a card's life that the caller may see, and the lot that the card is in.
//
// It doesn't walk from lot to lot: the last card of a box that was sold one by one has as many lots behind it as the box
// had cards. It asks for every lot that ever held the card and for the trades of these that were confirmed. Since each
// needed the one before it on the ledger, the order of their blocks is that of the card's life.
func (s *Service) hops(tx *model.Tx, c Caller, rule iccid.Rule, card iccid.Card) ([]Hop, model.Lot, error) {
	live, err := tx.LiveSegment(rule, card.Head, card.Width, card.Tail)
	if errors.Is(err, model.ErrNotFound) {
		return nil, model.Lot{}, errNoSuchCard
	}
	if err != nil {
		return nil, model.Lot{}, err
	}
	l, err := tx.Lot(live.LotHash)
	if err != nil {
		return nil, l, err
	}
	runs, err := tx.SegmentsCovering(rule, card.Head, card.Width, card.Tail)
	if err != nil {
		return nil, l, err
	}
	var lots []string
	for _, r := range runs {
		lots = append(lots, r.LotHash)
	}
	type side struct{ from, to string }
	var hops []Hop
	var sides []side
	var ids []string
	first, err := s.issuedIn(tx, lots)
	if err != nil {
		return nil, l, err
	}
	if first.Hash != "" {
		hops = append(hops, Hop{Kind: "ISSUE", OfferedAt: lotTime(first), Device: "ACCOUNT", TxIDs: []string{first.MadeTx}, LotHash: first.Hash, BlockNumber: s.blockOf(tx, first)})
		sides = append(sides, side{"", first.Issuer})
		ids = append(ids, first.Issuer)
	}
	trades, err := tx.ConfirmedTrades(lots)
	if err != nil {
		return nil, l, err
	}
	for _, t := range trades {
		h := Hop{
			Kind: "TRADE", OfferedAt: t.OfferedAt.Time(), ConfirmedAt: t.EndedAt.Time(), Device: t.OfferDevice, EndDevice: t.EndDevice,
			TxIDs: []string{t.OfferTx, t.EndTx}, BlockNumber: uint64(t.EndBlock), TradeID: t.ID, LotHash: t.LotHash,
		}
		if t.Reverses != "" {
			h.Kind = "RETURN"
		}
		hops = append(hops, h)
		sides = append(sides, side{t.Seller, t.Receiver})
		ids = append(ids, t.Seller, t.Receiver)
	}
	names, err := tx.ParticipantNames(ids)
	if err != nil {
		return nil, l, err
	}
	var seen []Hop
	for i, h := range hops {
		from, to := sides[i].from, sides[i].to
		switch {
		case seesAll(c):
		case c.Role == request.Consumer && to != c.Participant:
			continue
		case from != c.Participant && to != c.Participant:
			continue
		}
		h.From, h.To = person(names, from), person(names, to)
		if to == c.Participant && c.Role == request.Consumer {
			h.To = "我"
		}
		seen = append(seen, h)
	}
	return seen, l, nameDevices(tx, c, seen)
}

// nameDevices puts the serial numbers of terminals in the place of their hashes (paper §3.1), where whoever asks is an
// organisation: each sees them of the steps that it was a side of.
func nameDevices(tx *model.Tx, c Caller, hops []Hop) error {
	if c.Role == request.Consumer {
		return nil
	}
	var hashes []string
	for _, h := range hops {
		for _, device := range []string{h.Device, h.EndDevice} {
			if lotName.MatchString(device) { // 64 hex digits, and not WECHAT or ACCOUNT
				hashes = append(hashes, device)
			}
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	serials, err := tx.DeviceSerials(hashes)
	for i := range hops {
		hops[i].Device, hops[i].EndDevice = cmp.Or(serials[hops[i].Device], hops[i].Device), cmp.Or(serials[hops[i].EndDevice], hops[i].EndDevice)
	}
	return err
}

// issuedIn finds the lot in which a card was issued among all that ever held it, in the order they were stored. Those
// that came before it never came to be.
func (s *Service) issuedIn(tx *model.Tx, lots []string) (model.Lot, error) {
	for _, h := range lots {
		l, err := tx.Lot(h)
		if err != nil {
			return l, err
		}
		if l.Status == model.LotPending || l.Status == model.LotAbandoned {
			continue
		}
		if len(l.Parents) > 0 {
			break // made by another platform, which has not told us from what
		}
		return l, nil
	}
	return model.Lot{}, nil
}

// person is what others read of a participant: an organisation's name, and of a consumer only that he is one.
func person(names map[string]string, id string) string {
	if id == "" {
		return ""
	}
	if n := names[id]; n != "" {
		return n
	}
	return "个人用户"
}

// lotTime is when a lot was issued, by the ledger's time: an issued lot has one owner only.
func lotTime(l model.Lot) time.Time { return l.OwnedSince.Time() }

// blockOf is the block of the transaction that issued a lot.
func (s *Service) blockOf(tx *model.Tx, l model.Lot) uint64 {
	if a, err := tx.ActByTx(l.MadeTx); err == nil {
		return uint64(a.BlockNumber)
	}
	return 0
}

// OwnedCard is a line of "my cards".
type OwnedCard struct {
	CardID          string
	ICCID           string
	SellerName      string
	ConfirmedAt     time.Time
	Restrictions    []string
	Frozen          bool
	Status          string
	TradeID         string // by which they came to him
	Confirmation    string // the act by which he confirmed it, which has a receipt; "" if it was made elsewhere
	ReturnableUntil *time.Time
	Return          string // the trade by which they are on their way back, and which he may cancel; "" if they aren't
}

// cardCursor is a place inside a list of runs of cards.
type cardCursor struct {
	C string `json:"c,omitempty"` // of the runs
	N uint32 `json:"n,omitempty"` // cards of the next run that were shown
}

// MyCards lists the cards that the caller has, one by one, by number.
func (s *Service) MyCards(ctx context.Context, c Caller, cursor string, limit int) (Page[OwnedCard], error) {
	var at cardCursor
	if cursor != "" {
		b, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil || json.Unmarshal(b, &at) != nil {
			return Page[OwnedCard]{}, fail("CURSOR_INVALID")
		}
	}
	if limit <= 0 || limit > model.MaxPage {
		limit = model.DefaultPage
	}
	days := s.policy(ctx, request.PolicyReturnDays)
	var out Page[OwnedCard]
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		out = Page[OwnedCard]{}
		at := at
		for len(out.Items) < limit {
			page, err := tx.AllLiveSegments(c.Participant, at.C, 1)
			if err != nil {
				return err
			}
			if len(page.Items) == 0 {
				return nil
			}
			run := page.Items[0]
			like, err := s.ownedCard(tx, c, run.LotHash, days)
			if err != nil {
				return err
			}
			if at.N > run.Hi-run.Lo {
				return model.ErrCursor // the run is shorter than it was, or somebody made this up
			}
			n := run.Lo + at.N
			for ; n <= run.Hi && len(out.Items) < limit; n++ {
				card := iccid.Card{Head: run.Head, Width: run.Width, Tail: n}
				like.CardID, like.ICCID = s.Vault.CardID(run.Rule, card), run.Rule.Format(card)
				out.Items = append(out.Items, like)
			}
			if n <= run.Hi {
				at.N = n - run.Lo
				out.Next, err = at.encode()
				return err
			}
			if page.Next == "" {
				return nil
			}
			at = cardCursor{C: page.Next}
		}
		var err error
		out.Next, err = at.encode()
		return err
	})
	return out, cursorError(err)
}

func (c cardCursor) encode() (string, error) {
	b, err := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(b), err
}

// ownedCard is what the cards of a lot have in common.
func (s *Service) ownedCard(tx *model.Tx, c Caller, lot string, days int64) (OwnedCard, error) {
	l, err := tx.Lot(lot)
	if err != nil {
		return OwnedCard{}, err
	}
	v := OwnedCard{Restrictions: l.Restrictions, Frozen: len(l.Frozen) > 0, Status: string(l.Status), TradeID: l.TradeID, ConfirmedAt: l.OwnedSince.Time()}
	if l.TradeID == "" {
		return v, nil
	}
	t, err := tx.Trade(l.TradeID)
	if err != nil {
		return v, present(err)
	}
	if t.Seller == c.Participant && t.Reverses != "" {
		// On their way back they still came from where they came from.
		if t, err = tx.Trade(t.Reverses); err != nil {
			return v, present(err)
		}
		if l.Status == model.LotInTrade {
			v.Return = l.TradeID
		}
		v.TradeID, v.ConfirmedAt = t.ID, t.EndedAt.Time()
	}
	seller, err := tx.Participant(t.Seller)
	if err != nil {
		return v, err
	}
	v.SellerName = seller.Name
	switch a, err := s.ownAct(tx, c, t, "Confirm"); {
	case err == nil && a.State == model.ActCommitted:
		v.Confirmation = a.ID
	case err != nil && !errors.Is(err, model.ErrNotFound):
		return v, err
	}
	if t.State == model.TradeConfirmed && l.Status == model.LotOwned {
		v.ConfirmedAt = t.EndedAt.Time()
		until := t.EndedAt.Time().Add(time.Duration(days) * 24 * time.Hour)
		if until.After(s.Clock()) {
			v.ReturnableUntil = &until
		}
	}
	return v, nil
}

// CardFilter narrows a search for cards.
type CardFilter struct {
	Start        string
	End          string
	Organisation string // participant
	Status       string
	From         time.Time
	To           time.Time
	Cursor       string
	Limit        int
}

// Holding is a run of cards in somebody's hands.
type Holding struct {
	LotHash   string
	CardID    string // of the first card
	Start     string
	End       string
	Count     uint64
	OwnerID   string
	OwnerName string
	Status    string
	Since     time.Time
}

// SearchCards lists runs of cards. A regulator searches everything; others what they hold.
func (s *Service) SearchCards(ctx context.Context, c Caller, f CardFilter) (Page[Holding], error) {
	filter := model.SegmentFilter{Owner: f.Organisation, Status: model.LotStatus(f.Status), LiveOnly: true, From: model.MillisOf(f.From), To: model.MillisOf(f.To)}
	if !seesAll(c) {
		filter.Owner = c.Participant
	}
	switch filter.Status {
	case "", model.LotOwned, model.LotInTrade, model.LotRetired:
	default:
		return Page[Holding]{}, fail("BAD_REQUEST")
	}
	if f.Start != "" || f.End != "" {
		set, err := s.parseSpans([]Span{{Start: f.Start, End: f.End}})
		if err != nil {
			return Page[Holding]{}, err
		}
		filter.Rule, filter.Range = set.Rule, &set.Segments()[0]
	}
	var out Page[Holding]
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.FindSegments(filter, f.Cursor, f.Limit)
		if err != nil {
			return err
		}
		out = Page[Holding]{Next: page.Next}
		for _, run := range page.Items {
			l, err := tx.Lot(run.LotHash)
			if err != nil {
				return err
			}
			names, err := tx.ParticipantNames([]string{l.Owner})
			if err != nil {
				return err
			}
			first, last := run.Cards().First(), run.Cards().Last()
			out.Items = append(out.Items, Holding{
				LotHash: l.Hash, CardID: s.Vault.CardID(run.Rule, first), Start: run.Rule.Format(first), End: run.Rule.Format(last), Count: run.Cards().Count(),
				OwnerID: l.Owner, OwnerName: person(names, l.Owner), Status: string(l.Status), Since: l.OwnedSince.Time(),
			})
		}
		return nil
	})
	return out, cursorError(err)
}
