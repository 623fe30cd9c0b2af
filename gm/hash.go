package gm

import (
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/emmansun/gmsm/sm3"
)

// SM3 hashes the parts as one string, GB/T 32905. The borders between parts
// leave no trace: ("ab","c") and ("a","bc") hash alike. Where parts have no
// fixed lengths use HMAC, which keeps the borders.
func SM3(parts ...[]byte) [32]byte {
	h := sm3.New()
	for _, part := range parts {
		h.Write(part)
	}
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

// NewSM3 returns a running SM3. Unlike the rest of the package, one such hash
// belongs to one goroutine.
func NewSM3() hash.Hash { return sm3.New() }

// HMAC is HMAC-SM3 (RFC 2104) over the parts, each after its length as 8 bytes
// in big endian, so different lists of parts are different messages. Keys have
// up to 64 bytes and one length per purpose: HMAC itself pads a short key with
// zeros, so k and k‖00 would be the same key. Compare tags with hmac.Equal.
func HMAC(key []byte, parts ...[]byte) [32]byte {
	h := hmac.New(sm3.New, key)
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	var tag [32]byte
	h.Sum(tag[:0])
	return tag
}

const (
	minRootSize    = 16
	maxDerivedSize = 255 * sm3.Size
)

// Derive makes the key of n bytes that the root holds for a label: HKDF
// (RFC 5869) with SM3, no salt, the label as info. Different labels give
// unrelated keys; a label in use is never given a second meaning.
//
// It panics if the root has fewer than 16 bytes (a missing root would otherwise
// give keys that anyone can compute) or n isn't in [1, 8160]: check what comes
// from outside first.
func Derive(root Secret, label string, n int) Secret {
	if len(root) < minRootSize {
		panic(fmt.Sprintf("gm: derive from a root of %d bytes", len(root)))
	}
	if n < 1 || n > maxDerivedSize {
		panic(fmt.Sprintf("gm: derive %d bytes", n))
	}
	key, err := hkdf.Key(sm3.New, root, nil, label, n)
	if err != nil {
		panic("gm: derive: " + err.Error())
	}
	return key
}
