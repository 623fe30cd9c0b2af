package gm_test

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"cardflow/gm"

	emmansun "github.com/emmansun/gmsm/sm2"
	tjfoc "github.com/tjfoc/gmsm/sm2"
	"pgregory.net/rapid"
)

func der(t testing.TB, ints ...*big.Int) []byte {
	t.Helper()
	out, err := asn1.Marshal(ints)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// GB/T 32918.5-2017, A.2: the same key, nonce and message give the same r and
// s in both libraries, and both verify them.
func TestStandardSM2(t *testing.T) {
	key := standardKey(t)
	pub := key.Public()
	if want := point(number(t, standardX), number(t, standardY)); !bytes.Equal(pub.Bytes(), want) {
		t.Fatalf("public key %v", pub)
	}
	want := der(t, number(t, standardR), number(t, standardS))
	sig, err := key.Sign(nonces(number(t, standardNonce)), []byte(standardText))
	if err != nil || !bytes.Equal(sig, want) {
		t.Fatalf("signature %v, %v", sig, err)
	}
	if err := gm.Verify(pub, []byte(standardText), sig); err != nil {
		t.Errorf("emmansun: %v", err)
	}
	if !tjfoc.Sm2Verify(tjfocPublic(pub), []byte(standardText), []byte("1234567812345678"), number(t, standardR), number(t, standardS)) {
		t.Error("tjfoc refuses")
	}
	za, err := tjfoc.ZA(tjfocPublic(pub), []byte("1234567812345678"))
	if err != nil || !bytes.Equal(za, unhex(t, standardZA)) {
		t.Errorf("tjfoc ZA %x, %v", za, err)
	}
	other, err := emmansun.NewPublicKey(pub.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	za, err = emmansun.CalculateZA(other, []byte("1234567812345678"))
	if err != nil || !bytes.Equal(za, unhex(t, standardZA)) {
		t.Errorf("emmansun ZA %x, %v", za, err)
	}
}

// What one library signs the other verifies, both ways.
func TestInterop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		made, err := emmansun.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := gm.ParsePublicKey(point(made.X, made.Y))
		if err != nil {
			t.Fatal(err)
		}
		bySecond, err := made.Sign(rand.Reader, message, emmansun.DefaultSM2SignerOpts)
		if err != nil {
			t.Fatal(err)
		}
		if !tjfocPublic(pub).Verify(message, bySecond) {
			t.Fatal("tjfoc refuses emmansun's signature")
		}
		if err := gm.Verify(pub, message, bySecond); err != nil {
			t.Fatal(err)
		}
		key, err := gm.NewPrivateKey(made.D.FillBytes(make([]byte, 32)), pub)
		if err != nil {
			t.Fatal(err)
		}
		byFirst, err := key.Sign(rand.Reader, message)
		if err != nil {
			t.Fatal(err)
		}
		if !tjfocPublic(pub).Verify(message, byFirst) {
			t.Fatal("tjfoc refuses its own signature")
		}
	})
}

