package request

// For tests of what the exported functions are made of.
var (
	CRC40          = crc40
	LengthPrefixed = lengthPrefixed
)
