package terminal

import (
	"context"
	"encoding/hex"
	"time"

	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// Enrol shows a ticket to the platform, with the element's key, and pins the gateway key that the ticket names. It may be asked
// again, with the same ticket, whatever happened to it before: what it shows is drawn once and kept. Errors: TICKET_INVALID,
// GATEWAY_NOT_TICKETS and the other refusals of answers, ENROLLED_ALREADY, DEVICE_WRONG, and what the platform refuses.
func Enrol(ctx context.Context, element Element, state *State, server, ticketText string, now func() time.Time) (protocol.Device, error) {
	ticket, err := protocol.ParseTicket(ticketText)
	if err != nil {
		return protocol.Device{}, &Error{Code: "TICKET_INVALID", Err: err}
	}
	if server, err = serverURL(server); err != nil {
		return protocol.Device{}, err
	}
	p, err := state.Profile()
	if err != nil {
		return protocol.Device{}, err
	}
	if p.Enrolled() && p.Device.State != protocol.DeviceEnrolling {
		return protocol.Device{}, Refusal("ENROLLED_ALREADY").With("name", p.Device.Name)
	}
	c, err := newClient(server, "", element, nil, now)
	if err != nil {
		return protocol.Device{}, err
	}
	g, err := c.meet(ctx, ticket.Gateway)
	if err != nil {
		return protocol.Device{}, err
	}
	if err := state.Repin(g.Keys, ticket.Gateway, now().UnixMilli()); err != nil {
		return protocol.Device{}, err
	}
	if p.SerialSalt == "" {
		salt := protocol.NewNonce()
		more := protocol.NewNonce()
		p.SerialSalt = salt.String() + more.String()
	}
	p.Server, p.Channel = server, g.Channel
	if err := state.SetProfile(p); err != nil { // before it is shown: shown again, it must be the same
		return protocol.Device{}, err
	}
	if c.pins, err = state.Pins(); err != nil {
		return protocol.Device{}, err
	}
	possession, err := element.Sign(request.PossessionBytes(g.Channel, ticket.Participant, element.Public()))
	if err != nil {
		return protocol.Device{}, err
	}
	var d protocol.Device
	err = c.post(ctx, protocol.PathEnrol, protocol.Enrol{
		Ticket: ticket.Text(), Serial: element.Serial(), SerialSalt: p.SerialSalt, Public: element.Public(), Possession: possession,
	}, &d)
	if err != nil {
		return d, err
	}
	salt, err := hex.DecodeString(p.SerialSalt)
	if err != nil || len(salt) != 32 {
		return d, failf("STATE_CORRUPT", "the serial's salt")
	}
	if d.KeyID != element.Public().KeyID() || d.Serial != element.Serial() || d.Participant.ID != ticket.Participant ||
		d.SerialHash != protocol.SerialHash([32]byte(salt), d.Serial) {
		return d, Refusal("DEVICE_WRONG")
	}
	p.Device = d
	return d, state.SetProfile(p)
}
