package gm_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math/big"
	"testing"

	"cardflow/gm"
)

// FuzzNewPrivateKey: a scalar and a public key that came out of a row. Either they belong together and sign what the public
// key verifies, or they are refused, without a word of the scalar.
func FuzzNewPrivateKey(f *testing.F) {
	key, err := gm.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	scalar, public := key.Scalar(), key.Public().Bytes()
	order, _ := new(big.Int).SetString("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123", 16)
	f.Add([]byte(scalar), public)
	f.Add([]byte{}, public)
	f.Add(make([]byte, 32), public)
	f.Add(order.Bytes(), public)
	f.Add(new(big.Int).Sub(order, big.NewInt(1)).Bytes(), public)
	f.Add(new(big.Int).Sub(order, new(big.Int).SetBytes(scalar)).Bytes(), public) // the same x
	f.Add(append([]byte{0}, scalar...), public)
	f.Fuzz(func(t *testing.T, scalar, public []byte) {
		pub, err := gm.ParsePublicKey(public)
		if err != nil {
			return
		}
		key, err := gm.NewPrivateKey(gm.Secret(scalar), pub)
		if err != nil {
			if !errors.Is(err, gm.ErrPrivateKeyInvalid) || len(scalar) > 8 && bytes.Contains([]byte(err.Error()), scalar) {
				t.Errorf("%v", err)
			}
			return
		}
		sig, err := key.Sign(rand.Reader, []byte("message"))
		if err == nil {
			err = gm.Verify(pub, []byte("message"), sig)
		}
		if err != nil {
			t.Errorf("taken, and doesn't sign: %v", err)
		}
	})
}
