package model_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cardflow/iccid"
	"cardflow/model"
)

// naive is what the tables should say, held as a list: for each lot its runs, state, owner and parent.
type naive struct {
	head string
	lots []*naiveLot
}

type naiveLot struct {
	hash   string
	owner  string
	status model.LotStatus
	parent *naiveLot
	set    iccid.Set
}

// tails is how many cards a history has: small, so that runs meet.
const tails = 300

func (n *naive) run(lo, hi uint32) iccid.Segment {
	return iccid.Segment{Head: n.head, Width: 7, Lo: lo, Hi: hi}
}

func (n *naive) add(r *rapid.T, tx *model.Tx, l *naiveLot) {
	l.hash = fmt.Sprintf("%s%052d", n.head, len(n.lots))
	n.lots = append(n.lots, l)
	record := model.Lot{Hash: l.hash, Issuer: "carrier", Rule: iccid.Luhn, Owner: l.owner, Status: l.status, RetailPolicy: "OPEN"}
	if l.parent != nil {
		record.Parents = []string{l.parent.hash}
	}
	if err := tx.AddLot(record, l.set.Segments()); err != nil {
		r.Fatal(err)
	}
}

var owners = []string{"carrier", "retailer", "ann", "bob"}

// play makes a random history: lots are issued and cut up, parts change hands, some go nowhere.
func (n *naive) play(r *rapid.T, tx *model.Tx) {
	all, err := iccid.NewSet(iccid.Luhn, n.run(0, tails-1))
	if err != nil {
		r.Fatal(err)
	}
	n.add(r, tx, &naiveLot{owner: "carrier", status: model.LotOwned, set: all})
	states := rapid.SampledFrom([]model.LotStatus{model.LotOwned, model.LotOwned, model.LotInTrade, model.LotRetired, model.LotPending})
	for range rapid.IntRange(0, 5).Draw(r, "cuts") {
		parent := rapid.SampledFrom(n.lots).Draw(r, "parent")
		if parent.status != model.LotOwned {
			continue
		}
		part := parent.set.Intersect(n.someCards(r))
		rest := parent.set.Minus(part)
		status := states.Draw(r, "status")
		for _, s := range []iccid.Set{part, rest} {
			if !s.Empty() {
				n.add(r, tx, &naiveLot{owner: rapid.SampledFrom(owners).Draw(r, "owner"), status: status, parent: parent, set: s})
			}
		}
		if status == model.LotPending {
			continue
		}
		parent.status = model.LotSpent
		if err := tx.UpdateLot(model.Lot{Hash: parent.hash, Owner: parent.owner, Status: model.LotSpent, Version: 1}); err != nil {
			r.Fatal(err)
		}
	}
}

// someCards is a set of a few runs.
func (n *naive) someCards(r *rapid.T) iccid.Set {
	var cards [tails]bool
	for range rapid.IntRange(1, 4).Draw(r, "runs") {
		lo := rapid.IntRange(0, tails-1).Draw(r, "lo")
		for i := range rapid.IntRange(1, tails/4).Draw(r, "length") {
			cards[min(lo+i, tails-1)] = true
		}
	}
	b := iccid.Builder{Rule: iccid.Luhn}
	for i, in := range cards {
		if in {
			b.Add(iccid.Card{Head: n.head, Width: 7, Tail: uint32(i)})
		}
	}
	s, err := b.Set()
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// want lists the runs of lots that pass, as "lot lo-hi", where they share a card with the set.
func (n *naive) want(in iccid.Set, pass func(*naiveLot) bool) []string {
	var out []string
	for _, l := range n.lots {
		if !pass(l) {
			continue
		}
		for _, s := range l.set.Segments() {
			if one, err := iccid.NewSet(iccid.Luhn, s); err == nil && !one.Intersect(in).Empty() {
				out = append(out, runName(l.hash, s))
			}
		}
	}
	slices.Sort(out)
	return out
}

func runName(lot string, s iccid.Segment) string { return fmt.Sprintf("%s %d-%d", lot, s.Lo, s.Hi) }

func runNames(segments []model.Segment) []string {
	var out []string
	for _, s := range segments {
		out = append(out, runName(s.LotHash, s.Cards()))
	}
	slices.Sort(out)
	return out
}

// TestSegmentsAgainstNaive: after a random history every look-up answers what a list of all lots answers.
func TestSegmentsAgainstNaive(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		histories := 0
		rapid.Check(t, func(r *rapid.T) {
			histories++
			n := &naive{head: fmt.Sprintf("8986%08d", histories)}
			rollback := errors.New("enough")
			err := db.Write(t.Context(), func(tx *model.Tx) error {
				n.lots = nil
				n.play(r, tx)
				n.ask(r, tx)
				return rollback
			})
			if !errors.Is(err, rollback) {
				r.Fatal(err)
			}
		})
	})
}

