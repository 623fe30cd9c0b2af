package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// CardDetail is what a carrier says of one card beside its number.
type CardDetail struct {
	ICCID  string
	IMSI   string
	MSISDN string
}

// IssueInput is the first registration of cards, by hand.
type IssueInput struct {
	Segments     []Span
	Cards        []CardDetail
	Restrictions []string
	RetailPolicy string // OPEN or REAL_NAME
}

// IssueResult is the lots that were issued.
type IssueResult struct {
	Lots []LotView
	Acts []Act
}

// lotSegments is how many segments go into one lot: the ledger's default limit.
const lotSegments = 1000

// Issue registers cards on the ledger, once per card for ever.
func (s *Service) Issue(ctx context.Context, c Caller, idem Idem, in IssueInput) (IssueResult, error) {
	if c.Role != request.Carrier {
		return IssueResult{}, fail("FORBIDDEN")
	}
	for _, d := range in.Cards {
		in.Segments = append(in.Segments, Span{Start: d.ICCID})
	}
	set, err := s.parseSpans(in.Segments)
	if err != nil {
		return IssueResult{}, err
	}
	details, err := s.details(c.Participant, "", in.Cards)
	if err != nil {
		return IssueResult{}, err
	}
	if err := s.issuedBy(ctx, c.Participant, set); err != nil {
		return IssueResult{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		id, _, err := s.acceptIssue(tx, c, s.newID(), set, in.RetailPolicy, in.Restrictions)
		if err != nil {
			return "", err
		}
		// None of them is issued, as acceptIssue has seen: what is said of them already is of an issue that failed.
		return id, tx.PutCards(details)
	})
	if err != nil {
		return IssueResult{}, err
	}
	return s.issued(ctx, c, id)
}

// issued waits a little for the lots of an issue and shows them.
func (s *Service) issued(ctx context.Context, c Caller, id string) (IssueResult, error) {
	var r IssueResult
	wait, cancel := context.WithTimeout(ctx, waitForCommit)
	defer cancel()
	for n := 0; ; n++ {
		a, err := s.Await(wait, part(id, n))
		if errors.Is(err, model.ErrNotFound) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		if a.Error != nil {
			return r, fail(a.Error.Code)
		}
		r.Acts = append(r.Acts, a)
		err = s.DB.Read(ctx, func(tx *model.Tx) error {
			row, err := tx.Act(a.ID)
			if err != nil {
				return err
			}
			v, err := s.lotView(tx, row.Subject)
			r.Lots = append(r.Lots, v)
			return err
		})
		if err != nil {
			return r, err
		}
	}
}

// part is the ID of the n-th act of a wish that takes several.
func part(id string, n int) string {
	if n == 0 {
		return id
	}
	return fmt.Sprintf("%s.%d", id, n)
}

// acceptIssue stores the lots of an issue and an act for each.
func (s *Service) acceptIssue(tx *model.Tx, c Caller, id string, set iccid.Set, policy string, restrictions []string) (string, []string, error) {
	if policy == "" {
		policy = string(request.Open)
	}
	if policy != string(request.Open) && policy != string(request.RealName) {
		return "", nil, fail("RETAIL_POLICY_INVALID")
	}
	restrictions, err := cleanRestrictions(restrictions)
	if err != nil {
		return "", nil, err
	}
	if err := tx.LockParticipant(c.Participant); err != nil {
		return "", nil, err
	}
	known, err := tx.LiveSegmentsIn(set)
	if err != nil {
		return "", nil, err
	}
	waiting, err := tx.ReservedOverlap(c.Participant, set)
	if err != nil {
		return "", nil, err
	}
	if len(known) > 0 || len(waiting) > 0 {
		return "", nil, fail("CARDS_ISSUED_BEFORE")
	}
	var hashes []string
	n := 0
	for segs := range slices.Chunk(set.Segments(), lotSegments) {
		piece, err := iccid.NewSet(set.Rule, segs...)
		if err != nil {
			return "", nil, err
		}
		hash, opening := request.OpeningOf(piece, s.salt())
		sealed, err := s.Vault.Seal("lot/"+hash, opening.Salt)
		if err != nil {
			return "", nil, err
		}
		body := request.Issue{Lot: hash, Carrier: c.Participant, Rule: string(set.Rule), RetailPolicy: request.RetailPolicy(policy), Restrictions: restrictions}
		a, err := s.accept(tx, draft{ID: part(id, n), Body: body, Person: c.Person, Subject: hash, Fields: fields{Parties: []party{{c.Participant, SlotAccount}}}})
		if err != nil {
			return "", nil, err
		}
		if err := tx.AddLot(model.Lot{
			Hash: hash, Issuer: c.Participant, Rule: set.Rule, Owner: c.Participant, Status: model.LotPending,
			RetailPolicy: policy, Restrictions: restrictions, SaltSealed: sealed, MadeByAct: a.ID,
		}, piece.Segments()); err != nil {
			return "", nil, err
		}
		if err := tx.Reserve(a.ID, c.Participant, piece); err != nil {
			return "", nil, err
		}
		hashes = append(hashes, hash)
		n++
	}
	return id, hashes, nil
}

