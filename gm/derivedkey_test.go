package gm_test

import (
	"bytes"
	"crypto/hkdf"
	"math/big"
	"testing"

	"cardflow/gm"
)

// TestDeriveKey: the scalar is the one that the standard gives, the same each time, another one for another label or root; and
// it signs.
func TestDeriveKey(t *testing.T) {
	root := gm.Secret(bytes.Repeat([]byte{7}, 32))
	other := gm.Secret(bytes.Repeat([]byte{8}, 32))
	key := func(root gm.Secret, label string) *gm.PrivateKey {
		t.Helper()
		k, err := gm.DeriveKey(root, label)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := key(root, "a/1")
	wide, err := hkdf.Key(gm.NewSM3, root, nil, "a/1", 48)
	if err != nil {
		t.Fatal(err)
	}
	n := number(t, order)
	d := new(big.Int).Mod(new(big.Int).SetBytes(wide), new(big.Int).Sub(n, big.NewInt(2)))
	if d.Add(d, big.NewInt(1)); !bytes.Equal(d.FillBytes(make([]byte, 32)), k.Scalar()) {
		t.Error("the scalar isn't the standard's")
	}
	if again := key(root, "a/1"); again.Public() != k.Public() {
		t.Error("asked again, it is another key")
	}
	if key(root, "a/2").Public() == k.Public() || key(other, "a/1").Public() == k.Public() {
		t.Error("another label or root gives the same key")
	}
	if err := gm.Verify(k.Public(), []byte("m"), mustSign(t, k, []byte("m"))); err != nil {
		t.Error(err)
	}
}
