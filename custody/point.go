package custody

// The points of a signature's way at which a server dies in the crash suite: Config.At is called with their names. Between
// two of them a crash means the same; what one there leaves stands beside each.
const (
	// AtIntending: line and audit row are written, and not committed. Nothing of them stands.
	AtIntending = "intending"
	// AtIntended: they stand, without a signature. Whoever asks again gets past here with the same digest only.
	AtIntended = "intended"
	// AtSigned: there is a signature in memory, which nobody has seen. It is gone.
	AtSigned = "signed"
	// AtKept: it is stored, and nobody was given it. Whoever asks again gets it.
	AtKept = "kept"
)

// at tells the crash suite where a signature is.
func (c *Custody) at(point string) {
	if c.atPoint != nil {
		c.atPoint("custody: " + point)
	}
}
