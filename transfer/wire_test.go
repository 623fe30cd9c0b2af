package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
	"cardflow/transfer"
)

// onWire is a stocked rig whose database is at the other end of a network that a test can make fail. SQLite has no
// network: there the answer is nil.
func onWire(t *testing.T) (*rig, *modeltest.Wire) {
	t.Helper()
	if modeltest.Engine(t) != model.MySQL {
		return nil, nil
	}
	r := rigOn(t)
	stocked.copyTo(r)
	w := modeltest.NewWire(t, r.place.Config)
	r.place.Config = w.Config
	r.start(t)
	return r, w
}

// insist does what a person, or his phone, does who is told to come back: he asks again, under the same key.
func (r *rig) insist(do func() (transfer.Act, error)) transfer.Act {
	r.t.Helper()
	var act transfer.Act
	r.until("an answer", func() bool {
		var err error
		act, err = do()
		if err != nil && transfer.CodeOf(err) != "UNAVAILABLE" {
			r.t.Fatal(err)
		}
		return err == nil
	})
	return act
}

// Each call of the database in turn takes effect without an answer, or doesn't arrive. Whatever was asked for happens
// once, whoever asks again is told of it, and database and ledger agree.
func TestEveryCallOfTheDatabaseLost(t *testing.T) {
	t.Parallel()
	for _, d := range deeds {
		for way, fate := range map[string]modeltest.Fate{"unheard": modeltest.Unheard, "lost": modeltest.Lost} {
			t.Run(d.name+" "+way, func(t *testing.T) {
				t.Parallel()
				r, w := onWire(t)
				if r == nil {
					return
				}
				who := retailer
				if d.who != "" {
					who = r.consumer(d.who)
				}
				const most = 120 // calls, at least; the relay looks for work now and then, and those count
				trades := r.each(retailer, 1, most/stride+2)
				for card, trade := range trades {
					k := int64(1 + card*stride)
					var calls atomic.Int64
					w.Decide(func(int, string) modeltest.Fate {
						if calls.Add(1) == k {
							return fate
						}
						return modeltest.Heard
					})
					key := idem(d.name)
					act := r.insist(func() (transfer.Act, error) { return d.do(r, who, card+1, trade, key) })
					if d.ends == "" {
						continue
					}
					r.insist(func() (transfer.Act, error) {
						end, err := r.Await(r.ctx, act.ID)
						if err == nil && end.State != "committed" {
							t.Fatalf("call %d: the act is %s: %+v", k, end.State, end.Error)
						}
						return end, err
					})
					w.Decide(nil)
					if v := r.trade(retailer, trade.TradeID); v.State != d.ends {
						t.Fatalf("call %d: the trade is %s", k, v.State)
					}
				}
				w.Decide(nil)
				r.noneUnfinished()
				if rep := r.fsck(); rep.Cards != 100_000 {
					t.Errorf("%d cards", rep.Cards)
				}
			})
		}
	}
}

// The database is away in the middle of everything, and comes back: people are told to come back, too, what was accepted
// goes on by itself, and nothing is doubled.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	r, w := onWire(t)
	if r == nil {
		return
	}
	trades := r.each(retailer, 1, 6)
	ann := r.consumer("ann")
	var acts []transfer.Act
	for i, trade := range trades[:5] {
		acts = append(acts, r.insist(func() (transfer.Act, error) {
			return r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(i+1))
		}))
	}
	w.Cut()
	key := idem("confirm")
	confirm := func() (transfer.Act, error) {
		return r.Confirm(r.ctx, ann, key, trades[5].TradeID, trades[5].Code, last6(6))
	}
	_, err := confirm()
	wants(t, "confirm", err, "UNAVAILABLE")
	_, err = r.Lookup(r.ctx, ann, trades[5].Code, last6(6))
	wants(t, "look-up", err, "UNAVAILABLE")
	w.Mend()
	for _, act := range append(acts, r.insist(confirm)) {
		r.await(act, "")
	}
	r.onLedger("Confirm", len(trades))
	r.noneUnfinished()
	r.fsck()
}

// A card file whose import is stored, and nobody knows, is still there to be read.
func TestImportOfUnknownEnd(t *testing.T) {
	t.Parallel()
	r, w := onWire(t)
	if r == nil {
		return
	}
	ctx, leave := context.WithCancel(r.ctx)
	defer leave()
	var storing atomic.Int64 // the connection
	w.Decide(func(conn int, sql string) modeltest.Fate {
		switch {
		case strings.HasPrefix(sql, "INSERT INTO `imports`"):
			storing.Store(int64(conn))
		case strings.HasPrefix(sql, "COMMIT") && int64(conn) == storing.Load():
			// From here on nobody answers, until whoever waits has left.
			w.Decide(func(int, string) modeltest.Fate { return modeltest.Lost })
			leave()
			return modeltest.Unheard
		}
		return modeltest.Heard
	})
	in := transfer.ImportInput{FileName: "cards.csv", Body: bytes.NewReader(cards(300_001, 300_010)), Issue: true}
	_, err := r.StartImport(ctx, carrier, transfer.Idem{}, in)
	if !errors.Is(err, model.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	w.Decide(nil)
	r.until("the import is done", func() bool {
		page, err := r.Imports(r.ctx, carrier, "", 10)
		check(t, err)
		return len(page.Items) == 1 && page.Items[0].State == "done"
	})
	r.fsck()
}
