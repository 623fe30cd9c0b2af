package cardfile_test

import (
	"testing"

	"cardflow/transfer/cardfile"
)

// TestXLSMemoryLimit: a child that takes two gigabytes doesn't get them, and the server goes on.
func TestXLSMemoryLimit(t *testing.T) {
	content := xls(xlsSheet{name: "卡", rows: [][]any{{"ICCID"}, {cmcc(1)}}})
	if r := read(t, "cards.xls", content, cardfile.Options{Self: command("hog")}); r.code != cardfile.CodeDamaged {
		t.Errorf("%q %+v, want %q", r.code, r.sum, cardfile.CodeDamaged)
	}
}
