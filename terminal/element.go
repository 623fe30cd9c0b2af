package terminal

import "cardflow/gm"

// Element is where a terminal's key lives: an SE-SIM, or what stands for one. Nothing gets the key out of it. [SoftSIM] is one;
// [TokenSIM], on a token behind PKCS#11, is another, whose own counter of wrong PINs counts then.
type Element interface {
	// Serial is the number on the label. It is no secret, and no part of one.
	Serial() string
	// Public is the device's public key, locked or not.
	Public() gm.PublicKey
	// Sign signs with SM2 and SM3 under the user ID of GM/T 0009. Errors: SIM_LOCKED.
	Sign(message []byte) (gm.Signature, error)
	// Lock forgets the key until the PIN is given again.
	Lock()
}
