package gm

import (
	"bytes"
	"encoding/hex"
)

// Parameters of the recommended curve, GB/T 32918.5-2017, as 32 bytes in big
// endian. They are written out here, and not asked of a library, so that the
// guards hold whatever a library believes.
var (
	zero       [32]byte
	fieldPrime = constant("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF") // p
	groupOrder = constant("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123") // n
)

// userID is the signer's identity in ZA, fixed by GM/T 0009 for signers who
// have agreed on nothing else.
const userID = "1234567812345678"

// less compares two public numbers; it isn't constant-time.
func less(a, b [32]byte) bool { return bytes.Compare(a[:], b[:]) < 0 }

func constant(digits string) [32]byte {
	b, err := hex.DecodeString(digits)
	if err != nil {
		panic("gm: a curve constant is misspelt")
	}
	return [32]byte(b)
}
