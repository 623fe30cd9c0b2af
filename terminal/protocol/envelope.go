// Package protocol is what terminals and the gateway say to each other: the signed envelope around each HTTP request and
// answer, and the bodies inside. docs/design/011-terminals.md says why; both sides build and read it here.
//
// The threat: whoever sits between them, and each of the two for the other. A request counts once, on its route, within
// minutes; an answer counts for its request alone. What the contract verifies is signed apart from this (see ledger/request):
// a signature made for one is no good for the other.
package protocol

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"cardflow/gm"
)

// Domain is the first field of everything that is signed here.
const Domain = "cardflow/terminal/1"

// MaxSkew is how far the time of a request may be from the gateway's.
const MaxSkew = 5 * time.Minute

// The headers of an envelope.
const (
	HeaderKey       = "Cardflow-Key"
	HeaderNonce     = "Cardflow-Nonce"
	HeaderTime      = "Cardflow-Time"
	HeaderSignature = "Cardflow-Signature"
	HeaderGateway   = "Cardflow-Gateway" // of a request: by which key its answer is wanted, if that is still valid
)

// ErrEnvelope: headers that are no envelope. What else is wrong with one has errors of its own.
var ErrEnvelope = errors.New("not a signed request")

// ErrSignature: it was not made over this by this key.
var ErrSignature = errors.New("the signature does not fit")

// Nonce makes a request one of its own: 16 random bytes.
type Nonce [16]byte

// NewNonce draws one. A machine without randomness can't go on.
func NewNonce() Nonce {
	var n Nonce
	if _, err := io.ReadFull(rand.Reader, n[:]); err != nil {
		panic("protocol: no randomness: " + err.Error())
	}
	return n
}

// String is 32 lower-case hex digits.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// Request is the envelope of an HTTP request.
type Request struct {
	Channel string
	Method  string
	Path    string // without query: there is none
	KeyID   string
	Nonce   Nonce
	Time    int64 // ms since 1970 UTC
	Body    []byte
}

// SigningBytes is what the device's key signs.
func (r Request) SigningBytes() []byte {
	sum := gm.SM3(r.Body)
	return fields([]byte(Domain), []byte("request"), []byte(r.Channel), []byte(r.Method), []byte(r.Path), []byte(r.KeyID), r.Nonce[:],
		binary.BigEndian.AppendUint64(nil, uint64(r.Time)), sum[:])
}

// Digest names the request for its answer: SM3 of SigningBytes.
func (r Request) Digest() [32]byte { return gm.SM3(r.SigningBytes()) }

// Seal puts the envelope into the headers of a request. sign is the device's.
func (r Request) Seal(h http.Header, sign func(message []byte) (gm.Signature, error)) error {
	sig, err := sign(r.SigningBytes())
	if err != nil {
		return err
	}
	h.Set(HeaderKey, r.KeyID)
	h.Set(HeaderNonce, r.Nonce.String())
	h.Set(HeaderTime, strconv.FormatInt(r.Time, 10))
	h.Set(HeaderSignature, sig.Hex())
	return nil
}

// Open reads the envelope of a request that has come in. Whether it counts is for Verify, and for whoever knows the key,
// the time and the nonces. Errors: ErrEnvelope, which names the header.
func Open(channel, method, path string, h http.Header, body []byte) (Request, gm.Signature, error) {
	r := Request{Channel: channel, Method: method, Path: path, Body: body}
	for _, name := range []string{HeaderKey, HeaderNonce, HeaderTime, HeaderSignature} {
		if len(h.Values(name)) != 1 {
			return r, nil, fmt.Errorf("%w: %s stands there %d times", ErrEnvelope, name, len(h.Values(name)))
		}
	}
	r.KeyID = h.Get(HeaderKey)
	if !isHex(r.KeyID, 32) {
		return r, nil, fmt.Errorf("%w: %s", ErrEnvelope, HeaderKey)
	}
	if !isHex(h.Get(HeaderNonce), 2*len(r.Nonce)) {
		return r, nil, fmt.Errorf("%w: %s", ErrEnvelope, HeaderNonce)
	}
	_, _ = hex.Decode(r.Nonce[:], []byte(h.Get(HeaderNonce)))
	at, err := strconv.ParseInt(h.Get(HeaderTime), 10, 64)
	if err != nil || at <= 0 || strconv.FormatInt(at, 10) != h.Get(HeaderTime) {
		return r, nil, fmt.Errorf("%w: %s", ErrEnvelope, HeaderTime)
	}
	r.Time = at
	sig, err := signatureOf(h)
	return r, sig, err
}

