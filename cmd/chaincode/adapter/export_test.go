package adapter

// Stop is stop.
func Stop(c *Chaincode) <-chan struct{} { return c.stop() }
