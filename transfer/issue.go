package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

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
	if in.Restrictions, err = cleanRestrictions(in.Restrictions); err != nil {
		return IssueResult{}, err
	}
	if in.RetailPolicy, err = retailPolicy(in.RetailPolicy); err != nil {
		return IssueResult{}, err
	}
	act := s.newID()
	salts := s.salt()
	i, err := issueOf(act, c, set, salts[:], in.RetailPolicy, in.Restrictions)
	if err != nil {
		return IssueResult{}, err
	}
	err = s.authorised(ctx, c, idem, func(*model.Tx) (wishes []wish, err error) {
		for n := range i.lots {
			wishes = append(wishes, s.asks(part(act, n), i.body(n)))
		}
		return wishes, nil
	})
	if err != nil {
		return IssueResult{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		if err := s.acceptIssue(tx, i, s.patience()); err != nil {
			return "", err
		}
		// None of them is issued, as acceptIssue has seen: what is said of them already is of an issue that failed.
		return act, tx.PutCards(details)
	})
	if err != nil {
		return IssueResult{}, err
	}
	return s.issued(ctx, c, id)
}

// issued waits a little for the lots of an issue and shows them.
func (s *Service) issued(ctx context.Context, c Caller, id string) (IssueResult, error) {
	var r IssueResult
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
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

// issue is the first registration of a set of cards: an act for each lot.
type issue struct {
	id           string
	by           Caller
	cards        iccid.Set
	lots         []drawn
	policy       string
	restrictions []string
}

// issueOf cuts cards into lots, always in the same way, whose salts come from a seed.
func issueOf(id string, c Caller, set iccid.Set, seed []byte, policy string, restrictions []string) (issue, error) {
	i := issue{id: id, by: c, cards: set, policy: policy, restrictions: restrictions}
	for segs := range slices.Chunk(set.Segments(), lotSegments) {
		piece, err := iccid.NewSet(set.Rule, segs...)
		if err != nil {
			return i, err
		}
		i.lots = append(i.lots, drawFrom(seed, piece)...)
	}
	return i, nil
}

// body is the request of one of its acts.
func (i issue) body(n int) request.Issue {
	return request.Issue{
		Lot: i.lots[n].hash, Carrier: i.by.Participant, Rule: string(i.cards.Rule), RetailPolicy: request.RetailPolicy(i.policy), Restrictions: i.restrictions,
	}
}

// acceptIssue stores the lots of an issue and an act for each.
func (s *Service) acceptIssue(tx *model.Tx, i issue, deadline model.Millis) error {
	owner := i.by.Participant
	if err := tx.LockParticipant(owner); err != nil {
		return err
	}
	known, err := tx.LiveSegmentsIn(i.cards)
	if err != nil {
		return err
	}
	waiting, err := tx.ReservedOverlap(owner, i.cards)
	if err != nil {
		return err
	}
	if len(known) > 0 || len(waiting) > 0 {
		return fail("CARDS_ISSUED_BEFORE")
	}
	for n, l := range i.lots {
		sealed, err := s.Vault.Seal("lot/"+l.hash, l.salt)
		if err != nil {
			return err
		}
		a, err := s.accept(tx, draft{
			ID: part(i.id, n), Body: i.body(n), Person: i.by.Person, Subject: l.hash, Deadline: deadline,
			Fields: fields{Parties: []party{{owner, SlotAccount}}},
		})
		if err != nil {
			return err
		}
		if err := tx.AddLot(model.Lot{
			Hash: l.hash, Issuer: owner, Rule: i.cards.Rule, Owner: owner, Status: model.LotPending,
			RetailPolicy: i.policy, Restrictions: i.restrictions, SaltSealed: sealed, MadeByAct: a.ID,
		}, l.cards.Segments()); err != nil {
			return err
		}
		if err := tx.Reserve(a.ID, owner, l.cards); err != nil {
			return err
		}
	}
	return nil
}

// retailPolicy reads how cards may reach consumers; nothing said is OPEN.
func retailPolicy(in string) (string, error) {
	switch in = cmp.Or(in, string(request.Open)); in {
	case string(request.Open), string(request.RealName):
		return in, nil
	}
	return "", fail("RETAIL_POLICY_INVALID")
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
