package ledgertest

import (
	"encoding/asn1"
	"math/big"

	"cardflow/gm"
)

// signer signs as SM2 with SM3 does (GB/T 32918.2, user ID of GM/T 0009), with 1 for its random number in every
// signature: then the point to be computed is the base point, and a signature costs two multiplications instead of the
// milliseconds that the real one takes under the race detector. It also gives the private key away to anyone who sees a
// signature, which is why it is here and nowhere else. What it makes is a valid signature, made by a third implementation.
type signer struct {
	za      [32]byte // hash of user ID, curve and public key
	d       *big.Int // private scalar
	inverse *big.Int // 1/(1+d)
}

// The curve of GB/T 32918.5.
const (
	curveA = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC"
	curveB = "28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93"
	baseX  = "32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7"
	baseY  = "BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0"
	orderN = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123"
)

var order = number(orderN)

func number(hex string) *big.Int {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic("ledgertest: a constant of the curve is no number")
	}
	return n
}

func newSigner(k *gm.PrivateKey) *signer {
	const userID = "1234567812345678"
	d := new(big.Int).SetBytes(k.Scalar())
	message := append([]byte{0, byte(8 * len(userID))}, userID...)
	for _, c := range []string{curveA, curveB, baseX, baseY} {
		message = append(message, number(c).Bytes()...) // none of them has a leading zero byte
	}
	message = append(message, k.Public().Bytes()[1:]...)
	return &signer{za: gm.SM3(message), d: d, inverse: new(big.Int).ModInverse(new(big.Int).Add(d, big.NewInt(1)), order)}
}

func (s *signer) sign(message []byte) gm.Signature {
	e := gm.SM3(s.za[:], message)
	r := new(big.Int).Add(new(big.Int).SetBytes(e[:]), number(baseX))
	r.Mod(r, order)
	v := new(big.Int).Mul(r, s.d)
	v.Sub(big.NewInt(1), v).Mul(v, s.inverse).Mod(v, order)
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, v})
	if err != nil {
		panic(err)
	}
	sig, err := gm.ParseSignature(der)
	if err != nil {
		panic(err)
	}
	return sig
}
