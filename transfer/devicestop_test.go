package transfer_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// A terminal that was stopped is let go on by nobody here: it is replaced. Its key can't be enrolled again, its serial number can.
func TestStoppedIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, h := r.equip(retailer)
	first := r.stopped(retailer, "suspend", id)
	_, text := r.ticket(retailer)
	_, err := r.Enrol(r.ctx, h.shows(t, text))
	wants(t, "its key, with another ticket", err, "KEY_EXISTS")
	if said := transfer.MessageOf("DEVICE_STATE"); !strings.Contains(said, "不能恢复") || !strings.Contains(said, "更换") {
		t.Errorf("whoever stops it twice is told %q", said)
	}
	_, err = r.SuspendDevice(r.ctx, r.console(retailer), idem("stop"), id)
	wants(t, "stopped twice", err, "DEVICE_STATE")
	made, err := r.ReplaceDevice(r.ctx, r.console(retailer), idem("replace"), id)
	check(t, err)
	// The same handset, with a new key, and even the salt that it had.
	again := newHandset(t)
	again.serial, again.salt = h.serial, h.salt
	if d, err := r.Enrol(r.ctx, again.shows(t, string(made.Text))); err != nil || d.State != "active" || d.SerialHash != first.SerialHash {
		t.Errorf("%+v, %v", d, err)
	}
	third, _ := r.equip(retailer) // and one more of that number, which another maker may have given, too
	if v := r.device(retailer, third); v.Serial != h.serial || v.SerialHash == first.SerialHash || v.State != "active" {
		t.Errorf("%+v", v)
	}
	r.until("the first is revoked", func() bool { return r.device(retailer, id).LedgerStatus == "REVOKED" })
	check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		names, err := tx.DeviceSerials([]string{first.SerialHash, r.device(retailer, third).SerialHash, "nobody's"})
		if len(names) != 2 || names[first.SerialHash] != h.serial {
			t.Errorf("%v", names)
		}
		return err
	}))
	r.fsck()
}

// older is a custody whose account keys were made before they could stop terminals.
type older struct{ transfer.Signer }

func (o older) Key(ctx context.Context, id string) (transfer.KeyView, error) {
	k, err := o.Signer.Key(ctx, id)
	k.Functions = slices.DeleteFunc(slices.Clone(k.Functions), func(f string) bool { return f == "SuspendKey" || f == "RevokeKey" })
	return k, err
}

// Where an organisation's own key is older than terminals, whoever registered it signs that one is stopped: the registrar, or two
// administrators for a carrier.
func TestStoppedByWhoRegistered(t *testing.T) {
	t.Parallel()
	r := rigOn(t)
	r.config = func(c *transfer.Config) { c.Signer = older{c.Signer} }
	fresh.copyTo(r)
	r.start(t)
	for _, x := range []struct {
		who     transfer.Caller
		signers int
	}{{retailer, 1}, {carrier, 2}} {
		id, h := r.equip(x.who)
		own := r.keyOf(x.who.Participant).ID
		for _, what := range []string{"suspend", "revoke"} {
			v := r.stopped(x.who, what, id)
			if want := map[string]string{"suspend": "SUSPENDED", "revoke": "REVOKED"}[what]; v.LedgerStatus != want {
				t.Errorf("%s of %s: %+v", what, x.who.Role, v)
			}
			act := must2(r.Service.Act(r.ctx, x.who, v.OrderID))(t)
			tx := must2(r.file.Transaction(r.ctx, act.TxID))(t)
			var proof request.Proof
			check(t, json.Unmarshal(tx.Args[1], &proof))
			if len(proof.Signatures) != x.signers || slices.ContainsFunc(proof.Signatures, func(s request.Signature) bool { return s.KeyID == own }) {
				t.Errorf("%s of %s: signed by %+v", what, x.who.Role, proof.Signatures)
			}
		}
		if err := r.signs(h, request.RevokeKey{KeyAct: request.KeyAct{Key: h.Public().KeyID(), Version: 3}}); contract.CodeOf(err) != contract.KeyInactive {
			t.Errorf("the contract takes its request: %v", err)
		}
	}
}
