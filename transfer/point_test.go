package transfer_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/model/modeltest"
	"cardflow/transfer"
)

// death ends a service at a point of a write's way: whatever goroutine comes to that point, or to any other one from then
// on, ends there.
type death struct {
	mu     sync.Mutex
	wanted string
	dead   bool
	struck chan struct{}
}

func (d *death) arm(point string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted, d.dead, d.struck = point, false, make(chan struct{})
}

func (d *death) at(point string) {
	d.mu.Lock()
	if point == d.wanted && !d.dead {
		d.dead = true
		close(d.struck)
	}
	dead := d.dead
	d.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
}

// onItsWay are the points between the acceptance of a write and its end.
var onItsWay = []string{
	"transfer: " + transfer.AtAccepted, "transfer: " + transfer.AtLeased, "transfer: " + transfer.AtIntending, "transfer: " + transfer.AtIntended,
	"custody: " + custody.AtIntending, "custody: " + custody.AtIntended, "custody: " + custody.AtSigned, "custody: " + custody.AtKept,
	"transfer: " + transfer.AtSigned, "transfer: " + transfer.AtStored, "transfer: " + transfer.AtPrepared, "transfer: " + transfer.AtEndorsed,
	"transfer: " + transfer.AtLeaving, "transfer: " + transfer.AtBlock, "transfer: " + transfer.AtSettling,
}

// A database that is put back to a copy which was taken at any point of a write's way learns from the ledger that the write
// went through afterwards: it has happened once, under its first transaction, whoever asks again is told so, and nothing
// that was signed is missing from the sign log.
func TestRestoreToEveryPoint(t *testing.T) {
	t.Parallel()
	for _, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			death := &death{}
			r := rigOn(t)
			r.at = death.at
			r.config = func(c *transfer.Config) { c.Trade.SweepInterval = time.Hour }
			stocked.copyTo(r)
			r.start(t)
			who := retailer
			if d.who != "" {
				who = r.consumer(d.who)
			}
			trades := r.each(retailer, 1, len(onItsWay))
			for n, point := range onItsWay {
				card, trade, key := n+1, trades[n], idem(d.name)
				copied := r.copiedAt(death, point, func(r *rig) { _, _ = d.do(r, who, card, trade, key) })

				// The write goes through; then the database is lost.
				act, err := d.do(r, who, card, trade, key)
				check(t, err)
				end := r.endedBy(d, act, trade)
				height, err := r.file.Height(r.ctx)
				check(t, err)
				r.restore(copied)
				again, err := d.do(r, who, card, trade, key)
				check(t, err)
				if again.ID != act.ID {
					t.Errorf("%s: another act: %s", point, again.ID)
				}
				if now := r.endedBy(d, again, trade); now != end {
					t.Errorf("%s: it ended by %+v, and before the restore by %+v", point, now, end)
				}
				if d.name == "confirm" {
					_, err := r.Receipt(r.ctx, who, act.ID)
					check(t, err)
				}
				r.noneUnfinished()
				if now, err := r.file.Height(r.ctx); err != nil || now != height {
					t.Errorf("%s: the ledger has grown from %d to %d blocks, %v", point, height, now, err)
				}
				if r.fsck(); t.Failed() {
					t.Fatalf("copied at %q", point)
				}
			}
		})
	}
}

// copiedAt does something, and copies the database as it is when the service has died at a point of it.
func (r *rig) copiedAt(d *death, point string, do func(*rig)) modeltest.Copy {
	r.t.Helper()
	ctx, leave := context.WithCancel(r.ctx)
	defer leave()
	mortal := *r
	mortal.ctx = ctx
	d.arm(point)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(&mortal)
	}()
	select {
	case <-d.struck:
	case <-time.After(time.Minute):
		r.t.Fatalf("nothing came by %q", point)
	}
	leave()
	<-done
	r.close()
	rows := r.place.Copy(r.t)
	d.arm("")
	r.clock.forward(r.Service.Relay.Lease + time.Second) // the dead one's leases run out
	r.open(r.t)
	return rows
}

// endedBy waits for the end of a deed, and answers by which transaction it came.
func (r *rig) endedBy(d deed, act transfer.Act, trade transfer.TradeView) (tx string) {
	r.t.Helper()
	if d.ends != "" {
		r.await(act, "")
		v := r.trade(retailer, trade.TradeID)
		if v.State != d.ends {
			r.t.Errorf("the trade is %s", v.State)
		}
		return v.EndTx
	}
	r.noneUnfinished()
	check(r.t, r.db.Read(r.ctx, func(db *model.Tx) error {
		page, err := db.ListActs(model.ActFilter{Function: "Offer"}, "", 1)
		if err == nil {
			tx = page.Items[0].TxID
		}
		return err
	}))
	return tx
}
