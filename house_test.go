// Package cardflow_test holds the house together: what may stand where, and who
// may import whom. It has no code of its own to test; it reads the tree.
package cardflow_test

import (
	"os"
	"testing"
)

func TestEveryFolderHasAPlace(t *testing.T) {
	places := map[string]bool{
		"cmd": true, "handler": true, "transfer": true, "custody": true, "ledger": true, "iccid": true, "gm": true,
		"terminal": true, "wechat": true, "model": true, "miniprogram": true, "configs": true, "docs": true,
		".ci": true, ".git": true, "bin": true, "data": true, ".cache": true,
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() && !places[entry.Name()] {
			t.Errorf("the folder %s has no place in the architecture", entry.Name())
		}
	}
}
