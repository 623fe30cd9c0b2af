package handler

// AtReply is the point at which a server dies in the crash suite: a write was accepted, or refused, and nobody was told.
// Whoever asks again under the same key is told the same.
const AtReply = "reply"

// beforeReply tells the crash suite that a write is about to be answered.
func (s *server) beforeReply(c *call) {
	if s.At != nil {
		c.Response().Before(func() { s.At("handler: " + AtReply) })
	}
}
