package model

import (
	"cmp"
	"errors"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"

	"cardflow/iccid"
)

// Segment is one run of consecutive cards of a lot. A card is found by its number's place in a run, so the work
// depends on how many runs there are and not on how many cards.
type Segment struct {
	ID        int64 `gorm:"primaryKey"`
	LotHash   string
	Owner     string // copied from the lot
	Live      bool   // see LotStatus.Live
	Rule      iccid.Rule
	Head      string
	Width     uint8
	Lo        uint32
	Hi        uint32
	CardCount int64
	Magnitude uint8 // see magnitude
}

// Cards is the run itself.
func (s Segment) Cards() iccid.Segment {
	return iccid.Segment{Head: s.Head, Width: s.Width, Lo: s.Lo, Hi: s.Hi}
}

// magnitudes bounds magnitude: a run has at most ten million cards, which is below 8^8.
const magnitudes = 8

// magnitude is the number of octal digits of a run's length less one: the run's last card is less than 8^magnitude
// after its first. Whoever looks for the runs that hold a card asks each magnitude for those that begin close enough
// before it, which are few, since at any one time runs don't overlap.
func magnitude(s iccid.Segment) uint8 { return uint8((bits.Len32(s.Hi-s.Lo) + 2) / 3) }

func (tx *Tx) addSegments(l Lot, segments []iccid.Segment) error {
	rows := make([]Segment, len(segments))
	for i, s := range segments {
		rows[i] = Segment{LotHash: l.Hash, Owner: l.Owner, Live: l.Status.Live(), Rule: l.Rule, Head: s.Head, Width: s.Width,
			Lo: s.Lo, Hi: s.Hi, CardCount: int64(s.Count()), Magnitude: magnitude(s)}
	}
	if len(rows) == 0 {
		return nil
	}
	return named("segments of lot", l.Hash, tx.db.CreateInBatches(rows, chunk).Error)
}

// SegmentsOf lists the runs of a lot, by number.
func (tx *Tx) SegmentsOf(lot string) ([]Segment, error) {
	return many[Segment](tx.db.Where("lot_hash = ?", lot).Order("head, width, lo"))
}

// SegmentsOfLots lists the runs of several lots, by lot.
func (tx *Tx) SegmentsOfLots(hashes []string) (map[string][]iccid.Segment, error) {
	byLot := make(map[string][]iccid.Segment, len(hashes))
	for some := range slices.Chunk(slices.Clone(hashes), chunk) {
		found, err := many[Segment](tx.db.Where("lot_hash IN ?", some).Order("lot_hash, head, width, lo"))
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			byLot[s.LotHash] = append(byLot[s.LotHash], s.Cards())
		}
	}
	return byLot, nil
}

// LiveSegment finds the run, and so the lot, in which a card is now. Errors: ErrNotFound.
func (tx *Tx) LiveSegment(rule iccid.Rule, head string, width uint8, tail uint32) (*Segment, error) {
	found, err := tx.liveIn(rule, []iccid.Segment{{Head: head, Width: width, Lo: tail, Hi: tail}}, "")
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, named("card", "", err)
	}
	return &found[0], nil
}

// LiveSegmentsOwned lists the live runs of an owner's OWNED lots that have a card in the set, by number.
func (tx *Tx) LiveSegmentsOwned(owner string, set iccid.Set) ([]Segment, error) {
	found, err := tx.liveIn(set.Rule, set.Segments(), "owner = ? AND ", owner)
	if err != nil {
		return nil, err
	}
	return tx.inOwnedLots(found)
}

// LiveSegmentsIn lists all live runs, whoever has them, in whatever lots, that have a card in the set, by number.
func (tx *Tx) LiveSegmentsIn(set iccid.Set) ([]Segment, error) {
	return tx.liveIn(set.Rule, set.Segments(), "")
}

// runsPerQuery is how many runs of a set one statement looks for. SQLite joins at most 500 SELECTs.
const runsPerQuery = 50

