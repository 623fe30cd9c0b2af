package transfer_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"cardflow/ledger/contract"
	"cardflow/model"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// deviceDamages are changes to a terminal's row and to a gateway key's, by a hand at the SQL prompt. {device} is the terminal,
// {key} its key, {gateway} the gateway's. What says nothing of a repair a person has to look at; undo is what he then does.
var deviceDamages = []struct {
	name, sql, finds, undo string
}{
	{"a key that isn't there", "UPDATE devices SET key_id = 'x' WHERE id = '{device}'", "DEVICE is active here with key x, which is not on the ledger", "UPDATE devices SET key_id = '{key}' WHERE id = '{device}'"},
	{"another's key", "UPDATE devices SET key_id = '{gateway}' WHERE id = '{device}'", "DEVICE has a key here that is a gateway key on the ledger", "UPDATE devices SET key_id = '{key}' WHERE id = '{device}'"},
	{"another organisation", "UPDATE devices SET participant = 'dist-a' WHERE id = '{device}'", "DEVICE belongs to dist-a here and to shop-a on the ledger", ""},
	{"another hash of its serial number", "UPDATE devices SET serial_hash = 'x' WHERE id = '{device}'", "DEVICE serial number and salt do not give its hash", "UPDATE devices SET serial_hash = '{hash}' WHERE id = '{device}'"},
	{"another serial number", "UPDATE devices SET serial = 'SN-0009' WHERE id = '{device}'", "DEVICE serial number and salt do not give its hash", "UPDATE devices SET serial = 'SN-0001' WHERE id = '{device}'"},
	{"another public key", "UPDATE devices SET public = x'00' WHERE id = '{device}'", "DEVICE serial number or public key differ", ""},
	{"what the ledger says", "UPDATE devices SET ledger_status = 'SUSPENDED', ledger_version = 7 WHERE id = '{device}'", "DEVICE its key is SUSPENDED in version 7 here, and ACTIVE in version 1 on the ledger", ""},
	{"an active one that is called failed", "UPDATE devices SET state = 'failed' WHERE id = '{device}'", "DEVICE is failed here and ACTIVE on the ledger", ""},
	{"an active one that waits for its terminal", "UPDATE devices SET state = 'ticketed' WHERE id = '{device}'", "DEVICE is ticketed here and ACTIVE on the ledger", ""},
	{"one that is stopped here alone", "UPDATE devices SET state = 'lost' WHERE id = '{device}'", "DEVICE is lost here and ACTIVE on the ledger, and no act is under way that stops it there", "UPDATE devices SET state = 'active' WHERE id = '{device}'"},
	{"one that is revoked here alone", "UPDATE devices SET state = 'revoked' WHERE id = '{device}'", "DEVICE is revoked here and ACTIVE on the ledger, and no act is under way that stops it there", "UPDATE devices SET state = 'active' WHERE id = '{device}'"},
	{"a ticket that is bound to nothing", "UPDATE devices SET key_id = NULL WHERE id = '{device}'", "DEVICE is active, and its ticket is bound to no key", "UPDATE devices SET key_id = '{key}' WHERE id = '{device}'"},
	{"no ticket", "UPDATE devices SET ticket_index = NULL WHERE id = '{waiting}'", "DEVICE waits for its terminal, and has no ticket", "UPDATE devices SET ticket_index = '{index}' WHERE id = '{waiting}'"},
	{"a key that nobody publishes", "UPDATE devices SET state = 'enrolling', key_id = 'y' WHERE id = '{waiting}'", "DEVICE is enrolling, and no act is under way", "UPDATE devices SET state = 'ticketed', key_id = NULL WHERE id = '{waiting}'"},
	{"a revoked one that goes on", "UPDATE devices SET state = 'active' WHERE id = '{revoked}'", "DEVICE is active here and REVOKED on the ledger", ""},
	{"a suspended one that goes on", "UPDATE devices SET state = 'active' WHERE id = '{suspended}'", "DEVICE is active here and SUSPENDED on the ledger", ""},
	{"one that is gone", "DELETE FROM devices WHERE id = '{gone}'", "DEVICE is on the ledger and not in the database", ""},
	{"what the ledger says of a gateway key", "UPDATE gateway_keys SET ledger_status = 'REVOKED', ledger_version = 2 WHERE id = '{gateway}'", "GATEWAY is REVOKED in version 2 here, and ACTIVE in version 1 on the ledger", ""},
	{"a gateway key that the ledger hasn't", "UPDATE gateway_keys SET id = 'x' WHERE id = '{gateway}'", "GATEWAY is published here and not on the ledger", "UPDATE gateway_keys SET id = '{gateway}' WHERE id = 'x'"},
	{"a gateway key under another name", "UPDATE gateway_keys SET id = '{key}' WHERE id = '{gateway}'", "GATEWAY is a device key of shop-a on the ledger", "UPDATE gateway_keys SET id = '{gateway}' WHERE id = '{key}'"},
	{"a gateway key that nobody opens", "UPDATE gateway_keys SET sealed = x'00' WHERE id = '{second}'", "GATEWAY can't be opened", "UPDATE gateway_keys SET sealed = {sealed} WHERE id = '{second}'"},
}

