package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Finding is one place where database and ledger, or the database and itself, differ.
type Finding struct {
	Kind    string // BLOCK, TRANSACTION, REQUEST, LOT, OPENING, CARD, JOURNAL, TRADE, ACT
	Subject string
	Problem string
}

// Report is what a check found.
type Report struct {
	Blocks       uint64
	Transactions int
	Lots         int
	Trades       int
	Acts         int
	Cards        uint64 // in live lots
	Findings     []Finding
}

// Clean reports whether nothing was found.
func (r Report) Clean() bool { return len(r.Findings) == 0 }

func (r *Report) find(kind, subject, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{kind, subject, fmt.Sprintf(format, args...)})
}

// truth is what the ledger's blocks add up to.
type truth struct {
	lots   map[string]contract.Lot
	trades map[string]contract.Trade
	valid  map[string]int    // transaction ID → entries that count
	acts   map[string]string // request ID → its valid transaction
}

// Check compares the database with the ledger row by row. It reads every block, so that it also finds what the database
// lacks. progress, if not nil, is called now and then with how much is done, 0 to 1. The listener should have caught
// up: what it has not seen yet is found as a difference.
func (s *Service) Check(ctx context.Context, progress func(float64)) (Report, error) {
	if progress == nil {
		progress = func(float64) {}
	}
	var r Report
	t, err := s.readLedger(ctx, &r, func(f float64) { progress(f * 0.6) })
	if err != nil {
		return r, err
	}
	if err := s.checkLots(ctx, &r, t); err != nil {
		return r, err
	}
	progress(0.8)
	if err := s.checkJournal(&r, t); err != nil {
		return r, err
	}
	if err := s.checkTrades(ctx, &r, t); err != nil {
		return r, err
	}
	progress(0.9)
	if err := s.checkActs(ctx, &r, t); err != nil {
		return r, err
	}
	progress(1)
	return r, nil
}

func (s *Service) readLedger(ctx context.Context, r *Report, progress func(float64)) (truth, error) {
	t := truth{lots: map[string]contract.Lot{}, trades: map[string]contract.Trade{}, valid: map[string]int{}, acts: map[string]string{}}
	height, err := s.Ledger.Height(ctx)
	if err != nil {
		return t, err
	}
	previous := ""
	for n := range height {
		b, err := s.Ledger.Block(ctx, n)
		if err != nil {
			return t, err
		}
		if b.PreviousHash != previous {
			r.find("BLOCK", fmt.Sprint(n), "does not follow the block before it")
		}
		previous = b.Hash
		for _, x := range b.Transactions {
			r.Transactions++
			if x.Validation == ledger.Valid {
				t.take(r, x)
			}
		}
		if n%256 == 0 {
			progress(float64(n) / float64(height))
		}
	}
	r.Blocks = height
	return t, nil
}

func (t truth) take(r *Report, x ledger.Transaction) {
	t.valid[x.ID]++
	if t.valid[x.ID] > 1 {
		r.find("TRANSACTION", x.ID, "counts twice")
	}
	for _, w := range x.Writes {
		if w.Contract != request.Ownership {
			continue
		}
		kind, name, _ := strings.Cut(w.Key, "/")
		switch kind {
		case "L":
			var l contract.Lot
			if json.Unmarshal(w.Value, &l) == nil {
				t.lots[name] = l
			}
		case "T":
			var tr contract.Trade
			if json.Unmarshal(w.Value, &tr) == nil {
				t.trades[name] = tr
			}
		case "Q":
			if old, ok := t.acts[name]; ok {
				r.find("REQUEST", name, "was applied by %s and by %s", old, x.ID)
			}
			t.acts[name] = x.ID
		}
	}
}

// fsckPage is how many rows are looked at in one transaction.
const fsckPage = 500

