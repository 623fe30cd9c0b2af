// Package request says what a participant signs.
//
// A Fabric identity only tells which gateway relayed a transaction, so every write that changes ownership or
// identity carries the SM2 signature of the participant who asked for it. This package holds the body of every such
// request, its one encoding, and the bytes that are signed. The contract, custody, the relay and the terminals all
// build those bytes here, so that none of them can mean something else by the same signature.
//
// The promise: a signature made for one channel, contract, function, key, deadline and set of arguments is good for
// nothing else, and no field that changes the meaning of a request stands outside the signed bytes. Openings (see
// Openings) are the one thing that travels unsigned: they open hashes that are themselves signed.
package request

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"cardflow/gm"
)

// Domain is the first field of everything that is signed; it changes whenever the meaning of signed bytes does.
const Domain = "cardflow/v1"

// The contracts of the channel.
const (
	Identity  = "identity"
	Ownership = "ownership"
)

// Body is the arguments of one contract function.
type Body interface {
	// Contract is the contract the function belongs to: Identity or Ownership.
	Contract() string
	// Function is the name of the contract function.
	Function() string
}

// Request is a body with its one encoding, ready to be signed. The zero value is not valid: use New.
type Request struct {
	Channel  string
	Contract string
	Function string
	Args     []byte // the encoded body: exactly the bytes that the contract receives
}

// New encodes a body for a channel.
func New(channel string, body Body) Request {
	return Request{Channel: channel, Contract: body.Contract(), Function: body.Function(), Args: Encode(body)}
}

// ID names the act: hex SM3 over domain, channel, contract, function and the digest of the arguments. It does not
// depend on key, deadline or signature, so an act that is signed again keeps its ID; the contract applies an ID once.
func (r Request) ID() string {
	d := gm.SM3(r.Args)
	id := gm.SM3(lengthPrefixed([]byte(Domain), []byte("act"), []byte(r.Channel), []byte(r.Contract), []byte(r.Function), d[:]))
	return hex.EncodeToString(id[:])
}

// SigningBytes is the message that a key signs with SM2/SM3 (GM/T 0009): each field of
//
//	domain · channel · contract · function · key ID · notAfter (8 bytes, big-endian, ms) · SM3(arguments)
//
// with its length (4 bytes, big-endian) before it. notAfter is milliseconds since 1970 UTC.
func (r Request) SigningBytes(keyID string, notAfter int64) []byte {
	d := gm.SM3(r.Args)
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(notAfter))
	return lengthPrefixed([]byte(Domain), []byte(r.Channel), []byte(r.Contract), []byte(r.Function), []byte(keyID), at[:], d[:])
}

// PossessionBytes is what a new key signs with itself to prove that whoever registers it for a participant holds it.
func PossessionBytes(channel, participant string, public gm.PublicKey) []byte {
	return lengthPrefixed([]byte(Domain), []byte("possession"), []byte(channel), []byte(participant), public.Bytes())
}

// Signature is one participant's consent to a request.
type Signature struct {
	KeyID    string       `json:"keyId"`
	NotAfter int64        `json:"notAfter"` // ms since 1970; the transaction's time must not be later
	Bytes    gm.Signature `json:"signature"`
}

// Proof is what makes a request a signed one. Most acts have one signature; acts of administrators and key
// recoveries have two, by different participants. Ticket is the platform's signature over the Ticket body of the same
// trade and receiver; only the confirmation or refusal of a BEARER trade carries one.
type Proof struct {
	Signatures []Signature `json:"signatures"`
	Ticket     *Signature  `json:"ticket,omitempty"`
}

// Encode writes the proof as the contract receives it.
func (p Proof) Encode() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("request: a proof always encodes: %v", err)) // only strings, numbers and bytes inside
	}
	return b
}

// DecodeProof reads what Encode wrote, strictly.
func DecodeProof(data []byte) (Proof, error) {
	var p Proof
	if err := decodeStrict(data, &p); err != nil {
		return Proof{}, fmt.Errorf("proof: %w", err)
	}
	if len(p.Signatures) > 2 {
		return Proof{}, errors.New("proof: more than two signatures")
	}
	return p, nil
}

// Encode writes a body: JSON, members in the order of the Go struct, no white space. The signature covers these bytes,
// so whoever relays a request passes them on unchanged instead of encoding the body again.
//
// It panics if the body holds the zero public key, which is no key: only a program that forgot to set it can get there.
func Encode(body Body) []byte {
	b, err := encode(body)
	if err != nil {
		panic(fmt.Sprintf("request: body %T does not encode: %v", body, err))
	}
	return b
}

func encode(body Body) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// MaxArgs bounds the encoded arguments of one request, in bytes.
const MaxArgs = 1 << 20

// Decode reads the arguments of a request into body. Unknown members, trailing data and more than MaxArgs bytes are
// errors, and so is any spelling other than Encode's: what a person reviews is then, byte for byte, what was signed.
func Decode(data []byte, body Body) error {
	if len(data) > MaxArgs {
		return fmt.Errorf("arguments of %d bytes, at most %d", len(data), MaxArgs)
	}
	if err := decodeStrict(data, body); err != nil {
		return err
	}
	again, err := encode(body)
	if err != nil {
		return err // a public key left out, which nothing read so far has looked at
	}
	if !bytes.Equal(again, data) {
		return errors.New("arguments are not in canonical encoding")
	}
	return nil
}

func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the value")
	}
	return nil
}

// lengthPrefixed joins fields so that no two lists of fields give the same bytes.
func lengthPrefixed(fields ...[]byte) []byte {
	n := 0
	for _, f := range fields {
		n += 4 + len(f)
	}
	out := make([]byte, 0, n)
	for _, f := range fields {
		out = binary.BigEndian.AppendUint32(out, uint32(len(f)))
		out = append(out, f...)
	}
	return out
}