// ask asks one question: under the race detector SQLite is a hundred times slower than without.
func (n *naive) ask(r *rapid.T, tx *model.Tx) {
	owner, tail := rapid.SampledFrom(owners).Draw(r, "asked owner"), rapid.Uint32Range(0, tails+10).Draw(r, "tail")
	at, err := iccid.NewSet(iccid.Luhn, n.run(tail, tail))
	if err != nil {
		r.Fatal(err)
	}
	live := func(l *naiveLot) bool { return l.status.Live() }
	same := func(got []model.Segment, err error, want []string) {
		if err != nil || !slices.Equal(runNames(got), want) {
			r.Fatalf("got %v, %v, want %v", runNames(got), err, want)
		}
	}
	switch rapid.SampledFrom([]string{"owned", "live", "covering", "found", "card", "card"}).Draw(r, "question") {
	case "owned":
		cards := n.someCards(r)
		got, err := tx.LiveSegmentsOwned(owner, cards)
		same(got, err, n.want(cards, func(l *naiveLot) bool { return l.status == model.LotOwned && l.owner == owner }))
	case "live":
		cards := n.someCards(r)
		got, err := tx.LiveSegmentsIn(cards)
		same(got, err, n.want(cards, live))
	case "covering":
		got, err := tx.SegmentsCovering(iccid.Luhn, n.head, 7, tail)
		same(got, err, n.want(at, func(*naiveLot) bool { return true }))
	case "found":
		whole := n.someCards(r).Segments()[0]
		run, _ := iccid.NewSet(iccid.Luhn, whole)
		f := model.SegmentFilter{Rule: iccid.Luhn, Range: &whole, Owner: rapid.SampledFrom([]string{"", owner}).Draw(r, "found owner"),
			Status:   rapid.SampledFrom([]model.LotStatus{"", model.LotSpent, model.LotOwned}).Draw(r, "found status"),
			LiveOnly: rapid.Bool().Draw(r, "live only")}
		found, err := tx.FindSegments(f, "", 500)
		same(found.Items, err, n.want(run, func(l *naiveLot) bool {
			return (f.Owner == "" || l.owner == f.Owner) && (f.Status == "" || l.status == f.Status) && (!f.LiveOnly || live(l))
		}))
	case "card":
		n.askCard(r, tx, tail, n.want(at, live))
	}
}

// askCard asks where a card is and where it was.
func (n *naive) askCard(r *rapid.T, tx *model.Tx, tail uint32, want []string) {
	now, err := tx.LiveSegment(iccid.Luhn, n.head, 7, tail)
	if len(want) == 0 {
		if !errors.Is(err, model.ErrNotFound) {
			r.Fatalf("card %d is nowhere, yet: %v, %v", tail, now, err)
		}
		return
	}
	if err != nil || runName(now.LotHash, now.Cards()) != want[0] {
		r.Fatalf("card %d: %v, %v, want %v", tail, now, err, want)
	}
	chain, err := tx.Lineage(iccid.Luhn, n.head, 7, tail)
	if err != nil {
		r.Fatal(err)
	}
	i := slices.IndexFunc(n.lots, func(l *naiveLot) bool { return l.hash == now.LotHash })
	for l := n.lots[i]; l != nil; l = l.parent {
		if len(chain) == 0 || chain[0].Hash != l.hash {
			r.Fatalf("lineage of card %d misses lot %s", tail, l.hash)
		}
		chain = chain[1:]
	}
	if len(chain) > 0 {
		r.Fatalf("lineage of card %d goes on after its issue: %v", tail, chain)
	}
}

// TestManyRuns: a set of more runs than one statement asks for.
func TestManyRuns(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		var even, odd []iccid.Segment
		for i := range uint32(120) {
			even, odd = append(even, run(4*i, 4*i)), append(odd, run(4*i+2, 4*i+2))
		}
		addLot(t, db, lot("a", "ann", model.LotOwned), even...)
		addLot(t, db, lot("b", "ann", model.LotOwned), odd...)
		write(t, db, func(tx *model.Tx) error {
			got, err := tx.LiveSegmentsOwned("ann", set(t, even...))
			if err != nil || len(got) != len(even) || slices.ContainsFunc(got, func(s model.Segment) bool { return s.LotHash != hash("a") }) {
				t.Errorf("%d runs, %v", len(got), err)
			}
			if got, err = tx.LiveSegmentsOwned("ann", set(t, run(0, 9_999_999))); err != nil || len(got) != len(even)+len(odd) {
				t.Errorf("%d runs, %v", len(got), err)
			}
			if got, err = tx.SegmentsCovering(iccid.Luhn, run(0, 0).Head, 7, 4); err != nil || len(got) != 1 {
				t.Errorf("card 4: %v, %v", got, err)
			}
			byLot, err := tx.SegmentsOfLots([]string{hash("a"), hash("b")})
			if err != nil || !slices.Equal(byLot[hash("b")], odd) {
				t.Errorf("runs of b: %d, %v", len(byLot[hash("b")]), err)
			}
			return nil
		})
	})
}

