package transfer_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/glebarez/go-sqlite"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// fsck names a lot that the ledger does not have, and a card that is in two live lots, however many runs there are.
func TestFsckFindsACardInTwoLots(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	set := r.set(span(5, 5))
	hash, _ := request.OpeningOf(set, [32]byte{9})
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		return tx.AddLot(model.Lot{Hash: hash, Issuer: carrier.Participant, Rule: set.Rule, Owner: retailer.Participant, Status: model.LotOwned, RetailPolicy: "OPEN", SaltSealed: []byte{}}, set.Segments())
	}))
	report, err := r.Check(r.ctx, nil)
	check(t, err)
	for _, want := range []string{"LOT is OWNED here and not on the ledger", "CARD a card of it is in another live lot, too"} {
		if !strings.Contains(problems(report), want) {
			t.Errorf("fsck does not say %q but\n%s", want, problems(report))
		}
	}
	report = r.repaired()
	if report.Cards != 100_001 { // it was counted before it was put right
		t.Errorf("%d cards", report.Cards)
	}
	if report = r.fsck(); report.Cards != 100_000 {
		t.Errorf("%d cards", report.Cards)
	}
}

func problems(r transfer.Report) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, f.Kind+" "+f.Problem)
	}
	return strings.Join(all, "\n")
}

// repaired demands that everything that is found is put right, but for what follows from something else that is.
func (r *rig) repaired() transfer.Report {
	r.t.Helper()
	report, err := r.Repair(r.ctx, nil)
	check(r.t, err)
	if len(report.Findings) == 0 {
		r.t.Fatal("nothing was found")
	}
	for _, f := range report.Findings {
		if f.Remedy != "" && !f.Repaired {
			r.t.Errorf("not repaired: %s %s %s", f.Kind, f.Subject, f.Problem)
		}
	}
	return report
}

// A journal that was lost is missed by fsck, and not on the day on which the database is lost too. It is written anew
// from the database, and then opens everything again.
func TestFsckMissesTheJournal(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	copied := r.backUp()
	trade := r.offer(retailer, 1, 1)
	r.close()
	check(t, os.Remove(r.path("journal")))
	r.open(t)
	report, err := r.Check(r.ctx, nil)
	check(t, err)
	if report.Clean() || report.Findings[0].Kind != "JOURNAL" || report.Findings[0].Remedy == "" {
		t.Errorf("found %v", report.Findings)
	}
	r.repaired()
	r.fsck()
	r.restore(copied)
	if v := r.trade(retailer, trade.TradeID); v.Code != trade.Code || v.State != "offered" {
		t.Errorf("the trade is %s with code %q, not %q", v.State, v.Code, trade.Code)
	}
	r.fsck()
}

