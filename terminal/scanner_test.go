package terminal

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"cardflow/iccid"
)

type scanned struct {
	signal Signal
	code   string
}

func scanAll(t testing.TB, text string) (list []scanned) {
	t.Helper()
	s := NewScanner(bufio.NewReaderSize(strings.NewReader(text), 16), func() error { return nil })
	for {
		signal, code, err := s.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		check(t, err)
		list = append(list, scanned{signal, code})
	}
}

func TestScanner(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []scanned
	}{
		"nothing":            {"", nil},
		"empty lines":        {"\r\n\n \t\n", nil},
		"plain":              {"8986031700000000000\n", []scanned{{SignalCode, "8986031700000000000"}}},
		"without an end":     {"8986031700000000000", []scanned{{SignalCode, "8986031700000000000"}}},
		"carriage return":    {"8986031700000000000\r\n", []scanned{{SignalCode, "8986031700000000000"}}},
		"a return alone":     {"8986031700000000000\rdone\r", []scanned{{SignalCode, "8986031700000000000"}, {SignalDone, ""}}},
		"Code 128":           {"]C08986031700000000000\n", []scanned{{SignalCode, "8986031700000000000"}}},
		"Data Matrix":        {"]d28986031700000000000\n", []scanned{{SignalCode, "8986031700000000000"}}},
		"STX and ETX":        {"\x02]C18986031700000000000\x03\n", []scanned{{SignalCode, "8986031700000000000"}}},
		"GS behind the code": {"]C1\x1d8986031700000000000\x1d\n", []scanned{{SignalCode, "8986031700000000000"}}},
		"words":              {"box\nUNDO\n撤销\nDone\n]C0done\n?\n", []scanned{{SignalBox, ""}, {SignalUndo, ""}, {SignalUndo, ""}, {SignalDone, ""}, {SignalDone, ""}, {SignalHelp, ""}}},
		"a long line":        {strings.Repeat("8", 100_000) + "\ndone\n", []scanned{{SignalBad, ""}, {SignalDone, ""}}},
		"an identifier only": {"]C0\n", nil},
	} {
		if got := scanAll(t, c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{"", "]C0", "]C08986031700000000000\r\n", "box\n1\n2\n", "\x02\x03\n", "撤销\ndone", "]\xff\xff", strings.Repeat("]", 600)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		list := scanAll(t, text)
		if len(list) > lines {
			t.Errorf("%d signals of %d lines", len(list), lines)
		}
		b, r := NewBasket(nil), NewReceipt(iccid.Set{Rule: iccid.Luhn})
		for _, s := range list {
			if (s.signal == SignalCode) != (s.code != "") || len(s.code) > maxLine || strings.ContainsAny(s.code, "\r\n") {
				t.Errorf("signal %d, %q", s.signal, s.code)
			}
			if s.signal == SignalCode {
				if b.Card(s.code) == nil {
					t.Error("out of an empty stock")
				}
				_, _ = r.Card(s.code)
			}
		}
	})
}

func lotsOf(sets ...iccid.Set) []Lot {
	var list []Lot
	for i, s := range sets {
		l := Lot{Cards: s}
		l.Lot, l.Issuer.ID = strings.Repeat(string(rune('a'+i)), 64), "carrier-1"
		list = append(list, l)
	}
	return list
}

