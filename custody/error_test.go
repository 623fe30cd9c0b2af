package custody_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cardflow/custody"
)

// TestAlarms: whatever raises an alarm stands in the list of alarms. The source says what does.
func TestAlarms(t *testing.T) {
	t.Parallel()
	raising := regexp.MustCompile(`\balarm\((Err\w+)`)
	declared := regexp.MustCompile(`\t(Err\w+) += &Error\{"(\w+)"`)
	listed := map[string]bool{}
	for _, e := range custody.Alarms() {
		if listed[e.Code] {
			t.Errorf("%s twice", e.Code)
		}
		listed[e.Code] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	codes, raised := map[string]string{}, map[string]string{}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
			codes[m[1]] = m[2]
		}
		for _, m := range raising.FindAllStringSubmatch(string(source), -1) {
			raised[m[1]] = name
		}
	}
	if len(raised) < 5 {
		t.Errorf("only %v raise alarms: this test has nothing to look at", raised)
	}
	for name, file := range raised {
		if !listed[codes[name]] {
			t.Errorf("%s, which %s raises, is not among the alarms", name, file)
		}
	}
}
