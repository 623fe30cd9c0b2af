package transfer_test

import (
	"context"
	"crypto/rand"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// reaper kills a service at the k-th time that it crosses a boundary: a call to ledger, custody, clock or randomness,
// before it or after it. Whatever goroutine crosses a boundary from then on ends there and then, as all do when a
// process is killed; database transactions that were open are rolled back. The database's own clock is a boundary too,
// so the service also dies inside of its transactions.
type reaper struct {
	mu   sync.Mutex
	at   int // 0: never
	n    int
	dead chan struct{}
}

// arm makes the reaper strike at the k-th boundary from now.
func (d *reaper) arm(k int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.n, d.dead = k, 0, make(chan struct{})
}

// disarm lets the next service live, and answers whether the last one died and how many boundaries it crossed.
func (d *reaper) disarm() (died bool, crossed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	died = d.at > 0 && d.n >= d.at
	d.at = 0
	return died, d.n
}

func (d *reaper) cross() {
	d.mu.Lock()
	d.n++
	dead := d.at > 0 && d.n >= d.at
	if d.at > 0 && d.n == d.at {
		close(d.dead)
	}
	d.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
}

// struck is closed when the reaper has struck.
func (d *reaper) struck() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// mortalLedger, mortalSigner and mortalReader are the boundaries.
type mortalLedger struct {
	ledger.Ledger
	d *reaper
}

func (l mortalLedger) Prepare(contract, function string, args [][]byte) (ledger.Proposal, error) {
	l.d.cross()
	p, err := l.Ledger.Prepare(contract, function, args)
	l.d.cross()
	return p, err
}

func (l mortalLedger) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	l.d.cross()
	c, err := l.Ledger.Submit(ctx, p, transient, func() error {
		l.d.cross()
		err := sending()
		l.d.cross()
		return err
	})
	l.d.cross() // it landed, and nobody here knows
	return c, err
}

func (l mortalLedger) Transaction(ctx context.Context, id string) (ledger.Transaction, error) {
	l.d.cross()
	t, err := l.Ledger.Transaction(ctx, id)
	l.d.cross()
	return t, err
}

type mortalSigner struct {
	transfer.Signer
	d *reaper
}

func (s mortalSigner) ActiveKey(ctx context.Context, owner, slot string) (string, error) {
	s.d.cross()
	return s.Signer.ActiveKey(ctx, owner, slot)
}

func (s mortalSigner) Sign(ctx context.Context, ask transfer.Ask, body request.Body) (request.Signature, error) {
	s.d.cross()
	sig, err := s.Signer.Sign(ctx, ask, body)
	s.d.cross()
	return sig, err
}

func (s mortalSigner) CloseAttempt(ctx context.Context, ask transfer.Ask, why transfer.AttemptEnd) error {
	s.d.cross()
	err := s.Signer.CloseAttempt(ctx, ask, why)
	s.d.cross()
	return err
}

type mortalReader struct {
	io.Reader
	d *reaper
}

func (r mortalReader) Read(p []byte) (int, error) {
	r.d.cross()
	return r.Reader.Read(p)
}

// newMortal is a stocked rig whose service dies when the reaper says so. The ledger outlives it.
func newMortal(t *testing.T) (*rig, *reaper) {
	d := &reaper{}
	clockOf := func(r *rig) func() time.Time {
		return func() time.Time { d.cross(); return r.clock.now() }
	}
	r := rigOn(t)
	r.wrap = func(l ledger.Ledger) ledger.Ledger { return mortalLedger{l, d} }
	r.dbClock = clockOf(r)
	r.config = func(c *transfer.Config) {
		c.Clock, c.Signer, c.Random = clockOf(r), mortalSigner{c.Signer, d}, mortalReader{rand.Reader, d}
		c.RealName.Verifier, c.RealName.Attempts = sandbox, 1000
		c.Trade.SweepInterval, c.Relay.Poll = time.Hour, time.Hour // so that only the act itself crosses boundaries
	}
	stocked.copyTo(r)
	r.start(t)
	return r, d
}

// deed is one thing to be killed in the middle of, on a card of its own.
type deed struct {
	name string
	who  string // consumer; "" is the retailer
	do   func(r *rig, who transfer.Caller, card int, trade transfer.TradeView, key transfer.Idem) (transfer.Act, error)
	// ends is the trade's state once it is done; "" for an offer, which has made a trade then.
	ends string
}