// liveIn asks for each run: the last live run that begins at or before it, which may reach into it, and those that
// begin in it. Live runs don't overlap, so none other can share a card with it. whose narrows the question to runs of
// which the same is true.
func (tx *Tx) liveIn(rule iccid.Rule, runs []iccid.Segment, whose string, args ...any) ([]Segment, error) {
	track := whose + "live = ? AND rule = ? AND head = ? AND width = ?"
	byID := map[int64]Segment{} // one live run may reach into several
	for some := range slices.Chunk(runs, runsPerQuery) {
		var query []string
		var values []any
		for _, run := range some {
			on := append(slices.Clone(args), true, rule, run.Head, run.Width)
			query = append(query, "SELECT * FROM segments WHERE "+track+" AND hi >= ? AND lo <= ? AND lo >= "+
				"COALESCE((SELECT MAX(lo) FROM segments WHERE "+track+" AND lo <= ?), ?)")
			values = append(append(values, on...), run.Lo, run.Hi)
			values = append(append(values, on...), run.Lo, run.Lo)
		}
		found, err := many[Segment](tx.db.Raw(strings.Join(query, " UNION ALL "), values...))
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			byID[s.ID] = s
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.Head, b.Head), cmp.Compare(a.Width, b.Width), cmp.Compare(a.Lo, b.Lo))
	}), nil
}

// inOwnedLots leaves the runs of lots that are OWNED: those IN_TRADE and RETIRED are live too.
func (tx *Tx) inOwnedLots(runs []Segment) ([]Segment, error) {
	isOwned := map[string]bool{}
	for _, s := range runs {
		isOwned[s.LotHash] = false
	}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(isOwned)), chunk) {
		var owned []string
		if err := tx.db.Model(&Lot{}).Where("hash IN ? AND status = ?", some, LotOwned).Pluck("hash", &owned).Error; err != nil {
			return nil, err
		}
		for _, hash := range owned {
			isOwned[hash] = true
		}
	}
	return slices.DeleteFunc(runs, func(s Segment) bool { return !isOwned[s.LotHash] }), nil
}

// track is the sort key of lists by number.
type track struct {
	Rule  iccid.Rule `json:"r"`
	Head  string     `json:"h"`
	Width uint8      `json:"w"`
	Lo    uint32     `json:"l"`
	ID    int64      `json:"i"`
}

// AllLiveSegments lists what an owner has, by number: OWNED, IN_TRADE and RETIRED.
func (tx *Tx) AllLiveSegments(owner, cursor string, limit int) (Page[Segment], error) {
	query := tx.db.Where("owner = ? AND live = ?", owner, true)
	if cursor != "" {
		var t track
		if err := decodeCursor(cursor, &t); err != nil {
			return Page[Segment]{}, err
		}
		query = query.Where("(rule, head, width, lo, id) > (?, ?, ?, ?, ?)", t.Rule, t.Head, t.Width, t.Lo, t.ID)
	}
	limit = pageSize(limit)
	items, err := many[Segment](query.Order("rule, head, width, lo, id").Limit(limit + 1))
	if err != nil {
		return Page[Segment]{}, err
	}
	return cut(items, limit, func(s Segment) any { return track{s.Rule, s.Head, s.Width, s.Lo, s.ID} })
}

// SegmentFilter says which runs FindSegments lists; zero fields don't restrict.
type SegmentFilter struct {
	Rule     iccid.Rule // with Range
	Range    *iccid.Segment
	Owner    string
	Status   LotStatus
	LiveOnly bool
	From     Millis // of the owner's getting the lot
	To       Millis // exclusive
}

// FindSegments lists runs of all lots, spent ones included, in the order they were stored.
func (tx *Tx) FindSegments(f SegmentFilter, cursor string, limit int) (Page[Segment], error) {
	query := tx.db.Table("segments AS s").Select("s.*")
	if f.Range != nil {
		query = query.Joins("JOIN (?) AS hit ON hit.id = s.id", tx.overlapping(f.Rule, *f.Range))
	}
	if f.Owner != "" {
		query = query.Where("s.owner = ?", f.Owner)
	}
	if f.LiveOnly {
		query = query.Where("s.live = ?", true)
	}
	if f.Status != "" || f.From > 0 || f.To > 0 {
		query = query.Joins("JOIN lots AS l ON l.hash = s.lot_hash")
		if f.Status != "" {
			query = query.Where("l.status = ?", f.Status)
		}
		if f.From > 0 {
			query = query.Where("l.owned_since >= ?", f.From)
		}
		if f.To > 0 {
			query = query.Where("l.owned_since < ?", f.To)
		}
	}
	if cursor != "" {
		var after int64
		if err := decodeCursor(cursor, &after); err != nil {
			return Page[Segment]{}, err
		}
		query = query.Where("s.id > ?", after)
	}
	limit = pageSize(limit)
	items, err := many[Segment](query.Order("s.id").Limit(limit + 1))
	if err != nil {
		return Page[Segment]{}, err
	}
	return cut(items, limit, func(s Segment) any { return s.ID })
}

