//go:build !cgo

package terminal

import "cardflow/gm"

// openToken answers NO_PKCS11: this program was built without cgo, and a token's library is C.
func openToken(t Token, _ gm.Secret, _ bool) (rooted, Token, error) {
	return nil, t, failf("NO_PKCS11", "this program was built without cgo (CGO_ENABLED=0)")
}