// TestBasket: each scan is held against the stock and what is in the basket already; undo goes back one scan.
func TestBasket(t *testing.T) {
	b := NewBasket(lotsOf(box(t, 0, 99), box(t, 100, 199)))
	check(t, b.Card("]C0"+card(5)))
	check(t, b.Box(card(50), card(149))) // over two lots
	for name, c := range map[string]struct {
		first, last, code string
	}{
		"a card twice":          {card(5), card(5), "SCANNED_TWICE"},
		"a card of the box":     {card(50), card(50), "SCANNED_TWICE"},
		"a box with the card":   {card(0), card(9), "SCANNED_TWICE"},
		"a box with the box":    {card(149), card(160), "SCANNED_TWICE"},
		"not in stock":          {card(200), card(200), "NOT_IN_STOCK"},
		"a box, one card short": {card(150), card(200), "NOT_IN_STOCK"},
	} {
		wants(t, name, b.Box(c.first, c.last), c.code)
	}
	var wrong *iccid.Error
	if err := b.Card("12345"); !errors.As(err, &wrong) || wrong.Code != iccid.CodeFormat {
		t.Errorf("no card: %v", err)
	}
	if err := b.Box(card(160), card(150)); !errors.As(err, &wrong) || wrong.Code != iccid.CodeRangeReversed {
		t.Errorf("a box the wrong way round: %v", err)
	}
	if b.Count() != 101 {
		t.Errorf("%d cards", b.Count())
	}
	if n := b.Undo(); n != 100 || b.Count() != 1 {
		t.Errorf("%d out again, %d left", n, b.Count())
	}
	check(t, b.Card(card(50)))
	set, err := b.Cards()
	check(t, err)
	if want, _ := iccid.SetOf(iccid.Luhn, card(5), card(50)); !set.Equal(want) {
		t.Errorf("in the basket: %s", set.Canonical())
	}
	if b.Undo() != 1 || b.Undo() != 1 || b.Undo() != 0 || b.Count() != 0 {
		t.Error("it isn't empty again")
	}
	_, err = b.Cards()
	wants(t, "empty", err, "NOTHING_SCANNED")
	wants(t, "no stock", NewBasket(nil).Card(card(1)), "NOT_IN_STOCK")
}

// TestTenThousand: a pallet of single barcodes, scattered, with one twice.
func TestTenThousand(t *testing.T) {
	b := NewBasket(lotsOf(box(t, 0, 9999)))
	for i := range 10_000 {
		check(t, b.Card(card(i*7919%10_000)))
	}
	wants(t, "one more", b.Card(card(1234)), "SCANNED_TWICE")
	set, err := b.Cards()
	check(t, err)
	if !set.Equal(box(t, 0, 9999)) {
		t.Errorf("%d cards in %d segments", set.Count(), set.Len())
	}
}

// TestReceipt: a box with one card missing, one foreign and one twice is named so, card by card.
func TestReceipt(t *testing.T) {
	r := NewReceipt(box(t, 0, 9))
	scan := func(a, b int, want Finding) {
		t.Helper()
		got, err := r.Box(card(a), card(b))
		check(t, err)
		if got != want {
			t.Errorf("%d to %d: %+v, not %+v", a, b, got, want)
		}
	}
	scan(0, 4, Finding{New: 5})
	scan(4, 4, Finding{Twice: 1})
	scan(3, 6, Finding{New: 2, Twice: 2})
	scan(8, 10, Finding{New: 2, Surplus: 1})
	scan(10, 10, Finding{Twice: 1})
	missing, err := r.Missing()
	check(t, err)
	if !missing.Equal(box(t, 7, 7)) || !slices.Equal(r.Surplus(), []string{card(10)}) || !slices.Equal(r.Twice(), []string{card(4), card(3), card(4), card(10)}) || r.Right() {
		t.Errorf("missing %s, surplus %v, twice %v, right %v", missing.Canonical(), r.Surplus(), r.Twice(), r.Right())
	}
	r.Undo() // the second time of 10
	r.Undo() // 8 to 10
	scan(7, 9, Finding{New: 3})
	if !r.Right() || len(r.Twice()) != 3 {
		t.Errorf("right %v, twice %v", r.Right(), r.Twice())
	}
	if missing, err = r.Missing(); err != nil || !missing.Empty() {
		t.Errorf("missing %v, %v", missing, err)
	}
	scan(10, 10, Finding{Surplus: 1})
	for r.Undo() {
	}
	if r.Count() != 0 || len(r.Surplus()) != 0 || len(r.Twice()) != 0 {
		t.Error("it isn't empty again")
	}
	_, err = r.Box(card(100), card(2000))
	wants(t, "a box of strangers", err, "BOX_TOO_STRANGE")
	if _, err := r.Card("898603170000"); err == nil {
		t.Error("half a card is one")
	}
}
