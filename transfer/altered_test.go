package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// Who writes to the database gets nobody's signature: what an act asks for is sealed with it, and a body that somebody has
// put in its place is not signed, whether it had been fixed before or not.
func TestAlteredActIsNotSigned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		early bool // the act is altered before its body, if it is planned late, has been planned
		body  func(t *testing.T, r *rig, act model.Act) request.Body
	}{
		{"another trade is cancelled", true, nil},
		{"another trade is cancelled, just before it is signed", false, nil},
		{"an offer that nobody planned", true, func(t *testing.T, r *rig, _ model.Act) request.Body {
			return request.Offer{Seller: retailer.Participant, Mode: request.Named, Receiver: distributor.Participant, Inputs: []string{r.lotOf(20)},
				Outputs: []request.Output{{Trade: "00000000000000000000000000000001", Lot: r.lotOf(20)}}}
		}},
		{"the cards go to somebody else", false, func(t *testing.T, r *rig, act model.Act) request.Body {
			var b request.Offer
			check(t, request.Decode(act.Body, &b))
			b.Receiver = distributor.Participant
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, alarms := &moody{early: c.early}, &meter{}
			r := newStockedWith(t, nil, func(k *transfer.Config) {
				m.Signer = k.Signer
				k.Signer, k.Metrics, k.Relay.AnswerWithin = m, alarms, time.Millisecond
			})
			asked, victim := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
			m.set(transfer.ErrSealed)
			function := "Cancel"
			if c.body == nil {
				_, err := r.Cancel(r.ctx, retailer, idem("cancel"), asked.TradeID)
				check(t, err)
			} else {
				function = "Offer"
				_, err := r.Offer(r.ctx, retailer, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: carrier.Participant, Segments: span(20, 20)})
				check(t, err)
			}
			var act model.Act
			r.until("it waits for custody", func() bool {
				check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
					page, err := tx.ListActs(model.ActFilter{Function: function, Actor: retailer.Participant}, "", 1)
					act = page.Items[0]
					return err
				}))
				return m.asked() > 0 && (act.KeyID == "") == c.early
			})
			var body request.Body = request.Cancel{Trade: victim.TradeID}
			if c.body != nil {
				body = c.body(t, r, act)
			}
			r.close()
			r.tamper([]string{fmt.Sprintf("UPDATE acts SET body = x'%x' WHERE id = '%s'", request.Encode(body), act.ID)})
			signed := m.asked()
			m.set(nil)
			r.open(t)
			r.until("somebody is called", func() bool { return alarms.count("alarm act_altered") > 0 })
			check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
				now, err := tx.Act(act.ID)
				if now.State != model.ActAccepted || now.Proof != nil {
					t.Errorf("the act is %s", now.State)
				}
				return err
			}))
			if m.asked() != signed {
				t.Error("custody was asked")
			}
			if v := r.trade(retailer, victim.TradeID); v.State != "offered" {
				t.Errorf("the other trade is %s", v.State)
			}
		})
	}
}

// deaf is a custody whose answer is lost, the first time that it is told the lots of an import.
type deaf struct {
	transfer.Signer
	mu   sync.Mutex
	told [][]transfer.Part
}

func (d *deaf) AuthoriseParts(ctx context.Context, asked string, terms request.Issue, parts []transfer.Part) error {
	err := d.Signer.AuthoriseParts(ctx, asked, terms, parts)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told = append(d.told, parts); len(d.told) == 1 {
		return errors.Join(err, transfer.ErrCustodyAway)
	}
	return err
}

func (d *deaf) heard() [][]transfer.Part {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.told)
}

// Custody is told the lots of an import as soon as they are known, and signs no others as a part of it, whoever asks. Where
// the answer is lost they are the same lots the next time, and the file, which may be gone, isn't read again.
func TestImportIssuesWhatItsFileNames(t *testing.T) {
	t.Parallel()
	d := &deaf{}
	r := rigOn(t)
	r.config = func(c *transfer.Config) {
		d.Signer = c.Signer
		c.Signer = d
	}
	fresh.copyTo(r)
	r.start(t)
	imp := r.begin(carrier, rows(id(1)+","+imsi(1), id(2)+","+imsi(2), id(7)+","+imsi(7)), transfer.ImportInput{Issue: true, RetailPolicy: "REAL_NAME"})
	r.until("custody knows its lots", func() bool { return len(d.heard()) == 1 })
	check(t, os.Remove(r.path("imports/"+imp)))
	r.until("it is told again", func() bool {
		r.clock.forward(6 * time.Second)
		return len(d.heard()) > 1
	})
	v := r.ended(carrier, imp)
	if v.State != "done" || v.Rows != 3 || v.Accepted != 3 || len(v.Lots) != 1 || r.total(carrier) != 3 {
		t.Errorf("%+v %+v", v, v.Error)
	}
	told := d.heard()
	if !reflect.DeepEqual(told[0], told[1]) || len(told[0]) != 1 || told[0][0].Lot != v.Lots[0] {
		t.Errorf("custody was told %v, and %v was issued", told, v.Lots)
	}

	// Whoever has taken the web process over, or writes to its database, has nothing else issued.
	terms := request.Issue{Carrier: carrier.Participant, RetailPolicy: request.RealName}
	more := transfer.Part{Subject: told[0][0].Subject + ".1", Rule: "SERIAL", Lot: strings.Repeat("ab", 32)}
	if err := d.Signer.AuthoriseParts(r.ctx, "import-"+imp, terms, append(told[0], more)); !errors.Is(err, transfer.ErrUnauthorised) {
		t.Errorf("more lots: %v", err)
	}
	body := terms
	body.Rule, body.Lot = more.Rule, more.Lot
	for _, subject := range []string{more.Subject, "import-" + imp} {
		ask := transfer.Ask{Owner: carrier.Participant, Slot: transfer.SlotAccount, Purpose: "Issue", Subject: subject, Attempt: 1, NotAfter: int64(r.now()) + 60_000, Actor: "thief"}
		if _, err := d.Signer.Sign(r.ctx, ask, body); !errors.Is(err, transfer.ErrUnauthorised) {
			t.Errorf("another lot as %s: %v", subject, err)
		}
	}
	r.fsck()
}

// An import of which somebody has said in the database that it issues its cards, or on other terms, issues none.
func TestAlteredImportIssuesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in  transfer.ImportInput
		set string
	}{
		"it was not to issue": {transfer.ImportInput{}, "issue = 1"},
		"other terms":         {transfer.ImportInput{Issue: true, RetailPolicy: "REAL_NAME"}, "retail_policy = 'OPEN'"},
		"another carrier":     {transfer.ImportInput{Issue: true}, "participant_id = '" + otherCarrier.Participant + "'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			check(t, r.AddOrganisation(r.ctx, otherCarrier.Participant, request.Carrier, "中国联通"))
			r.stop()
			r.Wait()
			imp := r.begin(carrier, rows(id(1)+","+imsi(1)), c.in)
			r.close()
			r.tamper([]string{fmt.Sprintf("UPDATE imports SET %s WHERE id = '%s'", c.set, imp)})
			r.open(t)
			who := carrier
			if strings.HasPrefix(c.set, "participant_id") {
				who = otherCarrier
				check(t, r.SetIssuer(r.ctx, prefix, otherCarrier.Participant, "SERIAL"))
			}
			if v := r.ended(who, imp); v.State != "failed" || len(v.Lots) != 0 || r.total(who) != 0 {
				t.Errorf("%+v %+v", v, v.Error)
			}
			r.fsck()
		})
	}
}
