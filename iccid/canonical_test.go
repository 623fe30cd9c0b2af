package iccid_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"cardflow/iccid"
)

// TestVectors holds the canonical form against cards of real issuers.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/canonical.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name      string
		Rule      iccid.Rule
		Count     uint64
		Cards     []string
		First     string
		Last      string
		Canonical string
		PlainHash string
		Error     string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 13 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			set, err := iccid.SetOf(v.Rule, v.Cards...)
			if v.First != "" {
				var seg iccid.Segment
				if seg, err = v.Rule.Range(v.First, v.Last); err == nil {
					set, err = iccid.NewSet(v.Rule, seg)
				}
			}
			if codeOf(err) != v.Error {
				t.Fatalf("error %v, want %q", err, v.Error)
			}
			if err != nil {
				return
			}
			if got := set.Canonical(); got != v.Canonical {
				t.Errorf("canonical form\n%s, want\n%s", got, v.Canonical)
			}
			if got := set.Count(); got != v.Count {
				t.Errorf("%d cards, want %d", got, v.Count)
			}
			if h := iccid.PlainHash(set); hex.EncodeToString(h[:]) != v.PlainHash {
				t.Errorf("hash %x, want %s", h, v.PlainHash)
			}
			back, err := iccid.ParseCanonical(v.Rule, v.Canonical)
			if err != nil || !back.Equal(set) {
				t.Errorf("read back: %v, %v", back, err)
			}
		})
	}
}

func TestParseCanonicalIsStrict(t *testing.T) {
	const a, b, c = "898604B7192270274511", "898604B7192270274512", "898604B7192270274514"
	for _, x := range []struct{ name, in, code string }{
		{"a run and a card", a + "-" + b + "," + c, ""},
		{"nothing", "", iccid.CodeEmpty},
		{"not sorted", c + "," + a, iccid.CodeNotCanonical},
		{"not joined", a + "," + b, iccid.CodeNotCanonical},
		{"a run of one", a + "-" + a, iccid.CodeNotCanonical},
		{"lower case", strings.ToLower(a), iccid.CodeNotCanonical},
		{"space", a + ", " + c, iccid.CodeNotCanonical},
		{"filler", "8985200012345678901F", iccid.CodeNotCanonical},
		{"line end", a + "\n", iccid.CodeNotCanonical},
		{"twice", a + "," + a, iccid.CodeDuplicate},
		{"overlap", a + "-" + c + "," + b, iccid.CodeDuplicate},
		{"reversed", b + "-" + a, iccid.CodeRangeReversed},
		{"comma at the end", a + ",", iccid.CodeFormat},
		{"half a run", a + "-", iccid.CodeFormat},
		{"three ends", a + "-" + b + "-" + c, iccid.CodeFormat},
		{"over the tail", "898604B7192279999999-898604B7192280000000", iccid.CodeRangeOverflow},
		{"many commas", strings.Repeat(",", iccid.MaxSegments), iccid.CodeTooManySegments},
		{"too long", strings.Repeat("8", 1<<20), iccid.CodeTooManySegments},
	} {
		t.Run(x.name, func(t *testing.T) {
			set, err := iccid.ParseCanonical(iccid.Serial, x.in)
			if codeOf(err) != x.code {
				t.Fatalf("got %v, want %q", err, x.code)
			}
			if err == nil && set.Canonical() != x.in {
				t.Errorf("printed %s", set.Canonical())
			}
		})
	}
	if _, err := iccid.ParseCanonical(iccid.Luhn, "8986061701000135135"); codeOf(err) != iccid.CodeNotCanonical {
		t.Errorf("without check digit: %v", err)
	}
	if _, err := iccid.ParseCanonical("", a); codeOf(err) != iccid.CodeRuleUnknown {
		t.Errorf("without rule: %v", err)
	}
}

// One track's head can begin another's, and then printed order isn't track order.
func TestCanonicalOrderIsThatOfPrintedNumbers(t *testing.T) {
	want := []string{
		"8986041922700000000",  // 19 characters
		"89860419227000000000", // the same and a 0
		"898604192270000000A0", // letters after the same head
		"89860419227000000100",
		"898604192270000005A0",
		"8986041922700000060",
		"89860419227000000601",
		"89860419227000FF0000",
	}
	mixed := append([]string{}, want[4:]...)
	set, err := iccid.SetOf(iccid.Serial, append(mixed, want[:4]...)...)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(set.Canonical(), ","); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("order\n%s, want\n%s", got, want)
	}
}

func TestLotHash(t *testing.T) {
	const card = "89882390001334701795" // a number under either rule
	serial, err := iccid.SetOf(iccid.Serial, card)
	if err != nil {
		t.Fatal(err)
	}
	luhn, err := iccid.SetOf(iccid.Luhn, card)
	if err != nil {
		t.Fatal(err)
	}
	var salt [32]byte
	for i := range salt {
		salt[i] = byte(i)
	}
	want := sha256.Sum256([]byte("cardflow/lot/1/LUHN" + string(salt[:]) + card))
	if got := iccid.LotHash(luhn, salt); got != want {
		t.Errorf("lot hash %x, want %x", got, want)
	}
	if iccid.LotHash(serial, salt) == want {
		t.Error("the rule is not part of the lot hash")
	}
	if iccid.LotHash(luhn, [32]byte{1}) == want {
		t.Error("the salt is not part of the lot hash")
	}
}

func FuzzParseCanonical(f *testing.F) {
	for _, s := range []string{
		"898604B7192270274511-898604B7192270274512,898604B7192270274514", "898600421520FA999999,898600421520FB000000",
		"89860617010001351357-89860617010001352348", "8985200012345678901-8985200012345678902", "-,", "8986004215200000000A", "",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, luhn bool) {
		rule := iccid.Serial
		if luhn {
			rule = iccid.Luhn
		}
		set, err := iccid.ParseCanonical(rule, s)
		if err != nil {
			if c := codeOf(err); !strings.HasPrefix(c, "ICCID_") {
				t.Errorf("code %q", c)
			}
			return
		}
		if set.Canonical() != s {
			t.Errorf("%q was read, %q is written", s, set.Canonical())
		}
		again, err := iccid.NewSet(rule, set.Segments()...)
		if err != nil || !again.Equal(set) {
			t.Errorf("%q: its own segments give %v, %v", s, again, err)
		}
		if err := iccid.Partition([]iccid.Set{set}, []iccid.Set{again}); err != nil {
			t.Errorf("%q doesn't partition itself: %v", s, err)
		}
		n := uint64(0)
		for _, b := range set.Blocks() {
			n += b.Segment().Count()
		}
		if n != set.Count() || n == 0 {
			t.Errorf("%q: blocks of %d cards, the set has %d", s, n, set.Count())
		}
	})
}