// Restrictions that a card can carry. The ledger takes any word; people get to see these.
var Restrictions = map[string]string{
	"NO_VOICE": "禁止语音", "NO_SMS": "禁止短信", "NO_ROAMING": "禁止漫游", "DATA_ONLY": "仅限数据", "DEVICE_BOUND": "机卡绑定", "REGION_BOUND": "区域限制",
}

func cleanRestrictions(in []string) ([]string, error) {
	out := slices.Clone(in)
	slices.Sort(out)
	out = slices.Compact(out)
	for _, r := range out {
		if _, ok := Restrictions[r]; !ok {
			return nil, fail("RESTRICTION_INVALID")
		}
	}
	return out, nil
}

// issuedBy checks with the ledger that a carrier holds the prefixes of these cards.
func (s *Service) issuedBy(ctx context.Context, carrier string, set iccid.Set) error {
	seen := map[string]bool{}
	for _, seg := range set.Segments() {
		id := set.Rule.Format(seg.First())
		prefix := id[:min(len(id), 10)]
		if seen[prefix] {
			continue
		}
		seen[prefix] = true
		i, err := s.issuer(ctx, prefix)
		if err != nil {
			return err
		}
		if i.Carrier != carrier {
			return fail("CARD_FILE_MIXED")
		}
	}
	return nil
}

// issuer asks the ledger who issues cards under a prefix.
func (s *Service) issuer(ctx context.Context, prefix string) (contract.Issuer, error) {
	return query[contract.Issuer](ctx, s.Ledger, request.Identity, "GetIssuer", prefix)
}

// details checks and seals what was said of cards.
func (s *Service) details(carrier, importID string, in []CardDetail) ([]model.CardDetail, error) {
	out := make([]model.CardDetail, 0, len(in))
	for _, d := range in {
		card, issuer, err := s.Plan.Parse(d.ICCID)
		if err != nil {
			return nil, err
		}
		if d.IMSI != "" {
			if err := iccid.CheckIMSI(d.IMSI); err != nil {
				return nil, err
			}
		}
		if d.MSISDN != "" {
			if err := iccid.CheckMSISDN(d.MSISDN, s.MSISDNPrefixes...); err != nil {
				return nil, err
			}
		}
		row, err := s.detail(carrier, importID, issuer.Rule, card, d.IMSI, d.MSISDN)
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

func (s *Service) detail(carrier, importID string, rule iccid.Rule, card iccid.Card, imsi, msisdn string) (model.CardDetail, error) {
	row := model.CardDetail{Head: card.Head, Width: card.Width, Tail: card.Tail, Rule: rule, ImportID: importID, OwnerCarrier: carrier, CreatedAt: s.now()}
	var err error
	if imsi != "" {
		if row.IMSISealed, err = s.Vault.Seal("imsi", []byte(imsi)); err != nil {
			return row, err
		}
	}
	if msisdn != "" {
		row.MSISDNSealed, err = s.Vault.Seal("msisdn", []byte(msisdn))
	}
	return row, err
}

// Merge makes one lot of several.
func (s *Service) Merge(ctx context.Context, c Caller, idem Idem, lots []string) (Act, error) {
	if err := sells(c); err != nil {
		return Act{}, err
	}
	lots = slices.Clone(lots)
	slices.Sort(lots)
	if lots = slices.Compact(lots); len(lots) < 2 || len(lots) > maxLots {
		return Act{}, fail("BAD_REQUEST")
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		if err := tx.LockParticipant(c.Participant); err != nil {
			return "", err
		}
		for _, h := range lots {
			l, err := tx.Lot(h)
			if errors.Is(err, model.ErrNotFound) || err == nil && l.Owner != c.Participant {
				return "", fail("LOT_UNKNOWN")
			}
			if err != nil {
				return "", err
			}
			if l.Status != model.LotOwned {
				return "", fail("INPUT_SPENT")
			}
		}
		a, err := s.accept(tx, draft{
			Contract: request.Ownership, Function: "Merge", Person: c.Person, Subject: lots[0],
			Fields: fields{Parties: []party{{c.Participant, SlotAccount}}, Lot: &lotPlan{Inputs: lots}},
		})
		return a.ID, err
	})
	return s.answer(ctx, id, err)
}

// Freeze stops a lot, or some of its cards, where they are.
func (s *Service) Freeze(ctx context.Context, c Caller, idem Idem, lot string, subset []Span) (Act, error) {
	return s.actOnLot(ctx, c, idem, "Freeze", lot, subset)
}

// Unfreeze lets them go again.
func (s *Service) Unfreeze(ctx context.Context, c Caller, idem Idem, lot string, subset []Span) (Act, error) {
	return s.actOnLot(ctx, c, idem, "Unfreeze", lot, subset)
}

// Retire ends the life of a lot's cards, or of some of them.
func (s *Service) Retire(ctx context.Context, c Caller, idem Idem, lot string, subset []Span) (Act, error) {
	return s.actOnLot(ctx, c, idem, "Retire", lot, subset)
}

func (s *Service) actOnLot(ctx context.Context, c Caller, idem Idem, function, lot string, subset []Span) (Act, error) {
	if c.Role != request.Carrier && (c.Role != request.Regulator || function == "Retire") {
		return Act{}, fail("FORBIDDEN")
	}
	p := lotPlan{Lot: lot}
	if len(subset) > 0 {
		set, err := s.parseSpans(subset)
		if err != nil {
			return Act{}, err
		}
		p.Cards = set.Canonical()
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		l, err := tx.Lot(lot)
		if errors.Is(err, model.ErrNotFound) || err == nil && c.Role == request.Carrier && l.Issuer != c.Participant {
			return "", fail("LOT_UNKNOWN")
		}
		if err != nil {
			return "", err
		}
		a, err := s.accept(tx, draft{
			Contract: request.Ownership, Function: function, Person: c.Person, Subject: lot,
			Fields: fields{Parties: []party{{c.Participant, SlotAccount}}, Lot: &p},
		})
		return a.ID, err
	})
	if err != nil {
		return Act{}, err
	}
	wait, cancel := context.WithTimeout(ctx, waitForCommit)
	defer cancel()
	return s.Await(wait, id)
}

