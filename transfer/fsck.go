package transfer

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"

	"cardflow/iccid"
	"cardflow/model"
)

// Finding is one place where database and ledger, or the database and itself, differ.
type Finding struct {
	Kind    string // BLOCK, TRANSACTION, REQUEST, PARTICIPANT, APPROVAL, KEY, DEVICE, GATEWAY, LOT, OPENING, CARD, JOURNAL, TRADE, ACT, SIGNATURE
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
	Devices      int
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
	steps := []func(context.Context) error{c.participants, c.approvals, c.keys, c.openKeys, c.devices, c.gatewayKeys, c.lots, c.journal, c.trades, c.acts, c.holds, c.signLog}
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

// ignore forgives one kind of error.
func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}
