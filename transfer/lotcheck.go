package transfer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/model"
)

// liveRun is a run of cards in a lot that has them now.
type liveRun struct {
	iccid.Segment
	lot string
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
