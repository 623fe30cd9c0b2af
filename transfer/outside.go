package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Keys that custody doesn't keep: those in terminals, and those by which terminals are answered. What an act says of one to
// the ledger is found out when its turn comes, as with custody's own.

// outsidePlan is an act on such a key before it is known what to say of it.
type outsidePlan struct {
	Key         string
	Participant string
	New         *request.NewKey `json:",omitempty"` // a device's, that is published
	Gateway     bool            `json:",omitempty"` // it is the platform's gateway that has it
}

// outsideBody finds out what is to be said to the ledger. What is so there already ends the act with ALREADY_APPLIED.
func (s *Service) outsideBody(ctx context.Context, a model.Act, p outsidePlan) (request.Body, error) {
	if err := s.DB.Read(ctx, func(tx *model.Tx) error { return aloneOnKey(tx, a) }); err != nil {
		return nil, err
	}
	if a.Function == "PublishKey" {
		return s.outsideKey(ctx, p)
	}
	k, err := s.ledgerKey(ctx, p.Key)
	switch {
	case contract.CodeOf(err) == contract.KeyUnknown && a.Tries < patience:
		return nil, &later{err: err} // the peer that was asked may be behind
	case err != nil:
		return nil, err
	}
	at := request.KeyAct{Key: k.ID, Version: k.Version}
	switch a.Function {
	case "SuspendKey":
		if k.Status != contract.KeyActive {
			return nil, fail(contract.AlreadyApplied)
		}
		return request.SuspendKey{KeyAct: at}, nil
	case "RevokeKey":
		if k.Status == contract.KeyRevoked {
			return nil, fail(contract.AlreadyApplied)
		}
		return request.RevokeKey{KeyAct: at}, nil
	}
	return nil, fmt.Errorf("act %s: no plan for %s", a.ID, a.Function)
}

func (s *Service) outsideKey(ctx context.Context, p outsidePlan) (request.Body, error) {
	owner, err := query[contract.Participant](ctx, s.Ledger, request.Identity, "GetParticipant", p.Participant)
	switch {
	case err != nil:
		return nil, waiting(err)
	case slices.Contains(owner.Keys, p.Key):
		return nil, fail(contract.AlreadyApplied)
	}
	key := request.NewKey{}
	if p.New != nil {
		key = *p.New
	} else if key, err = s.gatewayProof(ctx, p.Key); err != nil {
		return nil, err
	}
	return request.PublishKey{Participant: owner.ID, Version: owner.Version, Key: key}, nil
}

// aloneOnKey makes an act on a key wait for another one that has fixed what it says of it.
func aloneOnKey(tx *model.Tx, a model.Act) error {
	open, err := tx.UnfinishedActsOn(a.Subject)
	if err != nil {
		return err
	}
	for _, other := range open {
		// One that publishes it comes first, whether it has fixed anything or not.
		if other.ID != a.ID && (other.Body != nil || other.Function == "PublishKey" && a.Function != "PublishKey") {
			return &later{after: waitForAct, waitsFor: other.ID, err: fmt.Errorf("act %s on this key is under way", other.ID)}
		}
	}
	return nil
}

// mirrorKey follows a key that custody doesn't keep.
func (s *Service) mirrorKey(tx *model.Tx, t ledger.Transaction, w ledger.Write) error {
	var k contract.Key
	if err := json.Unmarshal(w.Value, &k); err != nil {
		return err
	}
	switch k.Kind {
	case request.GatewayKey:
		return tx.MirrorGatewayKey(k.ID, string(k.Status), k.Version, k.TxID)
	case request.DeviceKey:
		return s.mirrorDevice(tx, t, k)
	}
	return nil
}

// mirrorDevice follows a terminal's key. One whom nobody here knows was enrolled after the copy that this database was
// restored from, or elsewhere: its organisation finds it without a name.
func (s *Service) mirrorDevice(tx *model.Tx, t ledger.Transaction, k contract.Key) error {
	d, err := tx.LockDeviceByKey(k.ID)
	switch {
	case errors.Is(err, model.ErrNotFound) && (k.Status == contract.KeyRotated || k.Status == contract.KeyRevoked):
		return nil
	case errors.Is(err, model.ErrNotFound):
		if _, err := tx.Participant(k.Participant); err != nil {
			return present(err)
		}
		d = model.Device{
			ID: s.newID(), Participant: k.Participant, KeyID: k.ID, SerialHash: k.SerialHash, State: model.DeviceEnrolling, CreatedAt: s.now(),
		}
		if err := tx.AddDevice(d); err != nil {
			return err
		}
	case err != nil || d.LedgerVersion >= k.Version:
		return err
	}
	_, err = tx.UpdateDevice(d.ID, func(d *model.Device) {
		d.LedgerStatus, d.LedgerVersion, d.Public, d.SerialHash = string(k.Status), k.Version, k.Public.Bytes(), k.SerialHash
		if d.TxID == "" {
			d.TxID, d.EnrolledAt, d.ErrorCode = k.TxID, model.Millis(k.ValidFrom), ""
		}
		if to := deviceAs(d.State, k); to != d.State {
			if d.State = to; to != model.DeviceActive {
				d.StoppedAt = model.MillisOf(t.Time)
			}
		}
	})
	return err
}

// deviceAs is the state of a device when the ledger has said something of its key. What was stopped here stays so when the
// ledger publishes its key; when the ledger lets it go on, it does.
func deviceAs(state model.DeviceState, k contract.Key) model.DeviceState {
	switch {
	case state == model.DeviceRevoked:
		return state
	case k.Status == contract.KeyRevoked, k.Status == contract.KeyRotated:
		return model.DeviceRevoked
	case k.Status == contract.KeySuspended && state != model.DeviceLost:
		return model.DeviceSuspended
	case k.Status == contract.KeyActive && (k.Version > 1 || state == model.DeviceEnrolling || state == model.DeviceFailed):
		return model.DeviceActive
	}
	return state
}

// mirrorRotation gives a device whose key was replaced by another one the new key: it is the same terminal.
func (s *Service) mirrorRotation(tx *model.Tx, t ledger.Transaction) error {
	if t.Contract != request.Identity || t.Function != "RotateKey" || len(t.Args) != 2 {
		return nil
	}
	body, err := decodeBody(t.Function, t.Args[0])
	if err != nil {
		return nil // nobody's of ours
	}
	b := body.(request.RotateKey)
	if b.Key.Kind != request.DeviceKey {
		return nil
	}
	d, err := tx.LockDeviceByKey(b.OldKey)
	if err != nil {
		return present(err)
	}
	if _, err := tx.DeviceByKey(b.Key.Public.KeyID()); !errors.Is(err, model.ErrNotFound) {
		return err // it is known already
	}
	_, err = tx.UpdateDevice(d.ID, func(d *model.Device) {
		if b.Key.SerialHash != d.SerialHash {
			d.SerialSalt = "" // it was of the other hash
		}
		d.KeyID, d.Public, d.SerialHash, d.LedgerStatus, d.LedgerVersion = b.Key.Public.KeyID(), b.Key.Public.Bytes(), b.Key.SerialHash, "", 0
	})
	return err
}
