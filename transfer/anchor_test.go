package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/custodial"
)

// anchoring makes a service anchor. With an interval of hours it does so when it is told.
func anchoring(interval time.Duration) func(*transfer.Config) {
	return func(c *transfer.Config) {
		c.Audit, c.Anchor = custodial.Audit{Custody: c.Signer.(custodial.Signer).Custody}, transfer.AnchorConfig{Interval: interval}
	}
}

// anchors are those that the database has, which must be those of the ledger.
func (r *rig) anchors() []model.AuditAnchor {
	r.t.Helper()
	var mirror, truth []model.AuditAnchor
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) (err error) {
		mirror, err = tx.AuditAnchors(custody.AuditStream, 0, 1000)
		return err
	}))
	height, err := r.file.Height(r.ctx)
	check(r.t, err)
	for n := range height {
		b, err := r.file.Block(r.ctx, n)
		check(r.t, err)
		for _, x := range b.Transactions {
			if x.Function != "Anchor" || x.Validation != ledger.Valid {
				continue
			}
			var a request.Anchor
			check(r.t, request.Decode(x.Args[0], &a))
			truth = append(truth, model.AuditAnchor{
				Stream: a.Stream, Sequence: int64(a.Sequence), Digest: a.Digest, TxID: x.ID, BlockNumber: int64(n), At: model.MillisOf(x.Time),
			})
		}
	}
	if fmt.Sprint(mirror) != fmt.Sprint(truth) {
		r.t.Errorf("the database has the anchors %v, the ledger %v", mirror, truth)
	}
	return truth
}

// row is the hash of a row of the audit.
func (r *rig) row(sequence int64) (hash string) {
	r.t.Helper()
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		rows, err := tx.AuditRows(sequence-1, 1)
		if err == nil && len(rows) == 1 && rows[0].Seq == sequence {
			hash = rows[0].Hash
		}
		return err
	}))
	return hash
}

// Anchors come by themselves, one after the other, each with the hash of the row that it names.
func TestAnchorsAtAnInterval(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, anchoring(10*time.Millisecond))
	count := func(n int64) func() bool {
		return func() bool {
			s, err := r.AnchorState(r.ctx)
			check(t, err)
			return s.Anchored > n && !s.Moved
		}
	}
	r.until("what stood there is anchored", count(0))
	first, err := r.AnchorState(r.ctx)
	check(t, err)
	r.confirm(r.consumer("ann"), r.offer(retailer, 1, 1), 1)
	r.until("what was signed since is anchored", count(first.Anchored))
	r.caughtUp()
	list := r.anchors()
	if len(list) < 2 || list[0].Sequence >= list[1].Sequence {
		t.Fatalf("anchors %v", list)
	}
	for _, a := range list {
		if a.Digest != r.row(a.Sequence) {
			t.Errorf("row %d was anchored as %s", a.Sequence, a.Digest)
		}
	}
	r.fsck()
}

// Whoever asks while an anchor is under way is given that one, and where nothing has happened but the anchoring there is
// none.
func TestAnchorOnlyWhatHasMoved(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, anchoring(time.Hour))
	check(t, r.AnchorLast(r.ctx)) // or the duty's first one
	r.until("there is nothing to anchor", func() bool {
		act, err := r.AnchorNow(r.ctx)
		check(t, err)
		return act == ""
	})
	before := len(r.anchors())
	check(t, r.AnchorLast(r.ctx))
	if n := len(r.anchors()); n != before {
		t.Errorf("%d anchors for %d things that happened", n, before)
	}
	r.offer(retailer, 1, 1)
	check(t, r.AnchorLast(r.ctx))
	list := r.anchors()
	if len(list) != before+1 {
		t.Fatalf("%d anchors, there were %d", len(list), before)
	}
	a, err := r.Ledger.Query(r.ctx, request.Identity, "GetAnchor", []byte(custody.AuditStream))
	check(t, err)
	if newest := list[before]; !strings.Contains(string(a), newest.Digest) || newest.Digest != r.row(newest.Sequence) {
		t.Errorf("the ledger says %s, the newest anchor is %+v", a, newest)
	}
}

// An anchor is an act as any other: in whatever way its submission fails, it reaches the ledger once.
func TestAnchorReachesTheLedgerOnce(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(try) (ledger.Commit, error){
		"not sent": notSent, "not handed over": notSentAfterAll, "lost": lost, "unheard": unheard, "twice": twice,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &faulty{}
			f.next("Anchor", 2, how)
			r := newStockedWith(t, f.wrap, anchoring(time.Hour))
			check(t, r.AnchorLast(r.ctx))
			r.caughtUp()
			seen := map[int64]bool{}
			for _, a := range r.anchors() {
				if seen[a.Sequence] {
					t.Errorf("row %d was anchored twice", a.Sequence)
				}
				seen[a.Sequence] = true
			}
			if len(seen) == 0 {
				t.Error("nothing was anchored")
			}
			r.fsck()
		})
	}
}

