package transfer

import (
	"context"
	"errors"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Terminals of organisations, as their administrators keep them: a ticket for each, which lets its key be put on the ledger
// (see ticket.go and enrol.go), and orders that stop it (devicestop.go). What stops a terminal is true here at once, and on the ledger when the act that the
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