func TestMalformedSignatures(t *testing.T) {
	key := standardKey(t)
	good, err := key.Sign(rand.Reader, []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	n, r, s := number(t, order), number(t, standardR), number(t, standardS)
	one, zero := big.NewInt(1), new(big.Int)
	wide := new(big.Int).Lsh(one, 300)
	body := good[2:]
	for name, b := range map[string][]byte{
		"nil":                     nil,
		"empty sequence":          {0x30, 0},
		"trailing byte":           append(bytes.Clone(good), 0),
		"trailing signature":      append(bytes.Clone(good), good...),
		"third integer":           der(t, r, s, one),
		"third element null":      append([]byte{0x30, byte(len(body) + 2)}, append(bytes.Clone(body), 5, 0)...),
		"one integer":             der(t, r),
		"cut":                     good[:len(good)-1],
		"set, not sequence":       append([]byte{0x31}, good[1:]...),
		"long-form length":        append([]byte{0x30, 0x81}, good[1:]...),
		"indefinite length":       append(append([]byte{0x30, 0x80}, body...), 0, 0),
		"padded r":                {0x30, 7, 2, 2, 0, 1, 2, 1, 1},
		"padded s":                {0x30, 7, 2, 1, 1, 2, 2, 0, 1},
		"empty integer":           {0x30, 5, 2, 0, 2, 1, 1},
		"octet strings":           {0x30, 6, 4, 1, 1, 4, 1, 1},
		"negative r":              der(t, new(big.Int).Neg(r), s),
		"negative s":              der(t, r, new(big.Int).Neg(s)),
		"zero r":                  der(t, zero, s),
		"zero s":                  der(t, r, zero),
		"r = n":                   der(t, n, s),
		"s = n":                   der(t, r, n),
		"r + n":                   der(t, new(big.Int).Add(r, n), s),
		"s + n":                   der(t, r, new(big.Int).Add(s, n)),
		"oversize r":              der(t, wide, s),
		"oversize s":              der(t, r, wide),
		"73 bytes":                bytes.Repeat([]byte{0x30}, 73),
		"a megabyte":              make([]byte, 1<<20),
		"r and s, 64 plain bytes": append(r.Bytes(), s.Bytes()...),
	} {
		t.Run(name, func(t *testing.T) {
			if sig, err := gm.ParseSignature(b); !errors.Is(err, gm.ErrSignatureInvalid) || sig != nil {
				t.Errorf("parse: %v, %v", sig, err)
			}
			if err := gm.Verify(key.Public(), []byte("m"), b); !errors.Is(err, gm.ErrSignatureInvalid) {
				t.Errorf("verify: %v", err)
			}
			kept := bytes.Clone(good)
			sig := gm.Signature(kept)
			if err := sig.UnmarshalText(fmt.Appendf(nil, "%x", b)); !errors.Is(err, gm.ErrSignatureInvalid) {
				t.Errorf("unmarshal: %v", err)
			}
			if !bytes.Equal(sig, good) {
				t.Error("a failed unmarshal changed the signature")
			}
		})
	}
	for name, b := range map[string][]byte{
		"r + s = n, infinity":  der(t, r, new(big.Int).Sub(n, r)),
		"r and s swapped":      der(t, s, r),
		"r = s = 1":            der(t, one, one),
		"r = s = n-1":          der(t, new(big.Int).Sub(n, one), new(big.Int).Sub(n, one)),
		"another's signature":  der(t, r, s),
		"low-S twin of ECDSA":  twin(t, good, n),
		"a message's neighbor": mustSign(t, key, []byte("n")),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := gm.ParseSignature(b); err != nil {
				t.Errorf("well formed, but: %v", err)
			}
			if err := gm.Verify(key.Public(), []byte("m"), b); !errors.Is(err, gm.ErrSignatureInvalid) {
				t.Errorf("verify: %v", err)
			}
		})
	}
	if err := gm.Verify(newKey(t).Public(), []byte("m"), good); !errors.Is(err, gm.ErrSignatureInvalid) {
		t.Errorf("another key: %v", err)
	}
}

func twin(t testing.TB, sig []byte, n *big.Int) []byte {
	t.Helper()
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &rs); err != nil {
		t.Fatal(err)
	}
	return der(t, rs.R, rs.S.Sub(n, rs.S))
}

