package gm

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"sync"

	emmansun "github.com/emmansun/gmsm/sm2"
	tjfoc "github.com/tjfoc/gmsm/sm2"
)

// ScalarSize is the length in bytes of a private scalar. Shorter numbers have
// leading zeros; hex of a big integer, which loses them, is never used.
const ScalarSize = 32

// PrivateKey is an SM2 key pair whose halves are known to fit. It prints as
// [secret] and refuses to be marshalled. Use it by pointer.
type PrivateKey struct {
	pair *keyPair // shared by copies, so Clear reaches them all
}

type keyPair struct {
	public PublicKey

	// The scalar lies behind two pointers. When a key sits in someone's
	// unexported field, fmt can't call Format and prints by reflection; it
	// follows the first pointer if the verb is a wrong one, never the second.
	mu     sync.RWMutex
	scalar *[ScalarSize]byte // guarded by mu; nil after Clear
}

// GenerateKey makes a key pair: tjfoc/gmsm draws it (40 bytes of randomness),
// emmansun/gmsm computes the public key again and must agree. Randomness is
// crypto/rand.Reader outside of tests.
func GenerateKey(random io.Reader) (*PrivateKey, error) {
	if random == nil {
		return nil, fmt.Errorf("%w: no source to generate a key from", ErrRandom)
	}
	made, err := tjfoc.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("%w: generate a key: %w", ErrRandom, err)
	}
	defer wipe(made.D)

	var point [PublicKeySize]byte
	point[0] = 4
	made.X.FillBytes(point[1:33])
	made.Y.FillBytes(point[33:])
	pub, err := ParsePublicKey(point[:])
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	scalar := Secret(made.D.FillBytes(make([]byte, ScalarSize)))
	defer scalar.Clear()
	return NewPrivateKey(scalar, pub)
}

// NewPrivateKey joins a scalar to the public key that was stored beside it. It
// answers ErrPrivateKeyInvalid unless the scalar d is 32 bytes, 1 ≤ d ≤ n-2
// (GB/T 32918.1 6.1; n-1 has no inverse for d+1) and [d]G is that key. The
// scalar is copied: clear yours.
func NewPrivateKey(scalar Secret, pub PublicKey) (*PrivateKey, error) {
	if len(scalar) != ScalarSize {
		return nil, fmt.Errorf("%w: the scalar has %d bytes instead of %d", ErrPrivateKeyInvalid, len(scalar), ScalarSize)
	}
	if pub.IsZero() {
		return nil, fmt.Errorf("%w: no public key", ErrPrivateKeyInvalid)
	}
	checked, err := emmansun.NewPrivateKey(scalar) // range, and [d]G
	if err != nil {
		return nil, fmt.Errorf("%w: the scalar is not in [1, n-2]", ErrPrivateKeyInvalid)
	}
	defer wipe(checked.D)

	var point [PublicKeySize]byte
	point[0] = 4
	checked.X.FillBytes(point[1:33])
	checked.Y.FillBytes(point[33:])
	if subtle.ConstantTimeCompare(point[:], pub.point[:]) != 1 {
		return nil, fmt.Errorf("%w: the scalar belongs to another public key", ErrPrivateKeyInvalid)
	}
	return newPair(scalar, pub), nil
}

// newPair copies the scalar, and checks nothing.
func newPair(scalar Secret, pub PublicKey) *PrivateKey {
	held := [ScalarSize]byte(scalar)
	return &PrivateKey{pair: &keyPair{public: pub, scalar: &held}}
}

// Public returns the public half; it stays after Clear.
func (k *PrivateKey) Public() PublicKey {
	if k == nil || k.pair == nil {
		return PublicKey{}
	}
	return k.pair.public
}

// Scalar returns a copy of the private scalar, always 32 bytes, for the one who
// stores it sealed; the caller clears it. Of a cleared key it returns nil, not
// zeros that could be stored in a real key's place.
func (k *PrivateKey) Scalar() Secret {
	if k == nil || k.pair == nil {
		return nil
	}
	k.pair.mu.RLock()
	defer k.pair.mu.RUnlock()
	if k.pair.scalar == nil {
		return nil
	}
	scalar := make(Secret, ScalarSize)
	copy(scalar, k.pair.scalar[:])
	return scalar
}

// Clear overwrites the scalar; from then on the key doesn't sign. A signature
// under way is finished.
func (k *PrivateKey) Clear() {
	if k == nil || k.pair == nil {
		return
	}
	k.pair.mu.Lock()
	defer k.pair.mu.Unlock()
	if k.pair.scalar != nil {
		clear(k.pair.scalar[:])
		k.pair.scalar = nil
	}
}

// Sign signs a message with SM2 and SM3 under the user ID of GM/T 0009
// (1234567812345678). tjfoc/gmsm signs and emmansun/gmsm verifies before the
// signature is released; if it doesn't, the answer is ErrSignatureRejected and
// no signature.
//
// Two signatures over one message differ, so a signature's bytes are no ID. The
// randomness (40 bytes a signature, crypto/rand.Reader outside of tests) must
// never repeat: two messages signed with the same bytes give the key away.
func (k *PrivateKey) Sign(random io.Reader, message []byte) (Signature, error) {
	if random == nil {
		return nil, fmt.Errorf("%w: no source to sign with", ErrRandom)
	}
	scalar := k.Scalar()
	if scalar == nil {
		return nil, ErrKeyCleared
	}
	defer scalar.Clear()

	point := k.pair.public.point
	signer := &tjfoc.PrivateKey{
		PublicKey: tjfoc.PublicKey{
			Curve: tjfoc.P256Sm2(),
			X:     new(big.Int).SetBytes(point[1:33]),
			Y:     new(big.Int).SetBytes(point[33:]),
		},
		D: new(big.Int).SetBytes(scalar),
	}
	defer wipe(signer.D)

	r, s, err := tjfoc.Sm2Sign(signer, message, []byte(userID), random)
	if err != nil {
		return nil, fmt.Errorf("%w: sign: %w", ErrRandom, err)
	}
	sig, err := encodeSignature(r, s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignatureRejected, err)
	}
	if err := Verify(k.pair.public, message, sig); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignatureRejected, err)
	}
	return sig, nil
}

// wipe overwrites a number in place, as far as its words reach.
func wipe(n *big.Int) { clear(n.Bits()) }

// String returns "[secret]".
func (PrivateKey) String() string { return hidden }

// GoString returns "[secret]".
func (PrivateKey) GoString() string { return hidden }

// Format writes "[secret]" for every verb.
func (PrivateKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue returns "[secret]".
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON always fails: a private key leaves only through Scalar, sealed.
func (PrivateKey) MarshalJSON() ([]byte, error) { return nil, ErrKeyRefused }

// MarshalText always fails.
func (PrivateKey) MarshalText() ([]byte, error) { return nil, ErrKeyRefused }