// While people trade, and what has expired is released, database and ledger differ nowhere: what is on its way is no
// difference. The check that looks is not one that holds everybody up.
func TestFsckWhileTheServerWorks(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	trades := r.each(retailer, 1, 40)
	var wg sync.WaitGroup
	for n, name := range []string{"ann", "bob", "cat", "dan"} {
		buyer := r.consumer(name)
		wg.Go(func() {
			for i := n; i < len(trades); i += 4 {
				var act transfer.Act
				var err error
				switch i % 3 {
				case 0:
					act, err = r.Cancel(ctx, retailer, idem("cancel"), trades[i].TradeID)
				case 1:
					act, err = r.Decline(ctx, buyer, idem("decline"), trades[i].TradeID, trades[i].Code, last6(i+1), "DAMAGED", "")
				default:
					act, err = r.Confirm(ctx, buyer, idem("confirm"), trades[i].TradeID, trades[i].Code, last6(i+1))
				}
				if err == nil {
					act, err = r.Await(ctx, act.ID)
				}
				if err != nil || act.State != "committed" {
					t.Errorf("card %d: %+v %v", i+1, act, err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 10 {
			if _, err := r.Offer(ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(100+i, 100+i)}); err != nil {
				t.Error(err)
			}
		}
	})
	busy := make(chan struct{})
	go func() { wg.Wait(); close(busy) }()
	for n := 0; ; n++ {
		r.fsck()
		select {
		case <-busy:
			if n == 0 {
				t.Error("nobody was looking while they traded")
			}
			r.noneUnfinished()
			if report := r.fsck(); report.Unfinished != 0 || report.Signatures == 0 {
				t.Errorf("%+v", report)
			}
			return
		default:
		}
	}
}

// damage is a change to the database that no transition table allows, by a hand at the SQL prompt. {lot}, {trade} and
// {act} stand for a lot, trade and act of a confirmed trade, {open} for a trade that is open.
type damage struct {
	name    string
	sql     []string
	finds   string
	repairs string // part of the remedy
}

var damages = []damage{
	{"owner of a lot", []string{"UPDATE lots SET owner = 'dist-a' WHERE hash = '{lot}'"}, "LOT belongs to dist-a here", "what the ledger says"},
	{"a lot that is spent again", []string{"UPDATE lots SET status = 'SPENT' WHERE hash = '{lot}'"}, "LOT is SPENT here and OWNED on the ledger", "what the ledger says"},
	{"version of a lot", []string{"UPDATE lots SET version = version + 5 WHERE hash = '{lot}'"}, "LOT has version", "what the ledger says"},
	{"freeze of a lot", []string{"UPDATE lots SET frozen = '[\"carrier\"]' WHERE hash = '{lot}'"}, "LOT freezes differ", "what the ledger says"},
	{"restrictions of a lot", []string{"UPDATE lots SET restrictions = '[\"NO_SMS\"]' WHERE hash = '{lot}'"}, "LOT restrictions differ", "what the ledger says"},
	{"role of a participant", []string{"UPDATE participants SET role = 'retailer' WHERE id = 'dist-a'"}, "PARTICIPANT is a retailer here and a distributor on the ledger", "what the ledger says"},
	{"key of a participant", []string{"UPDATE participants SET key_id = 'x' WHERE id = 'dist-a'"}, "PARTICIPANT has key x here, and not on the ledger", "what the ledger says"},
	{"a lot that is gone", []string{"DELETE FROM segments WHERE lot_hash = '{lot}'", "DELETE FROM lot_parents WHERE child = '{lot}'", "DELETE FROM lots WHERE hash = '{lot}'"},
		"LOT is on the ledger and not in the database", "what the ledger says"},
	{"a segment's owner", []string{"UPDATE segments SET owner = 'dist-a' WHERE lot_hash = '{lot}'"}, "CARD a segment's owner or liveness is not its lot's", "what the ledger says"},
	{"a segment", []string{"UPDATE segments SET lo = lo + 1, hi = hi + 1 WHERE lot_hash = '{lot}'"}, "OPENING segments and salt do not give the lot hash", "from the journal"},
	{"a salt", []string{"UPDATE lots SET salt_sealed = x'00' WHERE hash = '{lot}'"}, "OPENING can't be opened", "from the journal"},
	{"state of a trade", []string{"UPDATE trades SET state = 'declined' WHERE id = '{trade}'"}, "TRADE is declined here and CONFIRMED on the ledger", "what the ledger says"},
	{"who ended a trade", []string{"UPDATE trades SET end_tx = 'other' WHERE id = '{trade}'"}, "TRADE ended by other here", "what the ledger says"},
	{"receiver of an open trade", []string{"UPDATE trades SET receiver = 'dist-a' WHERE id = '{open}'"}, "TRADE sides, lot, mode or expiry differ", "what the ledger says"},
	{"expiry of an open trade", []string{"UPDATE trades SET expires_at = expires_at + 1 WHERE id = '{open}'"}, "TRADE sides, lot, mode or expiry differ", "what the ledger says"},
	{"an open trade that is called ended", []string{"UPDATE trades SET state = 'confirmed', live_code = NULL WHERE id = '{open}'"}, "TRADE is confirmed here and OPEN on the ledger", "what the ledger says"},
	{"a trade that is gone", []string{"DELETE FROM trades WHERE id = '{open}'"}, "TRADE is on the ledger and not in the database", "what the ledger says"},
	{"a trade that waits for nothing", []string{"UPDATE trades SET state = 'confirming', pending_act = '{act}' WHERE id = '{open}'"}, "TRADE is confirming, and no act is under way", "open the trade again"},
	{"a trade that was never offered", []string{"INSERT INTO trades (id, mode, lot_hash, seller, state, count, offered_at, expires_at, offer_block, end_block, ended_at, release_after, created_at) " +
		"VALUES ('never', 'NAMED', '{lot}', 'shop-a', 'offered', 1, 0, 9000000000000, 0, 0, 0, 0, 0)"}, "TRADE is offered here and not on the ledger", "what the ledger says"},
	{"an act that is called failed", []string{"UPDATE acts SET state = 'failed', error_code = 'X' WHERE id = '{act}'"}, "ACT failed here; the ledger applied it in", "as the ledger did"},
	{"an act that is called unfinished", []string{"UPDATE acts SET state = 'submitted', next_at = {soon}, lease_until = {soon} WHERE id = '{act}'"}, "ACT is submitted here; the ledger applied it in", "as the ledger did"},
	{"an act with another transaction", []string{"UPDATE acts SET tx_id = 'x' WHERE id = '{act}'"}, "ACT is committed here; the ledger does not have its transaction x", "as the ledger did"},
	{"request of an act", []string{"UPDATE acts SET request_id = 'x', body = x'00', proof = x'00' WHERE id = '{act}'"}, "ACT has another request here than its transaction on the ledger", "as the ledger did"},
	{neverWas, []string{"UPDATE acts SET tx_id = 'never', request_id = 'never' WHERE id = '{act}'"}, "ACT is committed here; the ledger does not have its transaction never", "as the ledger did"},
	{"a lot that is held for nothing", []string{"UPDATE lots SET held_by = '{act}' WHERE hash = '{lot}'"}, "LOT is held by act", "let it go"},
	{"cards that are set aside for nothing", []string{"INSERT INTO reservations (act_id, owner, rule, head, width, lo, hi) VALUES ('{act}', 'shop-a', 'SERIAL', 'x', 7, 1, 1)"}, "ACT has ended, and still has cards set aside", "let it go"},
}

// neverWas is the one damage of an act by which it is not to be found on the ledger any more.
const neverWas = "an act that never was"

// What the ledger or the journal proves is put right, whatever the row says; fsck finds each damage by name, and
// nothing afterwards.
func TestRepair(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	sales := 0
	for i, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			mended := *r
			r := &mended
			r.t = t
			card := 1 + 4*i
			sold, open := r.offer(retailer, card, card+2), r.offer(retailer, card+3, card+3)
			act := r.confirm(ann, sold, card)
			sales++
			receipt := must2(r.Receipt(r.ctx, ann, act.ID))(t)
			names := strings.NewReplacer("{lot}", sold.LotHash, "{trade}", sold.TradeID, "{open}", open.TradeID, "{act}", act.ID,
				"{soon}", fmt.Sprint(r.clock.now().Add(30*time.Minute).UnixMilli()))
			var statements []string
			for _, s := range d.sql {
				statements = append(statements, names.Replace(s))
			}
			r.tamper(statements, sold.LotHash, sold.TradeID, open.TradeID, act.ID)

			report, err := r.Check(r.ctx, nil)
			check(t, err)
			found := false
			for _, f := range report.Findings {
				if strings.HasPrefix(f.Kind+" "+f.Problem, d.finds) {
					found = true
					if !strings.Contains(f.Remedy, d.repairs) {
						t.Errorf("the remedy is %q", f.Remedy)
					}
				}
			}
			if !found {
				t.Fatalf("fsck does not say %q but\n%s", d.finds, problems(report))
			}
			r.repaired()
			r.fsck()
			check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
				noted, err := tx.Repairs(10)
				if err == nil && len(noted) == 0 {
					t.Error("nobody has noted it")
				}
				for _, n := range noted {
					if n.Open || n.Problem == "" || n.Remedy == "" || n.At == 0 {
						t.Errorf("noted %+v", n)
					}
				}
				return err
			}))
			if d.name != neverWas {
				if again := must2(r.Receipt(r.ctx, ann, act.ID))(t); !reflect.DeepEqual(again, receipt) {
					t.Errorf("the receipt says %+v, and said %+v", again, receipt)
				}
			}
			// And the trade goes on.
			if v := r.trade(retailer, open.TradeID); v.State != "offered" || v.Code != open.Code {
				t.Errorf("the open trade is %s with code %q, not %q", v.State, v.Code, open.Code)
			}
			r.confirm(r.consumer("bob"), open, card+3)
			if cards, err := r.MyCards(r.ctx, ann, "", 200); err != nil || len(cards.Items) != 3*sales {
				t.Errorf("she has %d cards, %v", len(cards.Items), err)
			}
			r.fsck()
		})
	}
}

// tamper runs statements as someone does who holds the database: past its triggers and foreign keys.
func (r *rig) tamper(statements []string, subjects ...string) {
	r.t.Helper()
	dsn := r.place.Config.DSN
	if r.place.Config.Driver == model.SQLite {
		dsn += "?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(r.place.Config.Driver, dsn)
	check(r.t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	if r.place.Config.Driver == model.MySQL {
		_, err = db.Exec("SET FOREIGN_KEY_CHECKS = 0")
		check(r.t, err)
	}
	tx, err := db.Begin()
	check(r.t, err)
	defer tx.Rollback()
	exec := func(statement string, args ...any) {
		_, err := tx.Exec(statement, args...)
		if err != nil {
			r.t.Fatal(fmt.Errorf("%s: %w", statement, err))
		}
	}
	for _, s := range subjects {
		exec("INSERT INTO repairs (at, kind, subject, problem, remedy, open) VALUES (0, 'TEST', ?, '', '', 1)", s)
	}
	for _, s := range statements {
		exec(s)
	}
	exec("DELETE FROM repairs WHERE kind = 'TEST'")
	check(r.t, tx.Commit())
}
