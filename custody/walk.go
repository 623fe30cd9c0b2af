package custody

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"cardflow/model"
)

// mostFindings bounds what is told of an audit that is all wrong.
const mostFindings = 1000

// Where a row is looked for that stands in another's place: so far from it, and so often in one walk.
const (
	displacedBy  = 4096
	mostSearches = 1000
)

// span is some rows, from and to.
type span struct{ from, to int64 }

// moved is rows that stand in the place of others: the first stands at from, and was written as row was.
type moved struct {
	span
	was int64
}

// auditWalk goes along rows and anchors, both by number, and notes what is wrong. Each row is looked at once.
type auditWalk struct {
	report AuditReport
	read   int64 // the last row that was read

	want     int64 // the number that should come next
	beforeOK bool
	stored   string // hashes that the next row may name as the one before it: as it was written, as its contents say
	computed string

	gaps     []span
	moved    []moved
	shift    int64
	searches int

	anchor  func() (model.AuditAnchor, error, bool)
	stop    func()
	next    model.AuditAnchor // the anchor that has not been looked at yet
	hasNext bool
	agreed  int64 // the last row with whose anchor the audit agrees

	declared []span // of rows that restores have lost
}

// newAuditWalk begins a walk at row first, in front of which stands a row with the hash before.
func newAuditWalk(first int64, before string, anchors iter.Seq2[model.AuditAnchor, error]) *auditWalk {
	w := &auditWalk{read: first - 1, want: first, stored: before, computed: before, beforeOK: true, agreed: first - 1, stop: func() {}}
	w.report.First, w.report.Last, w.report.Hash = first, first-1, before
	if anchors != nil {
		w.anchor, w.stop = iter.Pull2(anchors)
	}
	return w
}

func (w *auditWalk) close() { w.stop() }

// find notes a finding; one that goes on where the last one of its kind and words ended makes that one longer.
func (w *auditWalk) find(f Finding) {
	for i := len(w.report.Findings) - 1; i >= 0 && i >= len(w.report.Findings)-4; i-- {
		if old := &w.report.Findings[i]; old.Kind == f.Kind && old.Text == f.Text && old.To+1 == f.From {
			old.To = f.To
			return
		}
	}
	if len(w.report.Findings) < mostFindings {
		w.report.Findings = append(w.report.Findings, f)
	}
}

// row looks at the next row.
func (w *auditWalk) row(r model.AuditRow) error {
	if r.Seq > w.want {
		if len(w.gaps) < mostFindings {
			w.gaps = append(w.gaps, span{w.want, r.Seq - 1})
		}
		w.beforeOK = false
	}
	computed := hashRow(r)
	intact := computed == r.Hash
	follows := !w.beforeOK || r.PrevHash == w.stored || r.PrevHash == w.computed
	was := r.Seq
	if !intact {
		was = w.whereFrom(r)
	}
	switch {
	case was != r.Seq:
		w.displaced(r.Seq, was)
	case !intact:
		w.find(Finding{Edited, r.Seq, r.Seq, "not what was written: the hash is not that of the contents"})
	case !follows:
		w.find(Finding{Edited, max(r.Seq-1, w.report.First), r.Seq, fmt.Sprintf("row %d was not written after the row before it as that stands: one of the two was written anew", r.Seq)})
	}
	if err := w.anchored(r, computed, was == r.Seq); err != nil {
		return err
	}
	if r.Act == actRestored && intact && was == r.Seq {
		w.declared = append(w.declared, declaredBy(r)...)
	}
	w.read, w.want = r.Seq, r.Seq+1
	w.stored, w.computed, w.beforeOK = r.Hash, computed, was == r.Seq
	w.report.Rows++
	w.report.Last, w.report.Hash = r.Seq, r.Hash
	return nil
}

// whereFrom looks for the number under which a row's hash is that of its contents: then the row is as it was written, and
// stands in another place. Its own number means that there is none near.
func (w *auditWalk) whereFrom(r model.AuditRow) int64 {
	fits := func(seq int64) bool {
		if seq < 1 || seq == r.Seq {
			return false
		}
		at := r
		at.Seq = seq
		return hashRow(at) == r.Hash
	}
	if w.shift != 0 && fits(r.Seq+w.shift) {
		return r.Seq + w.shift
	}
	if w.searches >= mostSearches {
		return r.Seq
	}
	w.searches++
	for d := int64(1); d <= displacedBy; d++ {
		if fits(r.Seq + d) {
			return r.Seq + d
		}
		if fits(r.Seq - d) {
			return r.Seq - d
		}
	}
	return r.Seq
}

func (w *auditWalk) displaced(seq, was int64) {
	w.shift = was - seq
	if n := len(w.moved); n > 0 && w.moved[n-1].to+1 == seq && w.moved[n-1].was-w.moved[n-1].from == was-seq {
		w.moved[n-1].to = seq
	} else if n < mostFindings {
		w.moved = append(w.moved, moved{span{seq, seq}, was})
	}
}

