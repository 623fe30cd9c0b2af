package transfer_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// handset is a terminal: its key, and what stands on its label.
type handset struct {
	*gm.PrivateKey
	serial, salt string
}

func newHandset(t *testing.T) handset {
	t.Helper()
	salt := make([]byte, 32)
	rand.Read(salt)
	return handset{must2(gm.GenerateKey(rand.Reader))(t), "SN-0001", hex.EncodeToString(salt)}
}

// shows is a terminal's request to be enrolled.
func (h handset) shows(t *testing.T, ticket string) protocol.Enrol {
	t.Helper()
	in := protocol.Enrol{Ticket: ticket, Serial: h.serial, SerialSalt: h.salt, Public: h.Public()}
	if parsed, err := protocol.ParseTicket(ticket); err == nil {
		in.Possession = must2(h.Sign(rand.Reader, request.PossessionBytes("test", parsed.Participant, h.Public())))(t)
	}
	return in
}

// ticket is a new device of an organisation, with its ticket.
func (r *rig) ticket(c transfer.Caller) (id, text string) {
	r.t.Helper()
	made, err := r.CreateDevice(r.ctx, r.console(c), idem("devices"), transfer.NewDevice{Name: "一号仓", Holder: r.console(c).Person})
	check(r.t, err)
	return made.Device.ID, string(made.Text)
}

// equip gives an organisation a terminal that the ledger knows.
func (r *rig) equip(c transfer.Caller) (id string, h handset) {
	r.t.Helper()
	id, text := r.ticket(c)
	h = newHandset(r.t)
	d, err := r.Enrol(r.ctx, h.shows(r.t, text))
	check(r.t, err)
	if d.State != protocol.DeviceActive || d.ID != id || d.KeyID != h.Public().KeyID() || d.Participant.ID != c.Participant {
		r.t.Fatalf("enrolled %+v", d)
	}
	return id, h
}

func (r *rig) device(c transfer.Caller, id string) transfer.DeviceView {
	r.t.Helper()
	return must2(r.Device(r.ctx, c, id))(r.t)
}

// stopped orders that a device is stopped, and waits until the ledger has it.
func (r *rig) stopped(c transfer.Caller, what, id string) transfer.DeviceView {
	r.t.Helper()
	do := map[string]func() (transfer.DeviceView, error){
		"suspend": func() (transfer.DeviceView, error) { return r.SuspendDevice(r.ctx, r.console(c), idem("stop"), id) },
		"lost":    func() (transfer.DeviceView, error) { return r.LoseDevice(r.ctx, r.console(c), idem("stop"), id) },
		"revoke":  func() (transfer.DeviceView, error) { return r.RevokeDevice(r.ctx, r.console(c), idem("stop"), id) },
	}[what]
	v, err := do()
	check(r.t, err)
	if v.OrderID != "" {
		r.await(transfer.Act{ID: v.OrderID}, "")
	}
	return r.device(c, id)
}

// signs sends a request that a terminal has signed, as any gateway would.
func (r *rig) signs(h handset, body request.Body) error {
	r.t.Helper()
	req := request.New("test", body)
	notAfter := r.clock.now().Add(time.Hour).UnixMilli()
	sig := must2(h.Sign(rand.Reader, req.SigningBytes(h.Public().KeyID(), notAfter)))(r.t)
	proof := request.Proof{Signatures: []request.Signature{{KeyID: h.Public().KeyID(), NotAfter: notAfter, Bytes: sig}}}
	p := must2(r.file.Prepare(req.Contract, req.Function, [][]byte{req.Args, proof.Encode()}))(r.t)
	_, err := r.file.Submit(r.ctx, p, nil, func() error { return nil })
	return err
}

