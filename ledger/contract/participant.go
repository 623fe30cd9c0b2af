package contract

import (
	"regexp"

	"cardflow/gm"
	"cardflow/ledger/request"
)

// Participant is a pseudonymous identity on the ledger.
type Participant struct {
	ID        string       `json:"id"`
	Role      request.Role `json:"role"`
	Registrar string       `json:"registrar,omitempty"` // who registered him; "" if two administrators did
	Keys      []string     `json:"keys"`                // key IDs, in order of publication
	Version   int          `json:"version"`
	TxID      string       `json:"txId"`
	Time      int64        `json:"time"` // ms
}

// KeyStatus is the state of a key.
type KeyStatus string

// The states of a key. ACTIVE ⇄ SUSPENDED; both → REVOKED; ACTIVE → ROTATED. REVOKED and ROTATED are final.
const (
	KeyActive    KeyStatus = "ACTIVE"
	KeySuspended KeyStatus = "SUSPENDED"
	KeyRevoked   KeyStatus = "REVOKED"
	KeyRotated   KeyStatus = "ROTATED"
)

// Key is a public key on the ledger.
type Key struct {
	ID          string          `json:"id"`
	Participant string          `json:"participant"`
	Public      gm.PublicKey    `json:"public"`
	Kind        request.KeyKind `json:"kind"`
	SerialHash  string          `json:"serialHash,omitempty"`
	Functions   []string        `json:"functions,omitempty"`
	Status      KeyStatus       `json:"status"`
	ValidFrom   int64           `json:"validFrom"`            // ms
	ValidUntil  int64           `json:"validUntil,omitempty"` // ms; 0 means no end
	Version     int             `json:"version"`
	TxID        string          `json:"txId"`
}

// signs says why a key may not sign a function at a time, "" if it may.
func (k Key) signs(function string, now int64) string {
	switch {
	case k.Status != KeyActive, k.ValidUntil != 0 && now >= k.ValidUntil:
		return KeyInactive
	case k.Kind == request.GatewayKey:
		return KeyFunction
	case len(k.Functions) == 0:
		return ""
	}
	for _, f := range k.Functions {
		if f == function {
			return ""
		}
	}
	return KeyFunction
}

func participantKey(id string) string { return "P/" + id }
func keyKey(id string) string         { return "K/" + id }

// A participant ID goes into keys, events and messages: a narrow alphabet without separators.
var participantID = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{2,62}$`)

// kindFits says which kinds of keys a role may have: the platform's own keys sign for nobody else, and a consumer has
// no device.
func kindFits(role request.Role, kind request.KeyKind) bool {
	switch kind {
	case request.PlatformKey, request.GatewayKey:
		return role == request.Platform
	case request.DeviceKey:
		return role != request.Platform && role != request.Consumer
	case request.AccountKey:
		return role != request.Platform
	}
	return false
}

// newKey checks a key that is to be put on the ledger for a participant and stages it.
func (a *act) newKey(participant string, role request.Role, n request.NewKey) (Key, error) {
	switch {
	case n.Public.IsZero():
		return Key{}, refuse(BadArguments, "no public key")
	case !kindFits(role, n.Kind):
		return Key{}, refuse(BadArguments, "a %s has no %s key", role, n.Kind)
	case n.Kind == request.PlatformKey && len(n.Functions) == 0:
		return Key{}, refuse(BadArguments, "a platform key lists its functions")
	case n.Kind == request.DeviceKey && !isHex(n.SerialHash, 64):
		return Key{}, refuse(BadArguments, "a device key carries the hash of its serial number")
	case n.Kind != request.DeviceKey && n.SerialHash != "":
		return Key{}, refuse(BadArguments, "only a device has a serial number")
	case len(n.Functions) > 32:
		return Key{}, refuse(BadArguments, "too many functions")
	case !functionNames(n.Functions):
		return Key{}, refuse(BadArguments, "functions are names of functions")
	case n.ValidUntil != 0 && n.ValidUntil <= a.now:
		return Key{}, refuse(BadArguments, "validity has passed")
	}
	if err := gm.Verify(n.Public, request.PossessionBytes(a.stub.Channel(), participant, n.Public), n.Possession); err != nil {
		return Key{}, refuse(PossessionUnproven, "key of %s", participant)
	}
	k := Key{
		ID: n.Public.KeyID(), Participant: participant, Public: n.Public, Kind: n.Kind, SerialHash: n.SerialHash,
		Functions: n.Functions, Status: KeyActive, ValidFrom: a.now, ValidUntil: n.ValidUntil, Version: 1, TxID: a.stub.TxID(),
	}
	var old Key
	if found, err := a.get(keyKey(k.ID), &old); err != nil {
		return Key{}, err
	} else if found {
		return Key{}, refuse(KeyExists, "key %s", k.ID)
	}
	a.put(keyKey(k.ID), k)
	return k, nil
}

// functionNames keeps free text, which might name a person, off the ledger.
func functionNames(list []string) bool {
	for _, f := range list {
		if f == "" || len(f) > 32 {
			return false
		}
		for _, c := range []byte(f) {
			if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
