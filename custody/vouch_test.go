package custody_test

import (
	"context"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// openAnchored opens a custody whose audit servers anchor.
func (r *rig) openAnchored() *custody.Custody {
	r.t.Helper()
	return r.openAs(func(c *custody.Config) { c.Anchored = true })
}

// anchors is what servers do when the ledger has an anchor: they copy it.
func (r *rig) anchors(row int64, at int64) {
	r.t.Helper()
	a := r.anchorsOf(row)[0]
	a.At = model.Millis(at)
	r.write(func(tx *model.Tx) error { return tx.AddAuditAnchor(a) })
}

// TestVouched: what two people want is not done before the ledger vouches for the row that says that it begins; who dies
// meanwhile leaves it to the next one; and while it waits the audit's head says that an anchor is pressing.
func TestVouched(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("platform", request.Platform, custody.Anchor)
		r.anchors(1, r.clock.now().UnixMilli())
		first := r.openAnchored()
		pressing := func(c *custody.Custody) bool {
			head, err := c.AuditHead(t.Context(), 1)
			if err != nil {
				t.Error(err)
			}
			return head.Pressing
		}
		if pressing(first) {
			t.Error("an anchor is pressing, and nothing waits for it")
		}
		p := r.raise("wish-1", 20_000_000)
		hangsUp, hangUp := context.WithCancel(t.Context())
		answered := make(chan custody.Proposal, 1)
		go func() {
			p, err := first.Approve(hangsUp, "p-wang", p.ID)
			if err != nil && hangsUp.Err() == nil {
				t.Error(err)
			}
			answered <- p
		}()
		r.until("it begins", func() bool { return r.acts("proposal.begin", p.ID) == 1 })
		var begun int64
		if err := r.raw.QueryRowContext(t.Context(), `SELECT seq FROM custody_audit WHERE act = 'proposal.begin'`).Scan(&begun); err != nil {
			t.Fatal(err)
		}
		if !pressing(first) {
			t.Error("it waits for an anchor, and none is pressing")
		}
		r.anchors(begun-1, r.clock.now().UnixMilli()) // of a row before it
		hangUp()
		<-answered
		first.Close() // waits for what goes on there
		if got := r.platformQuota(); got != 10_000_000 || r.acts("proposal.end", p.ID) != 0 {
			t.Fatalf("a quota of %d before the ledger vouched for anything", got)
		}

		// Its row is anchored while nobody is there, and the anchor leaves a row of its own, which nothing will anchor.
		next := r.openAnchored()
		ask := custody.Ask{Owner: "platform", Slot: custody.Anchor, Subject: "anchor-1", Attempt: 1, NotAfter: until, Actor: "relay"}
		if _, _, err := next.Sign(t.Context(), ask, request.Anchor{Stream: custody.AuditStream, Sequence: uint64(begun), Digest: r.anchorsOf(begun)[0].Digest}); err != nil {
			t.Fatal(err)
		}
		r.anchors(begun, r.clock.now().UnixMilli())
		r.clock.ahead.Add(2 * 60 * second) // the lease of the one that died is over
		if err := next.Attend(t.Context()); err != nil {
			t.Fatal(err)
		}
		done, err := next.Proposal(t.Context(), p.ID)
		if err != nil || done.State != model.ProposalExecuted || r.platformQuota() != 20_000_000 {
			t.Errorf("%s, a quota of %d, %v", done.State, r.platformQuota(), err)
		}
		if pressing(next) {
			t.Error("an anchor is still pressing")
		}
		r.whole()
	})
}
