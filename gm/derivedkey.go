package gm

import (
	"fmt"
	"math/big"

	tjfoc "github.com/tjfoc/gmsm/sm2"
)

// wideSize is how many bytes a derived scalar is reduced from: 16 more than it
// has, so that no scalar is likelier than another by more than 2⁻¹²⁸. FIPS
// 186-5 asks for 8 more.
const wideSize = ScalarSize + 16

// DeriveKey makes the key pair that the root holds for a label: 48 bytes of
// [Derive], reduced to a scalar in [1, n-2] as in FIPS 186-5 A.2.1 (key pair
// generation by extra random bits; SM2 leaves out n-1). The same root and label
// give the same key, for ever. One library computes the public key, the other
// again, and they must agree.
//
// It panics as Derive does. The root is a secret of its own, with nothing else
// in it: whoever has it has every key that was derived from it.
func DeriveKey(root Secret, label string) (*PrivateKey, error) {
	wide := Derive(root, label, wideSize)
	defer wide.Clear()
	d := new(big.Int).SetBytes(wide)
	defer wipe(d)
	order := new(big.Int).SetBytes(groupOrder[:])
	d.Mod(d, order.Sub(order, big.NewInt(2)))
	d.Add(d, big.NewInt(1))
	scalar := Secret(d.FillBytes(make([]byte, ScalarSize)))
	defer scalar.Clear()

	x, y := tjfoc.P256Sm2().ScalarBaseMult(scalar)
	var point [PublicKeySize]byte
	point[0] = 4
	x.FillBytes(point[1:33])
	y.FillBytes(point[33:])
	pub, err := ParsePublicKey(point[:])
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return NewPrivateKey(scalar, pub)
}
