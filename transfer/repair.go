package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// repair carries out the remedies. A row that is made of another one that is missing too (a lot of its parents) is tried
// again after that one; what nothing helps stays found, and the last reason is told.
func (c *check) repair(ctx context.Context) error {
	if err := c.openJournal(ctx); err != nil {
		return err
	}
	for progress := true; progress; {
		progress = false
		for i := range c.report.Findings {
			f := &c.report.Findings[i]
			if f.Repaired || f.fix == nil {
				continue
			}
			if err := f.fix(ctx); err != nil {
				if ctx.Err() != nil {
					return err
				}
				c.Logger.Warn("repair", "kind", f.Kind, "subject", f.Subject, "error", err)
				continue
			}
			f.Repaired, progress = true, true
		}
	}
	return nil
}

// openJournal finds the openings that remedies need.
func (c *check) openJournal(context.Context) error {
	wanted := map[string]bool{}
	for _, f := range c.report.Findings {
		if f.fix != nil {
			wanted[f.Subject] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return c.readJournals(func(o Entry) error {
		for hash, opening := range o.Lots {
			if wanted[hash] {
				c.lost.addLot(hash, opening)
			}
		}
		for trade, code := range o.Codes {
			if wanted[trade] {
				c.lost.addCode(trade, code)
			}
		}
		return nil
	})
}

// mending says what a remedy is and how it is done: do runs in one transaction with the note of the repair, with the
// ledger read once more, so that a row that has moved on meanwhile is not moved back.
func (c *check) mending(f Finding, remedy string, do func(context.Context, *model.Tx) error) Finding {
	f.Remedy = remedy
	f.fix = func(ctx context.Context) error {
		err := c.DB.Write(ctx, func(tx *model.Tx) error {
			note := model.Repair{At: c.now(), Kind: f.Kind, Subject: f.Subject, Problem: f.Problem, Remedy: remedy}
			return tx.Mend(note, func() error { return do(ctx, tx) })
		})
		if errors.Is(err, errMoot) {
			return nil
		}
		return err
	}
	return f
}

// errMoot: the row has come right by itself meanwhile. Nothing is done, and no repair is noted.
var errMoot = errors.New("there is nothing to repair any more")

// source is the transaction of the ledger that left a record as it is; nil where the ledger has no such record.
func source[V any](ctx context.Context, c *check, records map[string][]record[V], key string) (*V, ledger.Transaction, error) {
	if err := c.truth.extend(ctx, nil); err != nil {
		return nil, ledger.Transaction{}, err
	}
	list := records[key]
	if len(list) == 0 {
		return nil, ledger.Transaction{}, nil
	}
	t, err := c.Ledger.Transaction(ctx, list[len(list)-1].tx)
	return newest(list), t, err
}

const asTheLedger = "make the row what the ledger says"

func (c *check) mendParticipant(id, problem string) Finding {
	f := Finding{Kind: "PARTICIPANT", Subject: id, Problem: problem}
	if newest(c.truth.people[id]) == nil {
		return f // registered here and nowhere else: a person has to find out why
	}
	return c.mending(f, asTheLedger, func(ctx context.Context, tx *model.Tx) error {
		p, _, err := source(ctx, c, c.truth.people, id)
		if err != nil {
			return err
		}
		if err := c.mirrorParticipant(tx, *p); err != nil {
			return err
		}
		return tx.ForceParticipant(p.ID, string(p.Role), c.signsWith(*p))
	})
}

// signsWith is the key that a participant's row names: the newest of his account, and of the platform's the newest of its
// registrar; see mirrorNewKey.
func (c *check) signsWith(p contract.Participant) string {
	for _, id := range slices.Backward(p.Keys) {
		if k := newest(c.truth.keys[id]); k != nil && (k.Kind == request.AccountKey || slices.Contains(k.Functions, "Register")) {
			return id
		}
	}
	return p.Keys[0]
}

func (c *check) mendApproval(name, problem string) Finding {
	f := Finding{Kind: "APPROVAL", Subject: name, Problem: problem}
	return c.mending(f, asTheLedger, func(ctx context.Context, tx *model.Tx) error {
		a, t, err := source(ctx, c, c.truth.names, name)
		if err != nil {
			return err
		}
		carrier, consumer, _ := strings.Cut(name, "/")
		if err := tx.DropApproval(carrier, consumer); err != nil || a == nil {
			return err // the ledger has never heard of it
		}
		return tx.SetApproval(approvalAs(t, *a, c.now()))
	})
}

func (c *check) mendLot(hash, problem string) Finding {
	f := Finding{Kind: "LOT", Subject: hash, Problem: problem}
	return c.mending(f, asTheLedger, func(ctx context.Context, tx *model.Tx) error {
		row, err := tx.LockLot(hash)
		none := errors.Is(err, model.ErrNotFound)
		if err != nil && !none {
			return err
		}
		l, t, err := source(ctx, c, c.truth.lots, hash)
		switch {
		case err != nil:
			return err
		case none:
			return c.mirrorLot(tx, t, *l)
		case l == nil:
			row.Status, row.Version = model.LotAbandoned, 0
		default:
			row.Issuer, row.Rule = l.Issuer, iccid.Rule(l.Rule)
			row = lotAs(row, t, *l)
		}
		return tx.ForceLot(row)
	})
}

// mendOpening takes a lot's salt and segments from the journal, which has what opens the hash or does not.
func (c *check) mendOpening(hash, problem string) Finding {
	f := Finding{Kind: "OPENING", Subject: hash, Problem: problem}
	return c.mending(f, "take salt and segments from the journal", func(_ context.Context, tx *model.Tx) error {
		opening, ok := c.lost.lot(hash)
		if !ok {
			return errors.New("the journal does not have it either")
		}
		set, got, err := opening.Set()
		if err == nil && got != hash {
			err = errors.New("the journal's opening opens another lot")
		}
		if err != nil {
			return err
		}
		row, err := tx.LockLot(hash)
		if err != nil {
			return err
		}
		row.Rule = set.Rule
		if row.SaltSealed, err = c.Vault.Seal("lot/"+hash, opening.Salt); err != nil {
			return err
		}
		if err := tx.ForceLot(row); err != nil {
			return err
		}
		return tx.ReplaceSegments(row, set.Segments())
	})
}

// mendJournal appends to the journal what it lacks and the database has.
func (c *check) mendJournal(hash, problem string) Finding {
	f := Finding{Kind: "JOURNAL", Subject: hash, Problem: problem}
	return c.mending(f, "append the database's opening to the journal", func(_ context.Context, tx *model.Tx) error {
		row, err := tx.Lot(hash)
		if err != nil {
			return err
		}
		if problem := c.opens(tx, row); problem != "" {
			return errors.New("the lot " + problem)
		}
		o := request.Openings{Lots: map[string]request.LotOpening{}, Codes: map[string]request.CodeOpening{}}
		if o.Lots[hash], err = c.lotOpening(tx, row); err != nil {
			return err
		}
		trades, err := tx.TradesOfLot(hash)
		if err != nil {
			return err
		}
		for _, t := range trades {
			if t.CodeSealed == nil {
				continue
			}
			if o.Codes[t.ID], err = c.codeOpening(t); err != nil {
				return err
			}
		}
		return c.Journal.Append(Entry{Openings: o})
	})
}

func (c *check) mendTrade(id, problem string) Finding {
	f := Finding{Kind: "TRADE", Subject: id, Problem: problem}
	return c.mending(f, asTheLedger, func(ctx context.Context, tx *model.Tx) error {
		row, err := tx.LockTrade(id)
		none := errors.Is(err, model.ErrNotFound)
		if err != nil && !none {
			return err
		}
		l, t, err := source(ctx, c, c.truth.trades, id)
		switch {
		case err != nil:
			return err
		case none:
			return c.mirrorTrade(tx, t, *l)
		case l == nil:
			row.State = model.TradeFailed
			return tx.ForceTrade(row)
		}
		state, ok := tradeStates[l.State]
		if !ok {
			return fmt.Errorf("trade state %q", l.State)
		}
		row = tradeAs(row, t, *l, state)
		if state == model.TradeOffered {
			row.LiveCode, row.PendingAct = row.CodeIndex, ""
		}
		return tx.ForceTrade(row)
	})
}

// mendWait opens a trade again that waits for an act which has ended without ending it.
func (c *check) mendWait(id, problem string) Finding {
	f := Finding{Kind: "TRADE", Subject: id, Problem: problem}
	return c.mending(f, "open the trade again", func(_ context.Context, tx *model.Tx) error {
		row, err := tx.LockTrade(id)
		if err != nil {
			return err
		}
		if !waits(row.State) {
			return errMoot
		}
		if a, err := tx.Act(row.PendingAct); err == nil && !a.State.Finished() {
			return errMoot
		} else if err != nil && !errors.Is(err, model.ErrNotFound) {
			return err
		}
		_, err = tx.MoveTrade(id, row.State, model.TradeOffered, func(r *model.Trade) { r.PendingAct = "" })
		return err
	})
}

// mendAct ends an act as the ledger has ended it.
func (c *check) mendAct(id, problem string) Finding {
	f := Finding{Kind: "ACT", Subject: id, Problem: problem}
	return c.mending(f, "end the act as the ledger did", func(ctx context.Context, tx *model.Tx) error {
		a, err := tx.Act(id)
		if err != nil {
			return err
		}
		if err := c.truth.extend(ctx, nil); err != nil {
			return err
		}
		by, ok := c.truth.applied[a.RequestID]
		if !ok && c.truth.valid[a.TxID] == 1 {
			by.tx, ok = a.TxID, true // it is the request that is damaged
		}
		switch {
		case !ok && a.State == model.ActCommitted:
			return tx.ForceAct(id, model.ActFailed, func(a *model.Act) {
				a.ErrorCode, a.ErrorText = "NOT_ON_LEDGER", "repaired: the ledger has no transaction "+a.TxID
			})
		case !ok:
			return errMoot
		case c.truth.valid[by.tx] != 1:
			return errors.New("the ledger counts it more than once")
		}
		t, err := c.Ledger.Transaction(ctx, by.tx)
		if err != nil {
			return err
		}
		if a.State == model.ActCommitted {
			return tx.ForceAct(id, model.ActCommitted, c.carriedOut(t))
		}
		return c.settle(tx, t, &moves{}) // whoever waits for it sees it by looking
	})
}

// mendHold frees what an act that has ended still has set aside.
func (c *check) mendHold(kind, subject, act, problem string) Finding {
	f := Finding{Kind: kind, Subject: subject, Problem: problem}
	return c.mending(f, "let it go", func(_ context.Context, tx *model.Tx) error {
		if a, err := tx.Act(act); err == nil && !a.State.Finished() {
			return errMoot
		} else if err != nil && !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if err := tx.ReleaseHold(act); err != nil {
			return err
		}
		return tx.Unreserve(act)
	})
}