// While the ledger is away an alarm says that the audit isn't anchored; when it is back it is, and a stop meanwhile takes
// no longer than it may.
func TestAnchorWhileTheLedgerIsAway(t *testing.T) {
	t.Parallel()
	f, m := &faulty{}, &meter{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) {
		anchoring(10 * time.Millisecond)(c)
		c.Metrics = m
		f.setDown(errWire)
	})
	r.until("there is an alarm", func() bool { return m.count("alarm anchor") > 0 })
	ctx, cancel := context.WithTimeout(r.ctx, time.Millisecond)
	defer cancel()
	if err := r.AnchorLast(ctx); err == nil {
		t.Error("a last anchor, without a ledger")
	}
	f.setDown(nil)
	r.until("it is anchored", func() bool { s, err := r.AnchorState(r.ctx); return err == nil && s.Anchored > 0 && !s.Moved })
	r.caughtUp()
	r.anchors()
}

// sealedAudit can't be looked at until custody is open.
type sealedAudit struct {
	transfer.Audit
	sealed atomic.Bool
	asked  atomic.Int64
}

func (a *sealedAudit) Head(ctx context.Context, since int64) (transfer.AuditHead, error) {
	if a.asked.Add(1); a.sealed.Load() {
		return transfer.AuditHead{}, transfer.ErrSealed
	}
	return a.Audit.Head(ctx, since)
}

// A server that starts sealed, as it must where people hold the root, alarms nobody for that; open, it anchors.
func TestAnchorWaitsForASealedCustody(t *testing.T) {
	t.Parallel()
	m, a := &meter{}, &sealedAudit{}
	a.sealed.Store(true)
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		anchoring(10 * time.Millisecond)(c)
		a.Audit, c.Audit, c.Metrics, c.Relay.Lease = c.Audit, a, m, 20*time.Millisecond
	})
	r.until("it has been asked for again and again", func() bool { return a.asked.Load() > 5 })
	if n := m.count("alarm anchor"); n != 0 {
		t.Errorf("%d alarms", n)
	}
	a.sealed.Store(false)
	r.until("it is anchored", func() bool { s, err := r.AnchorState(r.ctx); return err == nil && s.Anchored > 0 })
}

// A database that is put back to an older copy, with head and rows: the ledger has anchored more than there is. There is
// an alarm for each such anchor, no anchor of what is beneath, and never a second digest for a number.
func TestAnchorsAfterARestore(t *testing.T) {
	t.Parallel()
	m := &meter{}
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		anchoring(time.Hour)(c)
		c.Metrics = m
	})
	check(t, r.AnchorLast(r.ctx))
	copied := r.backUp()
	r.confirm(r.consumer("ann"), r.offer(retailer, 1, 1), 1)
	check(t, r.AnchorLast(r.ctx))
	whole := r.anchors()
	newest := whole[len(whole)-1]

	r.restore(copied)
	if n := m.count("alarm audit_fork"); n == 0 {
		t.Error("no alarm")
	}
	if len(r.anchors()) != len(whole) {
		t.Error("the database has not the ledger's anchors")
	}
	for n := 100; ; n++ { // until the audit is longer than the one that was anchored
		_, err := r.AnchorNow(r.ctx)
		s, failed := r.AnchorState(r.ctx)
		check(t, failed)
		if s.Rows >= newest.Sequence {
			break
		}
		if err == nil {
			t.Fatalf("an anchor for row %d of an audit that was anchored at row %d", s.Rows, newest.Sequence)
		}
		r.offer(retailer, n, n)
	}
	if h := r.row(newest.Sequence); h == newest.Digest {
		t.Error("another history has the same hash")
	}
	r.offer(retailer, 2, 2)
	check(t, r.AnchorLast(r.ctx))
	if list := r.anchors(); len(list) != len(whole)+1 || list[len(whole)].Sequence <= newest.Sequence {
		t.Errorf("anchors %v, there were %v", list, whole)
	}
}

// The ledger itself takes no second digest for a number, whoever asks.
func TestLedgerTakesNoSecondDigest(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, anchoring(time.Hour))
	check(t, r.AnchorLast(r.ctx))
	list := r.anchors()
	a := request.Anchor{Stream: custody.AuditStream, Sequence: uint64(list[len(list)-1].Sequence), Digest: strings.Repeat("a", 64)}
	keys := r.Signer.(custodial.Signer).Custody
	sig, req, err := keys.Sign(r.ctx, custody.Ask{
		Owner: transfer.PlatformID, Slot: custody.Anchor, Subject: "forged", Attempt: 1, NotAfter: time.Now().Add(time.Hour).UnixMilli(), Actor: "test",
	}, a)
	check(t, err)
	p, err := r.ledger.Prepare(req.Contract, req.Function, [][]byte{req.Args, request.Proof{Signatures: []request.Signature{sig}}.Encode()})
	check(t, err)
	_, err = r.ledger.Submit(r.ctx, p, nil, nil)
	var refused *contract.Error
	if !errors.As(err, &refused) || refused.Code != contract.SequencePassed {
		t.Errorf("a second digest: %v", err)
	}
}
