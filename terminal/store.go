package terminal

import (
	"errors"
	"io/fs"
	"os"

	"cardflow/gm"
)

// Store is an [Element] that a PIN unlocks: a [SoftSIM] or a [TokenSIM].
type Store interface {
	Element
	// Unlock tries a PIN. Errors: PIN_WRONG, PIN_LOCKED, and what keeps the store from being asked.
	Unlock(pin gm.Secret) error
	// Tries is how many wrong PINs are left; TriesUntold where only a token knows.
	Tries() int
}

// TriesUntold stands for a number of tries that a token keeps to itself.
const TriesUntold = -1

// OpenStore opens the store of a directory, locked. Errors: those of [OpenSoftSIM] and [OpenTokenSIM].
func OpenStore(dir string) (Store, error) {
	if _, err := os.Lstat(TokenPath(dir)); !errors.Is(err, fs.ErrNotExist) {
		t, err := OpenTokenSIM(TokenPath(dir))
		if err != nil {
			return nil, err
		}
		return t, nil
	}
	s, err := OpenSoftSIM(StorePath(dir))
	if err != nil {
		return nil, err
	}
	return s, nil
}
