package gm_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"math/big"
	"os"
	"sync"
	"testing"

	"cardflow/gm"

	emmansun "github.com/emmansun/gmsm/sm2"
	tjfoc "github.com/tjfoc/gmsm/sm2"
)

// The example of GB/T 32918.5-2017, A.2: recommended curve, default user ID.
const (
	standardScalar = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
	standardNonce  = "59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21"
	standardX      = "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
	standardY      = "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
	standardZA     = "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
	standardR      = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
	standardS      = "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
	standardText   = "message digest"

	prime = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF"
	order = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123"
	coefA = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC"
	coefB = "28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93"
)

// sources is this folder.
var sources = os.DirFS(".")

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	out, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func number(t testing.TB, digits string) *big.Int {
	t.Helper()
	return new(big.Int).SetBytes(unhex(t, digits))
}

func point(x, y *big.Int) []byte {
	out := make([]byte, gm.PublicKeySize)
	out[0] = 4
	x.FillBytes(out[1:33])
	y.FillBytes(out[33:])
	return out
}

func newKey(t testing.TB) *gm.PrivateKey {
	t.Helper()
	key, err := gm.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyOf makes the key of a scalar, its point computed by emmansun.
func keyOf(t testing.TB, d *big.Int) *gm.PrivateKey {
	t.Helper()
	other, err := emmansun.NewPrivateKeyFromInt(d)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := gm.ParsePublicKey(point(other.X, other.Y))
	if err != nil {
		t.Fatal(err)
	}
	key, err := gm.NewPrivateKey(gm.Secret(d.FillBytes(make([]byte, gm.ScalarSize))), pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func standardKey(t testing.TB) *gm.PrivateKey { return keyOf(t, number(t, standardScalar)) }

// nonces is the randomness that makes tjfoc choose k: it reads 40 bytes, and
// takes k = 1 + bytes mod (n-1).
func nonces(k *big.Int) io.Reader {
	minusOne := new(big.Int).Sub(k, big.NewInt(1))
	return bytes.NewReader(minusOne.FillBytes(make([]byte, 40)))
}

func tjfocPublic(pub gm.PublicKey) *tjfoc.PublicKey {
	p := pub.Bytes()
	return &tjfoc.PublicKey{Curve: tjfoc.P256Sm2(), X: new(big.Int).SetBytes(p[1:33]), Y: new(big.Int).SetBytes(p[33:])}
}

// each runs work in n goroutines at once, and waits.
func each(n int, work func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { work(i) })
	}
	wg.Wait()
}
