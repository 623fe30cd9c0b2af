package transfer_test

import (
	"testing"

	"cardflow/transfer"
)

// A card out of the middle of a lot that has as many segments as a lot may have leaves one segment more than that: they
// become two lots, and the sale goes through.
func TestRemainderOfAFullLot(t *testing.T) {
	r := newRig(t)
	r.organisations()
	var spans []transfer.Span
	for k := range 1000 {
		spans = append(spans, transfer.Span{Start: id(300_000 + 10*k), End: id(300_000 + 10*k + 4)})
	}
	issued, err := r.Issue(r.ctx, carrier, idem("issue"), transfer.IssueInput{Segments: spans})
	check(t, err)
	if len(issued.Lots) != 1 {
		t.Fatalf("issued as %d lots", len(issued.Lots))
	}
	r.await(issued.Acts[0], "")
	r.offer(carrier, 305_002, 305_002)
	lots, err := r.Lots(r.ctx, carrier, "", 10)
	check(t, err)
	var counts []uint64
	for _, l := range lots.Items {
		if l.Status == "OWNED" {
			counts = append(counts, l.Count)
		}
	}
	if len(counts) != 2 || counts[0]+counts[1] != 4999 {
		t.Errorf("left are lots of %v cards", counts)
	}
	if rep := r.fsck(); rep.Cards != 5000 {
		t.Errorf("%d cards live", rep.Cards)
	}
}
