package transfer

import (
	"context"
	"errors"
	"slices"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

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
