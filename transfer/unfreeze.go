package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Unfreezing takes two people of the organisation that has frozen: one proposes it, another one sees what it means, and what
// both want is accepted as an act. Proposals are custody's, and so is the moment at which both have wanted it; what a lot is,
// and how an act on it is accepted, is known here. This runs in custody's process, by what is in the database: where that
// doesn't fit the hashes that the ledger has, nobody is shown anything.

// Unfreezing is what two people want.
type Unfreezing struct {
	Organisation string // whose key signs
	Role         request.Role
	Lot          string // its hash
	Segments     []Span // of its cards; none: all
}

// MayUnfreeze says why a caller's organisation can't propose to let cards go, as far as it is known here. Errors: FORBIDDEN,
// LOT_UNKNOWN, NOT_FROZEN, CARDS_NOT_OWNED, LOT_IN_TRADE, INPUT_SPENT; those of cards that make no sense.
func (s *Service) MayUnfreeze(ctx context.Context, c Caller, lot string, subset []Span) error {
	if c.Role != request.Carrier && c.Role != request.Regulator {
		return fail("FORBIDDEN")
	}
	return s.DB.Read(ctx, func(tx *model.Tx) error {
		_, _, _, err := s.frozen(tx, Unfreezing{c.Participant, c.Role, lot, subset})
		return err
	})
}

// DescribeUnfreezing says in Chinese, one fact a line, which cards would be let go, as things stand, and by whom. Errors: those of MayUnfreeze.
func (s *Service) DescribeUnfreezing(tx *model.Tx, u Unfreezing) (string, error) {
	l, part, _, err := s.frozen(tx, u)
	if err != nil {
		return "", err
	}
	names, err := tx.ParticipantNames([]string{l.Owner, u.Organisation})
	if err != nil {
		return "", err
	}
	named := func(id string) string {
		if names[id] == "" || names[id] == id {
			return id
		}
		return names[id] + "（" + id + "）"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "解冻 %d 张卡：%s", part.Count(), u.Lot)
	for _, sp := range spans(part) {
		fmt.Fprintf(&text, "\n%s — %s，%d 张", sp.Start, sp.End, sp.Count)
	}
	fmt.Fprintf(&text, "\n持卡方 %s", named(l.Owner))
	fmt.Fprintf(&text, "\n由%s解冻，用其密钥签名", named(u.Organisation))
	for _, by := range l.Frozen {
		if by != string(u.Role) {
			fmt.Fprintf(&text, "\n解冻后仍被冻结：%s", map[string]string{"carrier": "承运商", "regulator": "监管方", "platform": "平台"}[by])
		}
	}
	return text.String(), nil
}

// AcceptUnfreezing accepts, under an ID, the act that two people want, and answers what is to be authorised as it, until when (ms).
// Errors: those of MayUnfreeze.
func (s *Service) AcceptUnfreezing(tx *model.Tx, act, person string, u Unfreezing) (body request.Body, until int64, err error) {
	l, _, p, err := s.frozen(tx, u)
	if err != nil {
		return nil, 0, err
	}
	_, set, err := s.lotCards(tx, l.Hash)
	if err != nil {
		return nil, 0, err
	}
	at, _, err := p.split(l, set)
	if err != nil {
		return nil, 0, err
	}
	w := s.asks(act, request.Unfreeze{LotAct: at})
	_, err = s.accept(tx, draft{
		ID: act, Contract: request.Ownership, Function: "Unfreeze", Person: person, Subject: u.Lot, Deadline: s.patience(),
		Fields: fields{Parties: []party{{u.Organisation, SlotAccount}}, Lot: &p},
	})
	return w.body, int64(w.until), err
}

// frozen finds the cards that are meant, in a lot that the organisation has frozen.
func (s *Service) frozen(tx *model.Tx, u Unfreezing) (l model.Lot, part iccid.Set, p lotPlan, err error) {
	if p, err = s.lotPlan(u.Lot, u.Segments); err != nil {
		return l, part, p, err
	}
	l, part, err = s.lotCards(tx, u.Lot)
	switch {
	case errors.Is(err, model.ErrNotFound), err == nil && u.Role == request.Carrier && l.Issuer != u.Organisation:
		return l, part, p, fail("LOT_UNKNOWN")
	case err != nil:
		return l, part, p, err
	case l.Status == model.LotSpent || l.Status == model.LotPending || l.Status == model.LotAbandoned:
		return l, part, p, fail("INPUT_SPENT")
	case !slices.Contains(l.Frozen, string(u.Role)):
		return l, part, p, fail("NOT_FROZEN")
	}
	o, err := s.lotOpening(tx, l)
	if err != nil {
		return l, part, p, err
	}
	_, hash, err := o.Set()
	if err == nil && hash != l.Hash {
		err = errors.New("somebody has written to the database")
	}
	if err != nil {
		return l, part, p, fmt.Errorf("the cards of lot %s are not those that its hash is of: %w", l.Hash, err)
	}
	if p.Cards == "" {
		return l, part, p, nil
	}
	some, err := iccid.ParseCanonical(l.Rule, p.Cards)
	switch {
	case err != nil:
	case !part.Covers(some):
		err = fail("CARDS_NOT_OWNED")
	case l.Status != model.LotOwned && some.Count() != part.Count():
		err = fail("LOT_IN_TRADE")
	}
	return l, some, p, err
}
