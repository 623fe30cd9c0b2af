package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
)

// TestHoldMaker: a program that says the same to everything fails wherever that isn't so. One that passes is the terminal in
// TypeScript, whose tests ask for it.
func TestHoldMaker(t *testing.T) {
	all := []string{"key", "sign", "verify", "serial", "ticket", "possession", "request", "answer", "submit", "cards", "lot", "code"}
	always := func(text string) Maker {
		return func(context.Context, []byte) ([]byte, error) { return []byte(text), nil }
	}
	asked := 0
	dies := func(_ context.Context, question []byte) ([]byte, error) {
		if asked++; asked > 3 {
			return nil, errors.New("it has ended")
		}
		var q map[string]any
		err := json.Unmarshal(question, &q)
		return []byte("{}"), err
	}
	for name, c := range map[string]struct {
		maker Maker
		also  []string
	}{
		"nothing":          {always("{}"), nil},
		"no JSON":          {always("yes"), nil},
		"an array":         {always("[]"), nil},
		"null":             {always("null"), nil},
		"all is well":      {always(`{"valid":true,"counts":true}`), nil},
		"all is wrong":     {always(`{"valid":false,"counts":false,"refused":true}`), nil},
		"it ends too soon": {dies, []string{"answers"}},
	} {
		verdicts, err := HoldMaker(t.Context(), c.maker)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, v := range verdicts {
			if v.Fault == "" {
				t.Errorf("%s: %s passes", name, v.Name)
			}
			found[v.Name] = true
		}
		if want := slices.Sorted(slices.Values(append(c.also, all...))); !slices.Equal(slices.Sorted(maps.Keys(found)), want) {
			t.Errorf("%s: %v, not %v", name, found, want)
		}
	}
	if asked != 4 {
		t.Errorf("asked %d times: who is gone is asked no more", asked)
	}
}
