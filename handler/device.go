package handler

import (
	"context"
	"net/http"
	"slices"
	"time"

	"cardflow/model"
	"cardflow/transfer"
)

// Devices are what an organisation's people do with its terminals.
type Devices interface {
	CreateDevice(ctx context.Context, c transfer.Caller, idem transfer.Idem, in transfer.NewDevice) (transfer.Ticket, error)
	ReplaceDevice(ctx context.Context, c transfer.Caller, idem transfer.Idem, id string) (transfer.Ticket, error)
	Devices(ctx context.Context, c transfer.Caller, state, cursor string, limit int) (transfer.Page[transfer.DeviceView], error)
	Device(ctx context.Context, c transfer.Caller, id string) (transfer.DeviceView, error)
	SuspendDevice(ctx context.Context, c transfer.Caller, idem transfer.Idem, id string) (transfer.DeviceView, error)
	LoseDevice(ctx context.Context, c transfer.Caller, idem transfer.Idem, id string) (transfer.DeviceView, error)
	RevokeDevice(ctx context.Context, c transfer.Caller, idem transfer.Idem, id string) (transfer.DeviceView, error)
}

type deviceView struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	Holder         *holderView    `json:"holder,omitempty"`
	State          string         `json:"state"`
	Serial         string         `json:"serial,omitempty"`
	SerialHash     string         `json:"serialHash,omitempty"`
	KeyID          string         `json:"keyId,omitempty"`
	Ledger         *ledgerKeyView `json:"ledger,omitempty"`
	TxID           string         `json:"txId,omitempty"`
	ConfirmationID string         `json:"confirmationId,omitempty"` // of the order to stop it
	Error          *actErrorView  `json:"error,omitempty"`
	Replaces       string         `json:"replaces,omitempty"`
	TicketUntil    *time.Time     `json:"ticketUntil,omitempty"`
	CreatedAt      time.Time      `json:"createdAt"`
	EnrolledAt     *time.Time     `json:"enrolledAt,omitempty"`
	StoppedAt      *time.Time     `json:"stoppedAt,omitempty"`
	SeenAt         *time.Time     `json:"seenAt,omitempty"`
}

type holderView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func viewDevice(d transfer.DeviceView) deviceView {
	v := deviceView{
		ID: d.ID, Name: d.Name, State: d.State, Serial: d.Serial, SerialHash: d.SerialHash, KeyID: d.KeyID, TxID: d.TxID, ConfirmationID: d.OrderID,
		Error: viewActError(d.Error), Replaces: d.Replaces, TicketUntil: d.TicketUntil, CreatedAt: d.CreatedAt, EnrolledAt: d.EnrolledAt, StoppedAt: d.StoppedAt, SeenAt: d.SeenAt,
	}
	if d.Holder != "" {
		v.Holder = &holderView{d.Holder, d.HolderName}
	}
	if d.LedgerVersion > 0 {
		v.Ledger = &ledgerKeyView{d.LedgerStatus, d.LedgerVersion}
	}
	return v
}

// ticketView is a new device with its ticket, which is shown once.
type ticketView struct {
	Device deviceView `json:"device"`
	Ticket string     `json:"ticket,omitempty"`
}

// ticketed answers who has asked for a ticket.
func (c *call) ticketed(t transfer.Ticket, err error) error {
	if err != nil {
		return err
	}
	return render(c, http.StatusCreated, ticketView{viewDevice(t.Device), string(t.Text)})
}

// createDevice is POST /devices.
func createDevice(c *call) error {
	type body struct {
		Name   string `json:"name"`
		Holder string `json:"holder"`
	}
	in, err := bind(c, func(in body) error { return required("name", in.Name) }, func(in body) error { return bounded(512, "name", in.Name, "holder", in.Holder) })
	if err != nil {
		return err
	}
	return c.ticketed(c.Service.CreateDevice(c.ctx(), c.caller(), c.idem(), transfer.NewDevice(in)))
}

// replaceDevice is POST /devices/{id}/replace.
func replaceDevice(c *call) error {
	return c.ticketed(c.Service.ReplaceDevice(c.ctx(), c.caller(), c.idem(), c.Param("id")))
}

// listDevices is GET /devices.
func listDevices(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	state := c.QueryParam("state")
	if state != "" && !slices.Contains(model.DeviceMoves.States(), model.DeviceState(state)) {
		return queryInvalid("state")
	}
	page, err := c.Service.Devices(c.ctx(), c.caller(), state, cursor, limit)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[deviceView]{each(page.Items, viewDevice), page.Next})
}

// showDevice is GET /devices/{id}.
func showDevice(c *call) error {
	d, err := c.Service.Device(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewDevice(d))
}

// suspendDevice is POST /devices/{id}/suspend.
func suspendDevice(c *call) error { return c.onDevice(c.Service.SuspendDevice) }

// loseDevice is POST /devices/{id}/lost.
func loseDevice(c *call) error { return c.onDevice(c.Service.LoseDevice) }

// revokeDevice is POST /devices/{id}/revoke.
func revokeDevice(c *call) error { return c.onDevice(c.Service.RevokeDevice) }

func (c *call) onDevice(do func(context.Context, transfer.Caller, transfer.Idem, string) (transfer.DeviceView, error)) error {
	d, err := do(c.ctx(), c.caller(), c.idem(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusAccepted, viewDevice(d))
}
