package transfer_test

import (
	"crypto/rand"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/contract"
	"cardflow/model"
	"cardflow/transfer"
)

// TestUnusualKey: a key that signs far more than it ever did stops itself, on the ledger too; what it was to sign ends,
// and two people let it go on.
func TestUnusualKey(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	first, second := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
	key := r.keyOf(ann.Participant)
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		for _, id := range []string{"p-li", "p-wang"} {
			if err := tx.AddPerson(model.Person{ID: id, ParticipantID: transfer.PlatformID, Username: id, Roles: []string{"ops"}, State: model.PersonActive, CreatedAt: 1}); err != nil {
				return err
			}
		}
		// As many as are nothing unusual, today.
		day := (r.clock.now().UnixMilli() + 8*3600*1000) / (24 * 3600 * 1000)
		return tx.SaveUsage(model.Usage{Owner: ann.Participant, Slot: transfer.SlotAccount, Day: day, Used: 100}, false)
	}))
	act, err := r.Confirm(r.ctx, ann, idem("first"), first.TradeID, first.Code, last6(1))
	check(t, err)
	r.await(act, "KEY_STOPPED")
	r.until("the ledger has stopped it", func() bool { return r.ledgerKey(key.ID).Status == contract.KeySuspended })

	keys := must2(custody.Open(r.ctx, custody.Config{
		DB: r.db, Root: must2(custody.FileRoot(r.path("root.key"), rand.Reader))(t), Channel: "test", Clock: r.clock.now, Random: rand.Reader,
	}))(t)
	t.Cleanup(keys.Close)
	p := must2(keys.Propose(r.ctx, custody.Draft{Person: "p-li", Name: "release", Operation: custody.OperationRelease,
		Arguments: []byte(`{"owner":"` + ann.Participant + `","slot":"account"}`), Reason: "核实过"}))(t)
	if p = must2(keys.Approve(r.ctx, "p-wang", p.ID))(t); p.State != model.ProposalExecuted {
		t.Fatalf("%+v", p)
	}
	r.until("it signs again", func() bool {
		return r.ledgerKey(key.ID).Status == contract.KeyActive && r.keyOf(ann.Participant).State == string(model.CustodyActive)
	})
	r.confirm(ann, second, 2)
	r.confirm(ann, first, 1)
	r.fsck()
}
