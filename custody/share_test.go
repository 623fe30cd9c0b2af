package custody_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardflow/custody"
	"cardflow/gm"
)

func split(t testing.TB, threshold, shares int) (custody.RootKey, []custody.Share) {
	t.Helper()
	root, made, err := custody.Split(threshold, shares, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return root, made
}

// TestAnyEnoughSharesGiveTheRoot: as many as are needed, whichever they are and in whatever order, and no fewer.
func TestAnyEnoughSharesGiveTheRoot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shares := rapid.IntRange(2, 7).Draw(t, "shares")
		threshold := rapid.IntRange(2, shares).Draw(t, "threshold")
		root, made, err := custody.Split(threshold, shares, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		some := rapid.Permutation(made).Draw(t, "order")[:threshold]
		// Through paper.
		for i := range some {
			if some[i], err = custody.ParseShare(some[i].Text()); err != nil {
				t.Fatal(err)
			}
		}
		again, err := custody.Combine(some)
		if err != nil || again.ID() != root.ID() || again.Kind() != custody.InShares {
			t.Fatalf("combined: %v", err)
		}
		sealed, err := root.Wrap(t.Context(), rand.Reader, gm.Secret("0123456789abcdef"), []byte("ad"))
		if err != nil {
			t.Fatal(err)
		}
		if key, err := again.Unwrap(t.Context(), sealed, []byte("ad")); err != nil || string(key) != "0123456789abcdef" {
			t.Errorf("what the root sealed doesn't open by its shares: %v", err)
		}
		if _, err := custody.Combine(some[1:]); !errors.Is(err, custody.ErrSharesWrong) {
			t.Errorf("one less: %v", err)
		}
		if _, err := custody.Combine(append(some[1:], some[1])); !errors.Is(err, custody.ErrSharesWrong) {
			t.Errorf("one twice: %v", err)
		}
	})
}

func TestSplitRefuses(t *testing.T) {
	for _, c := range []struct{ threshold, shares int }{{1, 1}, {1, 5}, {0, 3}, {4, 3}, {2, custody.MaxShares + 1}, {-1, 2}} {
		if _, _, err := custody.Split(c.threshold, c.shares, rand.Reader); !errors.Is(err, custody.ErrShareCount) {
			t.Errorf("%d of %d: %v", c.threshold, c.shares, err)
		}
	}
	dry := &random{}
	dry.set(func() error { return errors.New("dry") })
	if _, _, err := custody.Split(2, 3, dry); !errors.Is(err, gm.ErrRandom) {
		t.Errorf("without randomness: %v", err)
	}
}

// TestFalseShares: of another set, or made up with the right set on it.
func TestFalseShares(t *testing.T) {
	_, mine := split(t, 3, 5)
	_, other := split(t, 3, 5)
	if mine[0].Set == other[0].Set {
		t.Fatal("two roots have one set")
	}
	if _, err := custody.Combine([]custody.Share{mine[0], mine[1], other[2]}); !errors.Is(err, custody.ErrSharesWrong) {
		t.Errorf("of another set: %v", err)
	}
	forged := other[2]
	forged.Set = mine[0].Set
	if _, err := custody.Combine([]custody.Share{mine[0], mine[1], forged}); !errors.Is(err, custody.ErrSharesWrong) {
		t.Errorf("with the right set on it: %v", err)
	}
	if _, err := custody.Combine(nil); !errors.Is(err, custody.ErrSharesWrong) {
		t.Errorf("none: %v", err)
	}
}

// TestASlipOfThePenIsFound: each character exchanged for each other one, two neighbours exchanged, one left out, one too
// many.
func TestASlipOfThePenIsFound(t *testing.T) {
	_, shares := split(t, 2, 2)
	text := strings.ReplaceAll(strings.ReplaceAll(string(shares[0].Text()), " ", ""), "\n", "")
	wrong := func(what, typed string) {
		if _, err := custody.ParseShare([]byte(typed)); !errors.Is(err, custody.ErrShareMistyped) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range text {
		for _, c := range "0123456789ABCDEFGHJKMNPQRSTVWXYZU!" {
			if byte(c) != text[i] {
				wrong(fmt.Sprintf("%c at %d", c, i), text[:i]+string(c)+text[i+1:])
			}
		}
		wrong(fmt.Sprintf("without %d", i), text[:i]+text[i+1:])
		if i > 0 && text[i] != text[i-1] {
			wrong(fmt.Sprintf("%d before its neighbour", i), text[:i-1]+text[i:i+1]+text[i-1:i]+text[i+1:])
		}
	}
	wrong("one too many", text+"0")
	wrong("nothing", "")
	wrong("twice", text+text)
	wrong("very long", strings.Repeat(" ", 1000)+text)
	for _, typed := range []string{text, strings.ToLower(text), " " + text + "\r\n", strings.ReplaceAll(text, "0", "o"), strings.ReplaceAll(text, "1", "l")} {
		if s, err := custody.ParseShare([]byte(typed)); err != nil || s.Index != 1 {
			t.Errorf("as people type: %v", err)
		}
	}
}

func TestASharePrintsNothing(t *testing.T) {
	_, shares := split(t, 2, 3)
	text := string(shares[0].Text())
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		for _, said := range []string{fmt.Sprintf(verb, shares[0]), fmt.Sprintf(verb, shares), fmt.Sprintf(verb, &shares[0])} {
			// The last group of the first line is in the middle of the value.
			if strings.Contains(said, text[40:45]) || !strings.Contains(said, shares[0].Set) {
				t.Errorf("%s prints %q", verb, said)
			}
		}
	}
}

// FuzzParseShare: whatever is typed either is a share, which its text gives back, or is refused without a word of it.
func FuzzParseShare(f *testing.F) {
	_, shares := split(f, 3, 5)
	for _, s := range shares {
		f.Add([]byte(s.Text()))
	}
	f.Add([]byte(""))
	f.Add([]byte("00000 00000"))
	f.Add(bytes.Repeat([]byte{'Z'}, 80))
	f.Fuzz(func(t *testing.T, typed []byte) {
		s, err := custody.ParseShare(typed)
		if err != nil {
			if err != error(custody.ErrShareMistyped) {
				t.Errorf("the error says more: %v", err)
			}
			return
		}
		again, err := custody.ParseShare(s.Text())
		if err != nil || !bytes.Equal(again.Text(), s.Text()) {
			t.Errorf("its own text: %v", err)
		}
	})
}