// TestFindSegmentsPages: the pages of a search are the search.
func TestFindSegmentsPages(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		for i := range uint32(7) {
			l := lot(numbered("a", int(i)), "ann", model.LotOwned)
			l.OwnedSince = now + model.Millis(i)
			addLot(t, db, l, run(100*i, 100*i+9), run(100*i+50, 100*i+59))
		}
		within := run(100, 650)
		for name, c := range map[string]struct {
			filter model.SegmentFilter
			want   int
		}{
			"all":   {model.SegmentFilter{}, 14},
			"range": {model.SegmentFilter{Rule: iccid.Luhn, Range: &within}, 12},
			"time":  {model.SegmentFilter{From: now + 2, To: now + 4}, 4},
			"rule":  {model.SegmentFilter{Rule: iccid.Serial, Range: &within}, 0},
			"owner": {model.SegmentFilter{Owner: "bob"}, 0},
			"live":  {model.SegmentFilter{LiveOnly: true, Status: model.LotOwned, Owner: "ann"}, 14},
		} {
			var got []int64
			for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
				page := read(t, db, func(tx *model.Tx) (model.Page[model.Segment], error) { return tx.FindSegments(c.filter, cursor, 3) })
				for _, s := range page.Items {
					got = append(got, s.ID)
				}
				cursor = page.Next
			}
			if len(got) != c.want || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
				t.Errorf("%s: %v, want %d", name, got, c.want)
			}
		}
		var heads []uint32
		for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
			page := read(t, db, func(tx *model.Tx) (model.Page[model.Segment], error) { return tx.AllLiveSegments("ann", cursor, 4) })
			for _, s := range page.Items {
				heads = append(heads, s.Lo)
			}
			cursor = page.Next
		}
		if len(heads) != 14 || !slices.IsSorted(heads) {
			t.Errorf("inventory by number: %v", heads)
		}
	})
}

func TestReservations(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error {
			return errors.Join(tx.AddAct(act("one", model.ActAccepted)), tx.AddAct(act("two", model.ActAccepted)),
				tx.Reserve("one", "ann", set(t, run(10, 19), run(30, 39))), tx.Reserve("two", "ann", set(t, run(20, 29))))
		})
		overlap := func(owner string, runs ...iccid.Segment) []string {
			return read(t, db, func(tx *model.Tx) ([]string, error) { return tx.ReservedOverlap(owner, set(t, runs...)) })
		}
		for name, c := range map[string]struct {
			owner string
			run   iccid.Segment
			want  []string
		}{
			"before":        {"ann", run(0, 9), nil},
			"touching":      {"ann", run(0, 10), []string{"one"}},
			"between":       {"ann", run(22, 23), []string{"two"}},
			"both":          {"ann", run(0, 99), []string{"one", "two"}},
			"after":         {"ann", run(40, 50), nil},
			"another owner": {"bob", run(0, 99), nil},
		} {
			if got := overlap(c.owner, c.run); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		write(t, db, func(tx *model.Tx) error { return tx.Unreserve("one") })
		if got := overlap("ann", run(0, 99)); !slices.Equal(got, []string{"two"}) {
			t.Errorf("after unreserve: %v", got)
		}
		if err := db.Write(t.Context(), func(tx *model.Tx) error { return tx.Reserve("none", "ann", set(t, run(1, 1))) }); err == nil {
			t.Error("an act that isn't there reserved cards")
		}
	})
}

// TestReservationsAgainstNaive: an act overlaps a set if their sets of cards do.
func TestReservationsAgainstNaive(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		rapid.Check(t, func(r *rapid.T) {
			rollback := errors.New("enough")
			err := db.Write(t.Context(), func(tx *model.Tx) error {
				n, want := &naive{head: "898600000000"}, []string{}
				asked := n.someCards(r)
				for i := range 3 {
					held := n.someCards(r)
					id := numbered("act", i)
					if err := errors.Join(tx.AddAct(act(id, model.ActAccepted)), tx.Reserve(id, "ann", held)); err != nil {
						return err
					}
					if !held.Intersect(asked).Empty() {
						want = append(want, id)
					}
				}
				if got, err := tx.ReservedOverlap("ann", asked); err != nil || !slices.Equal(got, want) {
					r.Fatalf("got %v, %v, want %v", got, err, want)
				}
				return rollback
			})
			if !errors.Is(err, rollback) {
				r.Fatal(err)
			}
		})
	})
}
