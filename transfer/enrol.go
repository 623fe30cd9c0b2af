package transfer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"cardflow/gm"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// Terminals themselves: they show a ticket, and are known by their key from then on.

// Enrol takes a terminal's key for the ticket that it shows. The first key that a ticket is shown with is bound to it. Asked
// again with the same key it answers how far that is. Errors: TICKET_INVALID, whether there is none, it is another's, or too
// late; TICKET_USED with another key; DEVICE_INVALID, POSSESSION_WRONG, KEY_EXISTS; ENROLMENT_FAILED.
//
// Custody binds the key before this database does: killed between the two, the ticket is good for this key and no other.
func (s *Service) Enrol(ctx context.Context, in protocol.Enrol) (protocol.Device, error) {
	ticket, err := protocol.ParseTicket(in.Ticket)
	if err != nil {
		return protocol.Device{}, fail("TICKET_INVALID")
	}
	salt, err := hex.DecodeString(in.SerialSalt)
	if err != nil || len(salt) != 32 || hex.EncodeToString(salt) != in.SerialSalt || !protocol.ValidSerial(in.Serial) || in.Public.IsZero() {
		return protocol.Device{}, fail("DEVICE_INVALID")
	}
	keyID := in.Public.KeyID()
	var d model.Device
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		if d, err = tx.DeviceByTicket(s.Vault.Index("ticket", ticket.Secret())); errors.Is(err, model.ErrNotFound) || err == nil && d.Participant != ticket.Participant {
			return fail("TICKET_INVALID")
		}
		if err != nil {
			return err
		}
		if err := s.shown(d, in); err != nil || d.State != model.DeviceTicketed {
			return err
		}
		return taken(tx, keyID, d.ID)
	})
	if err != nil {
		return protocol.Device{}, err
	}
	if gm.Verify(in.Public, request.PossessionBytes(s.Ledger.Channel(), d.Participant, in.Public), in.Possession) != nil {
		return protocol.Device{}, fail("POSSESSION_WRONG")
	}
	if d.State == model.DeviceTicketed {
		key := request.NewKey{
			Public: in.Public, Kind: request.DeviceKey, SerialHash: protocol.SerialHash([32]byte(salt), in.Serial), Functions: slices.Clone(protocol.Functions),
			Possession: in.Possession,
		}
		err := s.Signer.NameDevice(ctx, deviceAsked(d.ID), request.PublishKey{Participant: d.Participant, Key: key})
		if errors.Is(err, ErrUnauthorised) {
			return protocol.Device{}, &Error{Code: "TICKET_USED", Err: err}
		}
		if err = unauthorised(err); err != nil {
			return protocol.Device{}, err
		}
		s.at(AtAuthorised)
		if err := s.bindDevice(ctx, d.ID, in, key); err != nil {
			return protocol.Device{}, err
		}
	}
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
	defer cancel()
	if _, err := s.Await(wait, deviceAct(d.ID)); err != nil && !errors.Is(err, model.ErrNotFound) {
		return protocol.Device{}, err
	}
	return s.enrolled(ctx, d.ID)
}

// shown says why a device's ticket is not good for this key.
func (s *Service) shown(d model.Device, in protocol.Enrol) error {
	switch {
	case d.State == model.DeviceTicketed && s.now() < d.TicketUntil:
		return nil
	case d.State == model.DeviceTicketed, d.KeyID == "": // too late; or it was taken back
		return fail("TICKET_INVALID")
	case !bytes.Equal(d.Public, in.Public.Bytes()) || d.Serial != in.Serial || d.SerialSalt != in.SerialSalt:
		return fail("TICKET_USED")
	}
	return nil
}

// taken says whether a key is another device's. One that has failed with it lets it go.
func taken(tx *model.Tx, keyID, device string) error {
	other, err := tx.DeviceByKey(keyID)
	switch {
	case errors.Is(err, model.ErrNotFound), err == nil && (other.ID == device || other.State == model.DeviceFailed):
		return nil
	case err != nil:
		return err
	}
	return fail("KEY_EXISTS")
}

// bindDevice gives a device the key that was named for it, and accepts the act that publishes it.
func (s *Service) bindDevice(ctx context.Context, id string, in protocol.Enrol, key request.NewKey) error {
	err := s.DB.Write(ctx, func(tx *model.Tx) error {
		d, err := tx.LockDevice(id)
		if err == nil {
			err = s.shown(d, in)
		}
		if err != nil || d.State != model.DeviceTicketed {
			return err
		}
		keyID := key.Public.KeyID()
		if err := taken(tx, keyID, id); err != nil {
			return err
		}
		if other, err := tx.LockDeviceByKey(keyID); err == nil {
			if _, err := tx.UpdateDevice(other.ID, func(o *model.Device) { o.KeyID = "" }); err != nil {
				return err
			}
		} else if !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if _, err := tx.UpdateDevice(id, func(d *model.Device) {
			d.State, d.Act, d.KeyID, d.Public = model.DeviceEnrolling, deviceAct(id), keyID, key.Public.Bytes()
			d.Serial, d.SerialSalt, d.SerialHash = in.Serial, in.SerialSalt, key.SerialHash
		}); err != nil {
			return err
		}
		_, err = s.accept(tx, draft{
			ID: deviceAct(id), Contract: request.Identity, Function: "PublishKey", Actor: d.Participant, Person: d.Maker, Subject: keyID, Deadline: s.patience(),
			Fields: fields{Parties: []party{{d.Participant, SlotAccount}}, Outside: &outsidePlan{Key: keyID, Participant: d.Participant, New: &key}},
		})
		if err == nil {
			s.at(AtAccepting)
		}
		return err
	})
	if errors.Is(err, model.ErrConflict) { // another ticket was shown with this key at the same moment, or this one twice
		err = s.DB.Read(ctx, func(tx *model.Tx) error {
			d, err := tx.Device(id)
			if err == nil && d.State == model.DeviceTicketed {
				err = fail("KEY_EXISTS")
			}
			return err
		})
	}
	s.kick()
	return err
}