// A terminal is enrolled by the ticket that its organisation's people have made, and its key is on the ledger, for what
// terminals do. Stopped, it is refused here and by the contract.
func TestDevices(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, h := r.equip(retailer)
	k := r.ledgerKey(h.Public().KeyID())
	if k.Kind != request.DeviceKey || k.Participant != retailer.Participant || !slices.Equal(k.Functions, protocol.Functions) ||
		k.SerialHash != protocol.SerialHash([32]byte(must2(hex.DecodeString(h.salt))(t)), h.serial) {
		t.Errorf("on the ledger %+v", k)
	}
	who, public, err := r.Terminal(r.ctx, h.Public().KeyID())
	if err != nil || public != h.Public() || who.Participant != retailer.Participant || who.Role != request.Retailer || who.Device != id || who.Person != "" {
		t.Errorf("it speaks for %+v, %v", who, err)
	}
	v := r.device(retailer, id)
	if v.State != "active" || v.LedgerStatus != "ACTIVE" || v.Name != "一号仓" || v.Holder != retailer.Person || v.Serial != h.serial || v.TicketUntil != nil || v.EnrolledAt == nil {
		t.Errorf("%+v", v)
	}
	version := must2(r.ledgerParticipant(retailer.Participant))(t).Version
	if key, err := r.TerminalKey(r.ctx, who, h.Public().KeyID()); err != nil || key.ID != h.Public().KeyID() || key.ParticipantVersion != version {
		t.Errorf("%+v, %v", key, err)
	}
	_, err = r.TerminalKey(r.ctx, who, r.keyOf(distributor.Participant).ID)
	wants(t, "another's key", err, "NOT_FOUND")
	_, err = r.TerminalKey(r.ctx, who, "")
	wants(t, "no key's name", err, "NOT_FOUND")
	gateway := must2(r.Gateway(r.ctx))(t)
	if key, err := r.TerminalKey(r.ctx, who, gateway.Keys[0].ID); err != nil || key.Kind != request.GatewayKey || key.ParticipantVersion != 0 {
		t.Errorf("%+v, %v", key, err)
	}

	// Another organisation sees nothing of it, and does nothing to it.
	_, err = r.Device(r.ctx, distributor, id)
	wants(t, "another's device", err, "DEVICE_NOT_FOUND")
	_, err = r.SuspendDevice(r.ctx, r.console(distributor), idem("stop"), id)
	wants(t, "stopped by another", err, "DEVICE_NOT_FOUND")
	_, err = r.ReplaceDevice(r.ctx, r.console(distributor), idem("stop"), id)
	wants(t, "replaced by another", err, "DEVICE_NOT_FOUND")
	for _, c := range []transfer.Caller{regulator, operator, {Participant: "c-1", Role: request.Consumer}, who} {
		_, err = r.CreateDevice(r.ctx, c, idem("devices"), transfer.NewDevice{Name: "x"})
		wants(t, "a device of a "+string(c.Role), err, "FORBIDDEN")
	}

	if v := r.stopped(retailer, "suspend", id); v.State != "suspended" || v.LedgerStatus != "SUSPENDED" {
		t.Errorf("suspended %+v", v)
	}
	_, _, err = r.Terminal(r.ctx, h.Public().KeyID())
	wants(t, "a suspended terminal", err, "DEVICE_REFUSED")
	if err := r.signs(h, request.RevokeKey{KeyAct: request.KeyAct{Key: h.Public().KeyID(), Version: 2}}); contract.CodeOf(err) != contract.KeyInactive {
		t.Errorf("the contract takes a suspended terminal's request: %v", err)
	}
	_, err = r.SuspendDevice(r.ctx, r.console(retailer), idem("stop"), id)
	wants(t, "suspended twice", err, "DEVICE_STATE")
	if v := r.stopped(retailer, "lost", id); v.State != "lost" || v.LedgerStatus != "SUSPENDED" {
		t.Errorf("lost %+v", v)
	}
	if v := r.stopped(retailer, "revoke", id); v.State != "revoked" || v.LedgerStatus != "REVOKED" {
		t.Errorf("revoked %+v", v)
	}
	if err := r.signs(h, request.RevokeKey{KeyAct: request.KeyAct{Key: h.Public().KeyID(), Version: 3}}); contract.CodeOf(err) != contract.KeyInactive {
		t.Errorf("the contract takes a revoked terminal's request: %v", err)
	}

	// One in its place.
	other, h := r.equip(carrier) // whom administrators have registered
	made, err := r.ReplaceDevice(r.ctx, r.console(carrier), idem("replace"), other)
	check(t, err)
	if made.Device.Replaces != other || made.Device.Name != "一号仓" || made.Text == "" {
		t.Errorf("replaced by %+v", made.Device)
	}
	r.until("the old one is revoked", func() bool { return r.device(carrier, other).LedgerStatus == "REVOKED" })
	_, err = r.Enrol(r.ctx, h.shows(t, string(made.Text)))
	wants(t, "the old one shows the new ticket", err, "KEY_EXISTS")
	next := newHandset(t)
	if d, err := r.Enrol(r.ctx, next.shows(t, string(made.Text))); err != nil || d.State != "active" || d.ID != made.Device.ID {
		t.Errorf("the new one %+v, %v", d, err)
	}
	page, err := r.Devices(r.ctx, carrier, "", "", 10)
	if err != nil || len(page.Items) != 2 || page.Items[0].ID != made.Device.ID {
		t.Errorf("%+v, %v", page, err)
	}
	if page, err := r.Devices(r.ctx, carrier, "revoked", "", 10); err != nil || len(page.Items) != 1 || page.Items[0].ID != other {
		t.Errorf("%+v, %v", page, err)
	}
	r.fsck()
}

