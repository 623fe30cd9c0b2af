package model

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"cardflow/iccid"
)

// Reservation is a run of cards that an unfinished offer has set aside, whichever lots they are in: the lots of its
// owner may still be cut and merged by offers that were accepted earlier.
type Reservation struct {
	ID    int64 `gorm:"primaryKey"`
	ActID string
	Owner string
	Rule  iccid.Rule
	Head  string
	Width uint8
	Lo    uint32
	Hi    uint32
}

// Reserve sets cards of an owner aside for an act, which must be there. It doesn't look whether others have done so:
// ask ReservedOverlap first, under LockParticipant.
func (tx *Tx) Reserve(act, owner string, set iccid.Set) error {
	var rows []Reservation
	for _, s := range set.Segments() {
		rows = append(rows, Reservation{ActID: act, Owner: owner, Rule: set.Rule, Head: s.Head, Width: s.Width, Lo: s.Lo, Hi: s.Hi})
	}
	if len(rows) == 0 {
		return nil
	}
	return named("reservations of act", act, tx.db.CreateInBatches(rows, chunk).Error)
}

// ReservedOverlap lists the acts that have set aside a card of the set, by ID; none is the usual case.
func (tx *Tx) ReservedOverlap(owner string, set iccid.Set) ([]string, error) {
	acts := map[string]bool{}
	for runs := range byTrack(set.Segments()) {
		first, last := runs[0], runs[len(runs)-1]
		// Unfinished offers are few: fetch what they hold from the first run to the last, and compare here.
		held, err := many[Reservation](tx.db.Where("owner = ? AND head = ? AND width = ? AND lo <= ? AND hi >= ? AND rule = ?",
			owner, first.Head, first.Width, last.Hi, first.Lo, set.Rule))
		if err != nil {
			return nil, err
		}
		for _, h := range held {
			i, _ := slices.BinarySearchFunc(runs, h.Lo, func(run iccid.Segment, lo uint32) int { return cmp.Compare(run.Hi, lo) })
			if i < len(runs) && runs[i].Lo <= h.Hi { // the first run that ends at or after h begins
				acts[h.ActID] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(acts)), nil
}

// byTrack groups runs that are numbered in one sequence, in order.
func byTrack(runs []iccid.Segment) iter.Seq[[]iccid.Segment] {
	type track struct {
		head  string
		width uint8
	}
	groups := map[track][]iccid.Segment{}
	for _, s := range runs {
		groups[track{s.Head, s.Width}] = append(groups[track{s.Head, s.Width}], s)
	}
	for _, group := range groups {
		slices.SortFunc(group, func(a, b iccid.Segment) int { return cmp.Compare(a.Lo, b.Lo) })
	}
	return maps.Values(groups)
}

// Unreserve lets go of all cards that an act has set aside.
func (tx *Tx) Unreserve(act string) error {
	return tx.db.Where("act_id = ?", act).Delete(&Reservation{}).Error
}
