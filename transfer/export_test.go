package transfer

// Nobody is the hash that a login without an account is checked against.
var Nobody = nobody

// Listening is the hub's: a channel that is closed when a name is next told of, and a function that gives it up.
func (s *Service) Listening(name string) (<-chan struct{}, func()) { return s.hub.listen(name) }

// Brief is what a row says of an error.
var Brief = brief

// DeviceAs is the state of a device when the ledger has said something of its key.
var DeviceAs = deviceAs

// OnlyTerminals reports whether a key's functions are no more than a terminal's.
var OnlyTerminals = terminals
