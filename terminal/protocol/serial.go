package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

// serialNumber is what a label can say.
var serialNumber = regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{3,31}$`)

// ValidSerial tells whether a serial number is one: 4 to 32 of A-Z, 0-9 and '-'.
func ValidSerial(serial string) bool { return serialNumber.MatchString(serial) }

// SerialHash is what the ledger has of a device's serial number: hex SHA-256 of a tag, the salt and the serial, each after its
// length. Serials are short and follow each other; the salt keeps them from being tried out.
func SerialHash(salt [32]byte, serial string) string {
	h := sha256.Sum256(fields([]byte("cardflow/serial/1"), salt[:], []byte(serial)))
	return hex.EncodeToString(h[:])
}
