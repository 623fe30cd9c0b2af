package transfer

import (
	"context"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// Terminals of organisations, as their administrators keep them: a ticket for each, which lets its key be put on the ledger
// (see enrol.go), and orders that stop it. What stops a terminal is true here at once, and on the ledger when the act that the
// organisation's account key signs has got there. Nothing here lets one go on that was stopped.

// DeviceView is a terminal as its organisation's people see it.
type DeviceView struct {
	ID            string
	Name          string
	Holder        string // person
	HolderName    string
	State         string
	Serial        string
	SerialHash    string
	KeyID         string
	LedgerStatus  string
	LedgerVersion int
	TxID          string
	OrderID       string // act that was last asked to stop it
	Error         *ActError
	Replaces      string
	TicketUntil   *time.Time // while its ticket waits
	CreatedAt     time.Time
	EnrolledAt    *time.Time
	StoppedAt     *time.Time
	SeenAt        *time.Time // when it asked for anything last, to the hour
}

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

// ticketLife is how long a ticket is good.
const ticketLife = 24 * time.Hour

// keepsDevices refuses whoever is no member of staff of an organisation that trades.
func keepsDevices(c Caller) error {
	switch c.Role {
	case request.Carrier, request.Distributor, request.Retailer:
		if c.Person != "" {
			return nil
		}
	}
	return fail("FORBIDDEN")
}

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
func deviceAct(id string) string   { return deviceAsked(id) + "-key" }

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

// ownDevice fetches a device of the caller's organisation, and of no other.
func ownDevice(c Caller, id string, fetch func(id string) (model.Device, error)) (model.Device, error) {
	d, err := fetch(id)
	if errors.Is(err, model.ErrNotFound) || err == nil && d.Participant != c.Participant {
		err = fail("DEVICE_NOT_FOUND")
	}
	return d, err
}

// Devices lists the terminals of the caller's organisation, newest first, in a state or, for "", in any.
func (s *Service) Devices(ctx context.Context, c Caller, state, cursor string, limit int) (Page[DeviceView], error) {
	if err := keepsDevices(c); err != nil {
		return Page[DeviceView]{}, err
	}
	var out Page[DeviceView]
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.DevicesOf(c.Participant, model.DeviceState(state), cursor, limit)
		out = Page[DeviceView]{Next: page.Next}
		for _, d := range page.Items {
			if err != nil {
				break
			}
			var v DeviceView
			v, err = viewDevice(tx, d)
			out.Items = append(out.Items, v)
		}
		return err
	})
	return out, cursorError(err)
}

// Device shows one. Errors: DEVICE_NOT_FOUND.
func (s *Service) Device(ctx context.Context, c Caller, id string) (v DeviceView, err error) {
	if err := keepsDevices(c); err != nil {
		return v, err
	}
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		d, err := ownDevice(c, id, tx.Device)
		if err == nil {
			v, err = viewDevice(tx, d)
		}
		return err
	})
	return v, err
}

func viewDevice(tx *model.Tx, d model.Device) (DeviceView, error) {
	v := DeviceView{
		ID: d.ID, Name: d.Name, Holder: d.Holder, State: string(d.State), Serial: d.Serial, SerialHash: d.SerialHash, KeyID: d.KeyID,
		LedgerStatus: d.LedgerStatus, LedgerVersion: d.LedgerVersion, TxID: d.TxID, OrderID: d.OrderAct, Replaces: d.Replaces,
		CreatedAt: d.CreatedAt.Time(), EnrolledAt: timeOf(d.EnrolledAt), StoppedAt: timeOf(d.StoppedAt), SeenAt: timeOf(d.SeenAt),
	}
	if d.State == model.DeviceTicketed {
		v.TicketUntil = timeOf(d.TicketUntil)
	}
	if d.ErrorCode != "" {
		v.Error = &ActError{Code: d.ErrorCode, Message: MessageOf(d.ErrorCode)}
	}
	if d.Holder == "" {
		return v, nil
	}
	p, err := tx.PersonShown(d.Holder)
	v.HolderName = p.Username
	return v, ignore(err, model.ErrNotFound)
}

// SuspendDevice stops a terminal for a while: to let it go on takes the platform, or another ticket. Errors: DEVICE_NOT_FOUND,
// DEVICE_STATE.
func (s *Service) SuspendDevice(ctx context.Context, c Caller, idem Idem, id string) (DeviceView, error) {
	return s.stopDevice(ctx, c, idem, id, model.DeviceSuspended)
}

// LoseDevice stops a terminal that is lost. Errors: those of SuspendDevice.
func (s *Service) LoseDevice(ctx context.Context, c Caller, idem Idem, id string) (DeviceView, error) {
	return s.stopDevice(ctx, c, idem, id, model.DeviceLost)
}

// RevokeDevice stops a terminal for ever, or a ticket that nobody has shown. Errors: those of SuspendDevice.
func (s *Service) RevokeDevice(ctx context.Context, c Caller, idem Idem, id string) (DeviceView, error) {
	return s.stopDevice(ctx, c, idem, id, model.DeviceRevoked)
}

// stop is an order to stop a device.
type stop struct {
	device string
	to     model.DeviceState
	act    string // "": the ledger has nothing to hear
	key    string
	signs  []party
}

