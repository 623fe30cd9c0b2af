package custody

import "cardflow/gm"

// Token says where a root key is that a device keeps: a key for AES-256-GCM in a PKCS#11 token, which may neither be read
// nor taken out of it.
type Token struct {
	Module string    // path of the vendor's library
	Label  string    // of the token
	Key    string    // label of the key
	PIN    gm.Secret // of the token's user
}

// tokenRootID is the ID of a key whose CKA_ID is this.
func tokenRootID(keyID []byte) gm.Secret {
	return gm.Derive(append([]byte("cardflow/custody/root/pkcs11/1 "), keyID...), "cardflow/custody/root/id/1", 16)
}
