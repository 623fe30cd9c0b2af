package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/model"
)

// Finding is one place where database and ledger, or the database and itself, differ.
type Finding struct {
	Kind    string // BLOCK, TRANSACTION, REQUEST, PARTICIPANT, APPROVAL, KEY, LOT, OPENING, CARD, JOURNAL, TRADE, ACT, SIGNATURE
	Subject string
	Problem string
	// Remedy is what Repair does about it, because the ledger or the journal proves it; "" if a person has to look.
	Remedy   string
	Repaired bool

	fix func(ctx context.Context) error // by the remedy; nil without one
}

// Report is what a check found.
type Report struct {
	Blocks       uint64
	Transactions int
	Lots         int
	Trades       int
	Acts         int
	Keys         int    // custodial
	KeysOpened   int64  // of those, and of those that wait to take over; 0 if they are in another process
	Unfinished   int    // acts that are under way: each reaches an end by itself
	Signatures   int    // custodial ones that stand on the ledger
	Cards        uint64 // in live lots
	Findings     []Finding
}

// Clean reports whether nothing was found, or all of it was put right.
func (r Report) Clean() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.Repaired })
}

func (r *Report) find(f Finding) { r.Findings = append(r.Findings, f) }

// check is one comparison of database and ledger.
type check struct {
	*Service
	report *Report
	truth  *truth
	seen   uint64 // the block to which the snapshot at hand has followed the ledger
	live   map[iccid.Rule][]liveRun
}

// liveRun is a run of cards in a lot that has them now.
type liveRun struct {
	iccid.Segment
	lot string
}

// Check compares the database with the ledger row by row. It reads every block, so that it also finds what the database
// lacks. progress, if not nil, is called now and then with how much is done, 0 to 1. The server may go on meanwhile, and
// so may others: a row that is on its way is no difference.
func (s *Service) Check(ctx context.Context, progress func(float64)) (Report, error) {
	return s.check(ctx, progress, false)
}

// Repair is Check, and puts right what the ledger or the journal proves. Each repair is a transaction of its own, looks
// once more at the row that it is about, and is noted in the database; a crash leaves it done or undone.
func (s *Service) Repair(ctx context.Context, progress func(float64)) (Report, error) {
	return s.check(ctx, progress, true)
}

func (s *Service) check(ctx context.Context, progress func(float64), repair bool) (Report, error) {
	if progress == nil {
		progress = func(float64) {}
	}
	var r Report
	c := &check{Service: s, report: &r, live: map[iccid.Rule][]liveRun{}}
	settled, err := s.settledBlock(ctx)
	if err != nil {
		return r, err
	}
	c.truth = newTruth(s.Ledger, &r, settled)
	c.truth.witness = c.witness
	if err := c.truth.extend(ctx, func(f float64) { progress(f * 0.6) }); err != nil {
		return r, err
	}
	steps := []func(context.Context) error{c.participants, c.approvals, c.keys, c.openKeys, c.lots, c.journal, c.trades, c.acts, c.holds, c.signLog}
	for i, step := range steps {
		if err := step(ctx); err != nil {
			return r, err
		}
		progress(0.6 + 0.4*float64(i+1)/float64(len(steps)))
	}
	if repair {
		err = c.repair(ctx)
	}
	return r, err
}

// settledBlock is the block to which the listener has come. On another ledger than the one that it has followed, all is
// to be found.
func (s *Service) settledBlock(ctx context.Context) (uint64, error) {
	next, err := s.nextBlock(ctx)
	switch {
	case errors.Is(err, errAnotherLedger):
		return math.MaxUint64, nil
	case err != nil:
		return 0, err
	}
	return max(next, 1) - 1, nil
}

// snapshot runs look on one snapshot of the database, which tells how far it has followed the ledger.
func (c *check) snapshot(ctx context.Context, look func(*model.Tx) error) error {
	return c.DB.Read(ctx, func(tx *model.Tx) error {
		p, err := tx.Checkpoint(checkpoint)
		if err != nil && !errors.Is(err, model.ErrNotFound) {
			return err
		}
		c.seen = uint64(max(p.Value, 0))
		return look(tx)
	})
}

