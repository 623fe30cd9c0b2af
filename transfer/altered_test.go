package transfer_test

import (
	"fmt"
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