// LotView is a lot as its owner or a supervisor sees it.
type LotView struct {
	Hash         string
	IssuerID     string
	IssuerName   string
	OwnerID      string
	OwnerName    string
	Status       string
	Frozen       []string
	RetailPolicy string
	Restrictions []string
	Segments     []Span
	Count        uint64
	TxID         string
	BlockNumber  uint64
	Version      int
	Since        time.Time
}

func (s *Service) lotView(tx *model.Tx, hash string) (LotView, error) {
	l, set, err := s.lotCards(tx, hash)
	if err != nil {
		return LotView{}, err
	}
	names, err := tx.ParticipantNames([]string{l.Issuer, l.Owner})
	if err != nil {
		return LotView{}, err
	}
	return LotView{
		Hash: l.Hash, IssuerID: l.Issuer, IssuerName: names[l.Issuer], OwnerID: l.Owner, OwnerName: names[l.Owner], Status: string(l.Status),
		Frozen: l.Frozen, RetailPolicy: l.RetailPolicy, Restrictions: l.Restrictions, Segments: spans(set), Count: set.Count(),
		TxID: l.MadeTx, BlockNumber: uint64(l.BlockNumber), Version: l.Version, Since: l.OwnedSince.Time(),
	}, nil
}

// Lots lists what the caller's organisation has, newest first.
func (s *Service) Lots(ctx context.Context, c Caller, cursor string, limit int) (Page[LotView], error) {
	var out Page[LotView]
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.LotsOwnedBy(c.Participant, cursor, limit)
		if err != nil {
			return err
		}
		out = Page[LotView]{Next: page.Next}
		for _, l := range page.Items {
			v, err := s.lotView(tx, l.Hash)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, v)
		}
		return nil
	})
	return out, cursorError(err)
}

// Page is a piece of a list.
type Page[T any] struct {
	Items []T
	Next  string
}

func cursorError(err error) error {
	if errors.Is(err, model.ErrCursor) {
		return fail("CURSOR_INVALID")
	}
	return err
}

// Stock is a line of an inventory.
type Stock struct {
	IssuerID   string
	IssuerName string
	Status     string
	Lots       int64
	Cards      int64
}

// Inventory is what an organisation has.
type Inventory struct {
	Total int64 // cards OWNED
	Lines []Stock
}

// Inventory totals the caller's cards.
func (s *Service) Inventory(ctx context.Context, c Caller) (Inventory, error) {
	var out Inventory
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		out = Inventory{}
		lines, err := tx.Inventory(c.Participant)
		if err != nil {
			return err
		}
		var ids []string
		for _, l := range lines {
			ids = append(ids, l.Issuer)
		}
		names, err := tx.ParticipantNames(ids)
		if err != nil {
			return err
		}
		for _, l := range lines {
			switch l.Status {
			case model.LotOwned:
				out.Total += l.Cards
			case model.LotInTrade, model.LotRetired:
			default:
				continue
			}
			out.Lines = append(out.Lines, Stock{IssuerID: l.Issuer, IssuerName: names[l.Issuer], Status: string(l.Status), Lots: l.Lots, Cards: l.Cards})
		}
		return nil
	})
	return out, err
}
