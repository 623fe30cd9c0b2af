package transfer

import (
	"context"
	"encoding/base32"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"cardflow/model"
	"cardflow/terminal/protocol"
)

// NewDevice is a terminal to be enrolled.
type NewDevice struct {
	Name   string
	Holder string // person of the organisation; may be empty
}

// Ticket is shown once, with the device that it is for. Text is empty when the same wish is asked for again.
type Ticket struct {
	Device DeviceView
	Text   TicketText
}

// TicketText lets one device be enrolled. It doesn't print.
type TicketText string

// String hides it; string(t) is the value.
func (TicketText) String() string { return "[secret]" }

// GoString hides it.
func (TicketText) GoString() string { return "[secret]" }

// CreateDevice makes a ticket for one terminal. Errors: FORBIDDEN, DEVICE_INVALID, HOLDER_UNKNOWN; UNAVAILABLE while no
// gateway key is on the ledger.
func (s *Service) CreateDevice(ctx context.Context, c Caller, idem Idem, in NewDevice) (Ticket, error) {
	if err := keepsDevices(c); err != nil {
		return Ticket{}, err
	}
	return s.ticket(ctx, c, idem, in, "")
}

// ReplaceDevice revokes a terminal, and makes a ticket for another one in its place. Errors: DEVICE_NOT_FOUND; those of
// CreateDevice.
func (s *Service) ReplaceDevice(ctx context.Context, c Caller, idem Idem, id string) (Ticket, error) {
	if err := keepsDevices(c); err != nil {
		return Ticket{}, err
	}
	var old model.Device
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		old, err = ownDevice(c, id, tx.Device)
		return err
	})
	if err != nil {
		return Ticket{}, err
	}
	return s.ticket(ctx, c, idem, NewDevice{old.Name, old.Holder}, id)
}

// ticket makes a device that waits for its terminal, in the place of another one, if there is one.
func (s *Service) ticket(ctx context.Context, c Caller, idem Idem, in NewDevice, replaces string) (Ticket, error) {
	if in.Name = strings.TrimSpace(in.Name); !fitsLabel(in.Name) {
		return Ticket{}, fail("DEVICE_INVALID")
	}
	signer, err := s.AnswerSigner(ctx, "")
	if err != nil {
		return Ticket{}, err
	}
	id := s.newID()
	ticket, err := protocol.NewTicket(c.Participant, s.ticketSecret(), signer.KeyID)
	if err != nil {
		return Ticket{}, err
	}
	index := s.Vault.Index("ticket", ticket.Secret())
	until := s.now() + model.Millis(ticketLife.Milliseconds())
	order := s.newID()
	if idem.Key == "" {
		return Ticket{}, fail("IDEMPOTENCY_KEY_REQUIRED")
	}
	if again, err := s.recalled(ctx, c, idem); again != "" || err != nil {
		return s.ticketOf(ctx, c, again, "", err)
	}
	o, err := s.stopping(ctx, c, replaces, order, model.DeviceRevoked)
	if err != nil && !errors.Is(err, fail("DEVICE_STATE")) { // else it is revoked already
		return Ticket{}, err
	}
	// Custody first: a crash after this leaves a wish for a device that never comes to be.
	if err := s.authoriseDevice(ctx, c, id, until); err != nil {
		return Ticket{}, err
	}
	made, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		if in.Holder != "" {
			if p, err := tx.PersonShown(in.Holder); errors.Is(err, model.ErrNotFound) || err == nil && p.ParticipantID != c.Participant {
				return "", fail("HOLDER_UNKNOWN")
			} else if err != nil {
				return "", err
			}
		}
		if o.device != "" {
			if err := s.acceptStop(tx, c, o); err != nil {
				return "", err
			}
		}
		return id, tx.AddDevice(model.Device{
			ID: id, Participant: c.Participant, Name: in.Name, Holder: in.Holder, State: model.DeviceTicketed, TicketIndex: index, TicketUntil: until,
			Replaces: replaces, Maker: c.Person, Gateway: signer.KeyID, CreatedAt: s.now(),
		})
	})
	text := TicketText(ticket.Text())
	if made != id { // the other of two at once made it, and shows its ticket
		text = ""
	}
	return s.ticketOf(ctx, c, made, text, err)
}

func (s *Service) ticketOf(ctx context.Context, c Caller, id string, text TicketText, err error) (Ticket, error) {
	if err != nil {
		return Ticket{}, err
	}
	v, err := s.Device(ctx, c, id)
	return Ticket{v, text}, err
}

// authoriseDevice has custody store that a device is asked for: its key may wait as long for its signature as other acts do.
func (s *Service) authoriseDevice(ctx context.Context, c Caller, id string, until model.Millis) error {
	err := s.Signer.AuthoriseDevice(ctx, c.Session, deviceAsked(id), int64(until)+(patient+spare).Milliseconds())
	if err = unauthorised(err); err == nil {
		s.at(AtAuthorised)
	}
	return err
}

// deviceAsked is the name under which custody knows that a device was asked for, and deviceAct the act that publishes its key.
func deviceAsked(id string) string { return "device-" + id }

func deviceAct(id string) string { return deviceAsked(id) + "-key" }

// fitsLabel reports whether a name is one that fits on a list.
func fitsLabel(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= 64 && !strings.ContainsFunc(name, unicode.IsControl)
}

// ticketSecret is 128 bits.
func (s *Service) ticketSecret() string {
	b := make([]byte, 16)
	fill(s.Random, b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
