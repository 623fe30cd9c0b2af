package transfer_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardflow/transfer"
)

// FuzzDataKey: a file that somebody put where the data key is. One of another size is refused, and none is written over.
func FuzzDataKey(f *testing.F) {
	name := filepath.Join(f.TempDir(), "data.key")
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{7}, 32))
	f.Add(bytes.Repeat([]byte{7}, 33))
	f.Fuzz(func(t *testing.T, content []byte) {
		check(t, os.WriteFile(name, content, 0o600))
		v, err := transfer.OpenVault(name, rand.Reader)
		if (err == nil) != (len(content) == 32) {
			t.Errorf("%d bytes: %v", len(content), err)
		}
		if err != nil && len(content) > 8 && strings.Contains(err.Error(), string(content)) {
			t.Error("the error repeats it")
		}
		if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, content) {
			t.Errorf("it was written over: %v", err)
		}
		if v != nil {
			sealed, err := v.Seal("place", []byte("plain"))
			check(t, err)
			if plain, err := v.Open("place", sealed); err != nil || string(plain) != "plain" {
				t.Errorf("%q, %v", plain, err)
			}
		}
	})
}
