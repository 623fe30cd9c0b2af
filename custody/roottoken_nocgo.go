//go:build !cgo

package custody

import (
	"fmt"
	"io"
)

// HasPKCS11 tells whether this program was built to talk to tokens.
const HasPKCS11 = false

// TokenRoot answers ErrNoPKCS11: this program was built without cgo, and a token's library is C.
func TokenRoot(Token) (RootKey, error) {
	return nil, fmt.Errorf("this program was built without cgo (CGO_ENABLED=0): %w", ErrNoPKCS11)
}

// MakeTokenRoot answers ErrNoPKCS11, too.
func MakeTokenRoot(Token, io.Reader) (RootKey, error) { return TokenRoot(Token{}) }
