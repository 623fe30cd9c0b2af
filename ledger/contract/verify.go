package contract

import (
	"encoding/json"
	"strconv"

	"cardflow/gm"
	"cardflow/ledger/request"
)

// Signer is a participant whose signature fits a request now.
type Signer struct {
	Participant string          `json:"participant"`
	Role        request.Role    `json:"role"`
	Registrar   string          `json:"registrar,omitempty"`
	KeyID       string          `json:"keyId"`
	Kind        request.KeyKind `json:"kind"`
	SerialHash  string          `json:"serialHash,omitempty"`
}

// Device says through what the signer acted: the hash of a terminal's serial number, WECHAT for a consumer, ACCOUNT
// for others whose key the platform holds.
func (s Signer) Device() string {
	switch {
	case s.Kind == request.DeviceKey:
		return s.SerialHash
	case s.Role == request.Consumer:
		return "WECHAT"
	default:
		return "ACCOUNT"
	}
}

// verify rebuilds what each signature must have signed and checks it with a key that is active now: never as of a time
// that the request itself names. latest is a time up to which notAfter is allowed whatever the policy says, 0 for none.
func (a *act) verify(req request.Request, signatures []request.Signature, latest int64) ([]Signer, error) {
	if len(signatures) == 0 {
		return nil, refuse(SignatureMissing, "%s is not signed", req.Function)
	}
	longest, err := policy(a.stub, request.PolicyNotAfterMax)
	if err != nil {
		return nil, err
	}
	latest = max(latest, a.now+longest)
	var signers []Signer
	for i, s := range signatures {
		if s.NotAfter < a.now {
			return nil, refuse(RequestExpired, "signature %d", i+1)
		}
		if s.NotAfter > latest {
			return nil, refuse(NotAfterTooFar, "signature %d", i+1)
		}
		var k Key
		if found, err := load(a.stub, keyKey(s.KeyID), &k); err != nil {
			return nil, err
		} else if !found {
			return nil, refuse(KeyUnknown, "signature %d", i+1)
		}
		if code := k.signs(req.Function, a.now); code != "" {
			return nil, refuse(code, "key %s, %s", k.ID, req.Function)
		}
		if err := gm.Verify(k.Public, req.SigningBytes(s.KeyID, s.NotAfter), s.Bytes); err != nil {
			return nil, refuse(SignatureInvalid, "signature %d", i+1)
		}
		var p Participant
		if found, err := load(a.stub, participantKey(k.Participant), &p); err != nil {
			return nil, err
		} else if !found {
			return nil, refuse(ParticipantUnknown, "%s", k.Participant)
		}
		for _, other := range signers {
			if other.Participant == p.ID {
				return nil, refuse(SignatureMissing, "two signatures of one participant")
			}
		}
		signers = append(signers, Signer{p.ID, p.Role, p.Registrar, k.ID, k.Kind, k.SerialHash})
	}
	return signers, nil
}

// Verify is the call that other contracts make: Verify(contract, function, arguments, signatures, latest).
func (c *Identity) verifyFor(stub Stub, args [][]byte) ([]Signer, error) {
	if len(args) != 5 {
		return nil, refuse(BadArguments, "Verify takes contract, function, arguments, signatures and latest")
	}
	var signatures []request.Signature
	if err := json.Unmarshal(args[3], &signatures); err != nil || len(signatures) > 2 {
		return nil, refuse(BadArguments, "signatures")
	}
	latest, err := strconv.ParseInt(string(args[4]), 10, 64)
	if err != nil {
		return nil, refuse(BadArguments, "latest")
	}
	a := &act{stub: stub, now: stub.TxTime().UnixMilli()}
	req := request.Request{Channel: stub.Channel(), Contract: string(args[0]), Function: string(args[1]), Args: args[2]}
	return a.verify(req, signatures, latest)
}

// twoAdministrators reports whether the signers are two administrators.
func twoAdministrators(s []Signer) bool {
	return len(s) == 2 && s[0].Role == request.Administrator && s[1].Role == request.Administrator
}
