package model

import (
	"slices"
	"strings"

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
	var acts []string
	for runs := range slices.Chunk(set.Segments(), runsPerQuery) {
		var query []string
		var args []any
		for _, run := range runs {
			query = append(query, "SELECT act_id FROM reservations WHERE owner = ? AND head = ? AND width = ? AND lo <= ? AND hi >= ? AND rule = ?")
			args = append(args, owner, run.Head, run.Width, run.Hi, run.Lo, set.Rule)
		}
		var found []string
		if err := tx.db.Raw(strings.Join(query, " UNION "), args...).Scan(&found).Error; err != nil {
			return nil, err
		}
		acts = append(acts, found...)
	}
	slices.Sort(acts)
	return slices.Compact(acts), nil
}

// Unreserve lets go of all cards that an act has set aside.
func (tx *Tx) Unreserve(act string) error {
	return tx.db.Where("act_id = ?", act).Delete(&Reservation{}).Error
}