func (s *Service) checkLots(ctx context.Context, r *Report, t truth) error {
	seen := map[string]bool{}
	after := ""
	live := map[iccid.Rule][]iccid.Segment{}
	for {
		var rows []model.Lot
		err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			if rows, err = tx.AllLots(after, fsckPage); err != nil {
				return err
			}
			for _, row := range rows {
				if err := s.checkLot(tx, r, t, row, live); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, row := range rows {
			seen[row.Hash], after = true, row.Hash
		}
		if len(rows) < fsckPage {
			break
		}
	}
	for _, h := range slices.Sorted(maps.Keys(t.lots)) {
		if !seen[h] {
			r.find("LOT", h, "is on the ledger and not in the database")
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(live)) {
		r.Cards += apart(r, string(rule), live[rule])
	}
	return nil
}

// apart counts the cards of live runs, and finds those that share one.
func apart(r *Report, rule string, runs []iccid.Segment) (cards uint64) {
	slices.SortFunc(runs, func(a, b iccid.Segment) int {
		return cmp.Or(cmp.Compare(a.Head, b.Head), cmp.Compare(a.Width, b.Width), cmp.Compare(a.Lo, b.Lo))
	})
	for i, run := range runs {
		cards += run.Count()
		if i > 0 && runs[i-1].Head == run.Head && runs[i-1].Width == run.Width && runs[i-1].Hi >= run.Lo {
			r.find("CARD", rule, "a card is in two live lots")
		}
	}
	return cards
}

func (s *Service) checkLot(tx *model.Tx, r *Report, t truth, row model.Lot, live map[iccid.Rule][]iccid.Segment) error {
	r.Lots++
	runs, err := tx.SegmentsOf(row.Hash)
	if err != nil {
		return err
	}
	for _, run := range runs {
		if run.Live != row.Status.Live() || run.Owner != row.Owner {
			r.find("CARD", row.Hash, "a segment's owner or liveness is not its lot's")
		}
		if run.Live {
			live[run.Rule] = append(live[run.Rule], run.Cards())
		}
	}
	l, on := t.lots[row.Hash]
	if !on {
		if row.Status != model.LotPending && row.Status != model.LotAbandoned {
			r.find("LOT", row.Hash, "is %s here and not on the ledger", row.Status)
		}
		return nil
	}
	switch {
	case string(row.Status) != string(l.Status):
		r.find("LOT", row.Hash, "is %s here and %s on the ledger", row.Status, l.Status)
	case row.Owner != l.Owner:
		r.find("LOT", row.Hash, "belongs to %s here and to %s on the ledger", row.Owner, l.Owner)
	case row.Version != l.Version:
		r.find("LOT", row.Hash, "has version %d here and %d on the ledger", row.Version, l.Version)
	case row.Issuer != l.Issuer || string(row.Rule) != l.Rule || row.RetailPolicy != string(l.RetailPolicy):
		r.find("LOT", row.Hash, "issuer, rule or retail policy differ")
	case !slices.Equal(row.Frozen, roleNames(l.Frozen)) && len(row.Frozen)+len(l.Frozen) > 0:
		r.find("LOT", row.Hash, "freezes differ")
	}
	opening, err := s.lotOpening(tx, row)
	if err != nil {
		r.find("OPENING", row.Hash, "can't be opened")
		return nil
	}
	if _, hash, err := opening.Set(); err != nil || hash != row.Hash {
		r.find("OPENING", row.Hash, "segments and salt do not give the lot hash")
	}
	return nil
}

// checkJournal: the journal opens every lot on the ledger that the database opens. Nobody would miss it before the day
// on which the database is lost.
func (s *Service) checkJournal(r *Report, t truth) error {
	opened := map[string]bool{}
	err := s.Journal.Read(func(o request.Openings) error {
		for hash := range o.Lots {
			opened[hash] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, hash := range slices.Sorted(maps.Keys(t.lots)) {
		if !opened[hash] {
			r.find("JOURNAL", hash, "is not in the journal: if the database were lost, nothing could open it")
		}
	}
	return nil
}

func (s *Service) checkTrades(ctx context.Context, r *Report, t truth) error {
	seen := map[string]bool{}
	after := ""
	for {
		var rows []model.Trade
		err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			rows, err = tx.AllTrades(after, fsckPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, row := range rows {
			r.Trades++
			seen[row.ID], after = true, row.ID
			l, on := t.trades[row.ID]
			want, ok := tradeStates[l.State]
			switch {
			case !on && row.State != model.TradeOffering && row.State != model.TradeFailed:
				r.find("TRADE", row.ID, "is %s here and not on the ledger", row.State)
			case !on:
			case !ok || !agrees(row.State, want):
				r.find("TRADE", row.ID, "is %s here and %s on the ledger", row.State, l.State)
			case row.Seller != l.Seller || row.LotHash != l.Lot || row.State.Ended() && row.Receiver != l.Receiver:
				r.find("TRADE", row.ID, "sides or lot differ")
			case row.State.Ended() && row.EndTx != l.EndTx:
				r.find("TRADE", row.ID, "ended by %s here and by %s on the ledger", row.EndTx, l.EndTx)
			}
		}
		if len(rows) < fsckPage {
			break
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.trades)) {
		if !seen[id] {
			r.find("TRADE", id, "is on the ledger and not in the database")
		}
	}
	return nil
}

// agrees: a trade that is open on the ledger may have an act of ours on its way.
func agrees(row, want model.TradeState) bool {
	if want != model.TradeOffered {
		return row == want
	}
	switch row {
	case model.TradeOffered, model.TradeConfirming, model.TradeDeclining, model.TradeCancelling, model.TradeReleasing:
		return true
	}
	return false
}

// checkActs: an act is committed exactly if the ledger applied its request, and by that transaction.
func (s *Service) checkActs(ctx context.Context, r *Report, t truth) error {
	cursor := ""
	for {
		var page model.Page[model.Act]
		err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			page, err = tx.ListActs(model.ActFilter{}, cursor, fsckPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, a := range page.Items {
			r.Acts++
			tx, applied := t.acts[a.RequestID]
			switch {
			case applied && tx != a.TxID && s.byAnother(ctx, a, tx):
				// The same was asked for again, by an act of its own: this one failed, and that one did it.
			case a.Contract != request.Ownership:
			case a.State == model.ActCommitted && (!applied || tx != a.TxID):
				r.find("ACT", a.ID, "is committed here; the ledger does not have its transaction %s", a.TxID)
			case a.State == model.ActFailed && applied && a.ErrorCode != contract.AlreadyApplied:
				r.find("ACT", a.ID, "failed here; the ledger applied it in %s", tx)
			}
			if a.State == model.ActCommitted && t.valid[a.TxID] != 1 {
				r.find("ACT", a.ID, "transaction %s counts %d times", a.TxID, t.valid[a.TxID])
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

// byAnother reports whether a transaction is that of another act than this one.
func (s *Service) byAnother(ctx context.Context, a model.Act, txID string) bool {
	other := false
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		b, err := tx.ActByTx(txID)
		other = err == nil && b.ID != a.ID && b.State == model.ActCommitted && b.RequestID == a.RequestID && a.State == model.ActFailed
		return nil
	})
	return err == nil && other
}
