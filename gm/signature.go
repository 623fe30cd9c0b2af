package gm

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"

	emmansun "github.com/emmansun/gmsm/sm2"
)

// MaxSignatureSize is the most bytes a signature can have: a sequence of two
// integers of 32 bytes, each with a sign byte.
const MaxSignatureSize = 72

// Signature is an SM2 signature (r, s) in strict DER. A value that came from
// ParseSignature, UnmarshalText or Sign is well formed; only Verify tells
// whether it is valid. SM2 signatures are randomised: never use their bytes as
// an ID or to tell requests apart.
type Signature []byte

// integers is SM2Signature of GM/T 0009.
type integers struct{ R, S *big.Int }

// ParseSignature takes the one strict DER encoding of r and s, both in
// [1, n-1], and answers ErrSignatureInvalid to all else: trailing bytes, a third
// element, padded or negative integers, long-form lengths, more than 72 bytes.
// The result is a copy.
func ParseSignature(b []byte) (Signature, error) {
	if len(b) > MaxSignatureSize {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrSignatureInvalid, len(b), MaxSignatureSize)
	}
	var sig integers
	if _, err := asn1.Unmarshal(b, &sig); err != nil {
		return nil, fmt.Errorf("%w: not DER", ErrSignatureInvalid)
	}
	// The decoder overlooks trailing bytes and extra elements; nothing that was
	// overlooked survives encoding again.
	strict, err := encodeSignature(sig.R, sig.S)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(strict, b) {
		return nil, fmt.Errorf("%w: not the strict encoding", ErrSignatureInvalid)
	}
	return strict, nil
}

func encodeSignature(r, s *big.Int) (Signature, error) {
	n := new(big.Int).SetBytes(groupOrder[:])
	for _, v := range []*big.Int{r, s} {
		if v.Sign() <= 0 || v.Cmp(n) >= 0 {
			return nil, fmt.Errorf("%w: r or s is not in [1, n-1]", ErrSignatureInvalid)
		}
	}
	b, err := asn1.Marshal(integers{R: r, S: s})
	if err != nil {
		return nil, fmt.Errorf("%w: encode", ErrSignatureInvalid)
	}
	return b, nil
}

// Verify answers nil if sig is pub's signature over the message (SM2 with SM3,
// user ID of GM/T 0009), and in its strict encoding. Else it answers
// ErrSignatureInvalid, or ErrPublicKeyInvalid for the zero key.
func Verify(pub PublicKey, message []byte, sig Signature) error {
	if pub.IsZero() {
		return fmt.Errorf("%w: the zero key", ErrPublicKeyInvalid)
	}
	strict, err := ParseSignature(sig)
	if err != nil {
		return err
	}
	key, err := emmansun.NewPublicKey(pub.point[:])
	if err != nil {
		return fmt.Errorf("%w: off the curve", ErrPublicKeyInvalid)
	}
	if !emmansun.VerifyASN1WithSM2(key, []byte(userID), message, strict) {
		return ErrSignatureInvalid
	}
	return nil
}

// Hex returns the bytes as lower-case hex digits.
func (s Signature) Hex() string { return hex.EncodeToString(s) }

// String is Hex.
func (s Signature) String() string { return s.Hex() }

// MarshalText returns Hex.
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.Hex()), nil }

// UnmarshalText takes hex in either case, and has all the guards of
// ParseSignature. On an error the receiver keeps its value.
func (s *Signature) UnmarshalText(text []byte) error {
	if len(text) > 2*MaxSignatureSize {
		return fmt.Errorf("%w: %d hex digits, more than %d", ErrSignatureInvalid, len(text), 2*MaxSignatureSize)
	}
	b, err := hex.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("%w: not hex", ErrSignatureInvalid)
	}
	sig, err := ParseSignature(b)
	if err != nil {
		return err
	}
	*s = sig
	return nil
}
