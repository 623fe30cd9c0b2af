package iccid_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"cardflow/iccid"
)

// codeOf is the code of an error of the package, "" for nil.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	var e *iccid.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return "not an iccid.Error: " + err.Error()
}

func TestNormalize(t *testing.T) {
	for _, c := range []struct{ name, in, want, code, hint string }{
		{"as printed", "898604B7192270274511", "898604B7192270274511", "", ""},
		{"19 characters", "8986061701000135135", "8986061701000135135", "", ""},
		{"lower case", "898604b7192270274511", "898604B7192270274511", "", ""},
		{"spaces", " 8986 04B7 1922\t7027 4511 ", "898604B7192270274511", "", ""},
		{"hyphens and dashes", "8986-04B7–1922—7027‐4511", "898604B7192270274511", "", ""},
		{"line end of a scanner", "898604B7192270274511\r\n", "898604B7192270274511", "", ""},
		{"byte order mark, no-break space", "\ufeff898604B7\u00a0192270274511", "898604B7192270274511", "", ""},
		{"AIM Code 128", "]C1898604B7192270274511", "898604B7192270274511", "", ""},
		{"AIM Code 128, lower case, CR", "]c0898604b7192270274511\r", "898604B7192270274511", "", ""},
		{"AIM QR code", "]Q3898604B7192270274511", "898604B7192270274511", "", ""},
		{"full width", "８９８６０４Ｂ７１９２２７０２７４５１１　", "898604B7192270274511", "", ""},
		{"filler", "8985200012345678901F", "8985200012345678901", "", ""},
		{"filler in lower case", "8985200012345678901f", "8985200012345678901", "", ""},
		{"swapped nibbles", "9868407b912207725411", "", iccid.CodeNibbleSwapped, "898604B7192270274511"},
		{"swapped nibbles of a filled-up card", "985802002143658709F1", "", iccid.CodeNibbleSwapped, "8985200012345678901"},
		{"swapped, but nothing readable", "98AB40b791722072451F", "", iccid.CodeNibbleSwapped, "89BA047B1927022754F1"},
		{"98 that no swap explains", "9868400000000000000Z", "", iccid.CodeFormat, ""},
		{"98 of 19 characters", "9868400000000000000", "", iccid.CodeFormat, ""},
		{"two fillers", "898520001234567890FF", "", iccid.CodeFormat, ""},
		{"a filler in 19 characters", "898520001234567890F", "", iccid.CodeFormat, ""},
		{"empty", "", "", iccid.CodeFormat, ""},
		{"only a prefix", "]C1", "", iccid.CodeFormat, ""},
		{"18 characters", "898604B71922702745", "", iccid.CodeFormat, ""},
		{"21 characters", "898604B71922702745111", "", iccid.CodeFormat, ""},
		{"not a telecom number", "888604B7192270274511", "", iccid.CodeFormat, ""},
		{"letter beyond F", "898604G7192270274511", "", iccid.CodeFormat, ""},
		{"O for 0", "8986O4B7192270274511", "", iccid.CodeFormat, ""},
		{"other digits", "٨٩٨٦٠٤٠٧١٩٢٢٧٠٢٧٤٥١١", "", iccid.CodeFormat, ""},
		{"not UTF-8", "898604B719227027451\xff", "", iccid.CodeFormat, ""},
		{"scientific notation", "8.98604E+19", "", iccid.CodeFormat, ""},
		{"far too long", "898604B7192270274511" + strings.Repeat(" ", 1<<20), "", iccid.CodeFormat, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := iccid.Normalize(c.in)
			if got != c.want || codeOf(err) != c.code {
				t.Fatalf("got %q, %v; want %q, %q", got, err, c.want, c.code)
			}
			var e *iccid.Error
			if errors.As(err, &e) && e.Hint != c.hint {
				t.Errorf("hint %q, want %q", e.Hint, c.hint)
			}
		})
	}
}