func mustSign(t testing.TB, key *gm.PrivateKey, message []byte) gm.Signature {
	t.Helper()
	sig, err := key.Sign(rand.Reader, message)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestSignatureText(t *testing.T) {
	sig := mustSign(t, standardKey(t), []byte("m"))
	b, err := json.Marshal(map[string]gm.Signature{"sig": sig})
	if err != nil || string(b) != `{"sig":"`+sig.Hex()+`"}` || sig.String() != sig.Hex() {
		t.Fatalf("json %s, %v", b, err)
	}
	var back map[string]gm.Signature
	if err := json.Unmarshal(b, &back); err != nil || !bytes.Equal(back["sig"], sig) {
		t.Errorf("back %v, %v", back, err)
	}
	for _, text := range []string{`""`, `"0"`, `"zz"`, `[48]`} {
		var one gm.Signature
		if err := json.Unmarshal([]byte(text), &one); err == nil {
			t.Errorf("took %s", text)
		}
	}
	parsed, err := gm.ParseSignature(sig)
	if err != nil {
		t.Fatal(err)
	}
	if parsed[5] ^= 1; bytes.Equal(parsed, sig) {
		t.Error("ParseSignature shares memory with its argument")
	}
}

func TestSignatureMaximumSize(t *testing.T) {
	top := new(big.Int).Sub(number(t, order), big.NewInt(1))
	b := der(t, top, top)
	if len(b) != gm.MaxSignatureSize {
		t.Fatalf("%d bytes", len(b))
	}
	if _, err := gm.ParseSignature(b); err != nil {
		t.Error(err)
	}
}

func TestSignVerifyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, err := gm.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		message := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		sig, err := key.Sign(rand.Reader, message)
		if err != nil {
			t.Fatal(err)
		}
		if err := gm.Verify(key.Public(), message, sig); err != nil {
			t.Fatal(err)
		}
		bit := rapid.IntRange(0, len(sig)*8-1).Draw(t, "signature bit")
		if err := gm.Verify(key.Public(), message, flip(sig, bit)); !errors.Is(err, gm.ErrSignatureInvalid) {
			t.Fatalf("signature bit %d: %v", bit, err)
		}
		if len(message) > 0 {
			bit := rapid.IntRange(0, len(message)*8-1).Draw(t, "message bit")
			if err := gm.Verify(key.Public(), flip(message, bit), sig); !errors.Is(err, gm.ErrSignatureInvalid) {
				t.Fatalf("message bit %d: %v", bit, err)
			}
		}
		if err := gm.Verify(key.Public(), append(message, 0), sig); !errors.Is(err, gm.ErrSignatureInvalid) {
			t.Fatalf("longer message: %v", err)
		}
		bit = rapid.IntRange(0, 65*8-1).Draw(t, "key bit")
		if _, err := gm.ParsePublicKey(flip(key.Public().Bytes(), bit)); !errors.Is(err, gm.ErrPublicKeyInvalid) {
			// A flipped x may meet another point, a flipped y never does.
			if bit >= 33*8 {
				t.Fatalf("key bit %d: %v", bit, err)
			}
		}
	})
}

// flip returns b with one bit changed.
func flip(b []byte, bit int) []byte {
	out := bytes.Clone(b)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

// FuzzVerify: what verifies is in its one strict encoding, and both libraries
// agree on it.
func FuzzVerify(f *testing.F) {
	key := standardKey(f)
	for _, message := range []string{"", "m", standardText} {
		f.Add([]byte(message), []byte(mustSign(f, key, []byte(message))))
	}
	f.Add([]byte(standardText), der(f, number(f, standardR), number(f, standardS)))
	f.Add([]byte(standardText), append(der(f, number(f, standardR), number(f, standardS)), 0))
	f.Add([]byte(standardText), der(f, number(f, standardR), number(f, standardS), big.NewInt(1)))
	f.Add([]byte("m"), []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, message, b []byte) {
		sig, parseErr := gm.ParseSignature(b)
		err := gm.Verify(key.Public(), message, b)
		if parseErr != nil {
			if err == nil {
				t.Fatal("verified what doesn't parse")
			}
			return
		}
		if !bytes.Equal(sig, b) {
			t.Fatal("parsing changed the bytes")
		}
		if tjfocPublic(key.Public()).Verify(message, sig) != (err == nil) {
			t.Fatalf("the libraries disagree: %v", err)
		}
	})
}

func BenchmarkGenerateKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gm.GenerateKey(rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	key, message := newKey(b), make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.Sign(rand.Reader, message); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key, message := newKey(b), make([]byte, 256)
	sig := mustSign(b, key, message)
	b.ReportAllocs()
	for b.Loop() {
		if err := gm.Verify(key.Public(), message, sig); err != nil {
			b.Fatal(err)
		}
	}
}
