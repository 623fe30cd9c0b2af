package custody_test

import (
	"os"
	"regexp"
	"testing"

	"cardflow/custody"
)

// TestEveryErrorIsKnown: one that isn't in the list would lose its meaning on its way from another process.
func TestEveryErrorIsKnown(t *testing.T) {
	source, err := os.ReadFile("error.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`= &Error\{"([A-Z0-9_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(found) < 60 {
		t.Fatalf("%d errors in error.go", len(found))
	}
	for _, m := range found {
		if e := custody.Known(m[1]); e == nil || e.Code != m[1] {
			t.Errorf("%s isn't known", m[1])
		}
	}
}