// SegmentsCovering lists every run that holds or held a card, whatever became of its lot, in the order they were
// stored.
func (tx *Tx) SegmentsCovering(rule iccid.Rule, head string, width uint8, tail uint32) ([]Segment, error) {
	at := iccid.Segment{Head: head, Width: width, Lo: tail, Hi: tail}
	return many[Segment](tx.db.Table("segments AS s").Select("s.*").
		Joins("JOIN (?) AS hit ON hit.id = s.id", tx.overlapping(rule, at)).Order("s.id"))
}

// overlapping selects the IDs of all runs that share a card with one.
func (tx *Tx) overlapping(rule iccid.Rule, run iccid.Segment) *gorm.DB {
	query := make([]string, 0, magnitudes+1)
	var args []any
	for m := range magnitudes + 1 {
		least := uint32(0) // where a run of this magnitude that reaches run.Lo can begin at the earliest
		if reach := uint32(1)<<(3*m) - 1; run.Lo > reach {
			least = run.Lo - reach
		}
		query = append(query, "SELECT id FROM segments WHERE rule = ? AND head = ? AND width = ? AND magnitude = ? AND lo BETWEEN ? AND ? AND hi >= ?")
		args = append(args, rule, run.Head, run.Width, m, least, run.Hi, run.Lo)
	}
	return tx.db.Raw(strings.Join(query, " UNION ALL "), args...)
}

// tailDigits is how many digits of a number count at most: see iccid.
const tailDigits = 7

// endingIn is a condition on runs (s): one of the run's cards has a number that ends so, or, under a rule that adds a check
// digit, ends in all but the last of these characters. The work for a run doesn't depend on how many cards it has.
func endingIn(end string) (condition string, args []any) {
	var ways []string
	add := func(rule string, end string) {
		for width := range tailDigits + 1 {
			digits := min(len(end), width) // the rest of end stands in the head
			inHead, inTail := end[:len(end)-digits], end[len(end)-digits:]
			n, err := strconv.ParseUint("0"+inTail, 10, 32)
			if err != nil {
				continue
			}
			way := rule + "s.width = ?"
			args = append(args, width)
			if inHead != "" {
				way += " AND SUBSTR(s.head, ?) = ?"
				args = append(args, -len(inHead), inHead)
			}
			step := uint64(1)
			for range digits {
				step *= 10
			}
			// The first card from lo on whose number ends so.
			way += " AND s.lo + (? - s.lo % ?) % ? <= s.hi"
			args = append(args, n+step, step, step)
			ways = append(ways, way)
		}
	}
	add("", end)
	add("s.rule = '"+string(iccid.Luhn)+"' AND ", end[:len(end)-1])
	return "(" + strings.Join(ways, ") OR (") + ")", args
}

// Lineage walks back from the lot in which a card is now to the lot in which it was issued: the chain of lots that
// held the card, newest first. Errors: ErrNotFound if no live lot has it.
func (tx *Tx) Lineage(rule iccid.Rule, head string, width uint8, tail uint32) ([]Lot, error) {
	at, err := tx.LiveSegment(rule, head, width, tail)
	if err != nil {
		return nil, err
	}
	var chain []Lot
	for hash := at.LotHash; ; {
		l, err := tx.Lot(hash)
		if err != nil {
			return nil, err
		}
		chain = append(chain, l)
		// A card was in one of the parents, however many were merged. Their rule is the child's; to ask for it would lead
		// SQLite to the index over all lots.
		parent, err := one[Segment](tx.db.
			Where("lot_hash IN (?)", tx.db.Model(&LotParent{}).Select("parent").Where("child = ?", hash)).
			Where("head = ? AND width = ? AND lo <= ? AND hi >= ?", head, width, tail, tail))
		if errors.Is(err, ErrNotFound) {
			return chain, nil
		}
		if err != nil {
			return nil, named("parents of lot", hash, err)
		}
		hash = parent.LotHash
	}
}
