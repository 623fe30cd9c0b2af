package transfer

import (
	"context"
	"errors"
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

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
	act := s.newID()
	err := s.authorised(ctx, c, idem, func(*model.Tx) ([]wish, error) {
		return []wish{s.asks(act, request.Merge{Owner: c.Participant, Inputs: lots})}, nil
	})
	if err != nil {
		return Act{}, err
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
			ID: act, Contract: request.Ownership, Function: "Merge", Person: c.Person, Subject: lots[0], Deadline: s.patience(),
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

// Retire ends the life of a lot's cards, or of some of them.
func (s *Service) Retire(ctx context.Context, c Caller, idem Idem, lot string, subset []Span) (Act, error) {
	return s.actOnLot(ctx, c, idem, "Retire", lot, subset)
}

func (s *Service) actOnLot(ctx context.Context, c Caller, idem Idem, function, lot string, subset []Span) (Act, error) {
	if c.Role != request.Carrier && (c.Role != request.Regulator || function == "Retire") {
		return Act{}, fail("FORBIDDEN")
	}
	p, err := s.lotPlan(lot, subset)
	if err != nil {
		return Act{}, err
	}
	known := func(tx *model.Tx) (model.Lot, iccid.Set, error) {
		l, set, err := s.lotCards(tx, lot)
		if errors.Is(err, model.ErrNotFound) || err == nil && c.Role == request.Carrier && l.Issuer != c.Participant {
			err = fail("LOT_UNKNOWN")
		}
		return l, set, err
	}
	act := s.newID()
	err = s.authorised(ctx, c, idem, func(tx *model.Tx) ([]wish, error) {
		l, set, err := known(tx)
		if err != nil {
			return nil, err
		}
		at, _, err := p.split(l, set)
		if err != nil {
			return nil, err
		}
		body, err := onLot(function, at)
		return []wish{s.asks(act, body)}, err
	})
	if err != nil {
		return Act{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		if _, _, err := known(tx); err != nil {
			return "", err
		}
		a, err := s.accept(tx, draft{
			ID: act, Contract: request.Ownership, Function: function, Person: c.Person, Subject: lot, Deadline: s.patience(),
			Fields: fields{Parties: []party{{c.Participant, SlotAccount}}, Lot: &p},
		})
		return a.ID, err
	})
	if err != nil {
		return Act{}, err
	}
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
	defer cancel()
	return s.Await(wait, id)
}

// lotPlan is an act on a lot, or on some of its cards, as it is asked for.
func (s *Service) lotPlan(lot string, subset []Span) (lotPlan, error) {
	p := lotPlan{Lot: lot}
	if len(subset) == 0 {
		return p, nil
	}
	set, err := s.parseSpans(subset)
	if err == nil {
		p.Cards, p.Salts = set.Canonical(), &lotSalts{s.salt(), s.salt()}
	}
	return p, err
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
