//go:build cgo

package custody

import (
	"context"

	"github.com/miekg/pkcs11"

	"cardflow/gm/cryptoki"
)

// Module answers a library that a token of the tests has loaded.
func Module(path string) *pkcs11.Ctx {
	lib, err := cryptoki.Library(path)
	if err != nil {
		panic(err)
	}
	return lib
}

// LoginsTried uses a token so many times and answers how often its PIN was tried.
func LoginsTried(t Token, times int) int {
	r := &tokenRoot{module: t.Module, label: t.Label, key: t.Key, pin: veil(t.PIN), turn: make(chan struct{}, 1)}
	tried := 0
	for range times {
		if r.no == nil {
			tried++
		}
		_, _ = r.use(context.Background(), nil, func() ([]byte, error) { return nil, nil })
	}
	return tried
}
