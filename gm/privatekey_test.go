package gm_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math/big"
	"testing"
	"testing/iotest"

	"cardflow/gm"

	emmansun "github.com/emmansun/gmsm/sm2"
)

func TestPrivateScalarGuard(t *testing.T) {
	key := standardKey(t)
	pub := key.Public()
	n := number(t, order)
	bytesOf := func(d *big.Int) gm.Secret { return d.FillBytes(make([]byte, 32)) }
	minus := func(i int64) *big.Int { return new(big.Int).Sub(n, big.NewInt(i)) }

	for name, c := range map[string]struct {
		scalar gm.Secret
		pub    gm.PublicKey
	}{
		"nil":                   {nil, pub},
		"31 bytes":              {key.Scalar()[:31], pub},
		"33 bytes":              {append(gm.Secret{0}, key.Scalar()...), pub},
		"0":                     {bytesOf(new(big.Int)), pub},
		"n-1, no inverse":       {bytesOf(minus(1)), pub},
		"n":                     {bytesOf(n), pub},
		"n+1":                   {bytesOf(minus(-1)), pub},
		"d+n overflows to ones": {gm.Secret(bytes.Repeat([]byte{0xff}, 32)), pub},
		"another key's public":  {key.Scalar(), newKey(t).Public()},
		"-d has the same x":     {bytesOf(new(big.Int).Sub(n, number(t, standardScalar))), pub},
		"no public":             {key.Scalar(), gm.PublicKey{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := gm.NewPrivateKey(c.scalar, c.pub)
			if !errors.Is(err, gm.ErrPrivateKeyInvalid) || got != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for _, d := range []*big.Int{big.NewInt(1), minus(2)} {
		key := keyOf(t, d)
		sig, err := key.Sign(rand.Reader, []byte("edge"))
		if err != nil {
			t.Fatalf("d = %x: %v", d, err)
		}
		if err := gm.Verify(key.Public(), []byte("edge"), sig); err != nil {
			t.Errorf("d = %x: %v", d, err)
		}
	}
}

func TestLeadingZeros(t *testing.T) {
	t.Run("scalars keep them", func(t *testing.T) {
		for _, bits := range []uint{0, 7, 64, 127, 200, 240, 247} {
			d := new(big.Int).Lsh(big.NewInt(1), bits)
			key := keyOf(t, d)
			scalar := key.Scalar()
			if len(scalar) != 32 || new(big.Int).SetBytes(scalar).Cmp(d) != 0 {
				t.Fatalf("2^%d: %d bytes", bits, len(scalar))
			}
			again, err := gm.NewPrivateKey(scalar, key.Public())
			if err != nil {
				t.Fatalf("2^%d: %v", bits, err)
			}
			sig, err := again.Sign(rand.Reader, []byte("m"))
			if err != nil {
				t.Fatalf("2^%d: %v", bits, err)
			}
			if err := gm.Verify(key.Public(), []byte("m"), sig); err != nil {
				t.Errorf("2^%d: %v", bits, err)
			}
		}
	})
	t.Run("generated ones too", func(t *testing.T) {
		// tjfoc takes d = 1 + bytes mod (n-2).
		key, err := gm.GenerateKey(nonces(big.NewInt(0xabc)))
		if err != nil {
			t.Fatal(err)
		}
		if s := key.Scalar(); len(s) != 32 || new(big.Int).SetBytes(s).Int64() != 0xabc {
			t.Errorf("%d bytes", len(s))
		}
		if key.Public() != keyOf(t, big.NewInt(0xabc)).Public() {
			t.Error("public key")
		}
	})
	t.Run("coordinates", func(t *testing.T) {
		var shortX, shortY bool
		for d := int64(1); !shortX || !shortY; d++ {
			other, err := emmansun.NewPrivateKeyFromInt(big.NewInt(d))
			if err != nil {
				t.Fatal(err)
			}
			if other.X.BitLen() > 248 && other.Y.BitLen() > 248 {
				continue
			}
			shortX, shortY = shortX || other.X.BitLen() <= 248, shortY || other.Y.BitLen() <= 248
			key := keyOf(t, big.NewInt(d))
			if len(key.Public().Bytes()) != 65 {
				t.Fatalf("d = %d: short point", d)
			}
			if _, err := key.Sign(rand.Reader, []byte("m")); err != nil {
				t.Fatalf("d = %d: %v", d, err)
			}
		}
	})
	t.Run("signatures", func(t *testing.T) {
		// A shorter r or s makes a shorter DER, and it must verify.
		key := standardKey(t)
		for k := int64(1); ; k++ {
			sig, err := key.Sign(nonces(big.NewInt(k)), []byte("m"))
			if err != nil {
				t.Fatalf("k = %d: %v", k, err)
			}
			if len(sig) < 70 {
				if err := gm.Verify(key.Public(), []byte("m"), sig); err != nil {
					t.Errorf("%d bytes: %v", len(sig), err)
				}
				return
			}
		}
	})
}

func TestSecondImplementationRejects(t *testing.T) {
	broken := gm.Mismatched(newKey(t).Scalar(), newKey(t).Public())
	sig, err := broken.Sign(rand.Reader, []byte("m"))
	if !errors.Is(err, gm.ErrSignatureRejected) || sig != nil {
		t.Errorf("released %v, %v", sig, err)
	}
}

func TestNoRandomness(t *testing.T) {
	key := standardKey(t)
	broken := errors.New("entropy device gone")
	if _, err := gm.GenerateKey(nil); !errors.Is(err, gm.ErrRandom) {
		t.Errorf("generate, nil: %v", err)
	}
	if _, err := gm.GenerateKey(iotest.ErrReader(broken)); !errors.Is(err, gm.ErrRandom) || !errors.Is(err, broken) {
		t.Errorf("generate, broken: %v", err)
	}
	if _, err := gm.GenerateKey(bytes.NewReader(make([]byte, 39))); !errors.Is(err, gm.ErrRandom) {
		t.Errorf("generate, short: %v", err)
	}
	if _, err := key.Sign(nil, nil); !errors.Is(err, gm.ErrRandom) {
		t.Errorf("sign, nil: %v", err)
	}
	if _, err := key.Sign(bytes.NewReader(make([]byte, 39)), nil); !errors.Is(err, gm.ErrRandom) {
		t.Errorf("sign, short: %v", err)
	}
	sealing := make(gm.Secret, gm.KeySize)
	if _, err := gm.Seal(sealing, nil, nil, nil); !errors.Is(err, gm.ErrRandom) {
		t.Errorf("seal, nil: %v", err)
	}
	if _, err := gm.Seal(sealing, bytes.NewReader(make([]byte, 11)), nil, nil); !errors.Is(err, gm.ErrRandom) {
		t.Errorf("seal, short: %v", err)
	}
}

func TestClearedKey(t *testing.T) {
	key := newKey(t)
	pub, copied := key.Public(), key.Scalar()
	copied.Clear()
	if _, err := key.Sign(rand.Reader, nil); err != nil {
		t.Fatalf("clearing a copy cleared the key: %v", err)
	}
	key.Clear()
	key.Clear()
	if _, err := key.Sign(rand.Reader, nil); !errors.Is(err, gm.ErrKeyCleared) {
		t.Errorf("sign: %v", err)
	}
	if key.Scalar() != nil {
		t.Error("a cleared key has a scalar")
	}
	if key.Public() != pub {
		t.Error("the public key went with it")
	}
	for name, none := range map[string]*gm.PrivateKey{"nil": nil, "zero": {}} {
		if _, err := none.Sign(rand.Reader, nil); !errors.Is(err, gm.ErrKeyCleared) {
			t.Errorf("%s: sign: %v", name, err)
		}
		if none.Scalar() != nil || !none.Public().IsZero() {
			t.Errorf("%s: has a key", name)
		}
		none.Clear()
	}
}

func TestNewPrivateKeyCopies(t *testing.T) {
	key := newKey(t)
	scalar := key.Scalar()
	again, err := gm.NewPrivateKey(scalar, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	scalar.Clear()
	if _, err := again.Sign(rand.Reader, []byte("m")); err != nil {
		t.Errorf("clearing the argument broke the key: %v", err)
	}
}

func TestConcurrentSignVerifyClear(t *testing.T) {
	shared, doomed := newKey(t), newKey(t)
	each(8, func(i int) {
		for j := range 4 {
			message := []byte{byte(i), byte(j)}
			sig, err := shared.Sign(rand.Reader, message)
			if err != nil {
				t.Errorf("sign: %v", err)
				return
			}
			if err := gm.Verify(shared.Public(), message, sig); err != nil {
				t.Errorf("verify: %v", err)
			}
			if _, err := gm.GenerateKey(rand.Reader); err != nil {
				t.Errorf("generate: %v", err)
			}
			// A key cleared meanwhile signs rightly or not at all.
			if _, err := doomed.Sign(rand.Reader, message); err != nil && !errors.Is(err, gm.ErrKeyCleared) {
				t.Errorf("doomed: %v", err)
			}
			if i == 0 && j == 2 {
				doomed.Clear()
			}
		}
	})
}