// What the ledger says of a key counts, but for what was stopped here and has not got there yet.
func TestDeviceFollowsTheLedger(t *testing.T) {
	for _, x := range []struct {
		here   model.DeviceState
		status contract.KeyStatus
		at     int // version
		want   model.DeviceState
	}{
		{model.DeviceEnrolling, contract.KeyActive, 1, model.DeviceActive},
		{model.DeviceFailed, contract.KeyActive, 1, model.DeviceActive},
		{model.DeviceSuspended, contract.KeyActive, 1, model.DeviceSuspended}, // stopped on its way
		{model.DeviceLost, contract.KeyActive, 1, model.DeviceLost},
		{model.DeviceRevoked, contract.KeyActive, 1, model.DeviceRevoked},
		{model.DeviceSuspended, contract.KeyActive, 3, model.DeviceActive}, // somebody lets it go on
		{model.DeviceLost, contract.KeyActive, 3, model.DeviceActive},
		{model.DeviceRevoked, contract.KeyActive, 3, model.DeviceRevoked},
		{model.DeviceActive, contract.KeySuspended, 2, model.DeviceSuspended},
		{model.DeviceLost, contract.KeySuspended, 2, model.DeviceLost},
		{model.DeviceRevoked, contract.KeySuspended, 2, model.DeviceRevoked},
		{model.DeviceActive, contract.KeyRevoked, 2, model.DeviceRevoked},
		{model.DeviceLost, contract.KeyRevoked, 3, model.DeviceRevoked},
		{model.DeviceActive, contract.KeyRotated, 2, model.DeviceRevoked},
	} {
		got := transfer.DeviceAs(x.here, contract.Key{Status: x.status, Version: x.at})
		if got != x.want || got != x.here && !model.DeviceMoves.Can(x.here, got) {
			t.Errorf("%s, and the ledger says %s: %s, want %s", x.here, x.status, got, x.want)
		}
	}
}

// A key that somebody else stops at the ledger, even the terminal itself, is stopped here.
func TestDeviceStoppedElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, h := r.equip(distributor)
	check(t, r.signs(h, request.SuspendKey{KeyAct: request.KeyAct{Key: h.Public().KeyID(), Version: 1}}))
	r.until("it is suspended", func() bool { return r.device(distributor, id).State == "suspended" })
	_, _, err := r.Terminal(r.ctx, h.Public().KeyID())
	wants(t, "stopped by itself", err, "DEVICE_REFUSED")
	if err := r.signs(h, request.RevokeKey{KeyAct: request.KeyAct{Key: h.Public().KeyID(), Version: 2}}); contract.CodeOf(err) != contract.KeyInactive {
		t.Errorf("it signs all the same: %v", err)
	}

	// A terminal takes another key: it is the same terminal.
	id, h = r.equip(distributor)
	next := newHandset(t)
	owner := must2(r.ledgerParticipant(distributor.Participant))(t)
	key := request.NewKey{Public: next.Public(), Kind: request.DeviceKey, SerialHash: strings.Repeat("0a", 32), Functions: slices.Clone(protocol.Functions)}
	key.Possession = must2(next.Sign(rand.Reader, request.PossessionBytes("test", owner.ID, next.Public())))(t)
	check(t, r.signs(h, request.RotateKey{Participant: owner.ID, Version: owner.Version, OldKey: h.Public().KeyID(), Key: key}))
	r.until("it has the new key", func() bool {
		v := r.device(distributor, id)
		return v.KeyID == next.Public().KeyID() && v.LedgerStatus == "ACTIVE"
	})
	if v := r.device(distributor, id); v.State != "active" {
		t.Errorf("%+v", v)
	}
	_, _, err = r.Terminal(r.ctx, h.Public().KeyID())
	wants(t, "the old key", err, "DEVICE_REFUSED")
	if page := must2(r.Devices(r.ctx, distributor, "", "", 10))(t); len(page.Items) != 2 {
		t.Errorf("%d devices", len(page.Items))
	}
}

