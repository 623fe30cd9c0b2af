package gm

// Mismatched makes what NewPrivateKey refuses: a scalar beside a public key
// that isn't its own, as memory corruption could.
func Mismatched(scalar Secret, pub PublicKey) *PrivateKey {
	return newPair(scalar, pub)
}