func TestScientificNotationIsExplained(t *testing.T) {
	_, err := iccid.Normalize("8.98604E+19")
	if err == nil || !strings.Contains(err.Error(), "文本") {
		t.Errorf("got %v; want the advice to make the column text", err)
	}
}

func TestLast6(t *testing.T) {
	for in, want := range map[string]string{
		"898604B7192270274511":      "274511",
		"8986 0042 1520 fa00 0001":  "000001",
		"89860042152000fa01ab":      "FA01AB",
		"8985200012345678901F":      "678901",
		" 27-45 11 ":                "274511",
		"２７４５１１":                    "274511",
		"]C1898604B7192270274511\r": "274511",
		"74511":                     "",
		"":                          "",
		"七四五一一二":                    "",
	} {
		if got := iccid.Last6(in); got != want {
			t.Errorf("Last6(%q) = %q, want %q", in, got, want)
		}
	}
}

// An ICCID must not reach a log by way of an error or of a value printed whole.
func TestNothingPrintsACard(t *testing.T) {
	const secret = "2270274"
	var log bytes.Buffer
	text, json := slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil))
	show := func(v any) {
		fmt.Fprintf(&log, "%v %+v %s\n", v, v, v)
		text.Info("x", "v", v)
		json.Info("x", "v", v)
	}

	_, _, err := iccid.DefaultPlan().Parse("8999 04B7 1922 7027 4511")
	show(err)
	fmt.Fprintf(&log, "%#v\n", err)
	_, err = iccid.Normalize("9868407B912207725411" /* swaps to …2270274511 */)
	show(err)
	_, err = iccid.SetOf(iccid.Serial, "898604B7192270274511", "898604B7192270274511")
	show(err)
	_, err = iccid.Serial.Range("898604B7192270274511", "898604B7192270274510")
	show(err)
	_, err = iccid.ParseCanonical(iccid.Serial, "898604B7192270274512,898604B7192270274511")
	show(err)

	set, err := iccid.SetOf(iccid.Serial, "898604B7192270274511", "898604B7192270274512")
	if err != nil {
		t.Fatal(err)
	}
	show(set)
	show(set.Segments()[0])
	show(set.Segments()[0].First())
	show(set.Blocks()[0])

	if out := log.String(); strings.Contains(out, secret) || strings.Contains(out, "898604B7") || strings.Contains(out, "2274511") {
		t.Errorf("a card was printed:\n%s", out)
	}
	if !strings.Contains(log.String(), "[SERIAL set of 2 cards in 1 segments]") {
		t.Errorf("a set doesn't tell its size:\n%s", log.String())
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{
		"898604B7192270274511", "8986 04b7-1922 7027 4511\r", "]C1898520001234567890", "8985200012345678901F",
		"9868407B912207725411", "８９８６０４", "98ffffffffffffffffff", "]]]89", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		iccid.Last6(s)
		id, err := iccid.Normalize(s)
		if err != nil {
			var e *iccid.Error
			if !errors.As(err, &e) {
				t.Fatalf("Normalize(%q): %v is no *Error", s, err)
			}
			if e.Code == iccid.CodeNibbleSwapped {
				if again, err := iccid.Normalize(e.Hint); err != nil || again != e.Hint {
					t.Errorf("the hint %q for %q is not readable: %v", e.Hint, s, err)
				}
			}
			return
		}
		if len(id) != 19 && len(id) != 20 || !strings.HasPrefix(id, "89") || strings.Trim(id, "0123456789ABCDEF") != "" {
			t.Errorf("Normalize(%q) = %q", s, id)
		}
		if again, err := iccid.Normalize(id); again != id || err != nil {
			t.Errorf("Normalize(%q) = %q, %v: not itself", id, again, err)
		}
		for _, rule := range []iccid.Rule{iccid.Serial, iccid.Luhn} {
			c, err := rule.Parse(s)
			if err != nil {
				continue
			}
			if back, err := rule.Parse(rule.Format(c)); err != nil || back != c {
				t.Errorf("%s: %q is %#v, printed %q, read back %#v, %v", rule, s, c, rule.Format(c), back, err)
			}
		}
	})
}
