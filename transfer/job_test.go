package transfer_test

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"testing"
	"time"

	"cardflow/model"
	"cardflow/transfer"
)

// jobItem is an item of a job's results.
type jobItem struct {
	Cards    int64    `json:"cards"`
	TradeIDs []string `json:"tradeIds"`
	Error    *struct{ Code, Message string }
}

func (r *rig) jobDone(c transfer.Caller, id string) (transfer.JobView, []jobItem) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 50*time.Second)
	defer cancel()
	v, err := r.AwaitJob(ctx, c, id)
	check(r.t, err)
	if !v.Ended() {
		r.t.Fatalf("the job is still %s: %d of %d", v.State, v.Done, v.Total)
	}
	var items []jobItem
	check(r.t, json.Unmarshal(v.Results, &items))
	return v, items
}

func each(a, b int) transfer.OfferInput {
	return transfer.OfferInput{Mode: "BEARER", Segments: span(a, b), Each: true}
}

// few makes a ledger transaction open at most four trades.
func few(c *transfer.Config) { c.Trade.EachAtOnce = 4 }

// TestJob makes a trade, with a code, for each of more cards than one ledger transaction can open; and ends the server
// in the middle of it, once in order and once as by a kill.
func TestJob(t *testing.T) {
	t.Parallel()
	g := &gate{}
	r := newStockedWith(t, g.wrap, few)
	g.close("Offer")
	wish := idem("offer")
	o, err := r.Offer(r.ctx, carrier, wish, each(60_001, 60_009))
	check(t, err)
	if o.JobID == "" || len(o.Trades) != 0 {
		t.Fatalf("%+v", o)
	}
	for _, killed := range []bool{false, true} {
		g.reached(t)
		r.stop()
		r.Wait()
		j := must2(r.Job(context.Background(), carrier, o.JobID))(t)
		if j.State != "running" || j.Total != 9 || j.Done != 0 {
			t.Fatalf("%+v", j)
		}
		if killed { // then its lease was not given back
			check(t, r.db.Write(context.Background(), func(tx *model.Tx) error {
				now := model.MillisOf(r.clock.now())
				_, err := tx.LeaseJob("dead", now, now+60_000)
				return err
			}))
			r.clock.forward(61 * time.Second)
			g.let()
		} else {
			g.close("Offer")
		}
		r.reopen(t)
	}
	again, err := r.Offer(r.ctx, carrier, wish, each(60_001, 60_009))
	if err != nil || again.JobID != o.JobID {
		t.Errorf("the same wish is another job: %+v %v", again, err)
	}
	j, items := r.jobDone(carrier, o.JobID)
	if j.State != "done" || j.Done != 9 || j.Failed != 0 || j.Kind != "offer" || len(items) != 3 {
		t.Fatalf("%+v", j)
	}
	seen := map[string]bool{}
	for _, item := range items {
		if int64(len(item.TradeIDs)) != item.Cards || item.Error != nil {
			t.Errorf("an item of %d cards has %d trades", item.Cards, len(item.TradeIDs))
		}
		for _, id := range item.TradeIDs {
			seen[id] = true
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d trades", len(seen))
	}
	trade := must2(r.GetTrade(r.ctx, carrier, items[2].TradeIDs[0]))(t)
	if trade.State != "offered" || trade.Count != 1 || len(trade.Code) != 8 || trade.Segments[0].Start != id(60_009) {
		t.Errorf("%+v", trade)
	}
	if _, err := r.Job(r.ctx, distributor, o.JobID); transfer.CodeOf(err) != "JOB_NOT_FOUND" {
		t.Errorf("another's job: %v", err)
	}
	r.fsck()
}

// TestJobRefused: what can be known is told at once, and there is no job.
func TestJobRefused(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, few)
	for name, c := range map[string]struct {
		caller transfer.Caller
		in     transfer.OfferInput
		code   string
	}{
		"too many cards":      {carrier, each(1, transfer.MaxEach+1), "TOO_MANY_CARDS"},
		"another's cards":     {carrier, each(49_000, 51_000), "CARDS_NOT_OWNED"},
		"no such mode":        {carrier, transfer.OfferInput{Mode: "GIFT", Segments: span(60_001, 60_009), Each: true}, "MODE_INVALID"},
		"no such receiver":    {carrier, transfer.OfferInput{Mode: "NAMED", To: "nobody", Segments: span(60_001, 60_009), Each: true}, "RECEIVER_UNKNOWN"},
		"too short an expiry": {carrier, transfer.OfferInput{Mode: "BEARER", Segments: span(60_001, 60_009), Each: true, ExpiresIn: time.Second}, "EXPIRY_INVALID"},
		"a regulator":         {regulator, each(60_001, 60_009), "FORBIDDEN"},
	} {
		if o, err := r.Offer(r.ctx, c.caller, idem("offer"), c.in); transfer.CodeOf(err) != c.code {
			t.Errorf("%s: %+v %v", name, o, err)
		}
	}
	check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		page, err := tx.JobsOf(carrier.Participant, "", 10)
		if len(page.Items) != 0 {
			t.Errorf("%d jobs", len(page.Items))
		}
		return err
	}))
}

// TestJobPartly: cards that are sold before their turn comes fail with their chunk; the others don't.
func TestJobPartly(t *testing.T) {
	t.Parallel()
	g := &gate{}
	r := newStockedWith(t, g.wrap, few)
	g.close("Offer")
	o, err := r.Offer(r.ctx, carrier, idem("offer"), each(60_001, 60_010))
	check(t, err)
	g.reached(t) // the first chunk is on its way
	r.acceptOffer(60_006, 60_006)
	g.let()
	j, items := r.jobDone(carrier, o.JobID)
	if j.State != "done" || j.Done != 6 || j.Failed != 4 || len(items) != 3 {
		t.Fatalf("%+v", j)
	}
	if items[1].Error == nil || items[1].Error.Code != "CARDS_RESERVED" && items[1].Error.Code != "CARDS_NOT_OWNED" || items[1].Error.Message == "" || len(items[1].TradeIDs) != 0 {
		t.Errorf("%+v", items[1])
	}
	r.fsck()
}

// TestJobFails: a job of which nothing can be done any more has failed.
func TestJobFails(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, few)
	r.stop()
	r.Wait()
	o, err := r.Offer(context.Background(), carrier, idem("offer"), each(70_001, 70_006))
	check(t, err)
	r.acceptOffer(70_001, 70_006)
	r.reopen(t)
	j, items := r.jobDone(carrier, o.JobID)
	if j.State != "failed" || j.Done != 0 || j.Failed != 6 || j.Error == nil || j.Error.Code != items[0].Error.Code || len(items) != 2 {
		t.Errorf("%+v %+v", j, j.Error)
	}
}

// acceptOffer asks for an offer that can't be committed yet.
func (r *rig) acceptOffer(a, b int) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.Offer(ctx, carrier, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(a, b)}) // cut short below
	}()
	defer func() { <-done }()
	defer cancel()
	for deadline := time.Now().Add(50 * time.Second); ; runtime.Gosched() {
		page := must2(r.Trades(context.Background(), carrier, transfer.TradeFilter{State: "offering"}))(r.t)
		if slices.ContainsFunc(page.Items, func(v transfer.TradeView) bool { return v.Segments[0].Start == id(a) }) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal("the offer is not accepted")
		}
	}
}
