package gm_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math/big"
	"path"
	"slices"
	"strings"
	"testing"

	"cardflow/gm"

	tjfoc "github.com/tjfoc/gmsm/sm2"
	tjfocx509 "github.com/tjfoc/gmsm/x509"
)

// Each test here shows a trap of tjfoc/gmsm v1.4.1 sprung, and the guard that
// stands before it. If one fails because the library got better, the guard
// stays and the first half of the test goes.

func TestTrapLaxDER(t *testing.T) {
	key, message := standardKey(t), []byte(standardText)
	r, s := number(t, standardR), number(t, standardS)
	for name, b := range map[string][]byte{
		"trailing bytes": append(der(t, r, s), "anything"...),
		"extra element":  der(t, r, s, big.NewInt(1)),
	} {
		if !tjfocPublic(key.Public()).Verify(message, b) {
			t.Errorf("%s: the trap is gone", name)
		}
		if err := gm.Verify(key.Public(), message, b); !errors.Is(err, gm.ErrSignatureInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrapSignatureIsNoID(t *testing.T) {
	key := standardKey(t)
	first, second := mustSign(t, key, []byte("m")), mustSign(t, key, []byte("m"))
	if bytes.Equal(first, second) {
		t.Error("two signatures over one message are alike: is the randomness stuck?")
	}
	// High and low s both stand: no low-S rule may be applied to SM2.
	half := new(big.Int).Rsh(number(t, order), 1)
	var low, high bool
	for k := int64(1); !low || !high; k++ {
		sig, err := key.Sign(nonces(big.NewInt(k)), []byte("m"))
		if err != nil {
			t.Fatal(err)
		}
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig, &rs); err != nil {
			t.Fatal(err)
		}
		if rs.S.Cmp(half) > 0 {
			high = true
		} else {
			low = true
		}
		if err := gm.Verify(key.Public(), []byte("m"), sig); err != nil {
			t.Errorf("k = %d: %v", k, err)
		}
	}
}

func TestTrapForgeryUnderZeroPoint(t *testing.T) {
	curve := tjfoc.P256Sm2()
	none := &tjfoc.PublicKey{Curve: curve, X: new(big.Int), Y: new(big.Int)}
	message := []byte("pay the forger")
	digest, err := none.Sm3Digest(message, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody's private key: with Q at infinity, r = x([s]G) + e for any s.
	s := big.NewInt(4711)
	x, _ := curve.ScalarBaseMult(s.Bytes())
	r := x.Add(x, new(big.Int).SetBytes(digest))
	r.Mod(r, curve.Params().N)
	if !none.Verify(message, der(t, r, s)) {
		t.Error("the trap is gone")
	}
	if _, err := gm.ParsePublicKey(point(none.X, none.Y)); !errors.Is(err, gm.ErrPublicKeyInvalid) {
		t.Errorf("(0,0): %v", err)
	}
}

func TestTrapForeignCurve(t *testing.T) {
	nist := elliptic.P256().Params()
	p256 := point(nist.Gx, nist.Gy)
	spki, err := asn1.Marshal(struct {
		Algorithm struct{ Algorithm, Curve asn1.ObjectIdentifier }
		Key       asn1.BitString
	}{
		struct{ Algorithm, Curve asn1.ObjectIdentifier }{
			asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
			asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7},
		},
		asn1.BitString{Bytes: p256, BitLength: 8 * len(p256)},
	})
	if err != nil {
		t.Fatal(err)
	}
	// The library answers no error and no point; its Verify would then panic.
	if key, err := tjfocx509.ParseSm2PublicKey(spki); err != nil || key.X != nil {
		t.Errorf("the trap is gone: %v, %v", key, err)
	}
	if _, err := gm.ParsePublicKey(p256); !errors.Is(err, gm.ErrPublicKeyInvalid) {
		t.Errorf("P-256 point: %v", err)
	}
	if _, err := gm.ParsePublicKey(spki); !errors.Is(err, gm.ErrPublicKeyInvalid) {
		t.Errorf("P-256 SPKI: %v", err)
	}
}

func TestTrapHexLosesLeadingZeros(t *testing.T) {
	key := keyOf(t, big.NewInt(0xabcd))
	short := tjfocx509.WritePrivateKeyToHex(&tjfoc.PrivateKey{D: big.NewInt(0xabcd)})
	if len(short) == 64 {
		t.Error("the trap is gone")
	}
	if len(key.Scalar()) != 32 {
		t.Errorf("%d bytes", len(key.Scalar()))
	}
	if _, err := gm.NewPrivateKey(unhex(t, short), key.Public()); !errors.Is(err, gm.ErrPrivateKeyInvalid) {
		t.Errorf("a short scalar: %v", err)
	}
}

func TestTrapCompressedPrefixes(t *testing.T) {
	pub := standardKey(t).Public()
	b := tjfoc.Compress(tjfocPublic(pub))
	if b[0] != 0 && b[0] != 1 {
		t.Errorf("the trap is gone: prefix %02x", b[0])
	}
	if _, err := gm.ParsePublicKey(b); !errors.Is(err, gm.ErrPublicKeyInvalid) {
		t.Errorf("%v", err)
	}
}

// TestTrapVerifiedBeforeRelease: the signing library signs with halves that
// don't fit, without a word.
func TestTrapVerifiedBeforeRelease(t *testing.T) {
	wrong := &tjfoc.PrivateKey{PublicKey: *tjfocPublic(newKey(t).Public()), D: big.NewInt(5)}
	if _, err := wrong.Sign(rand.Reader, []byte("m"), nil); err != nil {
		t.Errorf("the trap is gone: %v", err)
	}
	scalar := gm.Secret(big.NewInt(5).FillBytes(make([]byte, 32)))
	sig, err := gm.Mismatched(scalar, newKey(t).Public()).Sign(rand.Reader, []byte("m"))
	if !errors.Is(err, gm.ErrSignatureRejected) || sig != nil {
		t.Errorf("released %v, %v", sig, err)
	}
}

// TestTrapsOutOfReach: Decompress, Decrypt, Encrypt, PKCS#8, Sm4Cbc, the native
// GCM, the unsafe SM4 block and Verify of tjfoc/gmsm panic, hang, leak or err.
// Of either library only what is named here may be called.
func TestTrapsOutOfReach(t *testing.T) {
	allowed := map[string][]string{
		"github.com/tjfoc/gmsm/sm2":    {"GenerateKey", "P256Sm2", "PrivateKey", "PublicKey", "Sm2Sign"},
		"github.com/emmansun/gmsm/sm2": {"NewPrivateKey", "NewPublicKey", "VerifyASN1WithSM2"},
		"github.com/emmansun/gmsm/sm3": {"New", "Size"},
		"github.com/emmansun/gmsm/sm4": {"NewCipher"},
	}
	used := map[string]bool{}
	files, err := fs.Glob(sources, "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(sources, name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		library := map[string]string{} // name in this file → import path
		for _, spec := range file.Imports {
			from := strings.Trim(spec.Path.Value, `"`)
			if !strings.Contains(from, "gmsm") {
				continue
			}
			if allowed[from] == nil {
				t.Errorf("%s imports %s", name, from)
			}
			as := path.Base(from)
			if spec.Name != nil {
				as = spec.Name.Name
			}
			if as == "." || as == "_" {
				t.Errorf("%s imports %s as %s", name, from, as)
			}
			library[as] = from
		}
		ast.Inspect(file, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if as, ok := selector.X.(*ast.Ident); ok && library[as.Name] != "" {
				used[library[as.Name]+"."+selector.Sel.Name] = true
				if !slices.Contains(allowed[library[as.Name]], selector.Sel.Name) {
					t.Errorf("%s calls %s.%s", name, library[as.Name], selector.Sel.Name)
				}
			}
			return true
		})
	}
	for from, names := range allowed {
		for _, name := range names {
			if !used[from+"."+name] {
				t.Errorf("%s.%s is allowed and not used", from, name)
			}
		}
	}
}