func (s *Service) stopDevice(ctx context.Context, c Caller, idem Idem, id string, to model.DeviceState) (DeviceView, error) {
	if err := keepsDevices(c); err != nil {
		return DeviceView{}, err
	}
	if idem.Key == "" {
		return DeviceView{}, fail("IDEMPOTENCY_KEY_REQUIRED")
	}
	again, err := s.recalled(ctx, c, idem)
	if err == nil && again == "" {
		var o stop
		if o, err = s.stopping(ctx, c, id, s.newID(), to); err == nil {
			_, err = s.once(ctx, c, idem, func(tx *model.Tx) (string, error) { return id, s.acceptStop(tx, c, o) })
		}
	}
	if err != nil {
		return DeviceView{}, err
	}
	return s.Device(ctx, c, id)
}

// stopping finds out what stopping a device takes, and has custody store that its organisation wants it, if its key signs.
func (s *Service) stopping(ctx context.Context, c Caller, id, act string, to model.DeviceState) (o stop, err error) {
	if id == "" {
		return o, nil
	}
	var d model.Device
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		if d, err = ownDevice(c, id, tx.Device); err == nil {
			err = mayStop(d, to)
		}
		return err
	})
	if err != nil {
		return o, err
	}
	o = stop{device: id, to: to}
	if !ledgerStops(d, to) {
		return o, nil
	}
	o.act, o.key = act, d.KeyID
	if o.signs, err = s.whoStops(ctx, c, stopFunction(to)); err != nil || len(o.signs) != 1 || o.signs[0].Owner != c.Participant {
		return o, err
	}
	at := request.KeyAct{Key: d.KeyID}
	if to == model.DeviceRevoked {
		return o, s.authorise(ctx, c, s.asks(act, request.RevokeKey{KeyAct: at}))
	}
	return o, s.authorise(ctx, c, s.asks(act, request.SuspendKey{KeyAct: at}))
}

func stopFunction(to model.DeviceState) string {
	if to == model.DeviceRevoked {
		return "RevokeKey"
	}
	return "SuspendKey"
}

// whoStops says whose keys sign that an organisation's device is stopped: its own; or, where that was made before it could,
// those who may stop any key of theirs.
func (s *Service) whoStops(ctx context.Context, c Caller, function string) ([]party, error) {
	id, err := s.Signer.ActiveKey(ctx, c.Participant, SlotAccount)
	if err != nil && !errors.Is(err, ErrKeyStopped) {
		return nil, unauthorised(err)
	}
	if err == nil {
		k, err := s.Signer.Key(ctx, id)
		if err != nil || slices.Contains(k.Functions, function) {
			return []party{{c.Participant, SlotAccount}}, err
		}
	}
	return overKeysOf(c.Role), nil
}

// mayStop says why a device can't be stopped in this way. Asked again where the ledger has not heard of it, it may.
func mayStop(d model.Device, to model.DeviceState) error {
	unheard := d.LedgerStatus == string(contract.KeyActive)
	switch to {
	case model.DeviceSuspended:
		if d.State == model.DeviceActive || d.State == model.DeviceEnrolling || d.State == model.DeviceSuspended && unheard {
			return nil
		}
	case model.DeviceLost:
		if d.State == model.DeviceActive || d.State == model.DeviceEnrolling || d.State == model.DeviceSuspended || d.State == model.DeviceLost && unheard {
			return nil
		}
	case model.DeviceRevoked:
		if d.State != model.DeviceRevoked || d.KeyID != "" && d.LedgerStatus != string(contract.KeyRevoked) && d.LedgerStatus != string(contract.KeyRotated) {
			return nil
		}
	}
	return fail("DEVICE_STATE").With("state", string(d.State))
}

// ledgerStops reports whether the ledger has to hear that a device is stopped.
func ledgerStops(d model.Device, to model.DeviceState) bool {
	switch {
	case d.KeyID == "" || d.State == model.DeviceFailed && d.LedgerVersion == 0:
		return false
	case to == model.DeviceRevoked:
		return d.LedgerStatus != string(contract.KeyRevoked) && d.LedgerStatus != string(contract.KeyRotated)
	}
	return d.LedgerStatus != string(contract.KeySuspended)
}

// acceptStop stops a device here, and accepts the act that stops it on the ledger. A terminal that was enrolled since its
// organisation looked is stopped by whoever looks again.
func (s *Service) acceptStop(tx *model.Tx, c Caller, o stop) error {
	d, err := ownDevice(c, o.device, tx.LockDevice)
	if err == nil {
		err = mayStop(d, o.to)
	}
	if err == nil && ledgerStops(d, o.to) && o.key != d.KeyID {
		err = fail("DEVICE_STATE").With("state", string(d.State))
	}
	if err != nil {
		return err
	}
	if o.act != "" {
		if _, err := s.accept(tx, draft{
			ID: o.act, Contract: request.Identity, Function: stopFunction(o.to), Actor: c.Participant, Person: c.Person, Subject: o.key, Deadline: s.patience(),
			Fields: fields{Parties: o.signs, Outside: &outsidePlan{Key: o.key, Participant: c.Participant}},
		}); err != nil {
			return err
		}
	}
	_, err = tx.UpdateDevice(d.ID, func(d *model.Device) {
		d.State, d.StoppedAt = o.to, s.now()
		if o.act != "" {
			d.OrderAct = o.act
		}
	})
	return err
}