// Asking is the envelope of a GET of PathGateway: a nonce of whoever asks, who has no key yet.
func Asking(channel string, n Nonce) Request {
	return Request{Channel: channel, Method: http.MethodGet, Path: PathGateway, Nonce: n}
}

// NonceOf reads the nonce of a GET of PathGateway. Errors: ErrEnvelope.
func NonceOf(h http.Header) (n Nonce, err error) {
	if len(h.Values(HeaderNonce)) != 1 || !isHex(h.Get(HeaderNonce), 2*len(n)) {
		return n, fmt.Errorf("%w: %s", ErrEnvelope, HeaderNonce)
	}
	_, err = hex.Decode(n[:], []byte(h.Get(HeaderNonce)))
	return n, err
}

// Skew is by how much the request's time is ahead of now; beyond MaxSkew either way it is refused.
func (r Request) Skew(now time.Time) time.Duration {
	const most = int64(1) << 42 // ms: some hundred years, beyond which a difference of times would overflow
	return time.Duration(min(max(r.Time-now.UnixMilli(), -most), most)) * time.Millisecond
}

// Verify checks the signature. Errors: ErrSignature.
func (r Request) Verify(public gm.PublicKey, sig gm.Signature) error {
	if public.KeyID() != r.KeyID || gm.Verify(public, r.SigningBytes(), sig) != nil {
		return ErrSignature
	}
	return nil
}

// Response is the envelope of an answer.
type Response struct {
	Channel string
	Gateway string   // key ID
	Request [32]byte // Request.Digest
	Status  int
	Body    []byte
}

// SigningBytes is what the gateway's key signs.
func (r Response) SigningBytes() []byte {
	sum := gm.SM3(r.Body)
	return fields([]byte(Domain), []byte("response"), []byte(r.Channel), []byte(r.Gateway), r.Request[:],
		binary.BigEndian.AppendUint32(nil, uint32(r.Status)), sum[:])
}

// Seal puts the envelope into the headers of an answer.
func (r Response) Seal(h http.Header, sign func(message []byte) (gm.Signature, error)) error {
	sig, err := sign(r.SigningBytes())
	if err != nil {
		return err
	}
	h.Set(HeaderGateway, r.Gateway)
	h.Set(HeaderSignature, sig.Hex())
	return nil
}

// Check holds an answer against the request that it should answer and the gateway keys that are pinned. Errors:
// ErrEnvelope, ErrSignature, also for a key that isn't pinned.
func Check(req Request, status int, h http.Header, body []byte, pinned []gm.PublicKey) error {
	if len(h.Values(HeaderGateway)) != 1 || len(h.Values(HeaderSignature)) != 1 {
		return fmt.Errorf("%w: the answer has no envelope", ErrEnvelope)
	}
	sig, err := signatureOf(h)
	if err != nil {
		return err
	}
	r := Response{Channel: req.Channel, Gateway: h.Get(HeaderGateway), Request: req.Digest(), Status: status, Body: body}
	for _, key := range pinned {
		if key.KeyID() == r.Gateway && gm.Verify(key, r.SigningBytes(), sig) == nil {
			return nil
		}
	}
	return ErrSignature
}

func signatureOf(h http.Header) (gm.Signature, error) {
	var sig gm.Signature
	if err := sig.UnmarshalText([]byte(h.Get(HeaderSignature))); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrEnvelope, HeaderSignature)
	}
	return sig, nil
}

// fields joins fields so that no two lists of fields give the same bytes: each after its length, 4 bytes, big-endian.
func fields(list ...[]byte) []byte {
	var out []byte
	for _, f := range list {
		out = binary.BigEndian.AppendUint32(out, uint32(len(f)))
		out = append(out, f...)
	}
	return out
}

// isHex: n lower-case hex digits.
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
