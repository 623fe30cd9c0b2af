package transfer

// Nobody is the hash that a login without an account is checked against.
var Nobody = nobody
