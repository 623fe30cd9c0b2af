package gm

import (
	"crypto/cipher"
	"crypto/hmac"
	"fmt"
	"io"

	"github.com/emmansun/gmsm/sm4"
)

const (
	// KeySize is the length in bytes of a sealing key.
	KeySize = 16

	nonceSize = 12 // of SM4-GCM, random
	tagSize   = 16 // of SM4-GCM

	// SealOverhead is what Seal adds to a plaintext, in bytes.
	SealOverhead = nonceSize + tagSize

	// DeterministicOverhead is what SealDeterministic adds, in bytes.
	DeterministicOverhead = 16
)

// Seal encrypts and authenticates the plaintext, and authenticates the
// associated data ad, with SM4-GCM (RFC 8998): nonce (12 random bytes) ‖
// ciphertext ‖ tag (16 bytes).
//
// The bound: nonces are random, so one key seals at most 2³² values (then a
// nonce has repeated with a chance of 2⁻³³; a repeated nonce gives away both
// plaintexts and lets anyone forge). A key that could come near changes with
// time or per owner: derive it.
func Seal(key Secret, random io.Reader, plaintext, ad []byte) ([]byte, error) {
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	if random == nil {
		return nil, fmt.Errorf("%w: no source for a nonce", ErrRandom)
	}
	sealed := make([]byte, nonceSize, len(plaintext)+SealOverhead)
	if _, err := io.ReadFull(random, sealed); err != nil {
		return nil, fmt.Errorf("%w: nonce: %w", ErrRandom, err)
	}
	return aead.Seal(sealed, sealed, plaintext, ad), nil
}

// Open takes what Seal made, with the same key and associated data, and answers
// ErrOpen to all else.
func Open(key Secret, sealed, ad []byte) ([]byte, error) {
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < SealOverhead {
		return nil, ErrOpen
	}
	plaintext, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], ad)
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}

func newGCM(key Secret) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, ErrKeySize
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, ErrKeySize
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("gm: SM4-GCM: %w", err)
	}
	return aead, nil
}

// SealDeterministic seals without randomness: the same key, plaintext and
// associated data always give the same bytes, so they can stand in a URL as an
// opaque ID and be opened again. An onlooker learns the length and which values
// are equal, nothing else.
//
// It has the shape of SIV (RFC 5297) with the parts this package has. From the
// key come two keys by Derive, one to authenticate and one to encrypt, so the
// same key may serve Seal too. The synthetic IV is HMAC-SM3 over (ad, plaintext),
// cut to 16 bytes; the plaintext is encrypted with SM4-CTR from that IV, the
// counter being all 128 bits; the result is IV ‖ ciphertext. To open, decrypt,
// compute the IV again and compare in constant time: the IV is the tag. Two
// values share keystream only if their IVs collide, or lie closer than the
// values are long: up to 2⁴⁸ short values that has a chance below 2⁻²⁸.
func SealDeterministic(key Secret, plaintext, ad []byte) ([]byte, error) {
	if len(key) != KeySize {
		return nil, ErrKeySize
	}
	iv := syntheticIV(key, plaintext, ad)
	sealed := make([]byte, DeterministicOverhead+len(plaintext))
	copy(sealed, iv[:])
	if err := counterMode(key, iv, sealed[DeterministicOverhead:], plaintext); err != nil {
		return nil, err
	}
	return sealed, nil
}

// OpenDeterministic takes what SealDeterministic made, with the same key and
// associated data, and answers ErrOpen to all else.
func OpenDeterministic(key Secret, sealed, ad []byte) ([]byte, error) {
	if len(key) != KeySize {
		return nil, ErrKeySize
	}
	if len(sealed) < DeterministicOverhead {
		return nil, ErrOpen
	}
	iv := [DeterministicOverhead]byte(sealed)
	plaintext := make([]byte, len(sealed)-DeterministicOverhead)
	if err := counterMode(key, iv, plaintext, sealed[DeterministicOverhead:]); err != nil {
		return nil, err
	}
	want := syntheticIV(key, plaintext, ad)
	if !hmac.Equal(want[:], iv[:]) {
		clear(plaintext) // unauthenticated plaintext goes nowhere
		return nil, ErrOpen
	}
	return plaintext, nil
}

func syntheticIV(key Secret, plaintext, ad []byte) [DeterministicOverhead]byte {
	mac := Derive(key, "cardflow/gm/siv/authenticate/1", 32)
	defer mac.Clear()
	tag := HMAC(mac, ad, plaintext)
	return [DeterministicOverhead]byte(tag[:])
}

func counterMode(key Secret, iv [DeterministicOverhead]byte, dst, src []byte) error {
	enc := Derive(key, "cardflow/gm/siv/encrypt/1", KeySize)
	defer enc.Clear()
	block, err := sm4.NewCipher(enc)
	if err != nil {
		return fmt.Errorf("gm: SM4: %w", err)
	}
	cipher.NewCTR(block, iv[:]).XORKeyStream(dst, src)
	return nil
}
