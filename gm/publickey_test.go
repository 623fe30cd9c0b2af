package gm_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"cardflow/gm"
)

// smallPoint finds the point with the smallest x: x+p still fits 32 bytes, so
// the same point has a second, forbidden spelling.
func smallPoint(t testing.TB) (x, y *big.Int) {
	t.Helper()
	p := number(t, prime)
	for x := int64(0); ; x++ {
		y := new(big.Int).ModSqrt(rightSide(t, big.NewInt(x)), p)
		if y != nil {
			return big.NewInt(x), y
		}
	}
}

// rightSide is x³ + ax + b mod p.
func rightSide(t testing.TB, x *big.Int) *big.Int {
	p := number(t, prime)
	sum := new(big.Int).Exp(x, big.NewInt(3), p)
	sum.Add(sum, new(big.Int).Mul(number(t, coefA), x))
	sum.Add(sum, number(t, coefB))
	return sum.Mod(sum, p)
}

func TestInvalidPublicKeys(t *testing.T) {
	good := standardKey(t).Public().Bytes()
	p := number(t, prime)
	x, y := number(t, standardX), number(t, standardY)
	smallX, smallY := smallPoint(t)
	if _, err := gm.ParsePublicKey(point(smallX, smallY)); err != nil {
		t.Fatalf("a point with a small x: %v", err)
	}
	nist := elliptic.P256().Params()
	twice, err := ecdh.P256().NewPrivateKey(big.NewInt(2).FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	top := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	with := func(prefix byte, b []byte) []byte { return append([]byte{prefix}, b...) }

	for name, b := range map[string][]byte{
		"nil":                          nil,
		"empty":                        {},
		"only the prefix":              {4},
		"infinity 00":                  {0},
		"64 bytes without prefix":      good[1:],
		"64 bytes":                     good[:64],
		"66 bytes":                     append(bytes.Clone(good), 0),
		"zeros":                        make([]byte, 65),
		"(0,0)":                        point(new(big.Int), new(big.Int)),
		"prefix 00":                    with(0, good[1:]),
		"prefix 01":                    with(1, good[1:]),
		"prefix 02, 65 bytes":          with(2, good[1:]),
		"hybrid 06":                    with(6, good[1:]),
		"hybrid 07":                    with(7, good[1:]),
		"compressed 02":                with(2, good[1:33]),
		"compressed 03":                with(3, good[1:33]),
		"tjfoc's compressed 00":        with(0, good[1:33]),
		"tjfoc's compressed 01":        with(1, good[1:33]),
		"x and y swapped":              point(y, x),
		"x changed":                    point(new(big.Int).Add(x, big.NewInt(1)), y),
		"y changed":                    point(x, new(big.Int).Xor(y, big.NewInt(1))),
		"(x,0)":                        point(x, new(big.Int)),
		"(0,y)":                        point(new(big.Int), y),
		"x = p":                        point(p, y),
		"y = p":                        point(x, p),
		"(p,p), which is (0,0)":        point(p, p),
		"x+p for a small x":            point(new(big.Int).Add(smallX, p), smallY),
		"all ones":                     point(top, top),
		"generator of P-256":           point(nist.Gx, nist.Gy),
		"twice the generator of P-256": twice.PublicKey().Bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			pub, err := gm.ParsePublicKey(b)
			if !errors.Is(err, gm.ErrPublicKeyInvalid) || !pub.IsZero() {
				t.Errorf("parse: %v, %v", pub, err)
			}
			kept := standardKey(t).Public()
			if err := kept.UnmarshalText(fmt.Appendf(nil, "%x", b)); !errors.Is(err, gm.ErrPublicKeyInvalid) {
				t.Errorf("unmarshal: %v", err)
			}
			if kept != standardKey(t).Public() {
				t.Error("a failed unmarshal changed the key")
			}
		})
	}
}

func TestPublicKeyText(t *testing.T) {
	pub := standardKey(t).Public()
	want := "04" + strings.ToLower(standardX+standardY)
	if pub.Hex() != want || pub.String() != want {
		t.Errorf("hex %s", pub.Hex())
	}
	b, err := json.Marshal(pub)
	if err != nil || string(b) != `"`+want+`"` {
		t.Fatalf("json %s, %v", b, err)
	}
	var back gm.PublicKey
	if err := json.Unmarshal([]byte(strings.ToUpper(string(b))), &back); err != nil || back != pub {
		t.Errorf("back: %v, %v", back, err)
	}
	for _, text := range []string{`""`, `"zz"`, `"` + strings.Repeat("zz", 65) + `"`, `7`} {
		if err := json.Unmarshal([]byte(text), &back); err == nil {
			t.Errorf("took %s", text)
		}
	}
	if got := pub.Bytes(); len(got) != 65 {
		t.Errorf("%d bytes", len(got))
	} else if got[7] ^= 1; pub.Hex() != want {
		t.Error("Bytes shares memory with the key")
	}
}

func TestKeyID(t *testing.T) {
	pub := standardKey(t).Public()
	sum := gm.SM3(pub.Bytes())
	if want := fmt.Sprintf("%x", sum[:16]); pub.KeyID() != want || len(want) != 32 {
		t.Errorf("key ID %s, want %s", pub.KeyID(), want)
	}
}

func TestZeroPublicKey(t *testing.T) {
	var none gm.PublicKey
	if !none.IsZero() || none.Bytes() != nil || none.Hex() != "" || none.KeyID() != "" {
		t.Error("the zero key shows something")
	}
	if _, err := none.MarshalText(); !errors.Is(err, gm.ErrPublicKeyInvalid) {
		t.Errorf("marshal: %v", err)
	}
	sig, err := standardKey(t).Sign(nonces(big.NewInt(7)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := gm.Verify(none, nil, sig); !errors.Is(err, gm.ErrPublicKeyInvalid) {
		t.Errorf("verify: %v", err)
	}
	b, err := json.Marshal(struct {
		Key gm.PublicKey `json:"key,omitzero"`
	}{})
	if err != nil || string(b) != "{}" {
		t.Errorf("omitzero: %s, %v", b, err)
	}
}

// FuzzParsePublicKey holds what is accepted against the equation of the curve,
// computed without either library.
func FuzzParsePublicKey(f *testing.F) {
	good := standardKey(f).Public().Bytes()
	f.Add(good)
	f.Add(good[:33])
	f.Add(point(new(big.Int), new(big.Int)))
	f.Add(point(elliptic.P256().Params().Gx, elliptic.P256().Params().Gy))
	x, y := smallPoint(f)
	f.Add(point(x, y))
	f.Add(point(x.Add(x, number(f, prime)), y))
	f.Fuzz(func(t *testing.T, b []byte) {
		pub, err := gm.ParsePublicKey(b)
		onCurve := false
		if len(b) == 65 && b[0] == 4 {
			x, y, p := new(big.Int).SetBytes(b[1:33]), new(big.Int).SetBytes(b[33:]), number(t, prime)
			left := new(big.Int).Mul(y, y)
			onCurve = x.Cmp(p) < 0 && y.Cmp(p) < 0 && left.Mod(left, p).Cmp(rightSide(t, x)) == 0
		}
		if onCurve != (err == nil) {
			t.Fatalf("on the curve: %v, error: %v", onCurve, err)
		}
		if err != nil {
			if !errors.Is(err, gm.ErrPublicKeyInvalid) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if !bytes.Equal(pub.Bytes(), b) {
			t.Fatal("bytes changed")
		}
		var back gm.PublicKey
		if err := back.UnmarshalText([]byte(pub.Hex())); err != nil || back != pub {
			t.Fatalf("text: %v", err)
		}
	})
}