// anchored holds a row against the ledger's anchor of it, if there is one.
func (w *auditWalk) anchored(r model.AuditRow, computed string, inPlace bool) error {
	for {
		a, ok, err := w.peek()
		if err != nil || !ok || a.Sequence > r.Seq {
			return err
		}
		w.hasNext = false
		if a.Sequence < w.report.First {
			continue // of a row before these
		}
		w.report.Anchors++
		w.report.Anchored = a.Sequence
		switch {
		case a.Sequence < r.Seq, !inPlace: // the row is not there, which is a finding of its own
		case a.Digest == r.Hash, a.Digest == computed:
			w.agreed = a.Sequence
		default:
			w.find(Finding{Forked, w.agreed + 1, a.Sequence, fmt.Sprintf("the ledger has anchored another row %d (transaction %s, block %d)", a.Sequence, a.TxID, a.BlockNumber)})
			w.agreed = a.Sequence
		}
	}
}

func (w *auditWalk) peek() (model.AuditAnchor, bool, error) {
	if w.hasNext || w.anchor == nil {
		return w.next, w.hasNext, nil
	}
	a, err, ok := w.anchor()
	if err != nil {
		return a, false, err
	}
	w.next, w.hasNext = a, ok
	return a, ok, nil
}

// end holds the rows against the head; broken is why the head itself can't be believed, if so.
func (w *auditWalk) end(h model.AuditHead, broken error) error {
	last := w.report.Last
	switch {
	case broken != nil:
		w.find(Finding{FalseHead, last, last, broken.Error()})
	case h.Seq > last:
		w.gaps = append(w.gaps, span{last + 1, h.Seq})
	case h.Seq < last && (len(w.moved) == 0 || w.moved[len(w.moved)-1].to < last):
		w.find(Finding{Inserted, h.Seq + 1, last, fmt.Sprintf("nobody appended them: the head stands at row %d", h.Seq)})
	case h.Seq < last:
	case h.Hash != w.stored && h.Hash != w.computed:
		w.find(Finding{FalseHead, last, last, "not the row that the head names"})
	}
	should := last
	if broken == nil {
		should = h.Seq
	}
	if err := w.beyond(max(last, should), broken != nil); err != nil {
		return err
	}
	w.sort(last, should)
	w.declare()
	return nil
}

// beyond looks at the anchors of rows after the last one.
func (w *auditWalk) beyond(end int64, headless bool) error {
	for {
		a, ok, err := w.peek()
		if err != nil || !ok {
			return err
		}
		w.hasNext = false
		w.report.Anchors++
		switch {
		case a.Sequence < w.report.First, a.Sequence <= end:
		case headless:
			w.find(Finding{Cut, end + 1, a.Sequence, "gone: the ledger has anchored them, and the head is false"})
			end = a.Sequence
		default:
			w.find(Finding{RolledBack, end + 1, a.Sequence, "gone together with their head: the ledger has anchored them"})
			end = a.Sequence
		}
	}
}

// sort tells what became of the rows that are not in their places, and puts all findings in order. last is the last row
// that there is, should the last one that there should be.
func (w *auditWalk) sort(last, should int64) {
	lost := slices.Clone(w.gaps)
	for _, m := range w.moved {
		if m.from <= should {
			lost = append(lost, span{m.from, min(m.to, should)})
		}
	}
	for _, m := range w.moved {
		was := []span{{m.was, m.was + m.to - m.from}}
		copies := was
		for _, l := range lost {
			copies = without(copies, l)
		}
		for _, c := range copies {
			w.find(Finding{Inserted, c.from - m.was + m.from, c.to - m.was + m.from, fmt.Sprintf("copies of rows %d to %d, which have their places", c.from, c.to)})
			was = without(was, c)
		}
		for _, o := range was {
			w.find(Finding{Reordered, o.from - m.was + m.from, o.to - m.was + m.from, fmt.Sprintf("written as rows %d to %d", o.from, o.to)})
			lost = without(lost, o)
		}
	}
	for _, l := range lost {
		kind := Deleted
		if l.from > last {
			kind = Cut
		}
		w.find(Finding{kind, l.from, l.to, "gone"})
	}
	slices.SortStableFunc(w.report.Findings, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
}

// without takes some rows out of others.
func without(of []span, out span) []span {
	var left []span
	for _, s := range of {
		if s.to < out.from || s.from > out.to {
			left = append(left, s)
			continue
		}
		if s.from < out.from {
			left = append(left, span{s.from, out.from - 1})
		}
		if s.to > out.to {
			left = append(left, span{out.to + 1, s.to})
		}
	}
	return left
}
