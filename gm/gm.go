// Package gm is the one door to the Chinese national algorithms (国密): SM2
// signatures (GB/T 32918), the SM3 hash (GB/T 32905) and the SM4 cipher
// (GB/T 32907). No other package imports a library that implements them.
//
// # The promise
//
// Two independent implementations stand behind it, and each does only what it
// does well: tjfoc/gmsm makes keys and signs; emmansun/gmsm checks keys,
// verifies, hashes and encrypts. So every key that is made, and every
// signature that is made, has passed through code by two authors before it
// leaves this package. A fault in one of them is an error here
// (ErrSignatureRejected), not a bad signature on a ledger that nobody can
// rewrite.
//
// # The threat
//
// Input to this package is hostile until it has been parsed:
//
//   - A public key exists only if it is an uncompressed point on the SM2 curve.
//     tjfoc/gmsm never looks: the point (0,0) would let anyone sign anything,
//     and a P-256 key would crash the verifier.
//   - A signature is valid in exactly one encoding. Lax DER would give one
//     signature many spellings. (Even so SM2 is randomised: the bytes of a
//     signature never identify what was signed.)
//   - A private scalar has 32 bytes, always, and belongs to its public key.
//   - Secrets print as [secret], whatever formats them.
//
// SM2 encryption, key exchange, compressed points, PKCS#8 and the SM4 modes of
// tjfoc/gmsm are not reachable from here: they panic on short input, hang on
// empty input, compute wrong tags or leak the key. A test holds the list of
// library functions this package may call.
//
// # What it doesn't promise
//
// The scalar arithmetic of the signing library isn't constant-time. Whoever
// can time single signatures finely may learn about the key, so sign in a
// worker whose answer waits for something slower, never in a handler that
// answers at once. Clear overwrites what this package holds; copies which the
// libraries or the garbage collector made may live on in memory.
//
// Everything here is safe for use by several goroutines at once.
package gm

import "errors"

// The errors of this package. None of them, nor what wraps them, carries key
// material, plaintext or signature bytes, so they may be logged.
var (
	// ErrPublicKeyInvalid: not an uncompressed point on the SM2 curve.
	ErrPublicKeyInvalid = errors.New("gm: public key is not a point on the SM2 curve")

	// ErrPrivateKeyInvalid: the scalar is not 32 bytes in [1, n-2], or belongs
	// to another public key.
	ErrPrivateKeyInvalid = errors.New("gm: private key does not fit")

	// ErrKeyCleared: the private key was cleared, or never made.
	ErrKeyCleared = errors.New("gm: private key is cleared")

	// ErrKeyRefused: something tried to marshal a private key.
	ErrKeyRefused = errors.New("gm: a private key is not to be marshalled")

	// ErrSignatureInvalid: not strict DER, out of range, or not a signature by
	// this key over this message. Verify doesn't say which.
	ErrSignatureInvalid = errors.New("gm: signature is not valid")

	// ErrSignatureRejected: one library signed, the other refused the result.
	// The signature was thrown away. It means memory corruption, a broken
	// library or a key that isn't what it claims: stop using the key and look.
	ErrSignatureRejected = errors.New("gm: the second implementation rejects a fresh signature")

	// ErrKeySize: a sealing key is not KeySize bytes long.
	ErrKeySize = errors.New("gm: a sealing key has 16 bytes")

	// ErrOpen: wrong key, wrong associated data, or changed bytes. It doesn't
	// say which.
	ErrOpen = errors.New("gm: can't open what was sealed")

	// ErrRandom: the source of randomness is missing or failed.
	ErrRandom = errors.New("gm: no randomness")
)
