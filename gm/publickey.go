package gm

import (
	"encoding/hex"
	"fmt"

	emmansun "github.com/emmansun/gmsm/sm2"
)

// PublicKeySize is the length in bytes of an uncompressed SM2 point:
// 0x04, x (32 bytes), y (32 bytes).
const PublicKeySize = 65

// PublicKey is a point on the SM2 curve. It comes from ParsePublicKey,
// UnmarshalText or a private key, so a PublicKey that isn't zero has been
// checked. It is comparable and can be a map key.
type PublicKey struct {
	point [PublicKeySize]byte
}

// ParsePublicKey takes an uncompressed point and refuses, with
// ErrPublicKeyInvalid, all that isn't one on the SM2 curve: other lengths and
// prefixes (compressed 02/03, hybrid 06/07, the libraries' private 00/01),
// coordinates that aren't below p, (0,0), points of other curves.
func ParsePublicKey(b []byte) (PublicKey, error) {
	if len(b) != PublicKeySize {
		return PublicKey{}, fmt.Errorf("%w: %d bytes instead of %d", ErrPublicKeyInvalid, len(b), PublicKeySize)
	}
	if b[0] != 4 {
		return PublicKey{}, fmt.Errorf("%w: prefix %02x instead of 04", ErrPublicKeyInvalid, b[0])
	}
	x, y := [32]byte(b[1:33]), [32]byte(b[33:])
	if !less(x, fieldPrime) || !less(y, fieldPrime) {
		return PublicKey{}, fmt.Errorf("%w: a coordinate is not below p", ErrPublicKeyInvalid)
	}
	if x == zero && y == zero {
		return PublicKey{}, fmt.Errorf("%w: (0,0) stands for infinity", ErrPublicKeyInvalid)
	}
	if _, err := emmansun.NewPublicKey(b); err != nil {
		return PublicKey{}, fmt.Errorf("%w: off the curve", ErrPublicKeyInvalid)
	}
	return PublicKey{point: [PublicKeySize]byte(b)}, nil
}

// Bytes returns a copy of the 65 bytes, or nil for the zero key.
func (p PublicKey) Bytes() []byte {
	if p.IsZero() {
		return nil
	}
	return p.point[:]
}

// Hex returns the 65 bytes as 130 lower-case hex digits, or "" for the zero key.
func (p PublicKey) Hex() string { return hex.EncodeToString(p.Bytes()) }

// String is Hex: a public key is no secret.
func (p PublicKey) String() string { return p.Hex() }

// IsZero tells whether this is the zero value, which is no key: it verifies
// nothing and isn't marshalled. (The tag `json:",omitzero"` leaves it out.)
func (p PublicKey) IsZero() bool { return p == PublicKey{} }

// KeyID names the key: 32 hex digits, the first 16 bytes of the SM3 of its 65
// bytes. The zero key's ID is "".
func (p PublicKey) KeyID() string {
	if p.IsZero() {
		return ""
	}
	sum := SM3(p.point[:])
	return hex.EncodeToString(sum[:16])
}

// MarshalText returns Hex, and refuses the zero key: what is written can be
// read back.
func (p PublicKey) MarshalText() ([]byte, error) {
	if p.IsZero() {
		return nil, fmt.Errorf("%w: the zero key", ErrPublicKeyInvalid)
	}
	return []byte(p.Hex()), nil
}

// UnmarshalText takes hex in either case, and has all the guards of
// ParsePublicKey. On an error the receiver keeps its value.
func (p *PublicKey) UnmarshalText(text []byte) error {
	if len(text) != 2*PublicKeySize {
		return fmt.Errorf("%w: %d hex digits instead of %d", ErrPublicKeyInvalid, len(text), 2*PublicKeySize)
	}
	var b [PublicKeySize]byte
	if _, err := hex.Decode(b[:], text); err != nil {
		return fmt.Errorf("%w: not hex", ErrPublicKeyInvalid)
	}
	key, err := ParsePublicKey(b[:])
	if err != nil {
		return err
	}
	*p = key
	return nil
}
