package transfer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// devices holds terminals against the ledger's records of their keys. A stolen one that only this database calls stopped
// signs at any other gateway: that is found above all.
func (c *check) devices(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllDevices, func(d model.Device) string { return d.ID }, func(tx *model.Tx, row model.Device) error {
		c.report.Devices++
		seen[row.KeyID] = true
		if problem := deviceOdd(row); problem != "" {
			c.report.find(Finding{Kind: "DEVICE", Subject: row.ID, Problem: problem})
			return nil
		}
		publishing, err := onItsWay(tx, row.Act)
		if err != nil {
			return err
		}
		stopping, err := onItsWay(tx, row.OrderAct)
		if err != nil {
			return err
		}
		problem, err := verdict(ctx, c.truth, c.truth.keys, row.KeyID, c.seen, func(k *contract.Key) string { return deviceDiffers(row, k, publishing, stopping) })
		if err == nil && problem != "" {
			c.report.find(c.mendDevice(row, problem))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(c.truth.keys)) {
		k := newest(c.truth.keys[id])
		if k.Kind != request.DeviceKey {
			continue
		}
		if k.Status == contract.KeyActive && !terminals(k.Functions) {
			c.report.find(Finding{Kind: "DEVICE", Subject: id, Problem: "may sign on the ledger what no terminal does"})
		}
		live := k.Status == contract.KeyActive || k.Status == contract.KeySuspended
		if live && !seen[id] && c.truth.keys[id][0].block <= c.truth.settled {
			c.report.find(c.mendUnknownDevice(id))
		}
	}
	return nil
}

// deviceOdd says what is wrong with a device's row by itself.
func deviceOdd(d model.Device) string {
	switch {
	case d.State == model.DeviceTicketed && d.TicketIndex == "":
		return "waits for its terminal, and has no ticket"
	case d.KeyID == "" && d.State != model.DeviceTicketed && d.State != model.DeviceRevoked && d.State != model.DeviceFailed:
		return fmt.Sprintf("is %s, and its ticket is bound to no key", d.State)
	case d.SerialSalt == "":
		return ""
	}
	salt, err := hex.DecodeString(d.SerialSalt)
	if err != nil || len(salt) != 32 || protocol.SerialHash([32]byte(salt), d.Serial) != d.SerialHash {
		return "serial number and salt do not give its hash"
	}
	return ""
}

// onItsWay reports whether an act is still to bring something to the ledger, or to hear from it that it is so already.
func onItsWay(tx *model.Tx, act string) (bool, error) {
	if act == "" {
		return false, nil
	}
	a, err := tx.Act(act)
	return err == nil && (!a.State.Finished() || a.ErrorCode == contract.AlreadyApplied), ignore(err, model.ErrNotFound)
}

// terminals reports whether a key's functions are no more than a terminal's. None are all there are.
func terminals(functions []string) bool {
	return len(functions) > 0 && !slices.ContainsFunc(functions, func(f string) bool { return !slices.Contains(protocol.Functions, f) })
}

// deviceDiffers says how a device here is not as the ledger has its key; publishing and stopping are acts on their way.
func deviceDiffers(row model.Device, k *contract.Key, publishing, stopping bool) string {
	switch {
	case k == nil && (row.LedgerVersion > 0 || row.State == model.DeviceActive):
		return fmt.Sprintf("is %s here with key %s, which is not on the ledger", row.State, row.KeyID)
	case k == nil && row.State == model.DeviceEnrolling && !publishing:
		return "is enrolling, and no act is under way"
	case k == nil:
		return ""
	case k.Kind != request.DeviceKey:
		return fmt.Sprintf("has a key here that is a %s key on the ledger", k.Kind)
	case row.Participant != k.Participant:
		return fmt.Sprintf("belongs to %s here and to %s on the ledger", row.Participant, k.Participant)
	case row.SerialHash != k.SerialHash || !bytes.Equal(row.Public, k.Public.Bytes()):
		return "serial number or public key differ"
	case !stopping && stopUnheard(row.State, k.Status):
		return fmt.Sprintf("is %s here and %s on the ledger, and no act is under way that stops it there", row.State, k.Status)
	case row.State != deviceShould(row.State, k.Status):
		return fmt.Sprintf("is %s here and %s on the ledger", row.State, k.Status)
	case row.LedgerStatus != string(k.Status) || row.LedgerVersion != k.Version:
		return fmt.Sprintf("its key is %s in version %d here, and %s in version %d on the ledger", row.LedgerStatus, row.LedgerVersion, k.Status, k.Version)
	}
	return ""
}

// stopUnheard reports whether a device is stopped further here than on the ledger.
func stopUnheard(here model.DeviceState, there contract.KeyStatus) bool {
	switch here {
	case model.DeviceSuspended, model.DeviceLost:
		return there == contract.KeyActive
	case model.DeviceRevoked:
		return there == contract.KeyActive || there == contract.KeySuspended
	}
	return false
}

// deviceShould is what a device may be while the ledger says this of its key. What is stopped here stays so.
func deviceShould(here model.DeviceState, there contract.KeyStatus) model.DeviceState {
	switch {
	case there == contract.KeyRevoked, there == contract.KeyRotated:
		return model.DeviceRevoked
	case stopUnheard(here, there), there == contract.KeySuspended && here == model.DeviceLost:
		return here
	case there == contract.KeySuspended:
		return model.DeviceSuspended
	}
	return model.DeviceActive
}

// mendDevice makes a device what the ledger says of its key. It never lets one go on that is stopped here: whose order has
// not got there, a person orders once more.
func (c *check) mendDevice(row model.Device, problem string) Finding {
	f := Finding{Kind: "DEVICE", Subject: row.ID, Problem: problem}
	k := newest(c.truth.keys[row.KeyID])
	if k == nil || k.Kind != request.DeviceKey || stopUnheard(row.State, k.Status) {
		return f
	}
	return c.mending(f, asTheLedger, func(ctx context.Context, tx *model.Tx) error {
		k, _, err := source(ctx, c, c.truth.keys, row.KeyID)
		if err != nil {
			return err
		}
		d, err := tx.LockDevice(row.ID)
		if err != nil {
			return err
		}
		d.Participant, d.Public, d.SerialHash = k.Participant, k.Public.Bytes(), k.SerialHash
		d.LedgerStatus, d.LedgerVersion, d.State = string(k.Status), k.Version, deviceShould(d.State, k.Status)
		return tx.ForceDevice(d)
	})
}

// mendUnknownDevice gives an organisation the terminal that the ledger has of it, as the listener does.
func (c *check) mendUnknownDevice(keyID string) Finding {
	f := Finding{Kind: "DEVICE", Subject: keyID, Problem: "is on the ledger and not in the database"}
	return c.mending(f, asTheLedger, func(ctx context.Context, tx *model.Tx) error {
		k, t, err := source(ctx, c, c.truth.keys, keyID)
		if err != nil {
			return err
		}
		return c.mirrorDevice(tx, t, *k)
	})
}

// gatewayKeys holds the keys by which terminals are answered against the ledger's, and opens each.
func (c *check) gatewayKeys(ctx context.Context) error {
	var rows []model.GatewayKey
	if err := c.snapshot(ctx, func(tx *model.Tx) (err error) {
		rows, err = tx.GatewayKeys()
		return err
	}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, row := range rows {
		seen[row.ID] = true
		problem, err := verdict(ctx, c.truth, c.truth.keys, row.ID, c.seen, func(k *contract.Key) string { return gatewayKeyDiffers(row, k) })
		if err != nil {
			return err
		}
		if problem != "" {
			c.report.find(c.mendGatewayKey(row.ID, problem))
		}
		if row.Retired {
			continue // it opens nothing any more
		}
		key, err := c.unsealGateway(row)
		if err != nil {
			c.report.find(Finding{Kind: "GATEWAY", Subject: row.ID, Problem: "can't be opened"})
			continue
		}
		key.Clear()
	}
	for _, id := range slices.Sorted(maps.Keys(c.truth.keys)) {
		k := newest(c.truth.keys[id])
		if k.Kind == request.GatewayKey && k.Status != contract.KeyRevoked && !seen[id] && c.truth.keys[id][0].block <= c.truth.settled {
			c.report.find(c.retireUnknown(id))
		}
	}
	return nil
}

func gatewayKeyDiffers(row model.GatewayKey, k *contract.Key) string {
	switch {
	case k == nil && row.LedgerVersion > 0:
		return "is published here and not on the ledger"
	case k == nil:
	case k.Kind != request.GatewayKey || k.Participant != PlatformID:
		return fmt.Sprintf("is a %s key of %s on the ledger", k.Kind, k.Participant)
	case row.LedgerStatus != string(k.Status) || row.LedgerVersion != k.Version:
		return fmt.Sprintf("is %s in version %d here, and %s in version %d on the ledger", row.LedgerStatus, row.LedgerVersion, k.Status, k.Version)
	}
	return ""
}

func (c *check) mendGatewayKey(id, problem string) Finding {
	f := Finding{Kind: "GATEWAY", Subject: id, Problem: problem}
	if k := newest(c.truth.keys[id]); k == nil || k.Kind != request.GatewayKey || k.Participant != PlatformID {
		return f
	}
	return c.mending(f, asTheLedger, func(ctx context.Context, tx *model.Tx) error {
		k, _, err := source(ctx, c, c.truth.keys, id)
		if err != nil {
			return err
		}
		return tx.ForceGatewayKey(k.ID, string(k.Status), k.Version, k.TxID)
	})
}

// retireUnknown has a gateway key revoked that the ledger has and nobody here: the database was put back to a copy from
// before it was made, or somebody else has published it. Nothing here can sign with it.
func (c *check) retireUnknown(id string) Finding {
	f := Finding{Kind: "GATEWAY", Subject: id, Problem: "is on the ledger, and nobody here can sign with it"}
	return c.mending(f, "note it as retired, which has it revoked", func(ctx context.Context, tx *model.Tx) error {
		k, _, err := source(ctx, c, c.truth.keys, id)
		if err != nil {
			return err
		}
		rows, err := tx.GatewayKeys()
		if err != nil {
			return err
		}
		last := 0
		for _, row := range rows {
			if last = max(last, row.Number); row.ID == id {
				return errMoot
			}
		}
		err = tx.AddGatewayKey(model.GatewayKey{
			ID: id, Number: last + 1, Public: k.Public.Bytes(), Sealed: []byte{}, Retired: true, LedgerStatus: string(k.Status), LedgerVersion: k.Version,
			TxID: k.TxID, CreatedAt: c.now(),
		})
		if errors.Is(err, model.ErrConflict) {
			err = errMoot // a server makes one at this moment: it is found again
		}
		return err
	})
}
