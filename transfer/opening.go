package transfer

import (
	"context"

	"cardflow/ledger/request"
	"cardflow/model"
)

// openings collects what opens the hashes in an act's body: the endorsers see it while they check.
func (s *Service) openings(ctx context.Context, a model.Act) (request.Openings, error) {
	o := request.Openings{Lots: map[string]request.LotOpening{}, Codes: map[string]request.CodeOpening{}}
	body, err := decodeBody(a.Function, a.Body)
	if err != nil {
		return o, err
	}
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		var lots []string
		var codes []string
		switch b := body.(type) {
		case request.Issue:
			lots = []string{b.Lot}
			o.IssueKey = s.Vault.IssueKey()
		case request.Offer:
			lots, codes = offerHashes(b)
		case request.Return:
			lots, codes = offerHashes(b.Offer)
		case request.Merge:
			lots = append([]string{b.Output}, b.Inputs...)
		case request.Freeze:
			lots = actHashes(b.LotAct)
		case request.Unfreeze:
			lots = actHashes(b.LotAct)
		case request.Retire:
			lots = append(actHashes(b.LotAct), b.Lot)
		case request.Confirm:
			codes = []string{b.Trade}
			l, err := tx.Lot(b.Lot)
			if err != nil {
				return err
			}
			if l.RetailPolicy == string(request.RealName) {
				lots = []string{b.Lot} // the contract counts the cards against a person's cap
			}
		case request.Decline:
			codes = []string{b.Trade}
		}
		for _, h := range lots {
			if _, ok := o.Lots[h]; ok {
				continue
			}
			l, err := tx.Lot(h)
			if err != nil {
				return err
			}
			if o.Lots[h], err = s.lotOpening(tx, l); err != nil {
				return err
			}
		}
		for _, id := range codes {
			t, err := tx.Trade(id)
			if err != nil {
				return err
			}
			if t.CodeSealed == nil {
				continue // NAMED
			}
			if o.Codes[id], err = s.codeOpening(t); err != nil {
				return err
			}
		}
		return nil
	})
	return o, err
}

func offerHashes(b request.Offer) (lots, trades []string) {
	lots = append(append(lots, b.Inputs...), b.Remainders...)
	for _, out := range b.Outputs {
		lots, trades = append(lots, out.Lot), append(trades, out.Trade)
	}
	return lots, trades
}

func actHashes(b request.LotAct) []string {
	if b.Subset == "" {
		return nil
	}
	return []string{b.Lot, b.Subset, b.Rest}
}