var deeds = []deed{
	{"confirm", "ann", func(r *rig, who transfer.Caller, card int, trade transfer.TradeView, key transfer.Idem) (transfer.Act, error) {
		return r.Confirm(r.ctx, who, key, trade.TradeID, trade.Code, last6(card))
	}, "confirmed"},
	{"decline", "bob", func(r *rig, who transfer.Caller, card int, trade transfer.TradeView, key transfer.Idem) (transfer.Act, error) {
		return r.Decline(r.ctx, who, key, trade.TradeID, trade.Code, last6(card), "DAMAGED", "a word")
	}, "declined"},
	{"cancel", "", func(r *rig, who transfer.Caller, _ int, trade transfer.TradeView, key transfer.Idem) (transfer.Act, error) {
		return r.Cancel(r.ctx, who, key, trade.TradeID)
	}, "cancelled"},
	{"offer", "", func(r *rig, who transfer.Caller, card int, _ transfer.TradeView, key transfer.Idem) (transfer.Act, error) {
		_, err := r.Offer(r.ctx, who, key, transfer.OfferInput{Mode: "BEARER", Segments: span(5000+card, 5000+card)})
		return transfer.Act{}, err
	}, ""},
}

// Killed at any boundary, the service that is started next ends what was accepted: whoever asks again gets the one
// outcome, and database and ledger agree.
func TestKilledAtEveryBoundary(t *testing.T) {
	t.Parallel()
	for first, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r, reaper := newMortal(t)
			who := retailer
			if d.who != "" {
				who = r.consumer(d.who)
			}
			trades := r.each(retailer, 1, 120/stride+2)
			card, k := 0, 1+first%stride // the deeds' first boundaries are much alike
			for ; ; k += stride {
				if card == len(trades) {
					t.Fatal("there is no end to the boundaries")
				}
				trade, key := trades[card], idem(d.name)
				card++
				died := r.dieDoing(reaper, k, d, who, card, trade, key)
				// Whatever the first one was told, he asks again, with the same key.
				act, err := d.do(r, who, card, trade, key)
				check(t, err)
				if d.ends != "" {
					r.await(act, "")
					if v := r.trade(retailer, trade.TradeID); v.State != d.ends {
						t.Fatalf("killed at boundary %d: the trade is %s", k, v.State)
					}
				}
				if !died {
					break
				}
			}
			if k < 30 {
				t.Errorf("there are %d boundaries only", k)
			}
			t.Logf("%d boundaries", k)
			r.noneUnfinished()
			page, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Side: "seller", State: "offering"})
			check(t, err)
			if len(page.Items) > 0 {
				t.Errorf("%d offers have no end", len(page.Items))
			}
			rep := r.fsck()
			if rep.Cards != 100_000 {
				t.Errorf("%d cards", rep.Cards)
			}
		})
	}
}

// dieDoing does a deed with a service that dies at the k-th boundary, and starts the next service.
func (r *rig) dieDoing(reaper *reaper, k int, d deed, who transfer.Caller, card int, trade transfer.TradeView, key transfer.Idem) (died bool) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	done := make(chan struct{})
	mortal := *r
	mortal.ctx = ctx
	reaper.arm(k)
	go func() {
		defer close(done)
		act, err := d.do(&mortal, who, card, trade, key)
		if err == nil && act.ID != "" {
			_, _ = mortal.Await(ctx, act.ID)
		}
	}()
	select {
	case <-done: // asked, and carried out, or dead before the answer
	case <-reaper.struck():
		cancel() // whoever waited for the answer has no connection any more
	}
	<-done
	r.stop()
	r.Wait()
	died, _ = reaper.disarm()
	r.clock.forward(r.Service.Relay.Lease + time.Second) // the dead one's leases run out
	r.file.Close()
	r.journal.Close()
	r.db.Close()
	r.open(r.t)
	return died
}

// noneUnfinished demands that every act has reached its end.
func (r *rig) noneUnfinished() {
	r.t.Helper()
	r.until("every act has ended", func() bool {
		var n map[model.ActState]int64
		check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) (err error) {
			n, err = tx.CountActs()
			return err
		}))
		return n[model.ActAccepted]+n[model.ActSigned]+n[model.ActPrepared]+n[model.ActSubmitted] == 0
	})
}
