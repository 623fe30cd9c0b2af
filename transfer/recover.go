package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// lost is what the journal has and the database does not: for when the listener replays what openings open and who was
// registered with a key, or a repair makes its row.
type lost struct {
	mu    sync.Mutex
	lots  map[string]request.LotOpening
	codes map[string]request.CodeOpening
	keys  map[string]model.CustodyKey
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

func (l *lost) addKey(k model.CustodyKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = map[string]model.CustodyKey{}
	}
	l.keys[k.ID] = k
}

func (l *lost) key(id string) (model.CustodyKey, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.keys[id]
	return k, ok
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

// readJournals calls each for all entries that any server has recorded, as far as their journals can be read here.
func (s *Service) readJournals(each func(Entry) error) error {
	if err := s.Journal.Read(each); err != nil {
		return err
	}
	for _, path := range s.Journals {
		if err := readJournal(path, s.Vault, each); err != nil {
			return err
		}
	}
	return nil
}

// openingsAtOnce is how many openings are looked up in one transaction.
const openingsAtOnce = 500

// recoverJournal finds what a journal has and the database lacks: after a restore to an older copy. The listener needs it
// when it replays the blocks that made those lots, trades and keys. Accounts are put back at once, so that whoever logs in
// before the listener has come that far is himself.
func (s *Service) recoverJournal(ctx context.Context) error {
	accounts := map[string]model.Account{} // the last of each login
	gone := map[string]bool{}              // whose data were deleted
	lots, codes := map[string]request.LotOpening{}, map[string]request.CodeOpening{}
	look := func() error {
		err := s.DB.Read(ctx, func(tx *model.Tx) error {
			known, err := tx.KnownLots(slices.Collect(maps.Keys(lots)))
			if err != nil {
				return err
			}
			traded, err := tx.KnownTrades(slices.Collect(maps.Keys(codes)))
			for hash, o := range lots {
				if !known[hash] {
					s.lost.addLot(hash, o)
				}
			}
			for trade, o := range codes {
				if !traded[trade] {
					s.lost.addCode(trade, o)
				}
			}
			return err
		})
		clear(lots)
		clear(codes)
		return err
	}
	err := s.readJournals(func(o Entry) error {
		if a := o.Account; a != nil && s.Accounts == nil { // else they are another process's, which has its own journal
			accounts[a.AppID+"|"+a.OpenIDIndex] = *a
		}
		if o.Erased != "" {
			gone[o.Erased] = true
		}
		if o.Key != nil {
			s.lost.addKey(*o.Key) // which of them the database lacks is asked when the ledger names one
		}
		maps.Copy(lots, o.Lots)
		maps.Copy(codes, o.Codes)
		if len(lots)+len(codes) < openingsAtOnce {
			return nil
		}
		return look()
	})
	if err == nil {
		err = look()
	}
	if lots, codes := s.lost.count(); lots > 0 {
		s.Logger.Warn("the journal has openings that the database lacks", "lots", lots, "codes", codes)
	}
	for _, a := range accounts {
		if err == nil && !gone[a.ParticipantID] {
			err = s.recoverAccount(ctx, a)
		}
	}
	if err == nil && s.Accounts == nil {
		err = s.recoverErasures(ctx, gone)
	}
	return err
}

// RecoverAccounts puts back the accounts that the journal has and the database lacks, and deletes again what was deleted: for
// a process that has the accounts, and runs nothing else.
func (s *Service) RecoverAccounts(ctx context.Context) error { return s.recoverJournal(ctx) }

// recoverAccount puts an account back that the database lacks. Its participant is registered when the ledger says so.
func (s *Service) recoverAccount(ctx context.Context, a model.Account) error {
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		_, err := tx.AccountByOpenID(a.AppID, a.OpenIDIndex)
		if errors.Is(err, model.ErrNotFound) {
			if is, lookErr := erased(tx, a.ParticipantID); is || lookErr != nil {
				return lookErr // he has had it deleted, through a server whose journal is another one
			}
		}
		return err
	})
	if !errors.Is(err, model.ErrNotFound) {
		return err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		err := tx.AddParticipant(model.Participant{
			ID: a.ParticipantID, Role: string(request.Consumer), Kind: model.Consumer, State: model.ParticipantPending, CreatedAt: a.CreatedAt,
		})
		if err != nil {
			return err
		}
		return tx.AddAccount(a)
	})
	if err == nil {
		s.Logger.Warn("the journal has an account that the database lacked", "participant", a.ParticipantID)
	}
	if errors.Is(err, model.ErrConflict) {
		return nil // another server has just put it back; or he is known by the ledger, which is another case than this
	}
	return err
}

// recoverKeys gives custody keys back that a block names, and that it lost together with rows of the database. It comes
// before the block is settled and its signatures are taken over, so a crash in between makes it happen again.
func (s *Service) recoverKeys(ctx context.Context, t ledger.Transaction) error {
	for _, w := range t.Writes {
		if kind, _, _ := strings.Cut(w.Key, "/"); w.Contract != request.Identity || kind != "P" {
			continue
		}
		var p contract.Participant
		if err := json.Unmarshal(w.Value, &p); err != nil {
			return err
		}
		for _, id := range p.Keys {
			if k, ok := s.lost.key(id); ok {
				if err := s.Signer.Restore(ctx, k); err != nil {
					return fmt.Errorf("key of %s: %w", p.ID, err)
				}
			}
		}
	}
	return nil
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