// pages looks at every row of a table, some at a time: fetch lists those after a key, and look says what it thinks of one.
func pages[R any](ctx context.Context, c *check, fetch func(*model.Tx, string, int) ([]R, error), key func(R) string, look func(*model.Tx, R) error) error {
	for after := ""; ; {
		var rows []R
		err := c.snapshot(ctx, func(tx *model.Tx) (err error) {
			if rows, err = fetch(tx, after, fsckPage); err != nil {
				return err
			}
			for _, row := range rows {
				if err := look(tx, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(rows) < fsckPage {
			return err
		}
		after = key(rows[len(rows)-1])
	}
}

// fsckPage is how many rows are looked at in one transaction.
const fsckPage = 500

// verdict judges a row, and looks at the newest blocks before it finds anything: the relay may have settled what came
// after the ledger was read.
func verdict[V any](ctx context.Context, t *truth, records map[string][]record[V], key string, seen uint64, compare func(*V) string) (string, error) {
	if judge(records[key], seen, compare) == "" {
		return "", nil
	}
	if err := t.extend(ctx, nil); err != nil {
		return "", err
	}
	return judge(records[key], seen, compare), nil
}

// missed lists what the ledger had when the check began, and the database lacks.
func missed[V any](c *check, records map[string][]record[V], seen map[string]bool) (list []string) {
	for _, key := range slices.Sorted(maps.Keys(records)) {
		if !seen[key] && records[key][0].block <= c.truth.settled {
			list = append(list, key)
		}
	}
	return list
}

func (c *check) participants(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllParticipants, func(p model.Participant) string { return p.ID }, func(_ *model.Tx, row model.Participant) error {
		seen[row.ID] = true
		problem, err := verdict(ctx, c.truth, c.truth.people, row.ID, c.seen, func(p *contract.Participant) string { return participantDiffers(row, p) })
		if err == nil && problem != "" {
			c.report.find(c.mendParticipant(row.ID, problem))
		}
		return err
	})
	for _, id := range missed(c, c.truth.people, seen) {
		c.report.find(c.mendParticipant(id, "is on the ledger and not in the database"))
	}
	return err
}

func participantDiffers(row model.Participant, p *contract.Participant) string {
	switch {
	case p == nil && row.State == model.ParticipantRegistered:
		return "is registered here and not on the ledger"
	case p == nil:
	case row.State != model.ParticipantRegistered:
		return fmt.Sprintf("is %s here and registered on the ledger", row.State)
	case row.Role != string(p.Role):
		return fmt.Sprintf("is a %s here and a %s on the ledger", row.Role, p.Role)
	case !slices.Contains(p.Keys, row.KeyID):
		return fmt.Sprintf("has key %s here, and not on the ledger", row.KeyID)
	}
	return ""
}

// approvals: what carriers have said of consumers' real names is here what it is on the ledger.
func (c *check) approvals(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllApprovals, model.Approval.Key, func(_ *model.Tx, row model.Approval) error {
		name := row.Carrier + "/" + row.Consumer
		seen[name] = true
		problem, err := verdict(ctx, c.truth, c.truth.names, name, c.seen, func(a *contract.Approval) string { return approvalDiffers(row, a) })
		if err == nil && problem != "" {
			c.report.find(c.mendApproval(name, problem))
		}
		return err
	})
	for _, name := range missed(c, c.truth.names, seen) {
		c.report.find(c.mendApproval(name, "is on the ledger and not in the database"))
	}
	return err
}

func approvalDiffers(row model.Approval, a *contract.Approval) string {
	switch {
	case a == nil:
		return "is here and not on the ledger"
	case row.Version != a.Version:
		return fmt.Sprintf("has version %d here and %d on the ledger", row.Version, a.Version)
	case row.Commitment != a.Commitment || int64(row.ValidUntil) != a.ValidUntil || row.Revoked != a.Revoked:
		return "person, validity or revocation differ"
	}
	return ""
}

func (c *check) lots(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllLots, func(l model.Lot) string { return l.Hash }, func(tx *model.Tx, row model.Lot) error {
		seen[row.Hash] = true
		return c.lot(ctx, tx, row)
	})
	if err != nil {
		return err
	}
	for _, h := range missed(c, c.truth.lots, seen) {
		c.report.find(c.mendLot(h, "is on the ledger and not in the database"))
	}
	for _, rule := range slices.Sorted(maps.Keys(c.live)) {
		if err := c.apart(ctx, c.live[rule]); err != nil {
			return err
		}
	}
	return nil
}

// apart counts the cards of live runs, and finds those that share one.
func (c *check) apart(ctx context.Context, runs []liveRun) error {
	slices.SortFunc(runs, func(a, b liveRun) int {
		return cmp.Or(cmp.Compare(a.Head, b.Head), cmp.Compare(a.Width, b.Width), cmp.Compare(a.Lo, b.Lo))
	})
	for i, run := range runs {
		c.report.Cards += run.Count()
		if i == 0 || runs[i-1].Head != run.Head || runs[i-1].Width != run.Width || runs[i-1].Hi < run.Lo {
			continue
		}
		// They come from two snapshots, and the cards may have gone from one lot to the other in between.
		err := c.snapshot(ctx, func(tx *model.Tx) error {
			both, err := tx.Lots([]string{runs[i-1].lot, run.lot})
			if err == nil && both[0].Status.Live() && both[1].Status.Live() {
				c.report.find(Finding{Kind: "CARD", Subject: run.lot, Problem: "a card of it is in another live lot, too: " + runs[i-1].lot})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *check) lot(ctx context.Context, tx *model.Tx, row model.Lot) error {
	c.report.Lots++
	runs, err := tx.SegmentsOf(row.Hash)
	if err != nil {
		return err
	}
	odd := false
	for _, run := range runs {
		odd = odd || run.Live != row.Status.Live() || run.Owner != row.Owner
		if run.Live {
			c.live[run.Rule] = append(c.live[run.Rule], liveRun{run.Cards(), row.Hash})
		}
	}
	problem, err := verdict(ctx, c.truth, c.truth.lots, row.Hash, c.seen, func(l *contract.Lot) string { return lotDiffers(row, l) })
	switch {
	case err != nil:
		return err
	case problem != "":
		c.report.find(c.mendLot(row.Hash, problem))
	case odd:
		f := c.mendLot(row.Hash, "a segment's owner or liveness is not its lot's")
		f.Kind = "CARD"
		c.report.find(f)
	}
	if newest(c.truth.lots[row.Hash]) == nil {
		return nil // nothing that the ledger knows must open
	}
	if problem := c.opens(tx, row); problem != "" {
		c.report.find(c.mendOpening(row.Hash, problem))
	}
	return nil
}

// opens reports what keeps a lot's salt and segments from giving its hash, "" if they do.
func (s *Service) opens(tx *model.Tx, row model.Lot) string {
	opening, err := s.lotOpening(tx, row)
	if err != nil {
		return "can't be opened"
	}
	if _, hash, err := opening.Set(); err != nil || hash != row.Hash {
		return "segments and salt do not give the lot hash"
	}
	return ""
}

func lotDiffers(row model.Lot, l *contract.Lot) string {
	switch {
	case l == nil:
		if row.Status != model.LotPending && row.Status != model.LotAbandoned {
			return fmt.Sprintf("is %s here and not on the ledger", row.Status)
		}
	case string(row.Status) != string(l.Status):
		return fmt.Sprintf("is %s here and %s on the ledger", row.Status, l.Status)
	case row.Owner != l.Owner:
		return fmt.Sprintf("belongs to %s here and to %s on the ledger", row.Owner, l.Owner)
	case row.Version != l.Version:
		return fmt.Sprintf("has version %d here and %d on the ledger", row.Version, l.Version)
	case row.Issuer != l.Issuer || string(row.Rule) != l.Rule || row.RetailPolicy != string(l.RetailPolicy):
		return "issuer, rule or retail policy differ"
	case !slices.Equal(row.Frozen, roleNames(l.Frozen)):
		return "freezes differ"
	case !slices.Equal(row.Restrictions, l.Restrictions):
		return "restrictions differ"
	}
	return ""
}

// journal: the journals open every lot on the ledger that the database opens. Nobody would miss one before the day on
// which the database is lost.
func (c *check) journal(ctx context.Context) error {
	opened := map[string]bool{}
	err := c.readJournals(func(o Entry) error {
		for hash := range o.Lots {
			opened[hash] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, hash := range slices.Sorted(maps.Keys(c.truth.lots)) {
		if !opened[hash] && c.truth.lots[hash][0].block <= c.truth.settled {
			c.report.find(c.mendJournal(hash, "is not in the journal: if the database were lost, nothing could open it"))
		}
	}
	return nil
}

func (c *check) trades(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllTrades, func(t model.Trade) string { return t.ID }, func(tx *model.Tx, row model.Trade) error {
		c.report.Trades++
		seen[row.ID] = true
		problem, err := verdict(ctx, c.truth, c.truth.trades, row.ID, c.seen, func(t *contract.Trade) string { return tradeDiffers(row, t) })
		switch {
		case err != nil:
			return err
		case problem != "":
			c.report.find(c.mendTrade(row.ID, problem))
		case waits(row.State):
			a, err := tx.Act(row.PendingAct)
			if errors.Is(err, model.ErrNotFound) || err == nil && a.State.Finished() {
				c.report.find(c.mendWait(row.ID, fmt.Sprintf("is %s, and no act is under way", row.State)))
				return nil
			}
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range missed(c, c.truth.trades, seen) {
		c.report.find(c.mendTrade(id, "is on the ledger and not in the database"))
	}
	return nil
}

// waits reports whether a trade in this state waits for an act that is to end it.
func waits(s model.TradeState) bool {
	switch s {
	case model.TradeConfirming, model.TradeDeclining, model.TradeCancelling, model.TradeReleasing:
		return true
	}
	return false
}

func tradeDiffers(row model.Trade, t *contract.Trade) string {
	if t == nil {
		if row.State != model.TradeOffering && row.State != model.TradeFailed {
			return fmt.Sprintf("is %s here and not on the ledger", row.State)
		}
		return ""
	}
	want, ok := tradeStates[t.State]
	switch {
	case !ok || row.State != want && !(want == model.TradeOffered && waits(row.State)):
		return fmt.Sprintf("is %s here and %s on the ledger", row.State, t.State)
	case row.Seller != t.Seller || row.Receiver != t.Receiver || row.LotHash != t.Lot || row.Mode != string(t.Mode) || int64(row.ExpiresAt) != t.ExpiresAt:
		return "sides, lot, mode or expiry differ"
	case row.State.Ended() && row.EndTx != t.EndTx:
		return fmt.Sprintf("ended by %s here and by %s on the ledger", row.EndTx, t.EndTx)
	}
	return ""
}

// acts: an act is committed exactly if the ledger applied its request, and by that transaction.
func (c *check) acts(ctx context.Context) error {
	for cursor := ""; ; {
		var page model.Page[model.Act]
		err := c.snapshot(ctx, func(tx *model.Tx) (err error) {
			if page, err = tx.ListActs(model.ActFilter{}, cursor, fsckPage); err != nil {
				return err
			}
			for _, a := range page.Items {
				if err := c.act(ctx, tx, a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

func (c *check) act(ctx context.Context, tx *model.Tx, a model.Act) error {
	c.report.Acts++
	if !a.State.Finished() {
		c.report.Unfinished++
	}
	problem, err := c.actDiffers(tx, a)
	if problem == "" || err != nil {
		return err
	}
	if err := c.truth.extend(ctx, nil); err != nil {
		return err
	}
	if problem, err = c.actDiffers(tx, a); problem != "" && err == nil {
		c.report.find(c.mendAct(a.ID, problem))
	}
	return err
}

func (c *check) actDiffers(tx *model.Tx, a model.Act) (string, error) {
	if a.Function == "Init" { // the one request that is not marked as applied: a second one is refused by what it has made
		if a.State == model.ActCommitted && c.truth.valid[a.TxID] != 1 {
			return fmt.Sprintf("transaction %s counts %d times", a.TxID, c.truth.valid[a.TxID]), nil
		}
		return "", nil
	}
	by, applied := c.truth.applied[a.RequestID]
	if applied && by.tx != a.TxID {
		// Somebody else may have asked for the very same, by an act of his own: this one failed, and that one did it.
		if other, err := tx.ActByTx(by.tx); err == nil && other.ID != a.ID && other.State == model.ActCommitted && a.State == model.ActFailed {
			return "", nil
		} else if err != nil && !errors.Is(err, model.ErrNotFound) {
			return "", err
		}
	}
	switch {
	case a.State == model.ActCommitted && !applied && c.truth.valid[a.TxID] == 1:
		return "has another request here than its transaction on the ledger", nil
	case a.State == model.ActCommitted && (!applied || by.tx != a.TxID):
		return "is committed here; the ledger does not have its transaction " + a.TxID, nil
	case a.State == model.ActCommitted && c.truth.valid[a.TxID] != 1:
		return fmt.Sprintf("transaction %s counts %d times", a.TxID, c.truth.valid[a.TxID]), nil
	case a.State == model.ActFailed && applied && by.block <= c.seen && a.ErrorCode != contract.AlreadyApplied:
		return "failed here; the ledger applied it in " + by.tx, nil
	case !a.State.Finished() && applied && by.block <= c.seen && by.tx == a.TxID:
		return fmt.Sprintf("is %s here; the ledger applied it in %s", a.State, by.tx), nil
	}
	return "", nil
}

// holds: what an act has set aside is free once the act has ended.
func (c *check) holds(ctx context.Context) error {
	ended := func(tx *model.Tx, act string) (bool, error) {
		a, err := tx.Act(act)
		return errors.Is(err, model.ErrNotFound) || err == nil && a.State.Finished(), ignore(err, model.ErrNotFound)
	}
	err := pages(ctx, c, (*model.Tx).HeldLots, func(l model.Lot) string { return l.Hash }, func(tx *model.Tx, row model.Lot) error {
		over, err := ended(tx, row.HeldBy)
		if over && err == nil {
			c.report.find(c.mendHold("LOT", row.Hash, row.HeldBy, "is held by act "+row.HeldBy+", which has ended"))
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.snapshot(ctx, func(tx *model.Tx) error {
		acts, err := tx.ReservingActs()
		for _, act := range acts {
			over, err := ended(tx, act)
			if err != nil {
				return err
			}
			if over {
				c.report.find(c.mendHold("ACT", act, act, "has ended, and still has cards set aside"))
			}
		}
		return err
	})
}

// ignore forgives one kind of error.
func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}