func (r *rig) ledgerParticipant(id string) (p contract.Participant, err error) {
	b, err := r.file.Query(r.ctx, request.Identity, "GetParticipant", []byte(id))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	return p, err
}

// What is done to tickets by those who have none, have one that was used, or have read one.
func TestTickets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, text := r.ticket(retailer)
	h := newHandset(t)
	refused := func(what string, in protocol.Enrol, code string) {
		t.Helper()
		_, err := r.Enrol(r.ctx, in)
		wants(t, what, err, code)
	}
	parsed := must2(protocol.ParseTicket(text))(t)
	unknown := must2(protocol.NewTicket(parsed.Participant, strings.Repeat("a", 26), parsed.Gateway))(t)
	others := must2(protocol.NewTicket(distributor.Participant, parsed.Secret(), parsed.Gateway))(t)
	refused("no ticket", h.shows(t, "CFT1"), "TICKET_INVALID")
	refused("one that nobody made", h.shows(t, unknown.Text()), "TICKET_INVALID")
	refused("in another's name", h.shows(t, others.Text()), "TICKET_INVALID")
	with := func(change func(*protocol.Enrol)) protocol.Enrol {
		in := h.shows(t, text)
		change(&in)
		return in
	}
	refused("no serial", with(func(in *protocol.Enrol) { in.Serial = "sn 1" }), "DEVICE_INVALID")
	refused("no salt", with(func(in *protocol.Enrol) { in.SerialSalt = "00" }), "DEVICE_INVALID")
	refused("a salt in other letters", with(func(in *protocol.Enrol) { in.SerialSalt = strings.Repeat("AB", 32) }), "DEVICE_INVALID")
	refused("no key", with(func(in *protocol.Enrol) { in.Public = gm.PublicKey{} }), "DEVICE_INVALID")
	refused("another's key", with(func(in *protocol.Enrol) { in.Public = newHandset(t).Public() }), "POSSESSION_WRONG")
	refused("proved for another", with(func(in *protocol.Enrol) {
		in.Possession = must2(h.Sign(rand.Reader, request.PossessionBytes("test", distributor.Participant, h.Public())))(t)
	}), "POSSESSION_WRONG")
	if v := r.device(retailer, id); v.State != "ticketed" || v.TicketUntil == nil {
		t.Errorf("after all that: %+v", v)
	}
	in := h.shows(t, text)
	for range 2 { // asked again it is the same
		if d, err := r.Enrol(r.ctx, in); err != nil || d.State != "active" || d.ID != id {
			t.Errorf("%+v, %v", d, err)
		}
	}
	refused("with another key", newHandset(t).shows(t, text), "TICKET_USED")
	refused("with another serial", with(func(in *protocol.Enrol) { in.Serial = "SN-0002" }), "TICKET_USED")
	_, second := r.ticket(retailer)
	refused("a second ticket, with the same key", h.shows(t, second), "KEY_EXISTS")

	taken, gone := r.ticket(retailer)
	if v := r.stopped(retailer, "revoke", taken); v.State != "revoked" || v.OrderID != "" {
		t.Errorf("taken back: %+v", v)
	}
	refused("one that was taken back", newHandset(t).shows(t, gone), "TICKET_INVALID")
	_, err := r.SuspendDevice(r.ctx, r.console(retailer), idem("stop"), taken)
	wants(t, "suspended when it is revoked", err, "DEVICE_STATE")
	r.clock.forward(25 * time.Hour)
	refused("too late", newHandset(t).shows(t, second), "TICKET_INVALID")
	if d, err := r.Enrol(r.ctx, in); err != nil || d.State != "active" {
		t.Errorf("the one who has it asks much later: %+v, %v", d, err)
	}
}

// A ticket is shown once, and stands nowhere.
func TestTicketsAreSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	wish := idem("devices")
	made, err := r.CreateDevice(r.ctx, r.console(retailer), wish, transfer.NewDevice{Name: "一号仓"})
	check(t, err)
	again, err := r.CreateDevice(r.ctx, r.console(retailer), wish, transfer.NewDevice{Name: "一号仓"})
	if err != nil || again.Text != "" || again.Device.ID != made.Device.ID {
		t.Errorf("asked again: %v, %v", again.Device, err)
	}
	secret := must2(protocol.ParseTicket(string(made.Text)))(t).Secret()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if strings.Contains(fmt.Sprintf(verb, made), secret) {
			t.Errorf("%s prints it", verb)
		}
	}
	check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		d, err := tx.Device(made.Device.ID)
		if d.TicketIndex == "" || strings.Contains(fmt.Sprintf("%+v", d), secret) {
			t.Errorf("the row has it: %+v", d)
		}
		return err
	}))
	for what, in := range map[string]transfer.NewDevice{"no name": {}, "a long name": {Name: strings.Repeat("长", 65)}, "a name in two lines": {Name: "a\nb"}} {
		_, err := r.CreateDevice(r.ctx, r.console(retailer), idem("devices"), in)
		wants(t, what, err, "DEVICE_INVALID")
	}
	_, err = r.CreateDevice(r.ctx, r.console(retailer), idem("devices"), transfer.NewDevice{Name: "x", Holder: r.console(distributor).Person})
	wants(t, "another's holder", err, "HOLDER_UNKNOWN")
}

