//go:build cgo

// Package cryptoki loads the PKCS#11 libraries (OASIS PKCS#11 3.1, Cryptoki) through which keys in tokens are used.
//
// The promise: a library is loaded and initialised once in a process, whoever asks for it, and stays: it is everybody's, and
// ending it would end the sessions of others. A library is code of its maker in this process: who names one trusts it with all of it.
package cryptoki

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"
)

var libraries struct {
	sync.Mutex
	loaded map[string]*pkcs11.Ctx // by path
}

// Library answers the library at a path, initialised.
func Library(path string) (*pkcs11.Ctx, error) {
	libraries.Lock()
	defer libraries.Unlock()
	if lib, ok := libraries.loaded[path]; ok {
		return lib, nil
	}
	lib := pkcs11.New(path)
	if lib == nil {
		return nil, fmt.Errorf("%s can't be loaded", path)
	}
	if err := lib.Initialize(); err != nil && !Is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		lib.Destroy()
		return nil, fmt.Errorf("initialise %s: %w", path, err)
	}
	if libraries.loaded == nil {
		libraries.loaded = map[string]*pkcs11.Ctx{}
	}
	libraries.loaded[path] = lib
	return lib, nil
}

// Is reports whether a library has answered with this code (CKR_…).
func Is(err error, code uint) bool {
	var e pkcs11.Error
	return errors.As(err, &e) && uint(e) == code
}

// Text is a field of a token's description without what fills it up.
func Text(field string) string { return strings.TrimRight(field, " \x00") }
