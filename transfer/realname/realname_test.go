package realname_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cardflow/transfer/realname"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func TestIDNumbers(t *testing.T) {
	good := map[string]string{
		"11010519491231002X":     "11010519491231002X", // the example of GB 11643-1999
		"440524188001010014":     "",                   // and one whose owner would be too old by far
		" 110105 19491231 002x ": "11010519491231002X",
		"１１０１０５１９４９１２３１００２Ｘ":   "11010519491231002X",
		"110105-19491231-002×": "11010519491231002X",
		"810000199408230021":   "810000199408230021", // a resident of Hong Kong
		"911124198108030024":   "911124198108030024", // a foreigner
	}
	for typed, want := range good {
		got, err := realname.ParseIDNumber(typed, now)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", typed, got, err)
		}
	}
	bad := map[string]realname.Fault{
		"":                           realname.NumberLength,
		"11010519491231002":          realname.NumberLength,
		"11010519491231002X1":        realname.NumberLength,
		strings.Repeat("1", 100_000): realname.NumberLength,
		"110105491231002":            realname.NumberOld,
		"1101O519491231002X":         realname.NumberCharacters,
		"X1010519491231002X":         realname.NumberCharacters,
		"11010519491231002Y":         realname.NumberCharacters,
		"一二三四五六七八九十一二三四五六七八": realname.NumberCharacters,
		"00010519491231002X":          realname.NumberRegion,
		"66010519491231002X":          realname.NumberRegion,
		"110105194912320024":          realname.NumberBirthday,
		"110105194902290025":          realname.NumberBirthday,
		"110105202603020018":          realname.NumberBirthday, // tomorrow
		"110105189912310018":          realname.NumberBirthday,
		"110105194912310021":          realname.NumberChecksum,
		"110105194912310030":          realname.NumberChecksum,
		"11010519491213002X":          realname.NumberChecksum,
		"\xff1010519491231002X":       realname.NumberCharacters,
		"11010519491231002X\x00":      realname.NumberLength,
		"'; DROP TABLE real_names;--": realname.NumberLength,
	}
	for typed, want := range bad {
		if got, err := realname.ParseIDNumber(typed, now); !errors.Is(err, want) || got != "" {
			t.Errorf("%.40q: %q, %v, want %v", typed, got, err, want)
		}
	}
}

// TestOneWrongCharacter: the check character tells every mistyped digit, and every two neighbours that were swapped.
func TestOneWrongCharacter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		number := realname.Example(rapid.IntRange(0, 999).Draw(r, "n"))
		if got, err := realname.ParseIDNumber(number, now); err != nil || got != number {
			r.Fatalf("%s: %v", number, err)
		}
		i := rapid.IntRange(0, 16).Draw(r, "at")
		b := []byte(number)
		if rapid.Bool().Draw(r, "swap") {
			b[i], b[i+1] = b[i+1], b[i]
		} else {
			b[i] = byte('0' + rapid.IntRange(0, 9).Draw(r, "digit"))
		}
		if got, err := realname.ParseIDNumber(string(b), now); err == nil && got != number {
			r.Errorf("%s passes for %s", got, number)
		}
	})
}

func TestNames(t *testing.T) {
	for typed, want := range map[string]string{
		"李雷": "李雷", " 李  雷 ": "李雷", "李　雷": "李雷", "欧阳娜娜": "欧阳娜娜", "买买提·吐尔逊": "买买提·吐尔逊", "买买提•吐尔逊": "买买提·吐尔逊", "阿卜杜．热合曼": "阿卜杜·热合曼",
		"𠮷田": "𠮷田", "Jane Doe": "Jane Doe", "O'Neill-Smith, José": "", "José O'Neill-Smith": "José O'Neill-Smith",
		"": "", "李": "", "李1": "", "李雷Lee": "", "·李雷": "", "李雷·": "", "李雷<script>": "", "李雷\n": "李雷", "李\x00雷": "", "\xff\xfe李雷": "",
		"😀😀": "", strings.Repeat("李", 51): "", strings.Repeat("李", 50): strings.Repeat("李", 50), strings.Repeat("李", 1_000_000): "",
	} {
		got, err := realname.ParseName(typed)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: %q, %v", typed, got, err)
		}
	}
}