// Two servers are shown a ticket at once: by one terminal that is sent to both, and by two.
func TestEnrolAtOnce(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	r := rigOn(t)
	r.config = func(c *transfer.Config) { shared = *c }
	fresh.copyTo(r)
	r.start(t)
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })
	servers := []*transfer.Service{r.Service, other}
	id, text := r.ticket(retailer)
	asks := []protocol.Enrol{newHandset(t).shows(t, text), newHandset(t).shows(t, text)}
	devices, errs := make([]protocol.Device, 8), make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { devices[i], errs[i] = servers[i%2].Enrol(r.ctx, asks[i/2%2]) })
	}
	all.Wait()
	won := ""
	for i, err := range errs {
		switch {
		case err == nil && won == "":
			won = devices[i].KeyID
		case err == nil && devices[i].KeyID != won:
			t.Errorf("two terminals have one ticket: %s and %s", won, devices[i].KeyID)
		case err != nil && transfer.CodeOf(err) != "TICKET_USED":
			t.Error(err)
		}
	}
	if v := r.device(retailer, id); v.State != "active" || v.KeyID != won {
		t.Errorf("%+v, and %s has won", v, won)
	}
	r.onLedger("PublishKey", 6) // the platform's five besides, of which one is the gateway's
	r.fsck()
}

// Killed between what custody stores and the act, the same terminal goes on, and no other.
func TestEnrolKilled(t *testing.T) {
	t.Parallel()
	for _, point := range []string{transfer.AtAuthorised, transfer.AtAccepting} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			death := &death{}
			r := rigOn(t)
			r.at = death.at
			r.config = func(c *transfer.Config) { c.Trade.SweepInterval = time.Hour }
			fresh.copyTo(r)
			r.start(t)
			id, text := r.ticket(retailer)
			h := newHandset(t)
			in := h.shows(t, text)
			r.copiedAt(death, "transfer: "+point, func(r *rig) { _, _ = r.Enrol(r.ctx, in) })
			if v := r.device(retailer, id); v.State != "ticketed" {
				t.Errorf("killed, it is %+v", v)
			}
			_, err := r.Enrol(r.ctx, newHandset(t).shows(t, text))
			wants(t, "another one comes first", err, "TICKET_USED")
			d, err := r.Enrol(r.ctx, in)
			if err != nil || d.State != "active" || d.KeyID != h.Public().KeyID() {
				t.Errorf("%+v, %v", d, err)
			}
			r.noneUnfinished()
			r.fsck()
		})
	}
}

// A key that the ledger refuses fails its device, and says why; a device that was stopped on its way is stopped when it is there.
func TestEnrolFails(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newRigWith(t, f.wrap)
	id, text := r.ticket(retailer)
	h := newHandset(t)
	in := h.shows(t, text)
	f.next("PublishKey", 1, func(try) (ledger.Commit, error) {
		return ledger.Commit{}, refusal(contract.KeyExists)
	})
	_, err := r.Enrol(r.ctx, in)
	wants(t, "the ledger refuses it", err, "ENROLMENT_FAILED")
	if v := r.device(retailer, id); v.State != "failed" || v.Error == nil || v.Error.Code != contract.KeyExists {
		t.Errorf("%+v", v)
	}
	_, err = r.Enrol(r.ctx, in)
	wants(t, "asked again", err, "ENROLMENT_FAILED")
	_, text = r.ticket(retailer) // with another ticket it gets there
	if d, err := r.Enrol(r.ctx, h.shows(t, text)); err != nil || d.State != "active" {
		t.Errorf("%+v, %v", d, err)
	}
	if v := r.stopped(retailer, "revoke", id); v.State != "revoked" || v.OrderID != "" {
		t.Errorf("the failed one, revoked: %+v", v)
	}
}