// fsck holds each terminal and each gateway key against the ledger, and puts right what that proves. It lets none go on that was
// stopped here.
func TestFsckOfDevices(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	device, h := r.equip(retailer)
	waiting, _ := r.ticket(retailer)
	revoked, _ := r.equip(retailer)
	r.stopped(retailer, "revoke", revoked)
	suspended, _ := r.equip(retailer)
	r.stopped(retailer, "suspend", suspended)
	gone, _ := r.equip(distributor)
	gateway := must2(r.Gateway(r.ctx))(t).Keys[0].ID
	second := must2(r.AddGatewayKey(r.ctx))(t)
	r.until("both sign", func() bool { return len(must2(r.Gateway(r.ctx))(t).Keys) == 2 })
	names := []string{"{device}", device, "{key}", h.Public().KeyID(), "{waiting}", waiting, "{revoked}", revoked, "{suspended}", suspended, "{gone}", gone,
		"{gateway}", gateway, "{second}", second}
	check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		d, err := tx.Device(device)
		check(t, err)
		w, err := tx.Device(waiting)
		check(t, err)
		keys, err := tx.GatewayKeys()
		check(t, err)
		names = append(names, "{hash}", d.SerialHash, "{index}", w.TicketIndex, "{sealed}", "x'"+hex.EncodeToString(keys[1].Sealed)+"'")
		return nil
	}))
	named := strings.NewReplacer(names...).Replace
	for _, d := range deviceDamages {
		t.Run(d.name, func(t *testing.T) {
			other := *r
			r := &other
			r.t = t
			r.tamper([]string{named(d.sql)}, device, waiting, revoked, suspended)
			report := must2(r.Check(r.ctx, nil))(t)
			if !strings.Contains(problems(report), d.finds) {
				t.Fatalf("fsck does not say %q but\n%s", d.finds, problems(report))
			}
			if d.undo != "" {
				for _, f := range report.Findings {
					if f.Kind+" "+f.Problem == d.finds && f.Remedy != "" {
						t.Errorf("it would %s", f.Remedy)
					}
				}
				r.tamper([]string{named(d.undo)}, device, waiting, revoked, suspended)
			} else {
				r.repaired()
			}
			if report := r.fsck(); report.Devices < 5 {
				t.Errorf("%d devices", report.Devices)
			}
		})
	}
	if _, _, err := r.Terminal(r.ctx, h.Public().KeyID()); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// What is on the ledger in the platform's name and can't be used here is revoked: a gateway key of a database that was lost.
func TestFsckOfKeysElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := must2(r.Gateway(r.ctx))(t).Keys[0].ID
	copied := r.backUp()
	lost := must2(r.AddGatewayKey(r.ctx))(t)
	r.until("both sign", func() bool { return len(must2(r.Gateway(r.ctx))(t).Keys) == 2 })
	r.restore(copied)
	report := must2(r.Check(r.ctx, nil))(t)
	if len(report.Findings) != 1 || report.Findings[0].Kind != "GATEWAY" || report.Findings[0].Subject != lost || report.Findings[0].Remedy == "" {
		t.Fatalf("found %+v", report.Findings)
	}
	r.repaired()
	check(t, r.SweepGateway(r.ctx))
	r.until("the ledger has revoked it", func() bool { return r.ledgerKey(lost).Status == contract.KeyRevoked })
	if g := must2(r.Gateway(r.ctx))(t); len(g.Keys) != 1 || g.Keys[0].ID != old {
		t.Errorf("answers are signed by %+v", g.Keys)
	}
	r.caughtUp()
	r.fsck()
}

// A key that may do more than a terminal's is found: none of its functions on the ledger are all there are.
func TestTerminalsFunctions(t *testing.T) {
	for _, x := range []struct {
		functions []string
		fine      bool
	}{{nil, false}, {protocol.Functions, true}, {[]string{"Offer"}, true}, {[]string{"Offer", "Freeze"}, false}} {
		if transfer.OnlyTerminals(x.functions) != x.fine {
			t.Errorf("%v: %v", x.functions, !x.fine)
		}
	}
}