func FuzzIdentities(f *testing.F) {
	f.Add("11010519491231002X", "李雷", "demo:李雷:11010519491231002X")
	f.Fuzz(func(t *testing.T, number, name, credential string) {
		if got, err := realname.ParseIDNumber(number, now); err == nil {
			if again, err := realname.ParseIDNumber(got, now); err != nil || again != got || len(got) != 18 {
				t.Errorf("%q is read as %q, and that as %q, %v", number, got, again, err)
			}
		}
		if got, err := realname.ParseName(name); err == nil {
			if again, err := realname.ParseName(got); err != nil || again != got {
				t.Errorf("%q is read as %q, and that as %q, %v", name, got, again, err)
			}
		}
		if got, err := realname.ParseCredential(credential); err == nil {
			if _, err := (realname.Sandbox{Clock: time.Now}).Verify(t.Context(), "x", realname.Identity{Credential: got}); err != nil {
				t.Log(err)
			}
		}
	})
}

func TestMasks(t *testing.T) {
	for _, m := range [][2]string{
		{realname.MaskIDNumber("11010519491231002X"), "110***********002X"}, {realname.MaskIDNumber(""), ""}, {realname.MaskIDNumber("1"), ""},
		{realname.MaskName("李雷"), "李*"}, {realname.MaskName("欧阳娜娜"), "欧***"}, {realname.MaskName("Jane Doe"), "J***"}, {realname.MaskName(""), ""},
	} {
		if m[0] != m[1] {
			t.Errorf("%q, want %q", m[0], m[1])
		}
	}
}

func TestSandbox(t *testing.T) {
	const number = "11010519491231002X"
	s := realname.Sandbox{Clock: func() time.Time { return now }}
	for _, c := range []struct {
		who  realname.Identity
		want realname.Outcome
		why  string
	}{
		{realname.Identity{Name: "李雷", IDNumber: number}, realname.Confirmed, ""},
		{realname.Identity{Name: "李不符", IDNumber: number}, realname.Denied, "MISMATCH"},
		{realname.Identity{Name: "李查无", IDNumber: number}, realname.Denied, "NOT_FOUND"},
		{realname.Identity{Name: "李人工", IDNumber: number}, realname.Unclear, ""},
		{realname.Identity{Credential: "demo:李雷:" + number}, realname.Confirmed, ""},
		{realname.Identity{Credential: "demo:李不符:" + number}, realname.Denied, "MISMATCH"},
		{realname.Identity{Credential: "demo:李雷:110105194912310021"}, realname.Denied, "CREDENTIAL_INVALID"},
		{realname.Identity{Credential: "demo::"}, realname.Denied, "CREDENTIAL_INVALID"},
		{realname.Identity{Credential: "expired:x"}, realname.Denied, "CREDENTIAL_EXPIRED"},
		{realname.Identity{Credential: "what else"}, realname.Denied, "CREDENTIAL_INVALID"},
		{realname.Identity{Credential: "bare:李雷"}, realname.Confirmed, ""},
	} {
		got, err := s.Verify(context.Background(), "check-1", c.who)
		if err != nil || got.Outcome != c.want || got.Reason != c.why {
			t.Errorf("%s %s: %v %s, %v", c.who.Name, c.who.Credential, got.Outcome, got.Reason, err)
		}
		if _, known := realname.Reasons[got.Reason]; got.Reason != "" && !known {
			t.Errorf("nobody can read %s", got.Reason)
		}
		if bare := strings.HasPrefix(c.who.Credential, "bare"); got.Outcome == realname.Confirmed && (got.Identity.IDNumber == number) == bare {
			t.Errorf("%s: it is the number of nobody", c.who.Credential)
		}
	}
	if _, err := s.Verify(context.Background(), "check-1", realname.Identity{Name: "李超时", IDNumber: number}); !errors.Is(err, realname.ErrSilent) {
		t.Errorf("it answers: %v", err)
	}
}

// TestIdentitiesAreNotPrinted, in whatever way.
func TestIdentitiesAreNotPrinted(t *testing.T) {
	who := realname.Identity{Name: "李雷", IDNumber: "11010519491231002X", Credential: "demo:李雷:1"}
	answer := realname.Answer{Outcome: realname.Confirmed, Identity: who}
	for _, text := range []string{fmt.Sprint(who), fmt.Sprintf("%+v %#v %s %q", who, who, who, who), fmt.Sprintf("%v %+v", answer, &answer)} {
		if strings.Contains(text, "李雷") || strings.Contains(text, "1101") {
			t.Error(text)
		}
	}
}
