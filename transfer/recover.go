package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// lost are openings that the journal has and the database does not: for when the listener replays what they open, or a
// repair makes its row.
type lost struct {
	mu    sync.Mutex
	lots  map[string]request.LotOpening
	codes map[string]request.CodeOpening
}

func (l *lost) addLot(hash string, o request.LotOpening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lots == nil {
		l.lots = map[string]request.LotOpening{}
	}
	l.lots[hash] = o
}

func (l *lost) addCode(trade string, o request.CodeOpening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.codes == nil {
		l.codes = map[string]request.CodeOpening{}
	}
	l.codes[trade] = o
}

func (l *lost) lot(hash string) (request.LotOpening, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.lots[hash]
	return o, ok
}

func (l *lost) code(trade string) (request.CodeOpening, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.codes[trade]
	return o, ok
}

func (l *lost) count() (lots, codes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lots), len(l.codes)
}

// recoverOpenings finds openings that the journal has and the database lacks: after a restore to an older copy. The
// listener needs them when it replays the blocks that made those lots and trades.
func (s *Service) recoverOpenings(ctx context.Context) error {
	err := s.Journal.Read(func(o request.Openings) error {
		return s.DB.Read(ctx, func(tx *model.Tx) error {
			for hash, opening := range o.Lots {
				if _, err := tx.Lot(hash); errors.Is(err, model.ErrNotFound) {
					s.lost.addLot(hash, opening)
				} else if err != nil {
					return err
				}
			}
			for trade, code := range o.Codes {
				if _, err := tx.Trade(trade); errors.Is(err, model.ErrNotFound) {
					s.lost.addCode(trade, code)
				} else if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if lots, codes := s.lost.count(); lots > 0 {
		s.Logger.Warn("the journal has openings that the database lacks", "lots", lots, "codes", codes)
	}
	return err
}

// recoverLot makes the row of a lot that the ledger knows and this database does not.
func (s *Service) recoverLot(tx *model.Tx, l contract.Lot) (model.Lot, error) {
	row := model.Lot{Hash: l.Hash, Issuer: l.Issuer, Rule: iccid.Rule(l.Rule), Owner: l.Owner, Status: model.LotPending, RetailPolicy: string(l.RetailPolicy), SaltSealed: []byte{}}
	opening, ok := s.lost.lot(l.Hash)
	if !ok {
		// Made without us, or lost together with the journal: known, but closed.
		s.Metrics.Alarm("lot_without_opening")
		s.Logger.Error("settle: a lot on the ledger has no opening here", "lot", l.Hash)
		return row, tx.AddLot(row, nil)
	}
	set, hash, err := opening.Set()
	if err == nil && hash != l.Hash {
		err = errors.New("it opens another lot")
	}
	if err != nil {
		return row, fmt.Errorf("journal: opening of lot %s: %w", l.Hash, err)
	}
	if row.SaltSealed, err = s.Vault.Seal("lot/"+l.Hash, opening.Salt); err != nil {
		return row, err
	}
	return row, tx.AddLot(row, set.Segments())
}

// recoverCode gives a trade that the ledger knows and this database had lost its code again, from the journal.
func (s *Service) recoverCode(t *model.Trade) error {
	code, ok := s.lost.code(t.ID)
	if !ok {
		return nil
	}
	sealed, err := s.Vault.sealJSON("code/"+t.ID, code)
	if err != nil {
		return err
	}
	t.CodeSealed, t.CodeIndex = sealed, s.Vault.Index("code", code.Code)
	t.LiveCode = t.CodeIndex
	return nil
}