// notEnrolled notes why a device's key never came to the ledger.
func (s *Service) notEnrolled(tx *model.Tx, a model.Act) error {
	d, err := tx.LockDeviceByKey(a.Subject)
	if err != nil || d.Act != a.ID || a.ErrorCode == contract.AlreadyApplied {
		return present(err)
	}
	_, err = tx.UpdateDevice(d.ID, func(d *model.Device) {
		if d.ErrorCode = a.ErrorCode; d.State == model.DeviceEnrolling {
			d.State = model.DeviceFailed
		}
	})
	return err
}

func (s *Service) enrolled(ctx context.Context, id string) (v protocol.Device, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		d, err := tx.Device(id)
		if err == nil && d.State == model.DeviceFailed {
			err = fail("ENROLMENT_FAILED").With("cause", d.ErrorCode)
		}
		if err == nil {
			v, err = terminalView(tx, d)
		}
		return err
	})
	return v, err
}

func terminalView(tx *model.Tx, d model.Device) (protocol.Device, error) {
	p, err := tx.Participant(d.Participant)
	return protocol.Device{
		ID: d.ID, Name: d.Name, State: string(d.State), Serial: d.Serial, SerialHash: d.SerialHash, KeyID: d.KeyID,
		Participant: protocol.Party{ID: p.ID, Name: p.Name, Role: request.Role(p.Role)},
	}, err
}

// Terminal finds who speaks by a device's key, and the key. Errors: DEVICE_REFUSED if the key is unknown, or not active, or
// its organisation isn't registered.
func (s *Service) Terminal(ctx context.Context, keyID string) (c Caller, public gm.PublicKey, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		d, err := tx.DeviceByKey(keyID)
		if errors.Is(err, model.ErrNotFound) || err == nil && d.State != model.DeviceActive {
			return fail("DEVICE_REFUSED")
		}
		if err != nil {
			return err
		}
		p, err := tx.Participant(d.Participant)
		if err != nil {
			return err
		}
		if p.State != model.ParticipantRegistered {
			return fail("DEVICE_REFUSED")
		}
		if public, err = gm.ParsePublicKey(d.Public); err != nil || public.KeyID() != keyID {
			return errors.Join(fail("DEVICE_REFUSED"), err)
		}
		c = Caller{Participant: p.ID, Role: request.Role(p.Role), Device: d.ID}
		return nil
	})
	return c, public, err
}

// seenHour is how long the note that a terminal has asked for something is good enough.
const seenHour = time.Hour

// seenDevice is what this server has noted of a terminal.
type seenDevice struct {
	gateway string
	until   model.Millis
}

// TerminalSeen notes that a terminal has asked for something, and by which gateway key it wants its answers; "" if it hasn't said
// or that one signs no more. Each server writes that once an hour, or when the key changes.
func (s *Service) TerminalSeen(ctx context.Context, c Caller, gateway string) error {
	now := s.now()
	if last, ok := s.devices.Load(c.Device); ok && last.(seenDevice).gateway == gateway && now < last.(seenDevice).until {
		return nil
	}
	err := s.DB.Write(ctx, func(tx *model.Tx) error { return tx.SeeDevice(c.Device, gateway, now) })
	if err == nil {
		s.devices.Store(c.Device, seenDevice{gateway, now + model.Millis(seenHour.Milliseconds())})
	}
	return err
}

// TerminalDevice shows a terminal to itself.
func (s *Service) TerminalDevice(ctx context.Context, c Caller) (protocol.Device, error) {
	return s.enrolled(ctx, c.Device)
}

// LedgerKey is a key's record on the ledger. ParticipantVersion is what whoever replaces a key of his own organisation names in
// RotateKey; 0 of the gateway's.
type LedgerKey struct {
	contract.Key
	ParticipantVersion int
}

// TerminalKey shows a key's record on the ledger: one of the terminal's own organisation, or the gateway's. Errors: NOT_FOUND.
func (s *Service) TerminalKey(ctx context.Context, c Caller, keyID string) (LedgerKey, error) {
	k, err := query[contract.Key](ctx, s.Ledger, request.Identity, "GetKey", keyID)
	switch {
	case contract.CodeOf(err) == contract.KeyUnknown, contract.CodeOf(err) == contract.BadArguments, // no name that a key could have
		err == nil && k.Participant != c.Participant && (k.Participant != PlatformID || k.Kind != request.GatewayKey):
		return LedgerKey{}, fail("NOT_FOUND")
	case err != nil || k.Participant != c.Participant:
		return LedgerKey{Key: k}, err
	}
	owner, err := query[contract.Participant](ctx, s.Ledger, request.Identity, "GetParticipant", k.Participant)
	return LedgerKey{k, owner.Version}, err
}
